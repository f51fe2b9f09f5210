"""Train a decision model, and measure the whole procedure on rows that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline as BalancedPipeline
from joblib import parallel_config
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from waterflow_cli.arrays import FloatArray, IntArray
from waterflow_cli.calibration import Calibration, fit_calibrator
from waterflow_cli.contract import Balance
from waterflow_cli.discovery import LoadedPlugin
from waterflow_cli.errors import PluginError, UsageError
from waterflow_cli.evaluation import (
    Design,
    FoldScores,
    all_scores,
    corrected_interval,
    cross_validation,
    forward_chaining,
    hold_out,
    score_folds,
    score_tested,
)
from waterflow_cli.guarantee import (
    Certificate,
    Guarantee,
    certified_policy,
    certify,
    refuse_uncertified,
)
from waterflow_cli.judging import (
    DEFAULT_COSTS,
    OperatingPoint,
    TestedFold,
    evaluate_folds,
    judge_fold,
    operating_points,
)
from waterflow_cli.metrics import Evaluation
from waterflow_cli.model import DecisionModel, Policy
from waterflow_cli.pipelines import balanced_pipeline, strip_for_scoring
from waterflow_cli.thresholds import ThresholdRule, parse_threshold, tune_threshold
from waterflow_cli.training_data import TrainingData

DEFAULT_RULE = parse_threshold("balanced-accuracy")
# A guarantee is certified on this share of the rows.
CERTIFYING_SHARE = 0.3
N_IMPORTANCE_REPEATS = 3


class CrossValidation(NamedTuple):
    """How many folds, and how often."""

    n_folds: int = 5
    n_repeats: int = 2

    def __str__(self) -> str:
        return f"{self.n_folds}x{self.n_repeats}"


DEFAULT_CV = CrossValidation()


def parse_cv(text: str) -> CrossValidation:
    """Read the value of ``--cv``.

    >>> parse_cv("5x2")
    CrossValidation(n_folds=5, n_repeats=2)

    Raises
    ------
    UsageError
        If it is not of that form. With two folds none is left to calibrate and tune on.
    """
    folds, _, repeats = text.strip().lower().partition("x")
    if not (folds.isdecimal() and repeats.isdecimal()):
        raise UsageError(f"--cv {text}: it is written FOLDSxREPEATS, such as 5x2.")
    cv = CrossValidation(int(folds), int(repeats))
    if not (3 <= cv.n_folds <= 20 and 1 <= cv.n_repeats <= 100):
        raise UsageError(f"--cv {text}: 3 to 20 folds, 1 to 100 repeats.")
    return cv


@dataclass(frozen=True)
class TrainingOptions:
    """What the user chose.

    Attributes
    ----------
    cv : CrossValidation
        How the procedure is measured.
    test_size : float, optional
        Share of the rows held out instead, once.
    guarantees : tuple of Guarantee
        What the verdicts are to keep.
    require_guarantee : bool
        Refuse a model for which one of them cannot be given.
    jobs : int
        How many pipelines are fitted at once; it changes no result.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    balance: Balance = "smote"
    threshold: ThresholdRule = DEFAULT_RULE
    calibration: Calibration = "sigmoid"
    cv: CrossValidation = DEFAULT_CV
    test_size: float | None = None
    guarantees: tuple[Guarantee, ...] = ()
    require_guarantee: bool = False
    seed: int = 0
    jobs: int = 1

    @property
    def costs(self) -> tuple[float, float]:
        """Of a false "potable" and of a missed potable sample."""
        if self.threshold.name == "cost":
            return self.threshold.arguments[0], self.threshold.arguments[1]
        return DEFAULT_COSTS


@dataclass(frozen=True)
class Measured:
    """A procedure as its folds show it.

    Attributes
    ----------
    folds : list of list of TestedFold
        By repeat.
    """

    folds: list[list[TestedFold]]
    evaluation: Evaluation


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what is known about it.

    Attributes
    ----------
    design : Design
        How the rows were split to measure the procedure.
    n_fits : int
        Pipelines that were fitted for the evaluation and the final model.
    measured : Measured
        The procedure that gave the model.
    baselines : dict of str to Measured
        A constant and a logistic regression on the same folds.
    points : list of OperatingPoint
        What the threshold does, and what others would.
    certificates : list of Certificate
        What became of each guarantee asked for.
    importance : DataFrame of shape (n_measurements, 3)
        The loss in ROC AUC when a measurement's tested values are shuffled, and its interval
        (``value``, ``low``, ``high``), by measurement, the largest first.
    n_trained : int
        Rows that the final model was fitted on.
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
    n_trained: int

    @property
    def evaluation(self) -> Evaluation:
        """How the procedure fared."""
        return self.measured.evaluation

    @property
    def tested(self) -> tuple[IntArray, FloatArray]:
        """Labels and probabilities of all tested rows, repeat after repeat."""
        folds = [fold for repeat in self.measured.folds for fold in repeat]
        return (
            np.concatenate([fold.y for fold in folds]),
            np.concatenate([fold.probability for fold in folds]),
        )


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
    takes no part in anything else.

    Parameters
    ----------
    data : TrainingData
        Labelled rows; both classes occur.
    plugin : LoadedPlugin
        What builds the pipeline.
    options : TrainingOptions
        The user's choices; equal options give an equal model.
    report : callable
        Told what happens next.

    Raises
    ------
    PluginError
        If the plugin's code fails, or its probabilities are none.
    UsageError
        If a parameter's value is refused.
    DataRefusedError
        If no threshold serves the asked rule, or the rows are too few for the folds.
    """
    with plugin.blamed("list its parameters"):
        params = {**plugin.model.default_params(), **options.params}
    used, certifying = split_for_certifying(data, options)
    part = data.take(used)
    design = make_design(part, options)
    learner = make_learner(plugin, part, options)
    unbalanced = (
        make_learner(plugin, part, replace(options, balance="none"))
        if options.balance != "none"
        else None
    )
    n_fits = design.n_fits + 1 + (len(design.tested) if unbalanced else 0)
    report(f"Measuring {plugin.name} by {design.text}; {n_fits} fits of up to {len(used)} rows")
    with single_threaded_fits():
        with plugin.blamed("train"):
            scores = score_folds(design, learner, jobs=options.jobs)
            plain = (
                None
                if unbalanced is None
                else _scored(part.y, score_tested(design, unbalanced, jobs=options.jobs))
            )
            fitted = learner.fit(np.arange(len(part.y)))
        rows, known = all_scores(scores)
        calibrator = fit_calibrator(part.y[rows], known, options.calibration)
        learned = part.y[rows], calibrator.apply(known)
        threshold = tune_threshold(options.threshold, *learned)
        model = DecisionModel(
            strip_for_scoring(fitted),
            list(data.X.columns),
            calibrator,
            threshold,
            Policy.default(threshold),
        )
        certificates: list[Certificate] = []
        if options.guarantees:
            report(f"Certifying on {len(certifying)} rows that took no part")
            unseen = data.take(certifying)
            with plugin.blamed("predict"):
                certified = unseen.y, model.probability(unseen.X)
            certificates = [
                certify(each, learned, certified, threshold=threshold)
                for each in options.guarantees
            ]
            if options.require_guarantee:
                refuse_uncertified(certificates)
            model = replace(model, policy=certified_policy(certificates, model.policy))
        report("Measuring baselines, and which measurements matter")
        measured = measure(scores, part.y, threshold, options)
        with plugin.blamed("predict"):
            importance = measure_importance(scores[0], part, options)
        return TrainingResult(
            model=model,
            params=params,
            design=design,
            n_fits=n_fits,
            measured=measured,
            baselines=measure_baselines(design, part, options),
            points=operating_points(measured.folds, plain, options.costs),
            certificates=certificates,
            importance=importance,
            loss_curve=_loss_curve(model),
            n_trained=len(used),
        )


def split_for_certifying(data: TrainingData, options: TrainingOptions) -> tuple[IntArray, IntArray]:
    """Set rows apart for guarantees, where some are asked for; the others are learned from.

    Raises
    ------
    UsageError
        If rows are not exchangeable: no distribution-free guarantee holds for them.
    """
    every = np.arange(len(data.y))
    if not options.guarantees:
        return every, every[:0]
    if data.groups is not None or data.when is not None:
        raise UsageError(
            "--guarantee goes with neither --group nor --time: it needs rows of which each could "
            "as well have come in the place of any other."
        )
    used, certifying = train_test_split(
        every, test_size=CERTIFYING_SHARE, random_state=options.seed
    )
    return np.sort(used), np.sort(certifying)


def make_design(data: TrainingData, options: TrainingOptions) -> Design:
    """Choose how the rows are split to measure a procedure on them.

    Raises
    ------
    DataRefusedError
        If there are too few rows, groups or times.
    """
    if data.when is not None:
        design = forward_chaining(data.when, n_folds=options.cv.n_folds)
    elif options.test_size is not None:
        design = hold_out(data.y, test_size=options.test_size, seed=options.seed)
    else:
        design = cross_validation(
            data.y, **options.cv._asdict(), seed=options.seed, groups=data.groups
        )
    return design.check(data.y)


@dataclass(frozen=True)
class PipelineLearner:
    """Fits copies of a pipeline; see `waterflow_cli.evaluation.Learner`.

    The sampler is a step of the pipeline, so it runs inside each fit and never sees a row that is
    scored.

    Attributes
    ----------
    blame : str
        Whose pipeline it is, for messages.
    """

    pipeline: BalancedPipeline
    X: pd.DataFrame
    y: IntArray
    blame: str = "pipeline"

    def fit(self, rows: IntArray) -> BalancedPipeline:
        """Fit a copy."""
        return clone(self.pipeline).fit(self.X.iloc[rows], self.y[rows])

    def score(self, fitted: BalancedPipeline, rows: IntArray) -> FloatArray:
        """Give P(class 1) of rows."""
        scores = np.asarray(fitted.predict_proba(self.X.iloc[rows]), dtype=np.float64)[:, 1]
        _check_scores(scores, self.blame)
        return scores


def measure(
    scores: Sequence[Sequence[FoldScores]],
    y: IntArray,
    threshold: float,
    options: TrainingOptions,
) -> Measured:
    """Judge each fold of an evaluation, and all of them together."""
    folds = [
        [judge_fold(fold, y, options.calibration, options.threshold) for fold in repeat]
        for repeat in scores
    ]
    return Measured(folds, evaluate_folds(folds, threshold, seed=options.seed))


def make_learner(
    plugin: LoadedPlugin, data: TrainingData, options: TrainingOptions
) -> PipelineLearner:
    """Make what fits a plugin's pipeline."""
    pipeline = build_pipeline(plugin, list(data.X.columns), options)
    return PipelineLearner(pipeline, data.X, data.y, str(plugin.installed))


def build_pipeline(
    plugin: LoadedPlugin, columns: list[str], options: TrainingOptions
) -> BalancedPipeline:
    """Ask a plugin for its unfitted pipeline.

    Raises
    ------
    PluginError
        If it fails, or gives something else.
    """
    with plugin.blamed("build a pipeline"):
        pipeline = plugin.model.build_pipeline(
            columns=columns,
            balance=options.balance,
            random_state=options.seed,
            params=options.params,
        )
    if not isinstance(pipeline, BalancedPipeline):
        raise PluginError(
            f"The {plugin.installed} built a {type(pipeline).__name__}; "
            "an imblearn.pipeline.Pipeline is expected."
        )
    return pipeline


def measure_baselines(
    design: Design, data: TrainingData, options: TrainingOptions
) -> dict[str, Measured]:
    """Measure what a constant and a straight line reach on the same folds."""
    classifiers = {
        "always the base rate": DummyClassifier(strategy="prior"),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    baselines = {}
    for name, classifier in classifiers.items():
        pipeline = balanced_pipeline(
            classifier, balance="none", random_state=options.seed, scale=True
        )
        scores = score_folds(design, PipelineLearner(pipeline, data.X, data.y), jobs=options.jobs)
        plain = replace(options, threshold=DEFAULT_RULE, calibration="sigmoid")
        baselines[name] = measure(scores, data.y, np.nan, plain)
    return baselines


def measure_importance(
    folds: Sequence[FoldScores], data: TrainingData, options: TrainingOptions
) -> pd.DataFrame:
    """Measure what shuffling a measurement costs in ROC AUC (Breiman 2001, "Random forests").

    Each fold's pipeline is asked for the rows that it was tested on.
    """
    losses, shares = [], []
    for fold in folds:
        found = permutation_importance(
            fold.fitted,
            data.X.iloc[fold.rows],
            data.y[fold.rows],
            scoring="roc_auc",
            n_repeats=N_IMPORTANCE_REPEATS,
            random_state=options.seed,
            n_jobs=options.jobs,
        )
        losses.append(found.importances_mean)
        shares.append(len(fold.rows) / fold.n_trained)
    estimates = [
        corrected_interval(values, float(np.mean(shares))) for values in np.transpose(losses)
    ]
    frame = pd.DataFrame([asdict(estimate) for estimate in estimates], index=data.X.columns)
    return frame.sort_values("value", ascending=False)


@contextmanager
def single_threaded_fits() -> Iterator[None]:
    """Run jobs as threads, each with one thread of its own.

    A linear algebra library that splits a sum over threads changes its last bit with their
    number; with one each, the result does not depend on the machine or on ``--jobs``.
    """
    with parallel_config(backend="threading"), threadpool_limits(limits=1):
        yield


def _check_scores(scores: FloatArray, blame: str) -> None:
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise PluginError(f"The {blame} gave no probability for {bad} of {len(scores)} rows (NaN).")
    if scores.min() < 0 or scores.max() > 1:
        raise PluginError(
            f"The {blame} gave probabilities from {scores.min():g} to {scores.max():g}; "
            "they must lie between 0 and 1."
        )


def _loss_curve(model: DecisionModel) -> list[float]:
    """Loss by epoch, of a model that is trained by epochs."""
    return [float(loss) for loss in getattr(model.estimator[-1], "loss_curve_", [])]


def _scored(y: IntArray, scores: FloatArray) -> tuple[IntArray, FloatArray]:
    known = ~np.isnan(scores)
    return y[known], scores[known]
