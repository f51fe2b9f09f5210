"""What the commands share that learn from labelled samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from waterflow_cli.console import Console
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.training.data import TrainingData

cv_option = click.option(
    "--cv",
    default="5x2",
    show_default=True,
    metavar="FOLDSxREPEATS",
    help="Measure by repeated cross-validation around everything.",
)
group_option = click.option(
    "--group", metavar="COLUMN", help="Keep rows of one group, such as a site, together."
)
time_option = click.option(
    "--time", metavar="COLUMN", help="Measure on what is newer than what was learned."
)
on_invalid_option = click.option(
    "--on-invalid",
    type=click.Choice(("fail", "drop")),
    default="fail",
    show_default=True,
    help="What to do with rows that are invalid or have no label.",
)


def refuse_two_splits(options: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Refuse options that ask for two ways of splitting."""
    ways = [f"--{name.replace('_', '-')}" for name in names if options[name] is not None]
    if len(ways) > 1:
        raise UsageError(
            tr("{ways}: the rows can be split in one way only.", ways=tr(" and ").join(ways))
        )


def load_labelled(
    options: Mapping[str, Any], schema: TableSchema, console: Console
) -> TrainingData:
    """Load the samples that the options name, and warn of copies among them."""
    from waterflow_cli.commands.notes import note_reading
    from waterflow_cli.training.data import find_training_data, load_training_data

    with find_training_data(options["data"], console.note, console.warn) as path:
        data = load_training_data(
            path,
            schema,
            reading=options["reading"],
            drop_invalid=options["on_invalid"] == "drop",
            group=options["group"],
            time=options["time"],
        )
    note_reading({data.path: data.reading}, data.cells, schema, options["reading"], console)
    if options["reading"].nondetect != "missing":
        for text in data.cells.substituted(data.n_read):
            console.warn(text)
    if data.constant_columns:
        console.warn(
            tr(
                "The same in all rows, or missing: {constant_columns}.",
                constant_columns=", ".join(data.constant_columns),
            )
        )
    if data.n_repeated:
        console.warn(
            trn(
                "{n} of {n_rows} rows repeats the measurements of another row.",
                "{n} of {n_rows} rows repeat the measurements of another row.",
                data.n_repeated,
                n_rows=len(data.y),
            )
            + " "
            + tr("Copies on both sides of a split make the figures too good: remove them first.")
        )
    return data
