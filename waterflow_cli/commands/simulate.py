"""``waterflow simulate``."""

from __future__ import annotations

import click

from waterflow_cli.commands import options
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console


@options.command(short_help="Make labelled samples whose best possible AUC is known.")
@click.option("--rows", type=click.IntRange(min=1), default=3000, help="How many samples.")
@options.seed("Equal seeds give equal samples.")
@click.option(
    "--signal",
    type=float,
    default=0.75,
    metavar="AUC",
    help="The best ROC AUC that any model can reach on complete measurements.",
)
@options.output(
    "Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .parquet, or -.", required=True
)
@options.force
def simulate(
    console: Console, *, rows: int, seed: int, signal: float, output: str, force: bool
) -> None:
    """Write simulated water samples with a label drawn from a known probability.

    No row is real. The label depends on the measurements in a way that no straight line finds,
    and the best AUC that is possible is known, so that a model's figures can be checked.
    """
    from waterflow_cli.samples.simulation import best_auc, best_auc_with_missing, write_simulation

    if console.as_json and output == "-":
        raise UsageError("--json and -o - both write to stdout.", tr("Write the rows to a file."))
    write_simulation(output, rows, seed=seed, signal=signal, force=force)
    best, attainable = best_auc(signal), best_auc_with_missing(signal)
    content = {"output": output, "rows": rows, "seed": seed}
    console.json({**content, "best_auc_complete": best, "best_auc_with_missing": attainable})
    wrote = trn(
        "Wrote {n} simulated sample to {output} (seed {seed}).",
        "Wrote {n} simulated samples to {output} (seed {seed}).",
        rows,
        output=output,
        seed=seed,
    )
    possible = tr(
        "Best possible ROC AUC: {best:.3f} on complete measurements, "
        "{attainable:.3f} with the missing ones.",
        best=best,
        attainable=attainable,
    )
    console.note(f"{wrote} {possible}")
