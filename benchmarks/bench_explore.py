"""What `waterflow explore` costs on a large file, beside a look by hand with pandas.

    python benchmarks/bench_explore.py --rows 1000000 --runs 3

Generates its data with `waterflow simulate`. The rival reads the file with pandas, describes and
correlates the columns, counts gaps, repeats and labels, and draws nine histograms into a picture.
It fits no model, holds nothing against limits and checks no row.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import PYTHON, WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

MOST_MB, MOST_S, MOST_PAGE_KB = 1500, 120, 1000
BY_HAND = """
import matplotlib
matplotlib.use("agg")
import pandas as pd
table = pd.read_csv("samples.csv")
numbers = table.select_dtypes("number")
print(table.describe(), numbers.corr(), numbers.corr("spearman"))
print(table.isna().mean(), numbers.duplicated().sum(), table["Potability"].value_counts())
numbers.hist(bins=40, figsize=(12, 9))[0][0].figure.savefig("by_hand.png")
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    explore, by_hand = "waterflow explore", "pandas, by hand"
    command = (*WATERFLOW, "explore", "samples.csv", "-o", "report.html", "--force", "-q")
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        simulate = ("simulate", "--rows", str(options.rows), "--seed", "5", "-o", "samples.csv")
        run_once((*WATERFLOW, *simulate), folder=folder)
        print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.")
        costs = run_all(
            {
                explore: command,
                by_hand: (PYTHON, "-c", BY_HAND),
            },
            folder=folder,
            runs=options.runs,
        )
        page_kb = (folder / "report.html").stat().st_size / 1000
    print_costs("A look at a file", costs, reference=by_hand)
    print()
    ours, theirs = costs[explore], costs[by_hand]
    print_check(f"peak memory under {MOST_MB} MB", ours.peak_mb, MOST_MB)
    print_check(f"wall time under {MOST_S} s", ours.wall_s, MOST_S)
    print_check(f"page under {MOST_PAGE_KB} kB", page_kb, MOST_PAGE_KB)
    print(f"- wall time / by hand: {ours.wall_s / theirs.wall_s:.2f}")
    print(f"- CPU / by hand: {ours.cpu_s / theirs.cpu_s:.2f}")
    print(f"- peak memory / by hand: {ours.peak_mb / theirs.peak_mb:.2f}")


if __name__ == "__main__":
    main()
