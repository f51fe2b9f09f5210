"""Fit a plugin's pipeline on some rows, and score others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline as BalancedPipeline
from joblib import parallel_config
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import PluginError
from waterflow_cli.common.messages import Message, trn
from waterflow_cli.models.discovery import LoadedPlugin
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.options import TrainingOptions


@dataclass(frozen=True)
class PipelineLearner:
    """Fits copies of a pipeline; see `waterflow_cli.training.designs.Learner`.

    The sampler is a step of the pipeline, so it runs inside each fit and never sees a row that is
    scored. The owner is named in messages.
    """

    pipeline: BalancedPipeline
    X: pd.DataFrame
    y: IntArray
    owner: str = "pipeline"

    def fit(self, rows: IntArray) -> BalancedPipeline:
        """Fit a copy."""
        return clone(self.pipeline).fit(self.X.iloc[rows], self.y[rows])

    def score(self, fitted: BalancedPipeline, rows: IntArray) -> FloatArray:
        """Give P(class 1) of rows."""
        scores = np.asarray(fitted.predict_proba(self.X.iloc[rows]), dtype=np.float64)[:, 1]
        check_scores(scores, self.owner)
        return scores


def make_learner(
    plugin: LoadedPlugin, data: TrainingData, options: TrainingOptions
) -> PipelineLearner:
    """Make what fits a plugin's pipeline."""
    pipeline = build_pipeline(plugin, list(data.X.columns), options)
    return PipelineLearner(pipeline, data.X, data.y, str(plugin))


def build_pipeline(
    plugin: LoadedPlugin, columns: list[str], options: TrainingOptions
) -> BalancedPipeline:
    """Ask a plugin for its unfitted pipeline; `PluginError` if it gives something else."""
    with plugin.guarded(Message("build a pipeline")):
        pipeline = plugin.model.build_pipeline(
            columns=columns,
            balance=options.balance,
            random_state=options.seed,
            params=options.params,
        )
    if not isinstance(pipeline, BalancedPipeline):
        raise PluginError(
            "The {plugin} built a {kind}; an imblearn.pipeline.Pipeline is expected.",
            plugin=plugin,
            kind=type(pipeline).__name__,
        )
    for method in ("predict", "predict_proba"):
        if not hasattr(pipeline, method):
            raise PluginError(
                "The {plugin} built a pipeline that has no {method}.",
                plugin=plugin,
                method=method,
            )
    return pipeline


@contextmanager
def single_threaded_fits() -> Iterator[None]:
    """Run jobs as threads, each with one thread of its own.

    A linear algebra library that splits a sum over threads changes its last bit with their
    number; with one each, the result does not depend on the machine or on ``--jobs``.
    """
    with parallel_config(backend="threading"), threadpool_limits(limits=1):
        yield


def check_scores(scores: FloatArray, owner: str) -> None:
    """Refuse what is no probability, with a `PluginError` that names whose pipeline gave it."""
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise PluginError(
            trn(
                "The {plugin} gave no probability for {bad} of {n} row (NaN).",
                "The {plugin} gave no probability for {bad} of {n} rows (NaN).",
                len(scores),
                plugin=owner,
                bad=bad,
            )
        )
    if scores.min() < 0 or scores.max() > 1:
        raise PluginError(
            "The {plugin} gave probabilities from {lowest:g} to {highest:g}; they "
            "must lie between 0 and 1.",
            plugin=owner,
            lowest=scores.min(),
            highest=scores.max(),
        )
