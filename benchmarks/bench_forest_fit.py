"""Fits of forests alone: waterflow's growing of trees against scikit-learn's own, on one core.

    python benchmarks/bench_forest_fit.py water_potability.csv --runs 5

Without a file: on 3000 simulated samples. Each pipeline is that of the plugin's defaults, with
SMOTE; the two fits take turns, and their trees must be equal bit for bit.
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
from sklearn.base import clone

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.forests import fit_pipeline
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

# With the share of scikit-learn's CPU that is allowed.
PLUGINS = {"rf": 0.25, "extra-trees": 0.6}


def read(path: str | None) -> tuple[Any, Any]:
    """Give measurements, some missing, and labels."""
    if path is not None:
        data = load_training_data(path, load_schema("water"))
        return data.X, data.y
    frame = pa.Table.from_batches(simulate_batches(3000, seed=1)).to_pandas()
    return frame[[each.name for each in MEASUREMENTS]], frame[LABEL].to_numpy()


def cpu_seconds(fit: Callable[[], Any]) -> tuple[float, Any]:
    """Fit, and give what it costs too."""
    start = time.process_time()
    fitted = fit()
    return time.process_time() - start, fitted


def bits(pipeline: Any) -> list[bytes]:
    """Give all that its trees hold."""
    states = [each.tree_.__getstate__() for each in pipeline[-1].estimators_]
    return [each[part].tobytes() for each in states for part in ("nodes", "values")]


def compare(name: str, X: Any, y: Any, runs: int) -> float:
    """Print a row of the table, and give the median of the pairs' ratios."""
    unfitted = build_pipeline(load_plugin(name), list(X.columns), TrainingOptions())
    first_s, _ = cpu_seconds(lambda: fit_pipeline(clone(unfitted), X, y))
    pairs = []
    for _ in range(runs):
        ours_s, ours = cpu_seconds(lambda: fit_pipeline(clone(unfitted), X, y))
        theirs_s, theirs = cpu_seconds(lambda: clone(unfitted).fit(X, y))
        assert bits(ours) == bits(theirs), name
        pairs.append((ours_s, theirs_s))
    mine, other = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    n_nodes = sum(each.tree_.node_count for each in theirs[-1].estimators_)
    print(f"| {name} | {n_nodes} | {first_s:.2f} | {other:.2f} | {mine:.2f} | {ratio:.2f} |")
    return ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    X, y = read(options.data)
    print(f"{describe_machine()}\n\n{len(np.asarray(y))} rows, medians of {options.runs} pairs.\n")
    print("| plugin | nodes | first fit, CPU s | scikit-learn, CPU s | waterflow, CPU s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with single_threaded_fits():
        ratios = {name: compare(name, X, y, options.runs) for name in PLUGINS}
    print("\nAll trees are equal bit for bit.\n")
    for name, ratio in ratios.items():
        print_check(f"CPU of a fit / scikit-learn's, {name}", ratio, PLUGINS[name])


if __name__ == "__main__":
    main()
