"""Train a decision model and measure it once on rows that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline as BalancedPipeline
from joblib import parallel_config
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from threadpoolctl import threadpool_limits

from waterflow_cli.arrays import FloatArray, IntArray
from waterflow_cli.calibration import fit_calibrator
from waterflow_cli.contract import Balance
from waterflow_cli.discovery import LoadedPlugin
from waterflow_cli.errors import PluginError
from waterflow_cli.metrics import Evaluation, evaluate_predictions
from waterflow_cli.model import DecisionModel, Policy
from waterflow_cli.pipelines import balanced_pipeline, strip_for_scoring
from waterflow_cli.thresholds import ThresholdRule, parse_threshold, tune_threshold
from waterflow_cli.training_data import TrainingData

DEFAULT_RULE = parse_threshold("balanced-accuracy")
N_FOLDS = 5
N_IMPORTANCE_REPEATS = 5


@dataclass(frozen=True)
class TrainingOptions:
    """What the user chose.

    Attributes
    ----------
    test_size : float
        Share of the rows held out for the one final look.
    jobs : int
        How many folds are fitted at once; it changes no result.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    balance: Balance = "smote"
    threshold: ThresholdRule = DEFAULT_RULE
    test_size: float = 0.2
    seed: int = 0
    jobs: int = 1


class Predictions(NamedTuple):
    """Labels and the probabilities that a model gave to rows that it was not fitted on."""

    y: IntArray
    probability: FloatArray


@dataclass(frozen=True)
class FittedModel:
    """A decision model, and the out-of-fold predictions that calibration and threshold rest on."""

    model: DecisionModel
    out_of_fold: Predictions


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what is known about it.

    Attributes
    ----------
    held_out : Predictions
        On the held-out rows.
    evaluation : Evaluation
        The same, measured.
    baselines : dict of str to Evaluation
        A constant and a logistic regression on the same rows.
    importance : DataFrame of shape (n_measurements, 2)
        Mean and standard deviation of the loss in ROC AUC when a measurement's held-out values
        are shuffled, by measurement, the largest first.
    """

    model: DecisionModel
    params: Mapping[str, Any]
    out_of_fold: Predictions
    held_out: Predictions
    evaluation: Evaluation
    baselines: dict[str, Evaluation]
    importance: pd.DataFrame
    loss_curve: list[float]
    n_train: int


def train_model(
    data: TrainingData,
    plugin: LoadedPlugin,
    options: TrainingOptions,
    *,
    report: Callable[[str], None] = lambda _step: None,
) -> TrainingResult:
    """Fit, calibrate and tune on one part of the rows, and measure on the other.

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
        If no threshold serves the asked rule.
    """
    with plugin.blamed("list its parameters"):
        params = {**plugin.model.default_params(), **options.params}
    train, test = train_test_split(
        np.arange(len(data.y)),
        test_size=options.test_size,
        stratify=data.y,
        random_state=options.seed,
    )
    train.sort()
    test.sort()
    X, y = data.X.iloc[train].reset_index(drop=True), data.y[train]
    pipeline = build_pipeline(plugin, list(data.X.columns), options)
    report(f"Fitting {plugin.name} on {len(train)} rows, {N_FOLDS} folds and once on all of them")
    with single_threaded_fits(), plugin.blamed("train"):
        fitted = fit_decision_model(pipeline, X, y, options, blame=str(plugin.installed))
    report(f"Measuring on {len(test)} held-out rows")
    X_test, y_test = data.X.iloc[test].reset_index(drop=True), data.y[test]
    with single_threaded_fits(), plugin.blamed("predict"):
        held_out = Predictions(y_test, fitted.model.probability(X_test))
        importance = measure_importance(fitted.model, X_test, y_test, options)
    return TrainingResult(
        model=fitted.model,
        params=params,
        out_of_fold=fitted.out_of_fold,
        held_out=held_out,
        evaluation=evaluate_predictions(*held_out, fitted.model.threshold, seed=options.seed),
        baselines=measure_baselines(X, y, X_test, y_test, options),
        importance=importance,
        loss_curve=_loss_curve(fitted.model),
        n_train=len(train),
    )


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


def fit_decision_model(
    pipeline: BalancedPipeline,
    X: pd.DataFrame,
    y: IntArray,
    options: TrainingOptions,
    *,
    blame: str = "pipeline",
) -> FittedModel:
    """Fit a pipeline, and calibrate and tune it on out-of-fold predictions of the same rows.

    The sampler is a step of the pipeline, so it runs inside each fold's fit and never sees a row
    that the fold predicts. The estimator that scores is fitted once, on all rows given.

    Parameters
    ----------
    pipeline : imblearn.pipeline.Pipeline
        Unfitted; it is copied.
    X : DataFrame of shape (n_samples, n_measurements)
        Training rows.
    y : ndarray of shape (n_samples,)
        Their labels.
    blame : str
        Whose pipeline it is, for messages.
    """
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=options.seed)
    scores = cross_val_predict(
        pipeline, X, y, cv=folds, method="predict_proba", n_jobs=options.jobs
    )[:, 1]
    _check_scores(scores, blame)
    calibrator = fit_calibrator(y, scores)
    out_of_fold = Predictions(y, calibrator.apply(scores))
    threshold = tune_threshold(options.threshold, *out_of_fold)
    fitted = clone(pipeline).fit(X, y)
    model = DecisionModel(
        strip_for_scoring(fitted),
        list(X.columns),
        calibrator,
        threshold,
        Policy.default(threshold),
    )
    return FittedModel(model, out_of_fold)


def measure_baselines(
    X: pd.DataFrame, y: IntArray, X_test: pd.DataFrame, y_test: IntArray, options: TrainingOptions
) -> dict[str, Evaluation]:
    """Measure what a constant and a straight line reach on the same rows."""
    plain = TrainingOptions(balance="none", seed=options.seed, jobs=options.jobs)
    classifiers = {
        "always the base rate": DummyClassifier(strategy="prior"),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    evaluations = {}
    for name, classifier in classifiers.items():
        pipeline = balanced_pipeline(
            classifier, balance="none", random_state=options.seed, scale=True
        )
        with single_threaded_fits():
            model = fit_decision_model(pipeline, X, y, plain).model
            probability = model.probability(X_test)
        evaluations[name] = evaluate_predictions(
            y_test, probability, model.threshold, seed=options.seed
        )
    return evaluations


def measure_importance(
    model: DecisionModel, X: pd.DataFrame, y: IntArray, options: TrainingOptions
) -> pd.DataFrame:
    """Measure what shuffling a measurement costs in ROC AUC (Breiman 2001, "Random forests")."""
    importance = permutation_importance(
        model.estimator,
        X,
        y,
        scoring="roc_auc",
        n_repeats=N_IMPORTANCE_REPEATS,
        random_state=options.seed,
        n_jobs=options.jobs,
    )
    frame = pd.DataFrame(
        {"mean": importance.importances_mean, "std": importance.importances_std}, index=X.columns
    )
    return frame.sort_values("mean", ascending=False)


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
