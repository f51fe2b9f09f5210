"""Whether the numbers that `waterflow train` reports are true, on data whose truth is known.

    python benchmarks/bench_honesty.py splits --data FILE --plugin blend --balance none

Each simulated data set is trained on as `waterflow train` does; the model is then asked for a large
fresh sample, which says how good it really is. Splits of a real file are studied in the same way:
three tenths of its rows play the fresh sample. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.guarantees import parse_guarantee
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import LABEL, simulate_batches
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.trainer import TrainingResult, train_model

FRESH_ROWS, FRESH_SEED = 50_000, 1_000_000


def simulate(n_rows: int, seed: int, signal: float) -> TrainingData:
    """Draw labelled samples as a file of them would be read."""
    batches = simulate_batches(n_rows, seed=seed, signal=signal)
    frame = pd.concat([batch.to_pandas() for batch in batches], ignore_index=True)
    X = frame[list(load_schema("water").measurements)].astype(float)
    return TrainingData(
        path="simulated", X=X, y=frame[LABEL].to_numpy(np.int64), sha256="", n_dropped=0
    )


def train(data: TrainingData, plugin: str, options: TrainingOptions) -> TrainingResult:
    """Train as the command does."""
    return train_model(data, load_plugin(plugin), options)


def study_splits(path: str, plugin: str, balance: str, n_splits: int) -> list[dict[str, object]]:
    """Ask for ever stronger guarantees on parts of a file, and see what holds on the rest."""
    data = load_training_data(path, load_schema("water"))
    levels = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
    guarantees = tuple(parse_guarantee(f"precision={level}@90%") for level in levels)
    options = TrainingOptions(balance=balance, cv=parse_cv("3x1"), guarantees=guarantees)
    found: dict[float, list[tuple[float, float]]] = {level: [] for level in levels}
    for seed in range(n_splits):
        known, fresh = train_test_split(np.arange(len(data.y)), test_size=0.3, random_state=seed)
        result = train(data.take(known), plugin, replace(options, seed=seed))
        probability, y = result.model.probability(data.X.iloc[fresh]), data.y[fresh]
        for certificate in result.certificates:
            if certificate.cut is not None:
                decided = probability >= certificate.cut
                precision = float(y[decided].mean()) if decided.any() else np.nan
                found[certificate.guarantee.level].append((float(decided.mean()), precision))
    return [
        {
            "guarantee": f"precision={level}@90%",
            "splits": n_splits,
            "issued": len(each) / n_splits,
            "samples called likely potable": float(np.mean([s for s, _ in each])) if each else "-",
            "realised precision": float(np.nanmean([p for _, p in each])) if each else "-",
            "issued and false": sum(right < level for _, right in each) / n_splits,
        }
        for level, each in found.items()
    ]


def print_table(rows: list[dict[str, object]]) -> None:
    """Print rows as Markdown."""
    print(f"| {' | '.join(rows[0])} |\n|{' ---: |' * len(rows[0])}")
    for row in rows:
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Study and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("splits",))
    parser.add_argument("--sets", type=int, default=20, help="splits")
    parser.add_argument("--data", required=True)
    parser.add_argument("--plugin", default="blend")
    parser.add_argument("--balance", default="none")
    options = parser.parse_args()
    print_table(study_splits(options.data, options.plugin, options.balance, options.sets))


if __name__ == "__main__":
    main()
