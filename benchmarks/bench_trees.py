"""The arithmetic of tree ensembles alone: waterflow's against the libraries' own, on one core.

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
from lightgbm import LGBMClassifier
from measure import describe_machine, print_check
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from waterflow_cli.models.portable.conversion import portable_form
from waterflow_cli.models.portable.form import PortableForm
from waterflow_cli.models.portable.trees import Trees
from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches

# With the rows per CPU second that are asked of waterflow, those of the library being 1.
ENSEMBLES: dict[str, tuple[Any, float]] = {
    "random forest": (RandomForestClassifier(300, random_state=0), 7),
    "extra trees": (ExtraTreesClassifier(300, random_state=0), 7),
    "HistGradientBoosting": (HistGradientBoostingClassifier(random_state=0), 8),
    "XGBoost": (XGBClassifier(n_estimators=200, max_depth=4, n_jobs=1), 1.5),
    "LightGBM": (LGBMClassifier(n_estimators=200, num_leaves=15, n_jobs=1, verbose=-1), 1.5),
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


def ask(ensemble: Any, X: np.ndarray) -> np.ndarray:
    """The library's own probabilities."""
    return np.asarray(ensemble.predict_proba(X)[:, 1], dtype=np.float64)


def count_nodes(form: PortableForm) -> int:
    """How many nodes the trees have."""
    return sum(len(part.words) for part in form.parts if isinstance(part, Trees))


def compare(name: str, ensemble: Any, rows: np.ndarray, runs: int) -> float:
    """Print a row of the table, and give the ratio."""
    start = time.process_time()
    form = portable_form(make_pipeline(ensemble), lambda X: ask(ensemble, X))
    form_s = time.process_time() - start
    assert form is not None
    form.expect(1 << 40)
    form(rows[:1000])  # compiles
    theirs_s, theirs = cpu_seconds(lambda: ask(ensemble, rows), runs)
    ours_s, ours = cpu_seconds(lambda: form(rows), runs)
    assert np.array_equal(ours, theirs), name
    n_rows, ratio = len(rows), theirs_s / ours_s
    cells = (
        count_nodes(form),
        f"{form_s:.2f}",
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
    print("| ensemble | nodes | form s | predict_proba, rows/s | waterflow, rows/s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with threadpool_limits(limits=1):
        ratios = {
            name: compare(name, ensemble.fit(X, y), rows, options.runs)
            for name, (ensemble, _) in ENSEMBLES.items()
        }
    print("\nAll results are equal bit for bit.\n")
    for name, ratio in ratios.items():
        print_check(f"rows per CPU second, {name}", ratio, ENSEMBLES[name][1], at_least=True)


if __name__ == "__main__":
    main()
