"""Conformance checks for plugin authors; ``waterflow plugins check`` runs the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import ModelError, PluginError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.contract import BALANCES, GROUP, ModelPlugin
from waterflow_cli.models.discovery import LoadedPlugin, find_contract_error, load_plugin
from waterflow_cli.models.estimator_files import save_estimator
from waterflow_cli.models.files import load_estimator
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

_N_ROWS = 240
_COLUMNS = ["ph", "Hardness", "Solids"]


def check_model_plugin(plugin: LoadedPlugin | ModelPlugin | str) -> Iterator[str]:
    """Check that a plugin keeps the contract.

    Parameters
    ----------
    plugin : str, LoadedPlugin or ModelPlugin
        An installed plugin by name, or the object itself.

    Yields
    ------
    str
        Each claim that was found true; exhaust the iterator to run them all.

    Raises
    ------
    PluginError
        For the first claim that does not hold.

    Examples
    --------
    In a plugin's own tests::

        from waterflow_cli.testing import check_model_plugin

        def test_plugin_keeps_the_contract():
            assert list(check_model_plugin("my-model"))
    """
    loaded = _load(plugin)
    yield from _check_description(loaded)
    X, y = _make_samples()
    for balance in BALANCES:
        probability, _ = _fit_and_predict(loaded, X, y, TrainingOptions(balance=balance))
        yield tr("fits and predicts with --balance {balance}", balance=balance)
        if balance == "smote":
            again, pipeline = _fit_and_predict(loaded, X, y, TrainingOptions(balance=balance))
            _require(
                loaded, np.array_equal(probability, again), tr("equal seeds give other models")
            )
            yield tr("equal seeds give equal probabilities, bit for bit")
            _check_saving(loaded, pipeline, X, again)
            yield tr("is saved without pickle, and scores the same when loaded")
    X_gap = X.assign(Hardness=np.nan)
    _fit_and_predict(loaded, X_gap, y, TrainingOptions())
    yield tr("stands a measurement that is missing throughout")


def _load(plugin: LoadedPlugin | ModelPlugin | str) -> LoadedPlugin:
    if isinstance(plugin, LoadedPlugin):
        return plugin
    if isinstance(plugin, str):
        return load_plugin(plugin)
    point = EntryPoint(type(plugin).__name__, type(plugin).__module__, GROUP)
    loaded = LoadedPlugin(point, plugin)
    problem = find_contract_error(plugin)
    _require(loaded, not problem, problem)
    return loaded


def _check_description(plugin: LoadedPlugin) -> Iterator[str]:
    model = plugin.model
    summary = model.summary
    _require(
        plugin,
        isinstance(summary, str) and bool(summary.strip()) and "\n" not in summary,
        tr("its summary must be one line of text"),
    )
    yield tr("its summary is one line")
    with plugin.guarded(tr("list its parameters")):
        known = set(model.default_params())
    unknown = set(model.search_space) - known
    _require(
        plugin,
        not unknown,
        tr("its search space names no parameters of it: {unknown}", unknown=sorted(unknown)),
    )
    yield tr("its search space names parameters that it has")


def _fit_and_predict(
    plugin: LoadedPlugin, X: pd.DataFrame, y: IntArray, options: TrainingOptions
) -> tuple[FloatArray, Any]:
    before = X.copy()
    pipeline = build_pipeline(plugin, list(X.columns), options)
    with (
        plugin.guarded(tr("fit with --balance {balance}", balance=options.balance)),
        single_threaded_fits(),
    ):
        pipeline.fit(X, y)
    with plugin.guarded(tr("predict")), single_threaded_fits():
        probability = np.asarray(pipeline.predict_proba(X))
    _require(plugin, X.equals(before), tr("it changes the frame that it is given"))
    _require(
        plugin,
        probability.shape == (len(X), 2),
        tr(
            "predict_proba gives shape {shape} for {n_trained} rows; ({n_trained}, 2) is needed",
            shape=probability.shape,
            n_trained=len(X),
        ),
    )
    _require(plugin, bool(np.isfinite(probability).all()), tr("it gives NaN probabilities"))
    _require(
        plugin,
        bool(((probability >= 0) & (probability <= 1)).all()),
        tr("it gives probabilities outside 0 to 1"),
    )
    return probability[:, 1], pipeline


def _check_saving(
    plugin: LoadedPlugin, pipeline: Any, X: pd.DataFrame, expected: FloatArray
) -> None:
    with plugin.guarded(tr("be saved with skops")):
        saved = save_estimator(strip_for_scoring(pipeline))
    with plugin.guarded(tr("be loaded with skops")), single_threaded_fits():
        try:
            loaded = load_estimator(saved, plugin, _COLUMNS)
        except ModelError as exc:
            raise PluginError(exc.message, exc.hint) from exc
        found = loaded.predict_proba(X)[:, 1]
    _require(
        plugin, np.array_equal(found, expected), tr("once saved and loaded it scores otherwise")
    )


def _require(plugin: LoadedPlugin, holds: bool, problem: str) -> None:
    if not holds:
        raise PluginError(
            "The {plugin} does not keep the contract: {problem}.", plugin=plugin, problem=problem
        )


def _make_samples() -> tuple[pd.DataFrame, IntArray]:
    """Make samples of two unequal classes, of which some values are missing."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(_N_ROWS, len(_COLUMNS))), columns=_COLUMNS)
    y = (np.abs(X["ph"]) + 0.3 * random.normal(size=_N_ROWS) > 1).to_numpy().astype(np.int64)
    return X.mask(random.random(X.shape) < 0.1), y
