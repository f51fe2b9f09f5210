"""The arithmetic of tree ensembles alone: waterflow's against scikit-learn's, on one core.

    python benchmarks/bench_trees.py --rows 500000 --runs 3

Both score the same rows in memory; the results must be equal bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from measure import describe_machine, print_check
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from threadpoolctl import threadpool_limits
from waterflow_cli.models.fast_trees import pack_trees, positive_probability

from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches

ENSEMBLES = {
    "random forest, 100 trees": RandomForestClassifier(100, random_state=0),
    "extra trees, 100 trees": ExtraTreesClassifier(100, random_state=0),
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
}


def simulate(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulated measurements, the missing ones filled in, and labels."""
    table = pa.Table.from_batches(simulate_batches(rows, seed=seed))
    X = np.column_stack([table[each.name].to_numpy() for each in MEASUREMENTS])
    return np.where(np.isnan(X), np.nanmedian(X, axis=0), X), table[LABEL].to_numpy()


def cpu_seconds(call: Callable[[], np.ndarray], runs: int) -> tuple[float, np.ndarray]:
    """The median of some runs, and the result."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def compare(name: str, ensemble: Any, rows: np.ndarray, runs: int) -> float:
    """Print a row of the table, and give the ratio."""
    start = time.process_time()
    packed = pack_trees(ensemble)
    pack_s = time.process_time() - start
    assert packed is not None
    positive_probability(ensemble, packed, rows[:1000])  # compiles
    theirs_s, theirs = cpu_seconds(lambda: ensemble.predict_proba(rows)[:, 1], runs)
    ours_s, ours = cpu_seconds(lambda: positive_probability(ensemble, packed, rows), runs)
    assert np.array_equal(ours, theirs), name
    n_rows, ratio = len(rows), theirs_s / ours_s
    cells = (
        len(packed.words),
        f"{pack_s:.2f}",
        f"{n_rows / theirs_s:.0f}",
        f"{n_rows / ours_s:.0f}",
    )
    print(f"| {name} | {' | '.join(map(str, cells))} | {ratio:.2f} |")
    return ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.\n")
    X, y = simulate(3000, 1)
    rows, _ = simulate(options.rows, 2)
    print("| ensemble | nodes | pack s | predict_proba, rows/s | waterflow, rows/s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with threadpool_limits(limits=1):
        ratios = {
            name: compare(name, ensemble.fit(X, y), rows, options.runs)
            for name, ensemble in ENSEMBLES.items()
        }
    print("\nAll results are equal bit for bit.\n")
    for name, ratio in ratios.items():
        print_check(f"rows per CPU second, {name}", ratio, 2.5, at_least=True)


if __name__ == "__main__":
    main()
