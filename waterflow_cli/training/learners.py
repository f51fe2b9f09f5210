"""Fit a plugin's pipeline on some rows, after a search of its parameters or not, and score others.

The search runs inside each fit, so that a tuned score is no better than it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline as BalancedPipeline
from joblib import parallel_config
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError, PluginError, UsageError
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import Message, tr, trn
from waterflow_cli.models.discovery import LoadedPlugin
from waterflow_cli.training.copies import relative_sources
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import MIN_PER_CLASS, stratified_folds
from waterflow_cli.training.forests import fit_pipeline
from waterflow_cli.training.options import TrainingOptions

if TYPE_CHECKING:
    import optuna

_N_FOLDS = 3
# Trials before a fold's score is compared with those of other trials.
_N_BEFORE_PRUNING = 5


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
        return fit_pipeline(clone(self.pipeline), self.X.iloc[rows], self.y[rows])

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
                "The {plugin} built a pipeline that has no {method}.", plugin=plugin, method=method
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


class Trial(NamedTuple):
    """Parameters that were tried: their mean ROC AUC, NaN where the trial was cut short."""

    params: dict[str, Any]
    roc_auc: float


class Search(NamedTuple):
    """What a search found."""

    params: dict[str, Any]
    trials: list[Trial]


@dataclass(frozen=True)
class TunedLearner:
    """Searches parameters on the rows that it is given, and fits with the best.

    The search is Optuna's tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl
    2011, "Algorithms for hyper-parameter optimization") over the plugin's own search space; a
    trial is measured by three-fold cross-validation on those rows, and cut short where its folds
    lie under the median of earlier trials.

    With a time limit, what is found depends on the machine. With a journal, a search that was
    stopped goes on to the same end.
    """

    plugin: LoadedPlugin
    data: TrainingData
    options: TrainingOptions

    def __post_init__(self) -> None:
        if not self.space:
            raise UsageError(
                "--tune: the plugin '{plugin}' names no parameter to search beyond "
                "those that are set by --param.",
                plugin=self.plugin.name,
            )

    @property
    def space(self) -> dict[str, Sequence[Any]]:
        """Values to try, of the parameters that the user left open."""
        return {
            name: values
            for name, values in self.plugin.model.search_space.items()
            if name not in self.options.params
        }

    def fit(self, rows: IntArray) -> Any:
        """Search on rows, and fit with what was found."""
        return self.fit_with(self.search(rows).params, rows)

    def fit_with(self, params: Mapping[str, Any], rows: IntArray) -> Any:
        """Fit with parameters that were found."""
        return self._learner(params).fit(rows)

    def score(self, fitted: Any, rows: IntArray) -> FloatArray:
        """Give P(class 1) of rows."""
        return self._learner({}).score(fitted, rows)

    def search(self, rows: IntArray) -> Search:
        """Try parameters on rows.

        Each trial's sampler is seeded by the seed and the trial's number, so a search that was
        stopped and goes on ends as one that was not.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._check_inner_folds(rows)
        study = self._study(rows)
        start, limit = time.monotonic(), self.options.time_limit or np.inf

        def objective(trial: optuna.Trial) -> float:
            for name, values in self.space.items():
                trial.suggest_int(name, 0, len(values) - 1)
            for earlier in study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
                if earlier.params == trial.params:
                    return float(earlier.values[0])
            return self._measure(trial, self._named(trial.params), rows)

        while (number := len(_finished(study))) < self.options.n_trials:
            if number and time.monotonic() - start > limit:
                break
            seed = np.random.SeedSequence((self.options.seed, number)).generate_state(1)[0]
            study.sampler = optuna.samplers.TPESampler(seed=int(seed))
            study.optimize(objective, n_trials=1)
        complete = optuna.trial.TrialState.COMPLETE
        trials = [
            Trial(self._named(each.params), each.values[0] if each.state == complete else np.nan)
            for each in _finished(study)
        ]
        return Search(self._named(study.best_params), trials)

    def _measure(self, trial: optuna.Trial, params: Mapping[str, Any], rows: IntArray) -> float:
        import optuna

        learner, y = self._learner(params), self.data.y
        values: list[float] = []
        for step, (train, test) in enumerate(self._inner_folds(rows)):
            scores = learner.score(learner.fit(train), test)
            values.append(float(roc_auc_score(y[test], scores)))
            trial.report(float(np.mean(values)), step)
            if step < _N_FOLDS - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(values))

    def _inner_folds(self, rows: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Split rows as the evaluation does: groups kept together, the older before the newer."""
        data = self.data
        if data.when is not None:
            rows = rows[np.argsort(data.when[rows], kind="stable")]
            splits = TimeSeriesSplit(_N_FOLDS).split(rows)
        else:
            groups = None if data.groups is None else data.groups[rows]
            kept = data.sources_kept(self.options.on_leak)
            sources = None if kept is None else relative_sources(kept[rows])
            seed = self.options.seed
            splits = stratified_folds(data.y[rows], _N_FOLDS, seed, groups, sources)
        for train, test in splits:
            yield rows[train], rows[test]

    def _check_inner_folds(self, rows: IntArray) -> None:
        """Refuse rows some part of which would hold too few of a class, or too few groups."""
        data = self.data
        known = rows if data.groups is None else np.unique(data.groups[rows])
        enough = len(known) >= _N_FOLDS and np.bincount(data.y[rows], minlength=2).min() >= _N_FOLDS
        if not enough or not all(
            np.bincount(data.y[test], minlength=2).min() > 0
            and np.bincount(data.y[train], minlength=2).min() >= MIN_PER_CLASS
            for train, test in self._inner_folds(rows)
        ):
            raise DataRefusedError(
                "--tune: {n_trained} rows of a fold cannot be split into {n_folds} more "
                "that hold enough of both classes.",
                tr("Use more rows, fewer folds (--cv), or no --tune."),
                n_trained=len(rows),
                n_folds=_N_FOLDS,
            )

    def _study(self, rows: IntArray) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        # What is stopped may go on with more trials, more time and other jobs.
        asked = replace(self.options, jobs=1, n_trials=0, time_limit=None, journal=None)
        journal = self.options.journal
        X, y = self.data.X, self.data.y
        content = f"{self.plugin.name} {self.space} {asked} {list(X.columns)}".encode()
        content += repr(dict(self.plugin.model.default_params())).encode()
        content += X.to_numpy(np.float64).tobytes() + y.tobytes() + rows.tobytes()
        for column in (self.data.groups, self.data.when):
            content += b"" if column is None else repr(column.tolist()).encode()
        return optuna.create_study(
            storage=None if journal is None else JournalStorage(JournalFileBackend(journal)),
            study_name=sha256_of(content),
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(_N_BEFORE_PRUNING),
        )

    def _learner(self, params: Mapping[str, Any]) -> PipelineLearner:
        chosen = replace(self.options, params={**self.options.params, **params})
        return make_learner(self.plugin, self.data, chosen)

    def _named(self, positions: Mapping[str, int]) -> dict[str, Any]:
        return {name: self.space[name][position] for name, position in positions.items()}


def choose_learner(
    plugin: LoadedPlugin, data: TrainingData, options: TrainingOptions
) -> PipelineLearner | TunedLearner:
    """Make what fits a plugin's pipeline, after a search of its parameters where one is asked."""
    if options.n_trials:
        return TunedLearner(plugin, data, options)
    return make_learner(plugin, data, options)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Give the trials that count; one that was interrupted is made anew."""
    from optuna.trial import TrialState

    counting = (TrialState.COMPLETE, TrialState.PRUNED)
    return list(study.get_trials(deepcopy=False, states=counting))
