"""What `waterflow monitor` costs on a large file, beside reading that file.

    python benchmarks/bench_monitor.py --rows 5000000 --runs 3

Generates its data with `waterflow simulate`, trains a model on another simulated sample, and
compares with what reads the same file and does nothing with it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import PYTHON, WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

MOST_MB, MOST_RATIO = 1000, 3.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    monitor, validate = "waterflow monitor", "waterflow validate"
    pandas, arrow = "pandas.read_csv", "pyarrow.csv.read_csv"
    common = ("monitor", "new.csv", "-q", "-o", "report.html", "--force")
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        for rows, seed, file in ((3000, "4", "train.csv"), (options.rows, "5", "new.csv")):
            simulate = ("simulate", "--rows", str(rows), "--seed", seed, "-o", file)
            run_once((*WATERFLOW, *simulate), folder=folder)
        run_once(
            (*WATERFLOW, "train", "train.csv", "--plugin", "hgb", "--cv", "3x1"), folder=folder
        )
        print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.")
        costs = run_all(
            {
                monitor: (*WATERFLOW, *common),
                f"{monitor} --no-log": (*WATERFLOW, *common, "--no-log"),
                validate: (*WATERFLOW, "validate", "new.csv", "-q"),
                pandas: (PYTHON, "-c", "import pandas; pandas.read_csv('new.csv')"),
                arrow: (PYTHON, "-c", "from pyarrow import csv; csv.read_csv('new.csv')"),
            },
            folder=folder,
            runs=options.runs,
            ok=(0, 1),  # an alarm is a result
        )
    print_costs("Holding a file against a model's training rows", costs, reference=pandas)
    print()
    ours = costs[monitor]
    print_check(f"peak memory under {MOST_MB} MB", ours.peak_mb, MOST_MB)
    for rival in (pandas, validate, arrow):
        ratio = ours.cpu_s / costs[rival].cpu_s
        print_check(f"CPU at most {MOST_RATIO:g} x {rival}", ratio, MOST_RATIO)


if __name__ == "__main__":
    main()
