"""What `waterflow train` costs by the number of rows, and what more rows, or folds, still tell.

    python benchmarks/bench_train_rows.py                        # to 1,000,000 rows: half an hour
    python benchmarks/bench_train_rows.py --rows 3000 --rows 30000

Prints Markdown tables: what the command with the defaults takes in CPU seconds, time and memory,
and how wide the interval of the ROC AUC is; and what the bound on SMOTE's rows costs in ROC AUC.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import WATERFLOW, describe_machine, print_check, run_once
from sklearn.metrics import roc_auc_score

from waterflow_cli.models import pipelines
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import make_learner, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

ROWS = (3_000, 20_000, 100_000, 200_000, 1_000_000)
MOST_S, MOST_MB = 15 * 60, 3 * 1024
SMOTE_ROWS = (2_000, 10_000, 1_000_000)
N_TESTED = 40_000


def measure_rows(folder: Path, plugin: str, sizes: list[int]) -> None:
    """Train with the defaults on so many simulated rows, and print what it costs and tells."""
    print("| rows | measured by | fits | ROC AUC ± | CPU s | wall s | peak MB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for n_rows in sizes:
        path = simulate(folder, n_rows)
        cost = run_once((*WATERFLOW, "train", path, "--plugin", plugin, "--json"), folder=folder)
        lines = (folder / "command.log").read_text("utf-8").splitlines()
        found = json.loads(next(line for line in lines if line.startswith("{")))
        auc = found["evaluation"]["estimates"]["roc_auc"]
        print(
            f"| {n_rows} | {found['design']['name']} | {found['fits']} | "
            f"{(auc['high'] - auc['low']) / 2:.4f} | {cost.cpu_s:.0f} | {cost.wall_s:.0f} | "
            f"{cost.peak_mb:.0f} |",
            flush=True,
        )
    print()
    print_check(f"wall minutes, {sizes[-1]} rows", cost.wall_s / 60, MOST_S / 60)
    print_check(f"peak MB, {sizes[-1]} rows", cost.peak_mb, MOST_MB)


def measure_smote(folder: Path, plugin: str) -> None:
    """Fit with several bounds on SMOTE's rows, and print what other rows show of each."""
    data = load_training_data(simulate(folder, 100_000), load_schema("water"))
    learner = make_learner(load_plugin(plugin), data, TrainingOptions())
    order = np.random.default_rng(0).permutation(len(data.y))
    tested, learned = np.sort(order[:N_TESTED]), np.sort(order[N_TESTED:])
    print("\n| SMOTE's rows, at most | CPU s of a fit | ROC AUC |")
    print("| ---: | ---: | ---: |")
    for most in SMOTE_ROWS:
        pipelines.MOST_SMOTE_ROWS = most
        with single_threaded_fits():
            start = time.process_time()
            fitted = learner.fit(learned)
            cost = time.process_time() - start
            auc = roc_auc_score(data.y[tested], learner.score(fitted, tested))
        print(f"| {most} | {cost:.1f} | {auc:.4f} |", flush=True)


def simulate(folder: Path, n_rows: int) -> str:
    """Make a file of simulated samples, once."""
    path = folder / f"samples{n_rows}.csv"
    if not path.exists():
        command = (*WATERFLOW, "simulate", "--rows", str(n_rows), "-o", str(path))
        run_once(command, folder=folder)
    return str(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--plugin", default="hgb")
    options = parser.parse_args()
    print(f"{describe_machine()}\n")
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        measure_rows(folder, options.plugin, options.rows or list(ROWS))
        measure_smote(folder, options.plugin)


if __name__ == "__main__":
    main()
