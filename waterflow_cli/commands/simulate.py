"""``waterflow simulate``."""

from __future__ import annotations

from typing import Any

import click

from waterflow_cli.commands import options
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console


@options.command(short_help="Make labelled samples whose best possible AUC is known.")
@click.option(
    "--rows", "--samples", type=click.IntRange(min=1), default=3000, help="How many samples."
)
@options.seed("Equal seeds give equal samples.")
@click.option(
    "--signal",
    type=float,
    default=0.75,
    metavar="AUC",
    help="The best ROC AUC that any model can reach on complete measurements.",
)
@click.option(
    "--layout",
    type=click.Choice(["samples", "sise-eaux"]),
    default="samples",
    help="One row a sample, or the two files of the French control in the folder OUT.",
)
@options.output(
    "Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .parquet, or -; with another layout a "
    "folder.",
    required=True,
)
@options.force
def simulate(
    console: Console,
    *,
    rows: int,
    layout: str,
    seed: int,
    signal: float,
    output: str,
    force: bool,
) -> None:
    """Write simulated water samples with a label drawn from a known probability.

    No row is real. The label depends on the measurements in a way that no straight line finds,
    and the best AUC that is possible is known, so that a model's figures can be checked.
    """
    from waterflow_cli.samples.simulation import write_simulation

    if layout == "sise-eaux":
        from waterflow_cli.samples.french_control import write_french_control

        paths = write_french_control(output, rows, seed=seed, signal=signal, force=force)
        _say(console, rows, seed, signal, shorten(paths), {"output": output, "outputs": paths})
        return
    if console.as_json and output == "-":
        raise UsageError("--json and -o - both write to stdout.", tr("Write the rows to a file."))
    write_simulation(output, rows, seed=seed, signal=signal, force=force)
    _say(console, rows, seed, signal, output, {"output": output})


def _say(
    console: Console, rows: int, seed: int, signal: float, written: str, outputs: dict[str, Any]
) -> None:
    """Say what was written, and how well a model can do on it."""
    from waterflow_cli.samples.simulation import best_auc, best_auc_with_missing

    best, attainable = best_auc(signal), best_auc_with_missing(signal)
    content = {**outputs, "rows": rows, "seed": seed}
    console.json({**content, "best_auc_complete": best, "best_auc_with_missing": attainable})
    wrote = trn(
        "Wrote {n} simulated sample to {output} (seed {seed}).",
        "Wrote {n} simulated samples to {output} (seed {seed}).",
        rows,
        output=written,
        seed=seed,
    )
    possible = tr(
        "Best possible ROC AUC: {best:.3f} on complete measurements, "
        "{attainable:.3f} with the missing ones.",
        best=best,
        attainable=attainable,
    )
    console.note(f"{wrote} {possible}")
