"""Compare procedures on the same folds, each difference with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import UsageError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, counted, marked, tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.contract import BALANCES, Balance
from waterflow_cli.models.discovery import LoadedPlugin, parse_params
from waterflow_cli.models.metrics import LEVEL
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import Design, corrected_interval, describe_design, score_folds
from waterflow_cli.training.judging import INTERVAL
from waterflow_cli.training.learners import make_learner, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.summary import fold_summary
from waterflow_cli.training.trainer import measure

# What candidates are compared by; the first ranks them.
COMPARED = ("roc_auc", "balanced_accuracy")
BEST = marked("best")
NO_EVIDENCE = marked("no evidence of a difference")


class Procedure(NamedTuple):
    """What is measured: a plugin, and how it is trained."""

    plugin: LoadedPlugin
    options: TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A measured procedure.

    Attributes
    ----------
    name : str
        For people; no two of a board are equal.
    origin : mapping of str to object
        Where its figures come from: plugin, balance and seed, and its parameters or its run.
    estimates : mapping of str to Estimate
        By metric; see `waterflow_cli.models.metrics.METRICS`.
    folds : sequence of mapping
        Metrics by tested fold; see `waterflow_cli.training.summary.fold_summary`.
    effects : mapping of str to ndarray
        By metric: by how much each tested row moves it; none of a run that kept none.
    """

    name: str
    origin: Mapping[str, Any]
    estimates: Mapping[str, Estimate]
    folds: Sequence[Mapping[str, Any]]
    effects: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two figures, and how probable one as large is where there is none."""

    p_value: float


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Candidates that were measured on the same folds of the same rows, the best first.

    How the rows were split is told by the identifier and the digest of a `Design`.
    """

    candidates: Sequence[Candidate]
    design: str
    design_sha256: str
    data_sha256: str
    n_fits: int = 0

    @property
    def n_rows(self) -> int:
        """How many rows were tested, in each repeat."""
        return sum(fold["rows"] for fold in self.candidates[0].folds if fold["repeat"] == 0)

    @property
    def title(self) -> Message:
        """How it was measured."""
        return Message(
            "{design}, {n_tested} rows: mean and 95 % interval",
            design=describe_design(self.design),
            n_tested=self.n_rows,
        )

    def behind(self, candidate: Candidate, metric: str = COMPARED[0]) -> Difference:
        """Subtract the best candidate's metric from another's."""
        return paired_difference(self.candidates[0], candidate, metric)

    def verdict(self, candidate: Candidate) -> str:
        """Say in words how a candidate compares with the best one."""
        best = self.candidates[0]
        if candidate is best:
            return BEST
        return next(
            verdict
            for first, second, _, verdict in self.compare_pairs(COMPARED[0])
            if first is best and second is candidate
        )

    def compare_pairs(self, metric: str) -> list[tuple[Candidate, Candidate, Difference, str]]:
        """Subtract the first from the second of each pair, and say in words what that shows.

        Of all pairs of the board, at least one that does not differ is called different in at
        most 5 of 100 boards (Holm 1979, "A simple sequentially rejective multiple test
        procedure").
        """
        pairs = list(combinations(self.candidates, 2))
        found = [paired_difference(*pair, metric) for pair in pairs]
        shown = reject_by_holm([each.p_value for each in found])
        return [
            (*pair, each, judge_difference(each) if each_shown else _unshown(each))
            for pair, each, each_shown in zip(pairs, found, shown, strict=True)
        ]

    def summary(self) -> dict[str, Any]:
        """Put the board into a JSON object."""
        return {
            "data_sha256": self.data_sha256,
            "design": {
                "name": self.design,
                "text": describe_design(self.design),
                "sha256": self.design_sha256,
            },
            "rows": self.n_rows,
            "fits": self.n_fits,
            "interval": INTERVAL,
            "candidates": [
                {
                    "name": each.name,
                    **each.origin,
                    "verdict": self.verdict(each),
                    "minus_best": {name: asdict(self.behind(each, name)) for name in COMPARED},
                    "estimates": {name: asdict(found) for name, found in each.estimates.items()},
                    "folds": list(each.folds),
                }
                for each in self.candidates
            ],
            "pairs": self._pairs_summary(),
        }

    def _pairs_summary(self) -> list[dict[str, Any]]:
        by_metric = [self.compare_pairs(name) for name in COMPARED]
        return [
            {
                "first": same[0][0].name,
                "second": same[0][1].name,
                "second_minus_first": {
                    name: {**asdict(difference), "verdict": verdict}
                    for name, (_, _, difference, verdict) in zip(COMPARED, same, strict=True)
                },
            }
            for same in zip(*by_metric, strict=True)
        ]


def paired_difference(first: Candidate, second: Candidate, metric: str) -> Difference:
    """Subtract the first candidate's metric from the second's, row by row.

    Notes
    -----
    The variance of the difference of two ROC AUCs is DeLong's, DeLong's and Clarke-Pearson's
    (1988), enlarged by a fold's share of tested to trained rows for the models' being of other
    rows next time (after Nadeau and Bengio 2003): by less, equally good candidates were called
    different in up to 8 of 100 comparisons, and by the folds alone 0.06 of ROC AUC was found in
    21 of 100 at 300 rows, so in 70 (benchmarks/bench_intervals.py). Where a run kept no effects of
    its rows, the difference is that of the folds; see `corrected_interval`.
    """
    share = float(np.mean([fold["rows"] / fold["rows_trained"] for fold in first.folds]))
    if metric not in first.effects or metric not in second.effects:
        return _difference_of_folds(first, second, metric, share)
    value = second.estimates[metric].value - first.estimates[metric].value
    effects = second.effects[metric] - first.effects[metric]
    error = float(np.sqrt((1 + share) * (effects @ effects)))
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    p_value = float(2 * stats.norm.sf(abs(value) / error)) if error else 1.0
    return Difference(value, value - reach, value + reach, p_value)


def _difference_of_folds(
    first: Candidate, second: Candidate, metric: str, share: float
) -> Difference:
    differences = [
        theirs[metric] - ours[metric]
        for ours, theirs in zip(first.folds, second.folds, strict=True)
    ]
    n_repeats = 1 + max(fold["repeat"] for fold in first.folds)
    found = corrected_interval(np.array(differences, dtype=np.float64), share, n_repeats=n_repeats)
    freedom = len(differences) / n_repeats - 1
    if not found.high > found.value:
        return Difference(**asdict(found), p_value=1.0)
    ratio = stats.t.ppf((1 + LEVEL) / 2, freedom) * found.value / (found.high - found.value)
    return Difference(**asdict(found), p_value=float(2 * stats.t.sf(abs(ratio), freedom)))


def reject_by_holm(p_values: Sequence[float]) -> list[bool]:
    """Say which hypotheses are rejected, so that any true one is in at most 5 of 100 cases.

    >>> reject_by_holm([0.04, 0.01, 0.02])
    [True, True, True]
    >>> reject_by_holm([0.04, 0.02])
    [True, True]
    >>> reject_by_holm([0.04, 0.03])
    [False, False]
    """
    order = np.argsort(p_values, kind="stable")
    limits = (1 - LEVEL) / np.arange(len(order), 0, -1)
    kept = np.logical_and.accumulate(np.array(p_values)[order] <= limits)
    rejected = np.empty(len(order), dtype=bool)
    rejected[order] = kept
    return rejected.tolist()


def judge_difference(difference: Estimate) -> str:
    """Say in words what a difference and its interval show.

    >>> judge_difference(Estimate(-0.02, -0.05, 0.01))
    'no evidence of a difference'
    >>> judge_difference(Estimate(-0.04, -0.06, -0.02))
    'worse'
    """
    low, high = difference.low, difference.high
    if np.isnan(low):
        return marked("unknown: one fold shows no interval")
    if low == high == 0:
        return marked("no difference")
    if low <= 0 <= high:
        return NO_EVIDENCE
    return marked("better") if low > 0 else marked("worse")


def rank_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Put the candidate with the highest ROC AUC first."""
    return sorted(candidates, key=lambda each: -each.estimates[COMPARED[0]].value)


def plan_procedures(
    plugins: Sequence[LoadedPlugin],
    balances: Sequence[Balance],
    seeds: Sequence[int],
    assignments: Sequence[str],
    common: TrainingOptions,
) -> list[Procedure]:
    """Combine each plugin with each way to balance and each seed.

    Each of the assignments, ``NAME=VALUE``, is for the plugins that have a parameter of that name;
    one that none has is refused, and so is one procedure alone.
    """
    defaults = []
    for plugin in plugins:
        with plugin.guarded(Message("list its parameters")):
            defaults.append(dict(plugin.model.default_params()))
    given = parse_params(assignments, {name: None for known in defaults for name in known})
    procedures = []
    of_plugins = zip(plugins, defaults, strict=True)
    for (plugin, known), balance, seed in product(of_plugins, balances, seeds):
        params = {name: value for name, value in given.items() if name in known}
        options = replace(common, balance=balance, seed=seed, params=params)
        procedures.append(Procedure(plugin, options))
    if len(procedures) < 2:
        raise UsageError(
            "--plugin {plugin}: one candidate cannot be compared.",
            tr("Name several, with commas: --plugin rf,hgb, --balance smote,none or --seed 0,1"),
            plugin=plugins[0].name,
        )
    return procedures


def compare_procedures(
    data: TrainingData,
    procedures: Sequence[Procedure],
    design: Design,
    *,
    report: Callable[[str], None] = lambda _step: None,
) -> Leaderboard:
    """Measure procedures on the same folds, each as `train_model` would, with its errors."""
    n_fits = design.n_fits * len(procedures)
    report(
        Message(
            "Measuring {candidates} by {design}; {n_fits} fits",
            candidates=counted("{n} candidate", "{n} candidates", len(procedures)),
            design=describe_design(design.name),
            n_fits=n_fits,
        )
    )
    candidates = []
    names = _name_procedures(procedures)
    for number, (name, procedure) in enumerate(zip(names, procedures, strict=True), 1):
        report(
            Message(
                "{number} of {n_procedures}: {name}",
                number=number,
                n_procedures=len(procedures),
                name=name,
            )
        )
        candidates.append(_measure_candidate(name, procedure, data, design))
    return Leaderboard(
        candidates=rank_candidates(candidates),
        design=design.name,
        design_sha256=design.digest,
        data_sha256=data.sha256,
        n_fits=n_fits,
    )


def split_list(option: str, text: str) -> list[str]:
    """Read the value of an option that takes a list with commas; nothing in between is refused.

    >>> split_list("--plugin", "rf, hgb")
    ['rf', 'hgb']
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(
            "{option} {text}: names with commas between them are expected.",
            option=option,
            text=text,
        )
    return names


def parse_balances(text: str) -> list[Balance]:
    """Read the value of ``--balance``; a way that there is not is refused."""
    known: dict[str, Balance] = {name: name for name in BALANCES}
    names = split_list("--balance", text)
    for name in names:
        if name not in known:
            raise UsageError(
                tr("--balance {text}: there is no '{name}'.", text=text, name=name)
                + did_you_mean(name, known),
                tr("Known: {known}", known=shorten(known)),
            )
    return [known[name] for name in names]


def parse_seeds(text: str) -> list[int]:
    """Read the value of ``--seed``; what is no whole number from 0 on is refused.

    >>> parse_seeds("0,7")
    [0, 7]
    """
    seeds = split_list("--seed", text)
    if not all(seed.isdecimal() for seed in seeds):
        raise UsageError("--seed {text}: whole numbers from 0 on are expected.", text=text)
    return [int(seed) for seed in seeds]


def number_repeats(names: Sequence[str]) -> list[str]:
    """Make names differ.

    >>> number_repeats(["rf", "svm", "rf"])
    ['rf', 'svm', 'rf (2)']
    """
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _name_procedures(procedures: Sequence[Procedure]) -> list[str]:
    """Name each by plugin and balancing, and by the seed where there are several."""
    several = len({procedure.options.seed for procedure in procedures}) > 1
    return number_repeats(
        [
            f"{plugin.name}, {options.balance}" + (f", seed {options.seed}" if several else "")
            for plugin, options in procedures
        ]
    )


def _measure_candidate(
    name: str, procedure: Procedure, data: TrainingData, design: Design
) -> Candidate:
    plugin, options = procedure
    with single_threaded_fits(), plugin.guarded(Message("train")):
        scores = score_folds(design, make_learner(plugin, data, options), jobs=options.jobs)
    # No final model is trained, so there is no threshold but those of the folds.
    measured = measure(scores, data, np.nan, options)
    origin = {
        "plugin": plugin.name,
        "balance": options.balance,
        "seed": options.seed,
        "params": dict(options.params),
    }
    return Candidate(
        name=name,
        origin=origin,
        estimates=measured.evaluation.estimates,
        folds=fold_summary(measured),
        effects=measured.effects,
    )


def _unshown(difference: Estimate) -> str:
    """Say what a difference shows that is not sure enough among all that were judged."""
    found = judge_difference(difference)
    return NO_EVIDENCE if found in ("better", "worse") else found
