from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline as BalancedPipeline
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from waterflow_cli.common.errors import PluginError, UsageError
from waterflow_cli.models.contract import BALANCES, EstimatorPlugin
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.pipelines import balanced_pipeline
from waterflow_cli.testing import check_model_plugin

BUNDLED = ("extra-trees", "gp", "hgb", "lightgbm", "logreg", "mlp", "rf", "svm", "xgboost")
CLAIMS = [
    "its summary is one line",
    "its search space names parameters that it has",
    "fits and predicts with --balance smote",
    "equal seeds give equal probabilities, bit for bit",
    "is saved without pickle, and scores the same when loaded",
    "fits and predicts with --balance smoteenn",
    "fits and predicts with --balance under",
    "fits and predicts with --balance weight",
    "fits and predicts with --balance none",
    "stands a measurement that is missing throughout",
]


class PluginUnderTest:
    """Keeps the contract; each test breaks it in one way."""

    contract = 1
    summary = "A logistic regression"
    requires: ClassVar = {}
    trusted_types = ()
    search_space: ClassVar = {"C": (0.1, 1.0)}

    def default_params(self):
        return {"C": 1.0}

    def make_classifier(self, random_state):
        return LogisticRegression()

    def build_pipeline(self, *, columns, balance, random_state, params):
        return balanced_pipeline(
            self.make_classifier(random_state),
            balance=balance,
            random_state=random_state,
            scale=True,
        )


def with_members(**members):
    """Make a plugin that differs in some members."""
    return type("PluginUnderTest", (PluginUnderTest,), members)()


def with_classifier(classifier):
    return with_members(make_classifier=lambda self, random_state: classifier)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_plugin_keeps_the_contract(name):
    try:
        load_plugin(name)
    except PluginError as exc:
        pytest.skip(f"{exc.message} {exc.hint}")
    assert list(check_model_plugin(name)) == CLAIMS


def test_an_object_is_checked_as_an_installed_plugin_is():
    assert list(check_model_plugin(PluginUnderTest())) == CLAIMS
    assert list(check_model_plugin(load_plugin("logreg"))) == CLAIMS


def test_claims_come_one_by_one_and_stop_at_the_first_that_fails():
    claims = []
    with pytest.raises(PluginError, match="search space"):
        claims.extend(check_model_plugin(with_members(search_space={"depth": (1,)})))
    checks = check_model_plugin(with_members(search_space={"depth": (1,)}))
    assert next(checks) == CLAIMS[0]
    with pytest.raises(PluginError, match="search space"):
        next(checks)


def test_every_way_of_balancing_is_tried():
    asked = []

    def build(self, *, columns, balance, random_state, params):
        asked.append(balance)
        return PluginUnderTest.build_pipeline(
            self, columns=columns, balance=balance, random_state=random_state, params=params
        )

    assert list(check_model_plugin(with_members(build_pipeline=build))) == CLAIMS
    assert set(asked) == set(BALANCES)


class Clumsy(TransformerMixin, BaseEstimator):
    """Fills gaps in the very frame that it is given."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        X.fillna(0.0, inplace=True)
        return X


class Picky(SimpleImputer):
    """Fills gaps, but not a column of nothing else."""

    def fit(self, X, y=None):
        if X.isna().all().any():
            raise ValueError("an empty column")
        return super().fit(X, y)


class Restless(ClassifierMixin, BaseEstimator):
    """Draws its probabilities anew in each fit, whatever the seed."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.potable_ = np.random.default_rng().random()
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        return np.column_stack([np.full(len(X), 1 - self.potable_), np.full(len(X), self.potable_)])


class Fixed(ClassifierMixin, BaseEstimator):
    """Gives the same array for every row."""

    def __init__(self, row=(0.5, 0.5)):
        self.row = row

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        return np.tile(self.row, (len(X), 1))


class NeverFits(Fixed):
    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("out of luck")


class NeverPredicts(Fixed):
    def predict_proba(self, X):
        raise RuntimeError("out of ideas")


class Unsavable(Fixed):
    def fit(self, X, y, sample_weight=None):
        self.rows_ = (row for row in X)
        return super().fit(X, y)


class Gapless(LogisticRegression):
    """Refuses weights."""

    def fit(self, X, y):
        return super().fit(X, y)


class Fickle(DecisionTreeClassifier):
    """Scores otherwise once it was loaded."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.loaded = True

    def predict_proba(self, X):
        probability = super().predict_proba(X)
        return probability[:, ::-1] if getattr(self, "loaded", False) else probability


def pipeline_of(*steps):
    """Make a build_pipeline that gives a pipeline of copies of the steps."""

    def build(self, *, columns, balance, random_state, params):
        return BalancedPipeline([(f"step{index}", step) for index, step in enumerate(steps)])

    return build


def qualified(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


BREACHES = {
    "has a summary of two lines": (
        with_members(summary="one\ntwo"),
        r"does not keep the contract: its summary must be one line of text\.",
    ),
    "has an empty summary": (with_members(summary="  "), "its summary must be one line of text"),
    "has no summary": (with_members(summary=None), "its summary is None, and no str"),
    "has another contract": (with_members(contract=0), "its contract is 0, and this version"),
    "names unknown parameters": (
        with_members(search_space={"depth": (1,), "C": (1,), "alpha": (2,)}),
        r"its search space names no parameters of it: \['alpha', 'depth'\]",
    ),
    "cannot list its parameters": (
        with_members(default_params=lambda self: 1 / 0),
        "failed to list its parameters: ZeroDivisionError",
    ),
    "gives no parameters": (
        with_members(default_params=lambda self: None),
        "failed to list its parameters: TypeError",
    ),
    "cannot build a pipeline": (
        with_members(build_pipeline=lambda self, **_: 1 / 0),
        "failed to build a pipeline: ZeroDivisionError",
    ),
    "builds a scikit-learn pipeline": (
        with_members(build_pipeline=lambda self, **_: Pipeline([("c", LogisticRegression())])),
        r"built a Pipeline; an imblearn\.pipeline\.Pipeline is expected",
    ),
    "builds a classifier": (
        with_members(build_pipeline=lambda self, **_: LogisticRegression()),
        "built a LogisticRegression; an imblearn",
    ),
    "builds a pipeline without a classifier": (
        with_members(build_pipeline=pipeline_of(SimpleImputer())),
        "built a pipeline that has no predict",
    ),
    "cannot fit": (
        with_classifier(NeverFits()),
        "failed to fit with --balance smote: RuntimeError: out of luck",
    ),
    "cannot predict": (with_classifier(NeverPredicts()), "failed to predict: RuntimeError: out of"),
    "takes no gaps": (
        with_members(build_pipeline=pipeline_of(LogisticRegression())),
        "failed to fit with --balance smote: ValueError: Input X contains NaN",
    ),
    "takes no weights": (
        with_members(
            make_classifier=lambda self, random_state: Gapless(), trusted_types=[qualified(Gapless)]
        ),
        "failed to fit with --balance weight: TypeError",
    ),
    "stands no empty measurement": (
        with_members(
            build_pipeline=pipeline_of(Picky(), LogisticRegression()),
            trusted_types=[qualified(Picky)],
        ),
        "failed to fit with --balance smote: ValueError: an empty column",
    ),
    "changes its frame": (
        with_members(build_pipeline=pipeline_of(Clumsy(), LogisticRegression())),
        "it changes the frame that it is given",
    ),
    "ignores the seed": (with_classifier(Restless()), "equal seeds give other models"),
    "gives NaN": (with_classifier(Fixed((np.nan, np.nan))), "it gives NaN probabilities"),
    "gives probabilities above 1": (
        with_classifier(Fixed((-0.5, 1.5))),
        "it gives probabilities outside 0 to 1",
    ),
    "gives one column": (
        with_classifier(Fixed((0.5,))),
        r"predict_proba gives shape \(240, 1\) for 240 rows; \(240, 2\) is needed",
    ),
    "gives three columns": (
        with_classifier(Fixed((0.5, 0.25, 0.25))),
        r"predict_proba gives shape \(240, 3\) for 240 rows",
    ),
    "holds types that it does not declare": (
        with_classifier(Fixed()),
        r"holds types that neither waterflow nor the plugin 'PluginUnderTest' .* trusts: .*Fixed\.",
    ),
    "scores otherwise once loaded": (
        with_members(
            make_classifier=lambda self, random_state: Fickle(
                max_depth=2, random_state=random_state
            ),
            trusted_types=[qualified(Fickle)],
        ),
        "once saved and loaded it scores otherwise",
    ),
    "cannot be saved": (
        with_classifier(Unsavable()),
        "failed to be saved with skops: .*generator",
    ),
}


@pytest.mark.parametrize(("plugin", "problem"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_of_the_contract_is_named(plugin, problem):
    with pytest.raises(PluginError, match=problem) as failed:
        list(check_model_plugin(plugin))
    assert "plugin 'PluginUnderTest'" in failed.value.message
    assert "\n" not in failed.value.message
    assert failed.value.exit_code == 5


def test_declared_types_are_trusted():
    plugin = with_members(
        make_classifier=lambda self, random_state: Fixed(), trusted_types=[qualified(Fixed)]
    )
    assert list(check_model_plugin(plugin)) == CLAIMS


def test_a_name_that_is_not_installed_is_refused():
    with pytest.raises(UsageError, match="No model plugin named 'ghost'"):
        list(check_model_plugin("ghost"))


def test_an_object_that_lacks_members_is_told_which():
    with pytest.raises(PluginError, match="its contract is None"):
        list(check_model_plugin(object()))
    bare = type("Bare", (), {"contract": 1})()
    with pytest.raises(
        PluginError, match="it lacks summary, requires, trusted_types, search_space"
    ):
        list(check_model_plugin(bare))


def test_an_estimator_plugin_without_gap_tolerance_passes_by_its_imputer():
    plugin = EstimatorPlugin(
        summary="One tree",
        estimator="sklearn.tree:DecisionTreeClassifier",
        defaults={"max_depth": 3},
    )
    assert list(check_model_plugin(plugin)) == CLAIMS


def test_the_command_says_each_claim(cli):
    outcome = cli("plugins", "check", "logreg")
    assert outcome.code == 0
    assert outcome.out == "logreg keeps the contract.\n"
    assert outcome.err.splitlines() == [f"ok: {claim}" for claim in CLAIMS]


def test_samples_are_the_same_in_each_check():
    seen = []

    class Watching(Fixed):
        def fit(self, X, y, sample_weight=None):
            seen.append(pd.DataFrame(X).sum().sum())
            return super().fit(X, y)

    for _ in range(2):
        with pytest.raises(PluginError, match="types"):
            list(check_model_plugin(with_classifier(Watching())))
    assert seen[:2] == seen[2:]
