"""How often the truth lies within what `waterflow monitor` expects of rows without labels.

    python benchmarks/bench_expected.py --draws 500

Draws probabilities and labels by several laws, some of them far from calibrated, gives one part
its labels and estimates the figures of the other without. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
from measure import print_check

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.models.metrics import (
    EXPECTED,
    Called,
    expect_performance,
    observed_performance,
)

# Gives the chance that each row is potable, and the probability that a model says.
Law = Callable[[np.random.Generator, int, float], tuple[FloatArray, FloatArray]]
BASE_RATES, N_KNOWN, N_ROWS = (0.05, 0.4, 0.9), (300, 2000), (50, 500, 5000)
LEAST_COVERED = 90


def calibrated(
    random: np.random.Generator, n_rows: int, base: float
) -> tuple[FloatArray, FloatArray]:
    """Draw probabilities that are true."""
    chance = np.clip(random.beta(3 * base, 3 * (1 - base), n_rows), 1e-6, 1 - 1e-6)
    return chance, chance


def too_sure(
    random: np.random.Generator, n_rows: int, base: float
) -> tuple[FloatArray, FloatArray]:
    """Draw probabilities that are nearer to 0 and 1 than what comes true."""
    chance, _ = calibrated(random, n_rows, base)
    odds = (chance / (1 - chance)) ** 2
    return chance, odds / (1 + odds)


def tied(random: np.random.Generator, n_rows: int, base: float) -> tuple[FloatArray, FloatArray]:
    """Draw probabilities of few steps, as isotonic calibration gives, each a little wrong."""
    chance, _ = calibrated(random, n_rows, base)
    return chance, np.clip(np.round(4 * chance) / 4 + 0.03, 0, 1)


LAWS: dict[str, Law] = {"calibrated": calibrated, "too sure": too_sure, "tied, off": tied}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    print("| probabilities | share potable | labelled rows | rows | " + " | ".join(EXPECTED), "|")
    print("| --- | ---: | ---: | ---: |" + " ---: |" * len(EXPECTED))
    worst = dict.fromkeys(EXPECTED, 1.0)
    for (name, law), base, n_known, n_rows in product(LAWS.items(), BASE_RATES, N_KNOWN, N_ROWS):
        covered = cover(law, base, n_known, n_rows, options.draws)
        worst = {figure: min(worst[figure], covered[figure]) for figure in EXPECTED}
        cells = " | ".join(f"{100 * share:.1f}" for share in covered.values())
        print(f"| {name} | {base} | {n_known:,} | {n_rows:,} | {cells} |", flush=True)
    print(f"\nStandard error at 95: {100 * np.sqrt(0.95 * 0.05 / options.draws):.1f}.\n")
    for figure, share in worst.items():
        print_check(f"{figure}, worst of all", 100 * share, LEAST_COVERED, at_least=True)


def cover(law: Law, base: float, n_known: int, n_rows: int, n_draws: int) -> dict[str, float]:
    """Say how often the intervals hold the figures that labels show, where there are such."""
    held: dict[str, list[bool]] = {figure: [] for figure in EXPECTED}
    for seed in range(n_draws):
        random = np.random.default_rng([seed, n_known, n_rows, round(100 * base)])
        known, new = (draw(law, random, size, base) for size in (n_known, n_rows))
        expected = expect_performance(new.probability, new.called, known, seed=seed)
        for figure, truth in observed_performance(new).items():
            if truth == truth:
                held[figure].append(expected[figure].low <= truth <= expected[figure].high)
    return {figure: float(np.mean(each)) if each else np.nan for figure, each in held.items()}


def draw(law: Law, random: np.random.Generator, n_rows: int, base: float) -> Called:
    """Draw rows, called potable where the probability is above the base rate."""
    chance, probability = law(random, n_rows, base)
    return Called(
        (random.random(n_rows) < chance).astype(np.int64), probability, probability > base
    )


if __name__ == "__main__":
    main()
