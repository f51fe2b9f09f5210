from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import mlflow
import numpy as np
import pytest
from imblearn.pipeline import Pipeline as BalancedPipeline
from mlflow.types import DataType
from sklearn.base import BaseEstimator, ClassifierMixin

import waterflow_cli
from waterflow_cli.common import interrupts
from waterflow_cli.common.errors import DataRefusedError, ModelError, PluginError, UsageError
from waterflow_cli.common.json import json_text
from waterflow_cli.models.calibration import calibrator_to_json
from waterflow_cli.models.contract import GROUP
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.models.guarantees import parse_guarantee
from waterflow_cli.models.manifest import MANIFEST
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.overview import list_versions
from waterflow_cli.registry.references import DIGEST_TAG
from waterflow_cli.registry.runs import TrackingOptions, tracked_run
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

PLOTS = {
    "roc",
    "precision_recall",
    "confusion_matrix",
    "reliability",
    "permutation_importance",
    "metrics_by_threshold",
}


def run(data, plugin, uri, report=lambda _text: None, name="waterflow", **options):
    tracking = TrackingOptions(uri, name=name)
    options = TrainingOptions(**{"cv": CrossValidation(3, 1), **options})
    return run_training(Training(data, load_schema(), plugin, options), tracking, report)


def runs_of(uri, experiment="waterflow"):
    client = connect(uri)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def versions_of(uri):
    return connect(uri).search_model_versions("name='waterflow'")


def artifacts_of(run_found):
    folder = Path(run_found.info.artifact_uri.removeprefix("file://"))
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(samples):
    return load_training_data(str(samples), load_schema())


@pytest.fixture
def uri(new_store):
    return new_store


@pytest.fixture(scope="module")
def logged(data, tmp_path_factory):
    """Three trainings in one store: hgb, mlp and logreg."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('logged') / 'mlflow.db'}"
    said = []
    reports = {
        "hgb": run(data, load_plugin("hgb"), uri, said.append, params={"max_iter": 50}, seed=3),
        "mlp": run(data, load_plugin("mlp"), uri, balance="weight"),
        "logreg": run(data, load_plugin("logreg"), uri),
    }
    return uri, reports, said


@pytest.fixture
def hgb_run(logged):
    uri, reports, _ = logged
    return connect(uri).get_run(reports["hgb"].registered.run_id)


# --- what a run holds ----------------------------------------------------------------------------


def test_the_first_run_says_that_it_creates_the_store(logged):
    uri, _, said = logged
    assert said[0] == f"Creating the tracking store {uri}"
    assert said[-1] == "Logging the run and the model to MLflow"


def test_a_run_ends_finished(hgb_run):
    assert hgb_run.info.status == "FINISHED"


def test_parameters_are_logged_the_plugins_own_too(hgb_run):
    params = hgb_run.data.params
    assert params["seed"] == "3"
    assert params["balance"] == "smote"
    assert params["threshold_rule"] == "balanced-accuracy"
    assert params["calibration"] == "sigmoid"
    assert params["evaluation"] == "cv-3x1"
    assert params["guarantees"] == "none"
    assert params["plugin.max_iter"] == "50"
    assert params["plugin.learning_rate"] == "0.05"
    defaults = load_plugin("hgb").model.default_params()
    assert {f"plugin.{name}" for name in defaults} <= set(params)


def test_each_metric_is_logged_with_its_interval(hgb_run, logged):
    evaluation = logged[1]["hgb"].result.evaluation
    for name in METRICS:
        estimate = evaluation.estimates[name]
        assert hgb_run.data.metrics[f"test_{name}"] == estimate.value
        assert hgb_run.data.metrics[f"test_{name}_low"] == estimate.low
        assert hgb_run.data.metrics[f"test_{name}_high"] == estimate.high
    assert hgb_run.data.metrics["threshold"] == evaluation.threshold


def test_class_counts_and_baselines_are_logged(hgb_run, data):
    metrics = hgb_run.data.metrics
    negatives, positives = data.class_counts
    assert (metrics["rows_not_potable"], metrics["rows_potable"]) == (negatives, positives)
    assert (metrics["rows"], metrics["rows_dropped"]) == (400, 0)
    assert metrics["baseline_always_the_base_rate_roc_auc"] == 0.5
    assert 0.7 < metrics["baseline_logistic_regression_roc_auc"] < 0.9


@pytest.mark.slow
def test_undefined_metrics_are_left_out(data, uri):
    # From 1 on nothing is called potable.
    report = run(data, load_plugin("logreg"), uri, threshold=parse_threshold("1"))
    assert np.isnan(report.result.evaluation.estimates["precision_potable"].value)
    metrics = connect(uri).get_run(report.registered.run_id).data.metrics
    assert "test_precision_potable" not in metrics
    assert "test_roc_auc" in metrics


def test_tags_name_version_plugin_data_and_schema(hgb_run, samples):
    tags = hgb_run.data.tags
    assert tags["waterflow.version"] == waterflow_cli.__version__
    assert tags["waterflow.plugin"] == "hgb"
    assert tags["waterflow.plugin_distribution"] == f"waterflow-cli {waterflow_cli.__version__}"
    assert tags["waterflow.data_sha256"] == hashlib.sha256(samples.read_bytes()).hexdigest()
    assert tags["waterflow.schema"] == "water"
    text = Path(waterflow_cli.__file__).parents[1] / "schemas" / "water.yaml"
    if text.exists():
        assert tags["waterflow.schema_sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert tags["waterflow.schema_sha256"] == load_schema().sha256


def test_the_data_set_is_an_input_of_the_run(hgb_run, samples):
    (used,) = hgb_run.inputs.dataset_inputs
    assert used.dataset.name == samples.name
    assert str(samples) in used.dataset.source
    assert [tag.value for tag in used.tags] == ["training"]


def test_evaluation_is_stored_as_strict_json(hgb_run, logged):
    result = logged[1]["hgb"].result
    text = artifacts_of(hgb_run)["evaluation.json"].read_text("utf-8")
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["version"] == 1
    assert (content["rows_trained"], content["evaluation"]["rows"]) == (400, 400)
    assert content["evaluation"]["estimates"]["roc_auc"] == asdict(
        result.evaluation.estimates["roc_auc"]
    )
    assert sum(content["evaluation"]["confusion"].values()) == 400
    assert content["design"] == {
        "name": "cv-3x1",
        "text": "3-fold cross-validation, once",
        "sha256": result.design.digest,
    }
    assert content["fits"] == 10
    assert [fold["rows"] for fold in content["folds"]] == [134, 133, 133]
    folds = [fold["roc_auc"] for fold in content["folds"]]
    assert np.mean(folds) == pytest.approx(result.evaluation.estimates["roc_auc"].value)
    assert content["operating_points"][-1]["name"] == "reject everything"
    assert content["operating_points"][-1]["precision_potable"] is None
    assert content["guarantees"] == []
    assert content["calibration"] == calibrator_to_json(result.model.calibrator)
    assert content["policy"] == asdict(result.model.policy)
    assert content["permutation_importance"].keys() == set(result.importance.index)
    # The constant calls nothing potable, so its precision is undefined: null.
    constant = content["baselines"]["always the base rate"]["estimates"]
    assert constant["precision_potable"] == {"value": None, "low": None, "high": None}


def test_environment_is_stored(hgb_run):
    content = json.loads(artifacts_of(hgb_run)["environment.json"].read_text("utf-8"))
    assert content["version"] == 1
    assert content["python"] == sys.version.split()[0]
    assert content["distributions"]["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert content["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("plugin", "plots"), [("hgb", PLOTS), ("logreg", PLOTS), ("mlp", {*PLOTS, "loss_curve"})]
)
def test_every_picture_is_stored_and_a_loss_curve_for_networks_alone(plugin, plots, logged):
    uri, reports, _ = logged
    stored = artifacts_of(connect(uri).get_run(reports[plugin].registered.run_id))
    pictures = {name for name in stored if name.startswith("plots/")}
    assert pictures == {f"plots/{name}.png" for name in plots}
    for name in pictures:
        assert stored[name].read_bytes().startswith(b"\x89PNG\r\n")


def test_loss_is_logged_by_epoch(logged):
    uri, reports, _ = logged
    history = connect(uri).get_metric_history(reports["mlp"].registered.run_id, "loss")
    assert [point.value for point in history] == reports["mlp"].result.loss_curve
    assert [point.step for point in history] == list(range(1, len(history) + 1))


def test_artifacts_lie_beside_the_database(logged, hgb_run):
    folder = Path(logged[0].removeprefix("sqlite:///")).parent / "mlartifacts"
    assert hgb_run.info.artifact_uri.startswith(folder.as_uri())
    assert {path.name for path in folder.parent.iterdir()} == {"mlartifacts", "mlflow.db"}


# --- what is registered --------------------------------------------------------------------------


def test_signature_is_of_the_outputs_and_leaves_the_inputs_to_the_model(logged):
    model = mlflow.models.get_model_info(stored_uri(logged, "hgb"))
    assert model.signature.inputs is None
    outputs = {column.name: (column.type, column.required) for column in model.signature.outputs}
    assert outputs == {
        "probability": (DataType.double, False),
        "prediction": (DataType.long, False),
        "verdict": (DataType.string, True),
    }


def stored_uri(logged, plugin):
    uri, reports, _ = logged
    connect(uri)
    return f"models:/waterflow/{reports[plugin].registered.version}"


def test_requirements_pin_waterflow_and_what_loads_the_model(logged):
    uri, reports, _ = logged
    version = connect(uri).get_model_version("waterflow", str(reports["hgb"].registered.version))
    logged_model = connect(uri).get_logged_model(version.source.removeprefix("models:/"))
    folder = Path(logged_model.artifact_location.removeprefix("file://"))
    lines = (folder / "requirements.txt").read_text("utf-8").split()
    assert f"waterflow-cli=={waterflow_cli.__version__}" in lines
    assert f"skops=={importlib.metadata.version('skops')}" in lines
    assert f"scikit-learn=={importlib.metadata.version('scikit-learn')}" in lines


def test_the_manifests_digest_is_kept_in_the_store(logged):
    uri, reports, _ = logged
    client = connect(uri)
    version = client.get_model_version("waterflow", "1")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    manifest = Path(model.artifact_location.removeprefix("file://")) / MANIFEST
    assert model.tags[DIGEST_TAG] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert model.source_run_id == reports["hgb"].registered.run_id
    assert version.tags["waterflow.plugin"] == "hgb"


def test_the_first_version_is_champion_and_the_latest_challenger(logged):
    uri, reports, _ = logged
    found = [(each.registered.version, each.registered.alias) for each in reports.values()]
    assert found == [(1, "champion"), (2, "challenger"), (3, "challenger")]
    aliases = {each["version"]: each["aliases"] for each in list_versions("waterflow", uri)}
    assert aliases == {1: ["champion"], 2: [], 3: ["challenger"]}


def test_what_is_registered_scores_as_what_was_trained(logged, data):
    uri, reports, _ = logged
    model = load_model("@champion", name="waterflow", tracking_uri=uri)
    expected = reports["hgb"].result.model.probability(data.X)
    assert np.array_equal(model.probability(data.X), expected)
    assert (model.label, model.plugin) == ("waterflow/1", "hgb")


def test_the_summary_tells_the_data_the_version_and_the_result(logged, samples):
    report = logged[1]["hgb"]
    summary = report.summary()
    json.loads(json_text(summary), parse_constant=pytest.fail)
    assert summary["plugin"] == "hgb"
    assert summary["data"]["path"] == str(samples)
    assert summary["data"]["rows_not_potable"] + summary["data"]["rows_potable"] == 400
    assert summary["registered"] == {
        "name": "waterflow",
        "version": 1,
        "alias": "champion",
        "run_id": report.registered.run_id,
    }
    probability = report.result.tested[1]
    policy = report.result.model.policy
    decided = (probability >= policy.potable_from) | (probability <= policy.not_potable_to)
    assert summary["decided_share"] == pytest.approx(decided.mean())


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["hgb", "logreg"])
def test_train_prints_strict_json(cli, samples, plugin, uri):
    options = ("--json", "--test-size", "0.3", "--tracking-uri", uri)
    outcome = cli("train", samples, "--plugin", plugin, *options)
    assert outcome.code == 0
    content = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["version"] == 1
    assert content["registered"]["alias"] == "champion"


@pytest.mark.slow
def test_what_became_of_a_guarantee_is_stored_and_told(data, uri):
    guarantees = tuple(map(parse_guarantee, ("precision=0.99@99%", "fpr=0.5@50%")))
    report = run(data, load_plugin("logreg"), uri, guarantees=guarantees)
    (found,) = runs_of(uri)
    assert found.data.params["guarantees"] == "precision=0.99@99%, fpr=0.5@50%"
    text = artifacts_of(found)["evaluation.json"].read_text("utf-8")
    failed, _ = json.loads(text, parse_constant=pytest.fail)["guarantees"]
    assert failed == {
        "guarantee": "precision=0.99@99%",
        "cut": None,
        "n_rows": 120,
        "n_decided": 0,
        "observed": None,
        "method": "split",
    }
    assert report.summary()["rows_trained"] == 280
    json.loads(json_text(report.summary()), parse_constant=pytest.fail)


def test_a_model_that_must_be_guaranteed_and_cannot_is_not_registered(data, uri):
    guarantees = (parse_guarantee("precision=0.99@99%"),)
    with pytest.raises(DataRefusedError, match="Cannot be guaranteed"):
        run(data, load_plugin("logreg"), uri, guarantees=guarantees, require_guarantee=True)
    assert versions_of(uri) == []
    assert [each.info.status for each in runs_of(uri)] == ["FAILED"]


@pytest.mark.slow
def test_leftovers_of_other_distributions_do_not_stop_a_training(data, uri, tmp_path, monkeypatch):
    (tmp_path / "site" / "~broken-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    report = run(data, load_plugin("logreg"), uri, balance="none")
    assert report.registered.version == 1


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a/b", "o'brien", "a:b", "a@b"])
def test_a_name_that_no_model_can_have_is_refused_before_anything_is_done(name, cli, samples):
    with pytest.raises(UsageError, match=f"--name {name}: is no name for a model"):
        TrackingOptions("sqlite:///mlflow.db", name=name)
    assert cli("train", samples, "--plugin", "logreg", "--name", name).code == 2
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_models_are_kept_apart_by_name(data, uri):
    first = run(data, load_plugin("logreg"), uri, name="river", balance="none")
    second = run(data, load_plugin("logreg"), uri, name="lake", balance="none")
    assert (first.registered.version, second.registered.version) == (1, 1)
    assert second.registered.alias == "champion"


# --- trainings that do not end -------------------------------------------------------------------


class Stopping(ClassifierMixin, BaseEstimator):
    """Raises in its third fit, in the middle of the folds."""

    fits: ClassVar = []

    def __init__(self, error=ValueError):
        self.error = error

    def fit(self, X, y):
        self.fits.append(len(y))
        if len(self.fits) == 3:
            raise self.error
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


class StoppingPlugin:
    """Builds a pipeline that stops in the middle."""

    contract = 1
    summary = "Stops in the middle"
    requires: ClassVar = {}
    trusted_types = ()
    search_space: ClassVar = {}

    def __init__(self, error):
        self.error = error

    def default_params(self):
        return {}

    def build_pipeline(self, *, columns, balance, random_state, params):
        return BalancedPipeline([("classifier", Stopping(self.error))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (ValueError, PluginError, "FAILED"),
        (SystemExit, PluginError, "FAILED"),
        (MemoryError, PluginError, "FAILED"),
        (KeyboardInterrupt, KeyboardInterrupt, "KILLED"),
    ],
)
def test_a_training_that_stops_leaves_its_run_and_no_version(
    data, uri, monkeypatch, error, raised, status
):
    monkeypatch.setattr(Stopping, "fits", [])
    # As in a program of another's, where a KeyboardInterrupt is the user's.
    monkeypatch.setattr(interrupts._interrupts, "is_installed", False)
    point = EntryPoint("stopping", "tests:plugin", GROUP)
    plugin = LoadedPlugin(point, StoppingPlugin(error))
    with pytest.raises(raised, match="stopping" if raised is PluginError else None):
        run(data, plugin, uri)
    assert len(Stopping.fits) == 3
    (stopped,) = runs_of(uri)
    assert stopped.info.status == status
    assert stopped.info.end_time is not None
    assert stopped.data.tags["waterflow.data_sha256"] == data.sha256
    assert stopped.data.metrics["rows"] == 400
    assert versions_of(uri) == []
    assert mlflow.active_run() is None
    # The store is as usable as before.
    assert run(data, load_plugin("logreg"), uri, balance="none").registered.version == 1


@pytest.mark.slow
def test_a_model_that_holds_untrusted_types_is_never_registered(data, uri, monkeypatch):
    monkeypatch.setattr(Stopping, "fits", [0, 0, 0])  # so that it stops no more
    point = EntryPoint("stopping", "tests:plugin", GROUP)
    plugin = LoadedPlugin(point, StoppingPlugin(ValueError))
    with pytest.raises(ModelError, match="types that neither waterflow nor the plugin 'stopping'"):
        run(data, plugin, uri)
    assert versions_of(uri) == []
    assert [each.info.status for each in runs_of(uri)] == ["FAILED"]


def test_a_run_that_cannot_be_opened_names_the_store(tmp_path):
    with (
        pytest.raises(ModelError, match="cannot be created: no such folder"),
        tracked_run(TrackingOptions(f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}")),
    ):
        pytest.fail("there is no run")


def forget_open_run(uri, error=None):
    """Delete a run from its store while it is open; then end it well or with an error."""
    with tracked_run(TrackingOptions(uri)) as run_open:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
            database.execute("DELETE FROM runs WHERE run_uuid = ?", [run_open.run_id])
        if error is not None:
            raise error


def test_a_run_that_cannot_be_ended_is_told_unless_it_failed_already(uri):
    with pytest.raises(ModelError, match=r"cannot be used: .*not found"):
        forget_open_run(uri)
    assert mlflow.active_run() is None
    with pytest.raises(ValueError, match="the first error"):
        forget_open_run(uri, ValueError("the first error"))
    assert mlflow.active_run() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)]
)
def test_a_signal_in_the_middle_of_the_fit_leaves_a_killed_run_and_no_version(
    tmp_path, uri, number, jobs
):
    write_simulation(str(tmp_path / "many.csv"), 20_000, seed=1)
    command = [sys.executable, "-m", "waterflow_cli", "train", "many.csv", "--plugin", "rf"]
    command += ["--param", "n_estimators=5000", "--tracking-uri", uri, "--jobs", str(jobs)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        said = []
        while not (said and said[-1].startswith("Measuring rf by 5-fold")):
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        time.sleep(2)  # into the first folds
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert rest.strip() == "Error: Interrupted; outputs and models are as they were before."
    (stopped,) = runs_of(uri)
    assert stopped.info.status == "KILLED"
    assert stopped.data.tags["waterflow.plugin"] == "rf"
    assert versions_of(uri) == []
    assert connect(uri).search_registered_models() == []
    assert {path.name for path in tmp_path.iterdir()} <= {"many.csv", "mlflow.db", "mlartifacts"}
