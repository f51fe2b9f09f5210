"""How often `waterflow monitor` alarms: where nothing changed, and where something did.

    python benchmarks/bench_alarms.py --data FILE --rows 546

Trains on the first rows of a labelled file (or on simulated samples), draws new ones from those
after them, changes some, and counts the alarms. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from measure import print_check

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.reference import load_reference
from waterflow_cli.monitoring.monitor import monitor_file
from waterflow_cli.monitoring.samples import MonitoringOptions
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training

Change = Callable[[pd.DataFrame], pd.DataFrame]
MOST_FALSE, LEAST_TRUE = 5, 95


def lose_sulfate(table: pd.DataFrame) -> pd.DataFrame:
    """Take the value from so many rows that 20 in 100 more are without."""
    known = table.index[table.Sulfate.notna()]
    lost = known[: min(len(known), round(0.2 * len(table)))]
    return table.assign(Sulfate=table.Sulfate.mask(table.index.isin(lost)))


CHANGES: dict[str, Change] = {
    "none": lambda table: table,
    "pH + 0.5": lambda table: table.assign(ph=(table.ph + 0.5).clip(upper=14)),
    "trihalomethanes / 1000": lambda table: table.assign(
        Trihalomethanes=table.Trihalomethanes / 1000
    ),
    "20 points more sulfate missing": lose_sulfate,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a labelled file; otherwise simulated samples")
    parser.add_argument("--plugin", default="extra-trees")
    parser.add_argument("--trained", type=int, default=1638, help="rows that are trained on")
    parser.add_argument("--rows", type=int, default=546, help="rows of a new file")
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        table = read_table(options.data, folder)
        trained, rest = table[: options.trained], table[options.trained :]
        uri = train(trained, folder, options.plugin)
        print(f"{options.plugin}, trained on {len(trained)} rows; new files of {options.rows}.\n")
        print("| new rows | change | alarms |\n| --- | --- | ---: |")
        counts = {}
        sources = {("others", change): rest for change in CHANGES}
        for (kind, change), rows in {**sources, ("trained on", "none"): trained}.items():
            draws = draw(rows, options.rows, options.resamples, again=rows is trained)
            files = write_files(draws, CHANGES[change], folder)
            found = Parallel(options.jobs)(delayed(alarms)(uri, str(file)) for file in files)
            counts[kind, change] = n_alarms = sum(map(bool, found))
            print(f"| {kind} | {change} | {n_alarms} of {options.resamples} |", flush=True)
    print()
    for (kind, change), n_alarms in counts.items():
        share = 100 * n_alarms / options.resamples
        bound, is_change = (LEAST_TRUE, True) if change != "none" else (MOST_FALSE, False)
        print_check(f"{kind}, {change}: alarms in 100", share, bound, at_least=is_change)


def read_table(path: str | None, folder: Path) -> pd.DataFrame:
    """Read the file that is named, else simulate one."""
    if path is None:
        path = str(folder / "simulated.csv")
        write_simulation(path, 3276)
    return pd.read_csv(path)


def train(table: pd.DataFrame, folder: Path, plugin: str) -> str:
    """Train and register a model; give the store's URI."""
    path, schema = folder / "trained.csv", load_schema()
    table.to_csv(path, index=False)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    data = load_training_data(str(path), schema)
    options = TrainingOptions(cv=parse_cv("5x1"))
    training = Training(data, schema, load_plugin(plugin), options)
    run_training(training, TrackingOptions(uri), lambda _: None)
    return uri


def draw(rows: pd.DataFrame, n_rows: int, n_draws: int, *, again: bool) -> Iterator[pd.DataFrame]:
    """Draw rows at random, with replacement where asked for."""
    random = np.random.default_rng(0)
    for _ in range(n_draws):
        chosen = random.choice(len(rows), n_rows, replace=again)
        yield rows.iloc[chosen].reset_index(drop=True)


def write_files(tables: Iterator[pd.DataFrame], change: Change, folder: Path) -> list[Path]:
    """Write each draw, changed, to a file."""
    files = []
    for number, table in enumerate(tables):
        files.append(folder / f"new-{number}.csv")
        change(table).to_csv(files[-1], index=False)
    return files


def alarms(uri: str, path: str) -> list[str]:
    """Name what alarms in a file."""
    fetched = fetch_model("@champion", name="waterflow", tracking_uri=uri)
    reference = load_reference(fetched.files.payload, label=fetched.label)
    found = monitor_file(fetched.load(), reference, path, MonitoringOptions())
    return [check.key for check in found.alarms]


if __name__ == "__main__":
    main()
