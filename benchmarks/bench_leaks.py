"""Whether leaks that are put into a file are found, and none where nobody put one.

    python benchmarks/bench_leaks.py --data FILE    # the public table, beside three simulated ones

Each kind of leak is planted in tables from four sources, of several sizes and base rates; honest
tables from the same sources must show none. No model is trained. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import cycle, islice, product

import numpy as np
import pandas as pd
from scipy.special import expit

from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches
from waterflow_cli.training.copies import find_copies
from waterflow_cli.training.leaks import Leak, find_leaks

Rows = tuple[pd.DataFrame, np.ndarray]
Random = np.random.Generator
NAMES = [each.name for each in MEASUREMENTS]
SIZES, BASE_RATES = (300, 1000, 3000), (0.05, 0.4, 0.9)
# With fewer rows of a class some leaks are too small to be seen.
PLANTED_SIZES, PLANTED_RATES = (1000, 3000), (0.25, 0.4, 0.7)
NOISE, N_INVENTED, INVENTED_SD = 1e-4, 300, 4.0


def water(n_rows: int, rate: float, random: Random) -> Rows:
    """Give `waterflow simulate`'s: short decimals, cells missing, labels by distance."""
    del rate  # it has its own
    batches = simulate_batches(n_rows, seed=int(random.integers(2**31)), signal=0.85)
    frame = pd.concat([batch.to_pandas() for batch in batches], ignore_index=True)
    return frame[NAMES].astype(float), frame[LABEL].to_numpy(np.int64)


def skewed(n_rows: int, rate: float, random: Random) -> Rows:
    """Give correlated lognormals of three digits: two have non-detects, two gaps by label."""
    factors = random.standard_normal((n_rows, 3))
    loadings = random.normal(0, 0.6, (3, 8))
    logs = factors @ loadings + random.standard_normal((n_rows, 8))
    y = _labels(2.0 * logs[:, 0] - logs[:, 1] + 0.7 * factors[:, 0], rate, random)
    values = np.exp(logs + random.normal(1, 2, 8))
    digits = 10.0 ** (2 - np.floor(np.log10(values)))
    values = np.round(values * digits) / digits
    for column in (0, 3):
        bound = np.quantile(values[:, column], 0.2)
        values[values[:, column] < bound, column] = bound / 2
    for column in (2, 5):
        missing = random.random(n_rows) < np.where(y == 1, 0.25, 0.1)
        values[missing, column] = np.nan
    return pd.DataFrame(values).add_prefix("m"), y


def sites(n_rows: int, rate: float, random: Random) -> Rows:
    """Give wells with long tails: some values are rounded, the label follows well and season."""
    well = random.integers(0, 25, n_rows)
    centres = random.normal(0, 1.5, (25, 7))
    values = centres[well] + random.standard_t(3, (n_rows, 7))
    y = _labels(2.0 * centres[well, 0] + values[:, 1] - 0.8 * np.abs(values[:, 2]), rate, random)
    values = np.round(10 + 3 * values, 2)
    lazy = random.random((n_rows, 7)) < 0.3  # written to the unit only
    values[:, 3:] = np.where(lazy, np.round(values), values)[:, 3:]
    values[:, 6] = np.clip(np.round(values[:, 6] / 3), 0, 9)
    values[random.random((n_rows, 7)) < 0.04] = np.nan
    return pd.DataFrame(values).add_prefix("m"), y


def _labels(score: np.ndarray, rate: float, random: Random) -> np.ndarray:
    score = 1.5 * (score - score.mean()) / score.std()
    cuts = np.linspace(-12, 12, 400)
    rates = expit(score[:, None] + cuts).mean(axis=0)
    chance = expit(score + cuts[np.argmin(np.abs(rates - rate))])
    return (random.random(len(score)) < chance).astype(np.int64)


def part_of(path: str) -> Callable[[int, float, Random], Rows]:
    """Give parts of a file, drawn without replacement, of three quarters of the size or so."""
    frame = pd.read_csv(path)
    X, y = frame[NAMES].astype(float), frame[LABEL].to_numpy(np.int64)

    def draw(n_rows: int, rate: float, random: Random) -> Rows:
        del rate
        rows = random.choice(len(X), min(n_rows, int(0.75 * len(X))), replace=False)
        return X.iloc[rows].reset_index(drop=True), y[rows]

    return draw


def by_class(way: str) -> Callable[[pd.DataFrame, np.ndarray, Random], Rows]:
    """Fill what is missing by a statistic of the row's class."""
    return lambda X, y, random: (_gappy(X, random).pipe(_fill_by_class, y, way), y)


def _gappy(X: pd.DataFrame, random: Random) -> pd.DataFrame:
    return X.mask(random.random(X.shape) < 0.1)


def _fill_by_class(X: pd.DataFrame, y: np.ndarray, way: str) -> pd.DataFrame:
    return X.fillna(X.groupby(y).transform(way))


def by_mean(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Fill what is missing by the mean of all rows."""
    X = _gappy(X, random)
    return X.fillna(X.mean()), y


def copied(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Let a fifth of the rows stand twice."""
    rows = random.choice(len(X), len(X) // 5, replace=False)
    return pd.concat([X, X.iloc[rows]], ignore_index=True), np.append(y, y[rows])


def copied_with_noise(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Let each row stand twice, once with noise."""
    noisy = X * (1 + NOISE * random.standard_normal(X.shape))
    return pd.concat([X, noisy], ignore_index=True), np.append(y, y)


def oversampled(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Balance complete rows by SMOTE, in the file's units."""
    from imblearn.over_sampling import SMOTE

    whole = X.notna().all(axis=1)
    smote = SMOTE(random_state=int(random.integers(2**31)))
    X, y = smote.fit_resample(X[whole], y[whole.to_numpy()])
    return X, y


def invented(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Add rows of one label whose measurements lie anywhere."""
    made = random.standard_normal((N_INVENTED, X.shape[1]))
    made = X.mean().to_numpy() + INVENTED_SD * X.std().to_numpy() * made
    frame = pd.concat([X, pd.DataFrame(made, columns=X.columns)], ignore_index=True)
    return frame, np.append(y, np.ones(N_INVENTED, dtype=np.int64))


def label_again(X: pd.DataFrame, y: np.ndarray, random: Random) -> Rows:
    """Add the label under another name, wrong in one row of 500, unknown in one of 50."""
    again = np.where(random.random(len(y)) < 0.002, 1 - y, y).astype(float)
    again[random.random(len(y)) < 0.02] = np.nan
    return X.assign(safe=1 - again), y


# Each kind of leak: how it is planted, and what it is found as.
LEAKS: dict[str, tuple[Callable[[pd.DataFrame, np.ndarray, Random], Rows], str]] = {
    "missing cells filled by the class's median": (by_class("median"), "imputed_by_class"),
    "missing cells filled by the class's mean": (by_class("mean"), "imputed_by_class"),
    "missing cells filled by the mean of all": (by_mean, "imputed"),
    "a fifth of the rows twice": (copied, "copies"),
    "each row twice, with 0.01 % noise": (copied_with_noise, "near_copies"),
    "SMOTE before the file was written": (oversampled, "oversampled"),
    "300 invented rows of one label": (invented, "invented_rows"),
    "the label under another name": (label_again, "label_in_column"),
}
SIMULATED = {"simulate": water, "skewed": skewed, "wells": sites}


def look(X: pd.DataFrame, y: np.ndarray) -> tuple[Leak, ...]:
    """Look for leaks as the commands do."""
    return find_leaks(X, y, find_copies(X))


def count_found(source: Callable[[int, float, Random], Rows], n_sets: int) -> dict[str, int]:
    """Count in how many tables each kind of leak is found where it was planted."""
    found = dict.fromkeys(LEAKS, 0)
    cells = islice(cycle(product(PLANTED_SIZES, PLANTED_RATES)), n_sets)
    for seed, (n_rows, rate) in enumerate(cells):
        for kind, (plant, code) in LEAKS.items():
            random = np.random.default_rng((seed, n_rows))
            X, y = plant(*source(n_rows, rate, random), random)
            found[kind] += any(leak.code == code for leak in look(X, y))
    return found


def false_alarms(source: Callable[[int, float, Random], Rows], n_sets: int) -> list[Leak]:
    """Give what is found in honest tables, the first of each."""
    found = []
    cells = islice(cycle(product(SIZES, BASE_RATES)), n_sets)
    for seed, (n_rows, rate) in enumerate(cells):
        random = np.random.default_rng((1, seed))
        found += look(*source(n_rows, rate, random))[:1]
    return found


def main() -> None:
    """Study and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the public table; without it the simulated ones alone")
    parser.add_argument("--sets", type=int, default=24, help="tables of each kind and source")
    parser.add_argument("--honest", type=int, default=200, help="honest tables of each source")
    options = parser.parse_args()
    sources = {**({"public": part_of(options.data)} if options.data else {}), **SIMULATED}
    found = {name: count_found(source, options.sets) for name, source in sources.items()}
    print(f"| leak, in {options.sets} tables of each source | {' | '.join(sources)} |")
    print(f"| --- |{' ---: |' * len(sources)}")
    for kind in LEAKS:
        print(f"| {kind} | {' | '.join(str(each[kind]) for each in found.values())} |")
    alarms = {name: false_alarms(source, options.honest) for name, source in sources.items()}
    shown = " | ".join(str(len(each)) for each in alarms.values())
    print(f"| none, in {options.honest} honest tables of each source | {shown} |\n")
    for name, leaks in alarms.items():
        for leak in leaks:
            print(f"- in an honest table of {name}: {leak}")
    X, y = next(iter(sources.values()))(3000, 0.4, np.random.default_rng(0))
    start = time.process_time()
    look(X, y)
    print(f"{time.process_time() - start:.2f} CPU s for {len(X)} rows of {next(iter(sources))}.")


if __name__ == "__main__":
    main()
