"""How often the gate of `waterflow retrain` is right, and how long a line of retrainings lasts.

    python benchmarks/bench_gate.py --data FILE --rows 546

Draws the rows of a labelled file in random order, trains a champion on the first, and retrains it
with the next ones, once with their labels and once with shuffled ones. With `--months N` each
challenger that passes is the champion of the next month. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace

import numpy as np
from joblib import Parallel, delayed

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.retraining.gate import Beginning, GateResult
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.retraining.retrainer import Champion, Measures, judge, prepare
from waterflow_cli.training.runs.record import Training, TrainingRecord
from waterflow_cli.training.summary import result_summary
from waterflow_cli.training.trainer import TrainingResult, train_model

SCHEMA, PLUGIN = load_schema(), load_plugin("extra-trees")
OPTIONS = TrainingOptions(params={"n_estimators": 30}, cv=parse_cv("3x1"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a labelled file")
    parser.add_argument("--trained", type=int, default=1638, help="rows of the first champion")
    parser.add_argument("--rows", type=int, default=546, help="new rows of a month")
    parser.add_argument("--months", type=int, default=1)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    data = load_training_data(options.data, SCHEMA)
    sizes = (options.trained, options.rows, options.months)
    done = Parallel(options.jobs)(
        delayed(live)(data, seed, *sizes, shuffled=shuffled)
        for shuffled in (False, True)
        for seed in range(options.draws)
    )
    print("| labels | month | passed | refused for | false potable | likely_potable |")
    print("| --- | ---: | ---: | --- | --- | --- |")
    for labels, lives in (("good", done[: options.draws]), ("shuffled", done[options.draws :])):
        for month in range(max(map(len, lives))):
            print(describe(labels, month, [life[month] for life in lives if len(life) > month]))


def live(
    data: TrainingData, seed: int, n_trained: int, n_rows: int, n_months: int, *, shuffled: bool
) -> list[GateResult]:
    """Retrain month by month until the gate refuses."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(data.y))
    recorded = data.take(order[:n_trained])
    champion = enthrone(recorded, train_model(recorded, PLUGIN, OPTIONS), OPTIONS, 1)
    beginning, gates = champion.beginning, []
    for month in range(n_months):
        start = n_trained + month * n_rows
        new = data.take(order[start : start + n_rows])
        if shuffled:
            new = replace(new, y=random.permutation(new.y))
        options = RetrainingOptions(seed=seed)
        prepared = prepare(champion, recorded, new, options)
        result = train_model(prepared.training.data, PLUGIN, prepared.training.options)
        gates.append(judge(prepared, result, options))
        if not gates[-1].passed:
            break
        champion = enthrone(prepared.training.data, result, prepared.training.options, month + 2)
        champion, recorded = replace(champion, beginning=beginning), prepared.training.data
    return gates


def enthrone(
    data: TrainingData, result: TrainingResult, options: TrainingOptions, version: int
) -> Champion:
    """Make a trained model the champion, in no store."""
    measures = Measures.of(result_summary(result))
    beginning = Beginning(version, measures.balanced_accuracy, measures.false_potable_rate)
    model = StoredModel(
        label="", digest="", decision=result.model, schema=SCHEMA, plugin=PLUGIN.name
    )
    record = TrainingRecord.of(Training(data, SCHEMA, PLUGIN, options))
    return Champion(
        uri="",
        name="",
        version=version,
        run_id="",
        experiment="",
        record=record,
        measures=measures,
        beginning=beginning,
        model=model,
    )


def describe(labels: str, month: int, gates: list[GateResult]) -> str:
    """Give a row of the table."""
    failed = Counter(each.name for gate in gates for each in gate.conditions if not each.passed)
    cells = [labels, month + 1, f"{sum(gate.passed for gate in gates)} of {len(gates)}"]
    cells.append(", ".join(f"{name} {n}" for name, n in failed.most_common()))
    for name in ("false_potable_rate", "false_likely_potable_rate"):
        found = [gate.figures[name] for gate in gates]
        pairs = [(each.champion.value, each.challenger.value) for each in found]
        cells.append(" → ".join(f"{value:.1%}" for value in np.mean(pairs, axis=0)))
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
