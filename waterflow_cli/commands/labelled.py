"""What the commands share that learn from labelled samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterflow_cli.commands.families import family
from waterflow_cli.commands.notes import note_reading
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.training.data import DataOptions, TrainingData


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Which labelled samples are learned from, and which of them belong together."""

    data: str | None
    schema_name: str
    how: DataOptions


labelled = family("samples", Labelled)


def refuse_two_splits(**ways: object) -> None:
    """Refuse options that ask for two ways of splitting."""
    given = [f"--{name.replace('_', '-')}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            "{ways}: the rows can be split in one way only.",
            ways=shorten(given, separator=tr(" and ")),
        )


def load_labelled(samples: Labelled, console: Console) -> tuple[TableSchema, TrainingData]:
    """Load the samples that the options name, and warn of copies among them."""
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.training.data import find_training_data, load_training_data

    schema = load_schema(samples.schema_name)
    with find_training_data(samples.data, console.note, console.warn) as path:
        data = load_training_data(path, schema, samples.how)
    note_reading({data.path: data.reading}, data.cells, schema, samples.how.reading, console)
    if samples.how.reading.nondetect != "missing":
        for text in data.cells.substituted(data.n_read):
            console.warn(text)
    if data.constant_columns:
        console.warn(
            "The same in all rows, or missing: {constant_columns}.",
            constant_columns=shorten(data.constant_columns),
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
    return schema, data
