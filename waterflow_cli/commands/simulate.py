"""``waterflow simulate``."""

from __future__ import annotations

from typing import Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    json_option,
)
from waterflow_cli.common.messages import tr, trn


@click.command(short_help="Make labelled samples whose best possible AUC is known.")
@click.option(
    "--rows", type=click.IntRange(min=1), default=3000, show_default=True, help="How many samples."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Equal seeds give equal samples.",
)
@click.option(
    "--signal",
    type=float,
    default=0.75,
    show_default=True,
    metavar="AUC",
    help="The best ROC AUC that any model can reach on complete measurements.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .parquet, or -.",
)
@force_option
@json_option
@common_options
@click.pass_context
def simulate(ctx: click.Context, /, output: str, as_json: bool, **options: Any) -> None:
    """Write simulated water samples with a label drawn from a known probability.

    No row is real. The label depends on the measurements in a way that no straight line finds,
    and the best AUC that is possible is known, so that a model's figures can be checked.
    """
    from waterflow_cli.common.errors import UsageError
    from waterflow_cli.samples.simulation import best_auc, best_auc_with_missing, write_simulation

    if as_json and output == "-":
        raise UsageError(
            tr("--json and -o - both write to stdout."), tr("Write the rows to a file.")
        )
    console = console_of(ctx)
    rows, seed, signal = options["rows"], options["seed"], options["signal"]
    write_simulation(output, rows, seed=seed, signal=signal, force=options["force"])
    best, attainable = best_auc(signal), best_auc_with_missing(signal)
    if as_json:
        console.json(
            {
                "output": output,
                "rows": rows,
                "seed": seed,
                "best_auc_complete": best,
                "best_auc_with_missing": attainable,
            }
        )
    console.note(
        trn(
            "Wrote {n} simulated sample to {output} (seed {seed}).",
            "Wrote {n} simulated samples to {output} (seed {seed}).",
            rows,
            output=output,
            seed=seed,
        )
        + " "
        + tr(
            "Best possible ROC AUC: {best:.3f} on complete measurements, "
            "{attainable:.3f} with the missing ones.",
            best=best,
            attainable=attainable,
        )
    )
