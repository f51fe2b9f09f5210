from __future__ import annotations

import importlib
import json
import signal
import sys
import textwrap

import pytest

from waterflow_cli.common.errors import ModelError, PluginError, UsageError
from waterflow_cli.common.interrupts import install_interrupts
from waterflow_cli.models.discovery import (
    PluginStatus,
    describe_failure,
    installed_plugins,
    load_plugin,
    parse_params,
    survey_plugins,
)
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.trainer import train_model

pytestmark = pytest.mark.usefixtures("interrupts")

BUNDLED = {"extra-trees", "gp", "hgb", "lightgbm", "logreg", "mlp", "rf", "svm", "xgboost"}

PLUGIN = """
    class Plugin:
        contract = 1
        summary = "A test plugin"
        requires = {}
        trusted_types = ()
        search_space = {}

        def default_params(self):
            return {}

        def build_pipeline(self, *, columns, balance, random_state, params):
            raise NotImplementedError("no pipeline here")

    plugin = Plugin()
"""

PROBABILITIES = """
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin
    from waterflow_cli.pipelines import EstimatorPlugin

    class Classifier(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.array([0, 1])
            return self

        def predict(self, X):
            return np.zeros(len(X), dtype=int)

        def predict_proba(self, X):
            return np.full((len(X), 2), VALUE)

    plugin = EstimatorPlugin(summary="Wrong", estimator=__name__ + ":Classifier")
"""


@pytest.fixture
def interrupts():
    """The signals as commands take them."""
    install_interrupts()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install distributions for real: a dist-info folder and a module on sys.path."""
    site = tmp_path / "site"
    site.mkdir()
    modules = []

    def install_distribution(
        name, code=PLUGIN, *, plugin=None, value=None, metadata=True, entry_points=None
    ):
        module = f"waterflow_test_{name.replace('-', '_')}"
        folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        if metadata:
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8"
            )
        line = f"{plugin or name} = {value or module + ':plugin'}\n"
        (folder / "entry_points.txt").write_text(
            f"[waterflow.models]\n{line}" if entry_points is None else entry_points, "utf-8"
        )
        (site / f"{module}.py").write_text(textwrap.dedent(code), "utf-8")
        modules.append(module)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(site))
    yield install_distribution
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Where the trainings that fail leave their runs."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def change(code, **members):
    """Give the plugin class other members."""
    lines = [f"    Plugin.{name} = {value}" for name, value in members.items()]
    return "\n".join([code, *lines, ""])


def status_of(name):
    (found,) = [status for status in survey_plugins() if status.name == name]
    return found


def usable():
    return {status.name for status in survey_plugins() if status.usable}


@pytest.fixture
def usable_before():
    found = usable()
    assert {"logreg", "rf", "hgb", "svm", "mlp", "extra-trees"} <= found
    return found


def test_bundled_plugins_are_found_by_their_entry_points():
    assert set(installed_plugins()) >= BUNDLED
    assert list(installed_plugins()) == sorted(installed_plugins())
    (found,) = installed_plugins()["logreg"]
    assert str(found).startswith("plugin 'logreg' (waterflow_plugins.logreg:plugin, from waterflow")


def test_listing_plugins_imports_none(install):
    install("exploding", "raise RuntimeError('imported')")
    assert "exploding" in installed_plugins()
    assert "waterflow_test_exploding" not in sys.modules


def test_loading_one_plugin_imports_no_other(install):
    install("exploding", "raise RuntimeError('imported')")
    assert load_plugin("logreg").name == "logreg"
    assert "waterflow_test_exploding" not in sys.modules


def test_an_installed_plugin_is_loaded_and_listed(install, usable_before):
    install("good")
    assert load_plugin("good").model.summary == "A test plugin"
    assert status_of("good") == PluginStatus(
        name="good", summary="A test plugin", distribution="good 1.0", usable=True
    )
    assert usable() == {*usable_before, "good"}


@pytest.mark.parametrize(
    ("name", "suggestion"), [("forrest", ""), ("logref", " Did you mean 'logreg'?")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name, suggestion):
    with pytest.raises(UsageError) as refused:
        load_plugin(name)
    assert refused.value.message == f"No model plugin named '{name}'." + suggestion
    assert refused.value.hint == "See: waterflow plugins list"


BROKEN = {
    "raises at import": (
        "raise ValueError('no licence')",
        "cannot be imported: ValueError: no lic",
    ),
    "exits at import": ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    "raises an interrupt at import": (
        "raise KeyboardInterrupt('no')",
        "cannot be imported: KeyboardInterrupt: no",
    ),
    "is no Python": ("def (:", "cannot be imported: SyntaxError"),
    "has no such object": ("plugins = 1", "cannot be imported: AttributeError: .*'plugin'"),
    "has another contract": (
        change(PLUGIN, contract=2),
        "does not keep the contract: its contract is 2, and this version of waterflow knows 1",
    ),
    "has no contract": ("    plugin = object()", "its contract is None"),
    "lacks members": (
        "    class Plugin:\n        contract = 1\n        summary = 'x'\n    plugin = Plugin()",
        "it lacks requires, trusted_types, search_space, default_params, build_pipeline",
    ),
    "has a summary that is no text": (change(PLUGIN, summary=7), "its summary is 7, and no str"),
    "has a list of requirements": (
        change(PLUGIN, requires=["xgboost"]),
        r"its requires is \['xgboost'\], and no mapping",
    ),
    "has no trusted types": (
        change(PLUGIN, trusted_types=None),
        "its trusted_types is None, and no collection",
    ),
    "has a method that is none": (
        change(PLUGIN, build_pipeline="'later'"),
        "its build_pipeline is 'later', and no callable",
    ),
    "raises when asked for its contract": (
        change(PLUGIN, contract="property(lambda self: 1 / 0)"),
        "cannot be imported: ZeroDivisionError",
    ),
    "raises when asked for its summary": (
        change(PLUGIN, summary="property(lambda self: 1 / 0)"),
        "cannot be imported: ZeroDivisionError",
    ),
}


@pytest.mark.parametrize(("code", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_a_plugin_that_is_broken_is_named_and_costs_the_others_nothing(
    code, problem, install, usable_before
):
    install("broken-model", code)
    with pytest.raises(PluginError, match=problem) as failed:
        load_plugin("broken-model")
    assert failed.value.message.startswith(
        "The plugin 'broken-model' (waterflow_test_broken_model:plugin, from broken-model 1.0) "
    )
    assert "\n" not in failed.value.message
    status = status_of("broken-model")
    assert not status.usable
    assert status.problem == failed.value.message
    assert usable() == usable_before
    assert load_plugin("logreg").name == "logreg"


def test_a_plugin_that_the_user_interrupts_interrupts_waterflow(install):
    install("stopped", "import signal\nsignal.raise_signal(signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        load_plugin("stopped")
    install_interrupts()  # a second signal in the same second would be that of a closed terminal
    install("failing")
    with pytest.raises(KeyboardInterrupt), load_plugin("failing").guarded("stay"):
        signal.raise_signal(signal.SIGINT)


def test_an_entry_point_to_a_module_that_is_not_there_is_named(install, usable_before):
    install("lost", value="nowhere_to_be_found:plugin")
    with pytest.raises(PluginError, match="No module named 'nowhere_to_be_found'"):
        load_plugin("lost")
    assert usable() == usable_before


@pytest.mark.parametrize("module", ["quantum_forest", "quantum.forest", "json.quantum"])
def test_a_missing_requirement_is_named_with_the_command_that_installs_it(
    module, install, usable_before
):
    install("needy", change(PLUGIN, requires={module: "pip install quantum-forest"}))
    with pytest.raises(PluginError, match=f"needs '{module}'") as failed:
        load_plugin("needy")
    assert failed.value.hint == "Install it: pip install quantum-forest"
    assert status_of("needy").remedy == "Install it: pip install quantum-forest"
    assert usable() == usable_before


def test_a_requirement_that_is_installed_is_met(install):
    install("met", change(PLUGIN, requires={"json.decoder": "pip install python"}))
    assert load_plugin("met").name == "met"


def test_two_distributions_with_one_name_are_both_named(install, usable_before):
    install("first-forest", plugin="forest")
    install("second-forest", plugin="forest")
    with pytest.raises(PluginError, match="offer a plugin named 'forest'") as failed:
        load_plugin("forest")
    assert {"first-forest 1.0", "second-forest 1.0"} == set(
        failed.value.message.rpartition(": ")[2].rstrip(".").split(" and ")
    )
    assert not status_of("forest").usable
    assert usable() == usable_before


def test_a_second_plugin_named_as_a_bundled_one_disables_that_name_alone(install, usable_before):
    install("usurper", plugin="rf")
    with pytest.raises(PluginError, match="Two distributions offer a plugin named 'rf'"):
        load_plugin("rf")
    assert usable() == usable_before - {"rf"}


def test_a_distribution_found_twice_on_the_path_is_one(install, tmp_path, monkeypatch):
    install("twin")
    monkeypatch.syspath_prepend(str(tmp_path / "site" / ".." / "site"))
    assert len(installed_plugins()["twin"]) == 1


def test_an_entry_point_listed_twice_is_one(install):
    line = "twice = waterflow_test_twice:plugin\n"
    install("twice", entry_points=f"[waterflow.models]\n{line}{line}")
    assert len(installed_plugins()["twice"]) == 1


def test_a_distribution_without_metadata_costs_the_others_nothing(install, usable_before):
    install("nameless", metadata=False)
    assert usable() == {*usable_before, "nameless"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("float('nan')", r"gave no probability for 80 of 80 rows \(NaN\)"),
        ("1.5", "gave probabilities from 1.5 to 1.5; they must lie between 0 and 1"),
        ("-0.1", "gave probabilities from -0.1 to -0.1; they must lie between 0 and 1"),
    ],
)
def test_a_plugin_whose_probabilities_are_none_fails_by_name(
    value, problem, install, usable_before, samples
):
    install("wild", PROBABILITIES.replace("VALUE", value))
    data = load_training_data(str(samples), load_schema())
    with pytest.raises(PluginError, match=problem) as failed:
        train_model(data, load_plugin("wild"), TrainingOptions())
    assert failed.value.message.startswith("The plugin 'wild' (waterflow_test_wild:plugin, ")
    assert failed.value.exit_code == 5
    assert usable() == {*usable_before, "wild"}


def test_a_failure_in_the_plugins_code_is_put_on_the_plugin(install):
    install("failing")
    plugin = load_plugin("failing")
    with (
        pytest.raises(PluginError, match=r"failed to stand: ValueError: on two lines\."),
        plugin.guarded("stand"),
    ):
        raise ValueError("on\n two lines")
    with pytest.raises(PluginError, match="failed to stay: SystemExit: 0"), plugin.guarded("stay"):
        raise SystemExit(0)
    with pytest.raises(ModelError, match="as it is"), plugin.guarded("stay"):
        raise ModelError("as it is")
    with pytest.raises(PluginError, match="KeyboardInterrupt: now"), plugin.guarded("stay"):
        raise KeyboardInterrupt("now")


def test_a_parameter_value_that_scikit_learn_refuses_is_a_usage_error(cli, samples, store):
    command = ["train", samples, "--plugin", "rf", "--tracking-uri", store]
    outcome = cli(*command, "--param", "n_estimators=-1")
    assert outcome.code == 2
    assert (
        "Error: --param: The 'n_estimators' parameter must be an int in the range [1, inf)."
        " Got -1 instead.\n"
    ) in outcome.err
    assert "Traceback" not in outcome.err


def test_a_classifier_without_predict_is_put_on_the_plugin(install, samples):
    install("half", PROBABILITIES.replace("VALUE", "0.5").replace("def predict(", "def guess("))
    data = load_training_data(str(samples), load_schema())
    with pytest.raises(PluginError, match=r"The plugin 'half' .* has no predict\."):
        train_model(data, load_plugin("half"), TrainingOptions())


def test_plugins_list_warns_of_broken_ones_and_lists_the_others(install, cli):
    install("broken", "raise ValueError('no licence')")
    outcome = cli("plugins", "list")
    assert outcome.code == 0
    assert "logreg" in outcome.out
    assert "broken" not in outcome.out
    assert "Warning: The plugin 'broken' (waterflow_test_broken:plugin, from broken 1.0)" in (
        outcome.err
    )
    listed = json.loads(cli("plugins", "list", "--json").out)["plugins"]
    assert [entry["name"] for entry in listed if not entry["usable"]] == ["broken"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0."),
        ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt."),
        (PLUGIN, "failed to build a pipeline: NotImplementedError: no pipeline here."),
        (
            PLUGIN.replace('raise NotImplementedError("no pipeline here")', "raise SystemExit(0)"),
            "failed to build a pipeline: SystemExit: 0.",
        ),
        (
            PLUGIN.replace("NotImplementedError", "KeyboardInterrupt"),
            "failed to build a pipeline: KeyboardInterrupt: no pipeline here.",
        ),
        (change(PLUGIN, default_params="lambda self: None"), "failed to list its parameters"),
    ],
)
def test_training_with_a_broken_plugin_ends_with_exit_code_5(
    code, problem, install, cli, samples, store
):
    install("broken", code)
    outcome = cli("train", samples, "--plugin", "broken", "--tracking-uri", store)
    assert outcome.code == 5
    assert problem in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100", 100),
        ("0.5", 0.5),
        ("None", None),
        ("True", True),
        ("(64, 32)", (64, 32)),
        ("'7'", "7"),
        ("sqrt", "sqrt"),
        ("a=b", "a=b"),
        ("", ""),
        ("1 +", "1 +"),
    ],
)
def test_parameter_values_are_python_literals_else_text(text, value):
    assert parse_params([f"n={text}"], {"n": 1}) == {"n": value}


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(UsageError, match=r"--param depth: NAME=VALUE is expected\."):
        parse_params(["depth"], {"depth": 1})


def test_an_unknown_parameter_is_answered_with_the_nearest_and_all():
    with pytest.raises(
        UsageError, match=r"no parameter 'dept'\. Did you mean 'depth'\?"
    ) as refused:
        parse_params(["dept=3"], {"rate": 1, "depth": 1})
    assert refused.value.hint == "It has: depth, rate"


def test_a_failure_without_words_is_described_by_its_type():
    assert describe_failure(ValueError()) == "ValueError"
    assert len(describe_failure(ValueError("x" * 1000))) < 250
