"""Train a decision model, and measure the whole procedure on rows that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import Message, counted, joined, marked
from waterflow_cli.common.number_formats import CHANCE
from waterflow_cli.models.calibration import fit_calibrator
from waterflow_cli.models.decision import DecisionModel, Policy, VerdictRecord, record_verdicts
from waterflow_cli.models.discovery import LoadedPlugin
from waterflow_cli.models.estimator_scores import scores_of
from waterflow_cli.models.guarantees import (
    Certificate,
    certified_policy,
    certify,
    keep_certified,
    refuse_uncertified,
)
from waterflow_cli.models.metrics import Evaluation
from waterflow_cli.models.pipelines import balanced_pipeline, strip_for_scoring
from waterflow_cli.models.reference import first_of_equals, hash_rows
from waterflow_cli.models.thresholds import lowest_within, tune_threshold
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import (
    Design,
    FoldScores,
    all_scores,
    cross_validation,
    describe_design,
    forward_chaining,
    hold_out,
    quick_hold_out,
    score_folds,
    score_tested,
)
from waterflow_cli.training.importance import measure_importance
from waterflow_cli.training.judging import (
    OperatingPoint,
    TestedFold,
    evaluate_folds,
    fold_effects,
    join_folds,
    judge_fold,
    operating_points,
)
from waterflow_cli.training.learners import (
    PipelineLearner,
    Search,
    Trial,
    TunedLearner,
    check_scores,
    choose_learner,
    single_threaded_fits,
)
from waterflow_cli.training.options import (
    DEFAULT_CV,
    DEFAULT_RULE,
    QUICK_CV,
    TrainingOptions,
    usual_cv,
)

# A guarantee is certified on this share of the rows, where it is on rows kept for it. With half of
# them the model learns too little: on the public table it then decided nothing in three of three.
CERTIFYING_SHARE = 0.3


@dataclass(frozen=True)
class Measured:
    """A procedure as its folds, by repeat, show it.

    Attributes
    ----------
    effects : dict of str to ndarray
        By how much each tested row moves a figure, so that procedures can be compared in pairs.
    """

    folds: list[list[TestedFold]]
    evaluation: Evaluation
    effects: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and what is known about it.

    Attributes
    ----------
    n_fits : int
        Pipelines that were fitted for the evaluation and the final model.
    baselines : dict of str to Measured
        A constant and a logistic regression on the same folds.
    points : list of OperatingPoint
        What the threshold does, and what others would.
    importance : DataFrame of shape (n_measurements, 3)
        The loss in ROC AUC when a measurement's tested values are shuffled, and its interval
        (``value``, ``low``, ``high``), by measurement, the largest first; empty where the user
        wanted a quick answer.
    loss_curve : list of float
        By epoch, of a model that is trained by epochs.
    trials : list of Trial
        Of the search for the final model's parameters.
    rows : ndarray of int64, shape (n_trained,)
        Positions, in the data given, of the rows that the final model was fitted on. The folds'
        positions are places in this list.
    """

    model: DecisionModel
    params: Mapping[str, Any]
    design: Design
    n_fits: int
    measured: Measured
    baselines: dict[str, Measured]
    points: list[OperatingPoint]
    certificates: list[Certificate]
    importance: pd.DataFrame
    loss_curve: list[float]
    trials: list[Trial]
    rows: IntArray

    @property
    def n_trained(self) -> int:
        """Rows that the final model was fitted on."""
        return len(self.rows)

    @property
    def evaluation(self) -> Evaluation:
        """How the procedure fared."""
        return self.measured.evaluation

    @property
    def is_better_than_chance(self) -> bool:
        """Whether the interval of its ROC AUC lies above that of no skill."""
        return self.evaluation.estimates["roc_auc"].low > CHANCE

    @property
    def decided_share(self) -> float:
        """Share of the tested samples that get a verdict other than ``send_to_lab``."""
        return sum(each.n_given for each in self.verdicts.values()) / self.evaluation.n_rows

    @property
    def false_potable_rate(self) -> float:
        """Share of the tested not potable rows that the final threshold calls potable."""
        return self._called_potable(0)

    @property
    def found_potable_rate(self) -> float:
        """Share of the tested potable rows that it calls so."""
        return self._called_potable(1)

    def _called_potable(self, label: int) -> float:
        folds = chain(*self.measured.folds)
        scores = np.concatenate([fold.scores[fold.y == label] for fold in folds])
        return float(self.model.predict(self.model.calibrator.apply(scores)).mean())

    @property
    def verdicts(self) -> dict[str, VerdictRecord]:
        """How often the final policy's verdicts were right, in the first repeat."""
        return record_verdicts(self.model, *join_folds(self.measured.folds[0]))

    @property
    def fold_thresholds(self) -> FloatArray:
        """Thresholds that were tuned for the tested folds; above 1 where none served the rule."""
        return np.array([fold.threshold for fold in chain(*self.measured.folds)])

    @property
    def tested(self) -> tuple[IntArray, FloatArray]:
        """Labels and probabilities of all tested rows, repeat after repeat."""
        return join_folds(list(chain(*self.measured.folds)))


def train_model(
    data: TrainingData,
    plugin: LoadedPlugin,
    options: TrainingOptions,
    *,
    report: Callable[[str], None] = lambda _step: None,
) -> TrainingResult:
    """Measure a procedure on parts of the rows, then let it learn from all of them.

    The figures are those of the procedure: imputation, balancing, calibration and threshold are
    done anew in each part. Where a guarantee is asked for, a share of the rows certifies it, and
    takes no part in anything else, or the out-of-fold predictions of all rows do.

    Parameters
    ----------
    data : TrainingData
        Labelled rows; both classes occur.
    options : TrainingOptions
        Equal options give an equal model.

    Raises
    ------
    PluginError
        If the plugin's code fails, or its probabilities are none.
    UsageError
        If a parameter's value is refused.
    DataRefusedError
        If no threshold serves the asked rule, or the rows are too few for the folds.
    """
    with plugin.guarded(Message("list its parameters")):
        params = {**plugin.model.default_params(), **options.params}
    used, certifying = split_for_certifying(data, options)
    part, unseen = data.take(used), data.take(certifying)
    design = make_design(part, options)
    learner = choose_learner(plugin, part, options)
    n_fits = design.n_fits + 1
    unbalanced = None
    if options.balance != "none" and not options.quick:
        unbalanced = choose_learner(plugin, part, replace(options, balance="none"))
        n_fits += len(design.tested)
    if explained := explain_design(design, part, options):
        report(explained)
    report(_describe_fits(plugin, design, n_fits, len(used), options))
    with single_threaded_fits():
        with plugin.guarded(Message("train")):
            scores = score_folds(design, learner, jobs=options.jobs)
            plain = None
            if unbalanced is not None:
                unseen_scores = score_tested(design, unbalanced, jobs=options.jobs)
                tested = ~np.isnan(unseen_scores)
                plain = part.y[tested], unseen_scores[tested]
            every = np.arange(len(part.y))
            found = Search({}, [])
            if isinstance(learner, TunedLearner):
                found = learner.search(every)
                fitted = learner.fit_with(found.params, every)
            else:
                fitted = learner.fit(every)
        if options.guarantees:
            report(_describe_certifying(data, used, certifying))
        with plugin.guarded(Message("predict")):
            model, certificates = _decide(plugin, fitted, scores, part, unseen, options)
        report(Message("Measuring baselines, and which measurements matter"))
        measured = measure(scores, part, model.threshold, options)
        importance = pd.DataFrame()
        if not options.quick:
            with plugin.guarded(Message("predict")):
                importance = measure_importance(scores[0], part, options)
            costs = importance["value"].reindex(list(model.measurements)).fillna(0.0)
            model = replace(model, importance=costs.tolist())
        return TrainingResult(
            model=model,
            params={**params, **found.params},
            design=design,
            n_fits=n_fits,
            measured=measured,
            baselines=_measure_baselines(design, part, options),
            points=operating_points(measured.folds[0], plain, options.costs),
            certificates=certificates,
            importance=importance,
            loss_curve=list(map(float, getattr(model.estimator[-1], "loss_curve_", []))),
            trials=found.trials,
            rows=used,
        )


def _describe_fits(
    plugin: LoadedPlugin, design: Design, n_fits: int, n_rows: int, options: TrainingOptions
) -> str:
    searched = counted(
        ", each after a search of {n} trial",
        ", each after a search of {n} trials",
        options.n_trials,
    )
    return Message(
        "Measuring {plugin} by {design}; {n_fits} fits of up to {n_trained} rows{searched}",
        plugin=plugin.name,
        design=describe_design(design.name),
        n_fits=n_fits,
        n_trained=n_rows,
        searched=searched if options.n_trials else "",
    )


def _describe_certifying(data: TrainingData, used: IntArray, certifying: IntArray) -> str:
    """Say by which rows guarantees are certified, and which take no part at all."""
    text = counted(
        "Certifying on the out-of-fold prediction of {n} row",
        "Certifying on the out-of-fold predictions of {n} rows",
        len(used),
    )
    if len(certifying):
        text = Message("Certifying on {n_kept} rows that took no part", n_kept=len(certifying))
    n_copies = len(data.y) - len(used) - len(certifying)
    if not n_copies:
        return text
    left_out = counted(
        "{n} row repeats the measurements of another, and was left out",
        "{n} rows repeat the measurements of another, and were left out",
        n_copies,
    )
    return joined([text, left_out], "; ")


def _decide(
    plugin: LoadedPlugin,
    fitted: Any,
    scores: Sequence[Sequence[FoldScores]],
    data: TrainingData,
    unseen: TrainingData,
    options: TrainingOptions,
) -> tuple[DecisionModel, list[Certificate]]:
    """Make a fitted pipeline a decision model: calibrate, choose the threshold, certify."""
    # All rest on scores of pipelines that did not see the row, and guarantees on unseen rows.
    rows, known = all_scores(scores)
    calibrator = fit_calibrator(data.y[rows], known, options.calibration)
    learned = data.y[rows], calibrator.apply(known)
    threshold = tune_threshold(options.threshold, *learned)
    policy = Policy.default(threshold)
    if options.verdict_ceiling is not None:
        lowest = lowest_within(options.verdict_ceiling, *learned)
        policy = replace(policy, potable_from=max(policy.potable_from, lowest))
    estimator, measurements = strip_for_scoring(fitted), list(data.X.columns)
    model = DecisionModel(
        scores=scores_of(estimator, measurements, make=plugin.make_form),
        measurements=measurements,
        calibrator=calibrator,
        threshold=threshold,
        policy=policy,
        typical=data.X.median().fillna(0.0).tolist(),
        estimator=estimator,
    )
    if not options.guarantees:
        return model, []
    if options.certify == "cross":
        folds = [judge_fold(f, data.y, options.calibration, options.threshold) for f in scores[0]]
        learned = certifying = join_folds(folds)
    else:
        certifying = unseen.y, model.probability(unseen.X)
        check_scores(certifying[1], "pipeline")
    certificates = [
        certify(each, learned, certifying, threshold=threshold, method=options.certify)
        for each in options.guarantees
    ]
    if options.require_guarantee:
        refuse_uncertified(certificates)
    policy = certified_policy(certificates, model.policy)
    certified = keep_certified(certificates, policy)
    return replace(model, policy=policy, certified=certified), certificates


def split_for_certifying(data: TrainingData, options: TrainingOptions) -> tuple[IntArray, IntArray]:
    """Set rows apart for guarantees, where they are to certify some; the others are learned from.

    Rows that are not exchangeable are refused: no guarantee holds for them. Of rows with equal
    measurements one alone is taken: the others would bear witness to what is known of it.
    """
    every = np.arange(len(data.y))
    if not options.guarantees:
        return every, every[:0]
    if data.groups is not None or data.when is not None:
        raise UsageError(
            "--guarantee goes with neither --group nor --time: it needs rows of "
            "which each could as well have come in the place of any other."
        )
    every = first_of_equals(hash_rows(data.X))
    if options.certify == "cross":
        return every, every[:0]
    used, certifying = train_test_split(
        every, test_size=CERTIFYING_SHARE, random_state=options.seed
    )
    return np.sort(used), np.sort(certifying)


def make_design(data: TrainingData, options: TrainingOptions) -> Design:
    """Choose how the rows are split to measure a procedure; too few of them are refused."""
    cv = QUICK_CV if options.quick else options.cv or usual_cv(len(data.y))
    seed, sources = options.seed, data.sources_kept(options.on_leak)
    if data.when is not None:
        design = forward_chaining(data.when, n_folds=3 if options.quick else cv.n_folds)
    elif options.test_size is not None:
        design = hold_out(data.y, test_size=options.test_size, seed=seed, sources=sources)
    else:
        folds = {**cv._asdict(), "groups": data.groups, "sources": sources}
        design = cross_validation(data.y, seed=seed, **folds)
    return (quick_hold_out(design) if options.quick else design).check(data.y)


def explain_design(design: Design, data: TrainingData, options: TrainingOptions) -> Message | None:
    """Say that there are fewer folds or repeats than usual, where it is for the rows being many."""
    cv = usual_cv(len(data.y))
    is_usual = options.cv is None and design.name.startswith(("cv-", "time-"))
    if not is_usual or cv == DEFAULT_CV or design.name == f"time-{DEFAULT_CV.n_folds}":
        return None
    return Message(
        "So many rows are measured by --cv {cv}, which tells as much of them as --cv {default_cv} "
        "of few.",
        cv=cv,
        default_cv=DEFAULT_CV,
    )


def measure(
    scores: Sequence[Sequence[FoldScores]],
    data: TrainingData,
    threshold: float,
    options: TrainingOptions,
) -> Measured:
    """Judge each fold of an evaluation, and all of them together."""
    together = data.sources_kept(options.on_leak) if data.groups is None else data.groups
    units = None if together is None else np.unique(together, return_inverse=True)[1]
    folds = [
        [judge_fold(fold, data.y, options.calibration, options.threshold, units) for fold in repeat]
        for repeat in scores
    ]
    evaluation = evaluate_folds(folds, threshold, units=units)
    return Measured(folds, evaluation, fold_effects(folds, units))


def _measure_baselines(
    design: Design, data: TrainingData, options: TrainingOptions
) -> dict[str, Measured]:
    """Measure what a constant and a straight line reach on the same folds."""
    classifiers = {
        marked("always the base rate"): DummyClassifier(strategy="prior"),
        marked("logistic regression"): LogisticRegression(max_iter=1000),
    }
    plain = replace(options, threshold=DEFAULT_RULE, calibration="sigmoid")
    baselines = {}
    for name, classifier in classifiers.items():
        pipeline = balanced_pipeline(
            classifier, balance="none", random_state=options.seed, scale=True
        )
        scores = score_folds(design, PipelineLearner(pipeline, data.X, data.y), jobs=options.jobs)
        baselines[name] = measure(scores, data, np.nan, plain)
    return baselines
