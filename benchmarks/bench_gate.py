"""How often the gate of `waterflow retrain` is right, and what a line of retrainings ends with.

    python benchmarks/bench_gate.py power      # how often passes who is worse, equal, better?
    python benchmarks/bench_gate.py lives      # ten months of equal learners
    python benchmarks/bench_gate.py trained    # both with forests that are trained
    python benchmarks/bench_gate.py labels --data FILE

In the first two a model is the score that it gives: normal in each class, with a stated ROC AUC and
a stated correlation with what any other model says of the same row, so that what it truly does is
known without a row. `trained` retrains forests on simulated samples, which are as good as they have
trees, and asks a large fresh sample what they are worth. `labels` retrains on parts of a file, with
its labels and with shuffled ones. A month brings 546 rows of which 273 judge, after 1638 for the
first champion. Prints Markdown tables; the standard error is behind each figure.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from bench_honesty import FRESH_SEED, print_table, simulate
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models import metrics
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.thresholds import lowest_within, parse_threshold, tune_threshold
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.options import DEFAULT_RULE, TrainingOptions, parse_cv
from waterflow_cli.training.paired_auc import compare_auc
from waterflow_cli.training.retraining.gate import (
    Beginning,
    Calls,
    GateResult,
    KnownRows,
    judge_challenger,
    weigh_evidence,
)
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.retraining.retrainer import (
    Champion,
    Measures,
    Preparation,
    judge,
    prepare,
)
from waterflow_cli.training.runs.record import Training, TrainingRecord
from waterflow_cli.training.summary import build_reference, result_summary
from waterflow_cli.training.trainer import TrainingResult, train_model

N_FIRST, N_MONTH, N_MONTHS = 1638, 546, 10
LIKELY_RATE = 0.05
# ROC AUC, base rate, and correlation of two models in a class.
WORLDS = ((0.65, 0.39, 0.5), (0.75, 0.39, 0.5), (0.75, 0.1, 0.5), (0.9, 0.39, 0.7))
DIFFERENCES, REQUIRED = (-0.06, -0.03, -0.015, 0.0, 0.02, 0.04), (-0.03, 0.0, 0.04)
# By the best AUC of simulated samples: trees of a champion and of its challenger.
FORESTS = {
    0.75: {"worse": (30, 9), "equal": (30, 30), "better": (8, 30)},
    0.9: {"worse": (30, 13), "equal": (30, 30), "better": (11, 30)},
}
SCHEMA, PLUGIN = load_schema(), load_plugin("extra-trees")


class World(NamedTuple):
    """Rows, and models that are nothing but what they say of them."""

    auc: float
    base_rate: float
    correlation: float

    def draw(self, random: np.random.Generator, n_rows: int) -> tuple[IntArray, FloatArray]:
        """Draw labels, and what all models see alike."""
        y = (random.random(n_rows) < self.base_rate).astype(np.int64)
        return y, np.sqrt(self.correlation) * random.normal(size=n_rows)

    def score(
        self, random: np.random.Generator, y: IntArray, seen: FloatArray, better: float = 0.0
    ) -> FloatArray:
        """Let a model judge rows, whose ROC AUC differs by so much."""
        noise = np.sqrt(1 - self.correlation) * random.normal(size=len(y))
        return np.asarray(expit(separation(self.auc + better) * y + seen + noise))


class Drawn(NamedTuple):
    """A model of a world: what its training said unseen, and where it calls."""

    better: float
    unseen: FloatArray
    threshold: float
    likely_from: float

    def calls(self, probability: FloatArray) -> Calls:
        """Call rows by what it says of them."""
        return Calls(probability, self.threshold, probability >= self.likely_from)

    def truth(self, world: World) -> tuple[float, float, float]:
        """Give the balanced accuracy, the recall of potable and the rate of false "potable"."""
        cut, apart = (
            np.log(self.threshold / (1 - self.threshold)),
            separation(world.auc + self.better),
        )
        recall, false = float(norm.sf(cut - apart)), float(norm.sf(cut))
        return (recall + 1 - false) / 2, recall, false


def separation(auc: float) -> float:
    """Give the distance of two normal classes, in standard deviations."""
    return float(np.sqrt(2) * norm.ppf(auc))


class Life:
    """A champion of drawn scores, and all who came before it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.random = np.random.default_rng(seed)
        self.rows = world.draw(self.random, N_FIRST)
        unseen = world.score(self.random, *self.rows)
        y = self.rows[0]
        threshold = tune_threshold(DEFAULT_RULE, y, unseen)
        self.champion = Drawn(0.0, unseen, threshold, lowest_within(LIKELY_RATE, y, unseen))
        rate = float((unseen[y == 0] >= threshold).mean())
        self.beginning = Beginning(1, *measured(y, self.champion), rate, LIKELY_RATE)

    def retrain(self, better: float = 0.0) -> GateResult:
        """Let a challenger try, with its difference to the first champion."""
        world, random, champion = self.world, self.random, self.champion
        learned, judging = (world.draw(random, N_MONTH // 2) for _ in "12")
        rows = tuple(np.concatenate(pair) for pair in zip(self.rows, learned, strict=True))
        y, n_known = rows[0], len(self.rows[0])
        unseen = world.score(random, *rows, better)
        rule = parse_threshold(f"fpr:{self.beginning.false_potable_rate}")
        cuts = tune_threshold(rule, y, unseen), lowest_within(LIKELY_RATE, y, unseen)
        challenger = Drawn(better, unseen, *cuts)
        before, now = (
            world.score(random, *judging, each.better) for each in (champion, challenger)
        )
        on_learned = world.score(random, *learned, champion.better)
        new = (np.concatenate(pair) for pair in ((judging[0], learned[0]), (before, on_learned)))
        gate = judge_challenger(
            judging[0],
            champion.calls(before),
            challenger.calls(now),
            recorded=quick_estimate(self.rows[0], champion.unseen),
            on_new=quick_estimate(*new),
            beginning=self.beginning,
            trained=measured(y, challenger),
            known=KnownRows(self.rows[0], champion.unseen, unseen[:n_known]),
        )
        if gate.passed:
            self.rows, self.champion = rows, challenger
        return gate


def quick_estimate(y: IntArray, probability: FloatArray) -> Estimate:
    """Estimate a ROC AUC without resampling: by how much it lies above that of a constant."""
    gain, error = compare_auc(y, np.zeros(len(y)), probability)
    return Estimate(0.5 + gain, 0.5 + gain - 1.96 * error, 0.5 + gain + 1.96 * error)


def measured(y: IntArray, model: Drawn) -> tuple[float, float]:
    """Give the ROC AUC and the balanced accuracy that a training would report."""
    called = model.unseen >= model.threshold
    accuracy = (called[y == 1].mean() + 1 - called[y == 0].mean()) / 2
    return float(roc_auc_score(y, model.unseen)), float(accuracy)


def study_power(n_draws: int) -> Iterable[dict[str, object]]:
    """Count who passes, by how much it differs: the gate, and its comparison of ROC AUC alone."""
    for world in map(World._make, WORLDS):
        for name, count in (("273 new", n_draws * 10), ("both", n_draws * 10), ("gate", n_draws)):
            cells = {f"{better:+.3f}": "" for better in DIFFERENCES}
            for better in DIFFERENCES if name != "gate" else REQUIRED:
                if name == "gate":
                    passed = [Life(world, seed).retrain(better).passed for seed in range(count)]
                else:
                    alone = name != "both"
                    passed = [is_as_good(world, seed, better, alone) for seed in range(count)]
                cells[f"{better:+.3f}"] = share(passed)
            yield describe_world(world) | {"asked": name, "draws": count} | cells


def is_as_good(world: World, seed: int, better: float, alone: bool) -> bool:
    """Ask the gate's comparison of ROC AUC, by the judging rows alone or by the known ones too."""
    random = np.random.default_rng(seed)
    judging, known = (world.draw(random, n_rows) for n_rows in (N_MONTH // 2, N_FIRST))
    said = [[world.score(random, *rows, d) for d in (0.0, better)] for rows in (judging, known)]
    evidence = None if alone else KnownRows(known[0], *said[1])
    found, _ = weigh_evidence(compare_auc(judging[0], *said[0]), evidence)
    return found.low >= -RetrainingOptions.margin


def study_lives(n_lives: int) -> Iterable[dict[str, object]]:
    """Compare the last champion with the first."""
    for world in map(World._make, WORLDS):
        changes, passed = [], []
        for seed in range(n_lives):
            life = Life(world, seed)
            first = life.champion.truth(world)
            passed += [life.retrain().passed for _ in range(N_MONTHS)]
            changes.append(np.subtract(life.champion.truth(world), first))
        yield describe_world(world) | describe_life(changes, passed)


def describe_world(world: World) -> dict[str, object]:
    """Name a world in a row of a table."""
    return {"AUC": world.auc, "potable": world.base_rate, "correlation": world.correlation}


def describe_life(changes: Sequence[FloatArray], passed: Sequence[bool]) -> dict[str, object]:
    """Put what lives came to into a row."""
    names = ("balanced accuracy", "recall of potable", 'false "potable"')
    found = dict(zip(names, map(average, np.transpose(changes)), strict=True))
    return {"lives": len(changes), **found, "passed": share(passed)}


def average(values: Sequence[float], form: str = "+.4f") -> str:
    """Write a mean with its standard error."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def share(passed: Sequence[bool]) -> str:
    """Write a share with its standard error."""
    found = float(np.mean(passed))
    return f"{found:.1%} ± {np.sqrt(found * (1 - found) / len(passed)):.1%}"


@dataclass
class TrainedLife:
    """A champion that was trained, in no store."""

    data: TrainingData
    options: TrainingOptions

    def __post_init__(self) -> None:
        result = train_model(self.data, PLUGIN, self.options)
        self.champion = enthrone(self.data, result, self.options, 1)

    def retrain(self, new: TrainingData, seed: int, n_trees: int | None = None) -> GateResult:
        """Train a challenger, of so many trees, and put it in use where it passes."""
        options = RetrainingOptions(seed=seed)
        prepared = prepare(self.champion, self.data, new, options)
        if n_trees is not None:
            prepared = with_trees(prepared, n_trees)
        training = prepared.training
        self.challenger = train_model(training.data, PLUGIN, training.options)
        gate = judge(prepared, self.challenger, options)
        if gate.passed:
            began = self.champion.beginning
            self.data, version = training.data, self.champion.version + 1
            champion = enthrone(self.data, self.challenger, training.options, version)
            self.champion = replace(champion, beginning=began)
        return gate

    def truth(self, fresh: TrainingData) -> tuple[float, float, float]:
        """Give the balanced accuracy, the recall of potable and the rate of false "potable"."""
        called = self.champion.judge(fresh).potable
        recall, false = float(called[fresh.y == 1].mean()), float(called[fresh.y == 0].mean())
        return (recall + 1 - false) / 2, recall, false


def enthrone(
    data: TrainingData, result: TrainingResult, options: TrainingOptions, version: int
) -> Champion:
    """Make a trained model the champion."""
    measures = Measures.of(result_summary(result))
    model = StoredModel(
        label="", digest="", decision=result.model, schema=SCHEMA, plugin=PLUGIN.name
    )
    return Champion(
        uri="",
        name="",
        version=version,
        run_id="",
        experiment="",
        record=TrainingRecord.of(Training(data, SCHEMA, PLUGIN, options)),
        measures=measures,
        beginning=measures.as_beginning(version),
        model=model,
        reference=build_reference(data, result),
    )


def with_trees(prepared: Preparation, n_trees: int) -> Preparation:
    """Let a challenger be trained with so many trees."""
    training = prepared.training
    options = replace(training.options, params={"n_estimators": n_trees})
    return replace(prepared, training=replace(training, options=options))


def options_of(n_trees: int) -> TrainingOptions:
    """Train quickly, but as `train` does."""
    return TrainingOptions(params={"n_estimators": n_trees}, cv=parse_cv("3x1"), balance="none")


def study_trained(n_lives: int) -> Iterable[dict[str, object]]:
    """Retrain forests of as many trees, of fewer and of more, and lines of equal ones."""
    for signal, pairs in FORESTS.items():
        fresh = simulate(20_000, FRESH_SEED, signal)
        for name, (before, after) in pairs.items():
            passed, gains = [], []
            for seed in range(n_lives):
                data = simulate(N_FIRST + N_MONTH, seed, signal)
                life = TrainedLife(data.take(np.arange(N_FIRST)), options_of(before))
                old = life.champion.judge(fresh).probability
                new = data.take(np.arange(N_FIRST, len(data.y)))
                passed.append(life.retrain(new, seed, after).passed)
                now = life.challenger.model.probability(fresh.X)
                gains.append(roc_auc_score(fresh.y, now) - roc_auc_score(fresh.y, old))
            row = {"best AUC": signal, "challenger": name, "retrainings": n_lives}
            yield row | {"true difference": average(gains), "passed": share(passed)}


def study_trained_lives(n_lives: int, signal: float) -> dict[str, object]:
    """Let forests follow one another for ten months."""
    fresh = simulate(20_000, FRESH_SEED, signal)
    changes, passed = [], []
    for seed in range(n_lives):
        data = simulate(N_FIRST + N_MONTHS * N_MONTH, seed, signal)
        life = TrainedLife(data.take(np.arange(N_FIRST)), options_of(30))
        first = life.truth(fresh)
        for month in range(N_MONTHS):
            start = N_FIRST + month * N_MONTH
            new = data.take(np.arange(start, start + N_MONTH))
            passed.append(life.retrain(new, seed).passed)
        changes.append(np.subtract(life.truth(fresh), first))
        print(seed, np.round(changes[-1], 4), sum(passed[-N_MONTHS:]), flush=True)
    return {"best AUC": signal} | describe_life(changes, passed)


def study_labels(path: str, n_draws: int) -> Iterable[dict[str, object]]:
    """Retrain on parts of a file, with its labels and with shuffled ones."""
    data = load_training_data(path, SCHEMA)
    for labels in ("good", "shuffled"):
        gates = []
        for seed in range(n_draws):
            random = np.random.default_rng(seed)
            rows = data.take(random.permutation(len(data.y))[: N_FIRST + N_MONTH])
            new = rows.take(np.arange(N_FIRST, N_FIRST + N_MONTH))
            if labels == "shuffled":
                new = replace(new, y=random.permutation(new.y))
            life = TrainedLife(rows.take(np.arange(N_FIRST)), options_of(30))
            gates.append(life.retrain(new, seed))
        failed = Counter(each.name for gate in gates for each in gate.conditions if not each.passed)
        yield {
            "labels": labels,
            "passed": share([gate.passed for gate in gates]),
            "refused for": ", ".join(f"{name} {n}" for name, n in failed.most_common()),
        }


def main() -> None:
    """Study and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("power", "lives", "trained", "trained-lives", "labels"))
    parser.add_argument("--draws", type=int, default=200, help="retrainings, or lives, of a kind")
    parser.add_argument("--data", help="a labelled file")
    parser.add_argument("--signal", type=float, default=0.9, help="best AUC of trained lives")
    options = parser.parse_args()
    metrics.N_RESAMPLES = 200  # of each of some thousand gates
    if options.study == "power":
        rows = list(study_power(options.draws))
    elif options.study == "lives":
        rows = list(study_lives(options.draws))
    elif options.study == "trained":
        rows = list(study_trained(options.draws))
    elif options.study == "trained-lives":
        rows = [study_trained_lives(options.draws, options.signal)]
    else:
        rows = list(study_labels(options.data, options.draws))
    print_table(rows)


if __name__ == "__main__":
    main()
