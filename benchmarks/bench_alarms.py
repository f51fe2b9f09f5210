"""How often `waterflow monitor` alarms: where nothing changed, and where something did.

    python benchmarks/bench_alarms.py --data FILE --draws 100

Trains models on rows of three sources (simulated water; the rows of a labelled file; skewed, tied
and correlated values), holds new rows of the same source against each, as they are and changed, and
counts the alarms. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from measure import print_check
from scipy import stats

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.reference import Reference
from waterflow_cli.monitoring import monitor
from waterflow_cli.monitoring.drift import Outcome
from waterflow_cli.monitoring.samples import MonitoringOptions
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.summary import build_reference
from waterflow_cli.training.trainer import train_model

Draw = Callable[[int, int], pd.DataFrame]
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
SCHEMA, PLUGIN = load_schema(), load_plugin("hgb")
OPTIONS = TrainingOptions(params={"max_iter": 20}, cv=parse_cv("3x1"))
N_TRAINED, DRAWS_PER_MODEL = 1638, 10
MOST_FALSE, LEAST_OF_FORMER, LEAST_OF_NEW = 5, 95, 90
SAME, LEAST_WITHOUT_JOINT = "none", 1000
# Of the level's shift in the public table and in simulated water: 0.5 of a pH that varies by 1.5.
SHIFT_SD, STRETCH, CORRELATION = 1 / 3, 1.5, 0.6


class Case(NamedTuple):
    """A change that is tried on files of some size."""

    change: str
    n_rows: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a labelled file")
    parser.add_argument("--draws", type=int, default=100, help="of each source and case")
    parser.add_argument("--first", type=int, default=0, help="seed of the first model")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--change", choices=list(CHANGES), action="append", help="only these")
    options = parser.parse_args()
    cases = [each for each in CASES if each.change in (options.change or CHANGES)]
    n_models = -(-options.draws // DRAWS_PER_MODEL)
    print("| rows from | change | rows | alarms | standard error | of these, what most often |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    shares = {}
    for source in SOURCES:
        found = Parallel(options.jobs)(
            delayed(watch)(source, options.data, seed, cases)
            for seed in range(options.first, options.first + n_models)
        )
        for case in cases:
            alarms = [each for model in found for each in model[case]]
            share = shares[source, case] = np.mean([bool(each) for each in alarms])
            error = np.sqrt(share * (1 - share) / len(alarms))
            named = Counter(name for each in alarms for name in set(each)).most_common(2)
            print(
                f"| {source} | {case.change} | {case.n_rows:,} "
                f"| {sum(map(bool, alarms))} of {len(alarms)} | {100 * error:.1f} "
                f"| {', '.join(f'{name} {n}' for name, n in named)} |",
                flush=True,
            )
    print()
    for (source, case), share in shares.items():
        is_change = case.change != SAME
        bound = LEAST_OF_NEW if case.change in NEW else LEAST_OF_FORMER
        claim = f"{source}, {case.change}, {case.n_rows} rows: alarms in 100"
        print_check(claim, 100 * share, bound if is_change else MOST_FALSE, at_least=is_change)


def watch(source: str, data: str, seed: int, cases: Sequence[Case]) -> dict[Case, list[list[str]]]:
    """Train a model, and name what alarms in each of some files of each case."""
    old, draw_new = SOURCES[source](data, seed)
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as folder:
        path = Path(folder) / "table.csv"
        old.to_csv(path, index=False)
        model, reference = train(str(path))
        found: dict[Case, list[list[str]]] = {case: [] for case in cases}
        for number in range(DRAWS_PER_MODEL):
            for case in cases:
                new = draw_new(case.n_rows, number)
                changed = CHANGES[case.change](new, np.random.default_rng([seed, number]))
                changed.to_csv(path, index=False)
                with joint_test_of(case):
                    checked = monitor.monitor_file(model, reference, str(path), MonitoringOptions())
                found[case].append([check.key for check in checked.alarms])
    return found


def joint_test_of(case: Case) -> AbstractContextManager[Any]:
    """Leave the classifier out where it says nothing: it is three quarters of the cost.

    Where something changed, Holm's method with a p value of 1 in its place can give fewer alarms
    only; of many rows that did not change its ROC AUC lies far below the limit.
    """
    if case.change == SAME and case.n_rows < LEAST_WITHOUT_JOINT:
        return nullcontext()
    return patch.object(monitor, "classify_samples", return_value=Outcome(0.0, 1.0))


def train(path: str) -> tuple[StoredModel, Reference]:
    """Train a model in no store."""
    data = load_training_data(path, SCHEMA)
    result = train_model(data, PLUGIN, OPTIONS)
    model = StoredModel(
        label="", digest="", decision=result.model, schema=SCHEMA, plugin=PLUGIN.name
    )
    return model, build_reference(data, result)


# --- where rows come from ------------------------------------------------------------------------


def simulated(_: str, seed: int) -> tuple[pd.DataFrame, Draw]:
    """Simulate the rows that are trained on, and new ones."""

    def draw(n_rows: int, number: int) -> pd.DataFrame:
        with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as folder:
            path = Path(folder) / "simulated.csv"
            write_simulation(str(path), n_rows, seed=1000 * (seed + 1) + number)
            return pd.read_csv(path)

    return draw(N_TRAINED, 999), draw


def resampled(data: str, seed: int) -> tuple[pd.DataFrame, Draw]:
    """Train on one half of a file, drawn at random; new rows are drawn from the other half.

    They are drawn without replacement where there are enough.
    """
    table = pd.read_csv(data)
    order = np.random.default_rng(seed).permutation(len(table))
    old, rest = (table.iloc[rows] for rows in (order[:N_TRAINED], order[N_TRAINED:]))

    def draw(n_rows: int, number: int) -> pd.DataFrame:
        drawn = rest.sample(n_rows, replace=n_rows > len(rest), random_state=number)
        return drawn.reset_index(drop=True)

    return old, draw


def skewed(_: str, seed: int) -> tuple[pd.DataFrame, Draw]:
    """Draw log-normal values that hang together, rounded so that many are equal.

    Sulfate follows Hardness through its spread alone: they depend on each other, uncorrelated.
    """
    names = list(SCHEMA.measurements)

    def draw(n_rows: int, number: int) -> pd.DataFrame:
        random = np.random.default_rng([seed, number])
        normal = random.normal(size=(n_rows, len(names)))
        normal[:, 1:4] = 0.7 * normal[:, [0]] + np.sqrt(1 - 0.7**2) * normal[:, 1:4]
        normal[:, 4] *= 0.4 + np.abs(normal[:, 1])
        values = np.round(np.exp(1 + 0.6 * np.clip(normal, -2.5, 2.5)), 1)
        table = pd.DataFrame(values, columns=names)
        table[SCHEMA.label] = (random.normal(size=n_rows) < normal[:, 0]).astype(int)
        table["ph"] = table.ph.clip(upper=14)
        lost = random.random((n_rows, 3)) < 0.15
        table[["ph", "Sulfate", "Trihalomethanes"]] = table[
            ["ph", "Sulfate", "Trihalomethanes"]
        ].mask(lost)
        return table

    return draw(N_TRAINED, 999), draw


SOURCES = {"simulated water": simulated, "the public table": resampled, "skewed, tied": skewed}


# --- what becomes of them ------------------------------------------------------------------------


def shift(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Raise pH by a third of its standard deviation."""
    return table.assign(ph=(table.ph + SHIFT_SD * table.ph.std()).clip(upper=14))


def change_unit(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Give trihalomethanes in mg/L."""
    return table.assign(Trihalomethanes=table.Trihalomethanes / 1000)


def lose(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Take the value from so many rows that 20 in 100 more are without."""
    known = table.index[table.Sulfate.notna()]
    lost = known[: min(len(known), round(0.2 * len(table)))]
    return table.assign(Sulfate=table.Sulfate.mask(table.index.isin(lost)))


def stretch(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Move each pH away from the mean to one and a half times its distance."""
    mean = table.ph.mean()
    return table.assign(ph=(mean + STRETCH * (table.ph - mean)).clip(0, 14))


def correlate(table: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Give the values of turbidity to other rows, so that it follows chloramines."""
    known = stats.rankdata(table.Chloramines) / (len(table) + 1)
    wanted = CORRELATION * stats.norm.ppf(known)
    wanted += np.sqrt(1 - CORRELATION**2) * random.normal(size=len(table))
    ranks = np.argsort(np.argsort(wanted))
    return table.assign(Turbidity=np.sort(table.Turbidity)[ranks])


CHANGES: dict[str, Change] = {
    SAME: lambda table, _: table,
    "pH a third of its standard deviation higher": shift,
    "trihalomethanes / 1000": change_unit,
    "20 points more sulfate missing": lose,
    "standard deviation of pH times 1.5": stretch,
    "a new correlation of 0.6": correlate,
}
NEW = list(CHANGES)[-2:]
CASES = [
    *(Case(SAME, n_rows) for n_rows in (50, 200, 1000, 20_000)),
    *(Case(change, 546) for change in list(CHANGES)[1:-2]),
    Case(NEW[0], 200),
    *(Case(change, 1000) for change in NEW),
]


if __name__ == "__main__":
    main()
