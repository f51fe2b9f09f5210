from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote
from urllib.request import urlopen

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from stores import copy_store

from waterflow_cli.common.errors import ModelError
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import if_there
from waterflow_cli.registry.overview import list_versions
from waterflow_cli.registry.references import DIGEST_TAG
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def data(samples):
    return load_training_data(str(samples), load_schema())


def train(data, uri, plugin="logreg"):
    params = {"max_iter": 30} if plugin == "hgb" else {}
    options = TrainingOptions(balance="none", cv=CrossValidation(3, 1), params=params)
    training = Training(data, load_schema(), load_plugin(plugin), options)
    return run_training(training, TrackingOptions(uri), lambda _: None)


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    """A store with two versions, hgb and logreg, in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("my store 50%")
    uri = f"sqlite:///{str(folder).replace('%', '%25')}/mlflow.db"
    return uri, [train(data, uri, "hgb"), train(data, uri)]


def load(reference, uri, name="waterflow"):
    return load_model(reference, name=name, tracking_uri=uri)


def logged_model_of(uri, number=1):
    client = connect(uri)
    source = client.get_model_version("waterflow", str(number)).source
    return client.get_logged_model(source.removeprefix("models:/"))


def references_to_the_first(uri, reports):
    model = logged_model_of(uri)
    return {
        "@champion": "waterflow/1",
        "1": "waterflow/1",
        "models:/waterflow/1": "waterflow/1",
        "models:/waterflow@champion": "waterflow/1",
        f"models:/{model.model_id}": f"sha256:{model.tags[DIGEST_TAG][:12]}",
        f"runs:/{reports[0].registered.run_id}/model": f"sha256:{model.tags[DIGEST_TAG][:12]}",
    }


def test_each_way_of_naming_a_model_finds_it(store, data):
    uri, reports = store
    expected = reports[0].result.model.probability(data.X)
    digests = set()
    for reference, label in references_to_the_first(uri, reports).items():
        model = load(reference, uri)
        assert model.label == label, reference
        assert np.array_equal(model.decision.probability(data.X), expected)
        digests.add(model.digest)
    assert len(digests) == 1


def test_a_reference_with_a_name_wins_over_the_name(store):
    uri, _ = store
    assert load("models:/waterflow/2", uri, name="river").label == "waterflow/2"


def test_a_folder_is_loaded_without_a_store(store, tmp_path):
    uri, _ = store
    location = unquote(logged_model_of(uri).artifact_location.removeprefix("file://"))
    folder = shutil.copytree(location, tmp_path / "model")
    model = load(str(folder), "sqlite:///nowhere.db")
    assert model.label == f"sha256:{model.digest[:12]}"
    assert not Path("nowhere.db").exists()


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("@nobody", r"The model 'waterflow' has no @nobody in sqlite:.*"),
        ("7", r"The model 'waterflow' has no version 7 in sqlite:.*"),
        ("models:/river/1", r"The model 'river' has no version 1 in sqlite:.*"),
        ("models:/waterflow@nobody", r"The model 'waterflow' has no @nobody in sqlite:.*"),
        ("champion", r"No model 'champion': it is no folder with an MLmodel file\."),
        ("models:/waterflow/latest", r"No model 'models:/waterflow/latest': it is no folder.*"),
        ("models:/waterflow", r"No model 'models:/waterflow': it is no folder.*"),
        ("", r"No model '': it is no folder.*"),
        ("@", r"No model '@': it is no folder.*"),
        ("-1", r"No model '-1': it is no folder.*"),
        ("/nowhere/model", r"No model '/nowhere/model': it is no folder.*"),
        (
            "runs:/0123456789abcdef/model",
            r"The tracking store .* cannot be used: .*0123456789abc.*",
        ),
        (f"models:/m-{'0' * 32}", r"The tracking store .* cannot be used: .*m-0000.*"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_one_line(store, reference, problem, workdir):
    uri, _ = store
    with pytest.raises(ModelError, match=f"^{problem}$") as missing:
        load(reference, uri)
    assert missing.value.exit_code == 4
    assert "\n" not in missing.value.message
    assert missing.value.hint


def test_an_unknown_name_has_no_champion(store):
    uri, _ = store
    with pytest.raises(ModelError, match="The model 'river' has no @champion"):
        load("@champion", uri, name="river")


def test_a_run_has_no_model_of_another_name(store):
    uri, reports = store
    run_id = reports[0].registered.run_id
    for reference in (f"runs:/{run_id}/forest", f"runs:/{run_id}"):
        with pytest.raises(ModelError, match=rf"The run {run_id} has no model '(forest)?'\."):
            load(reference, uri)


def test_a_store_that_is_not_there_has_no_model(workdir):
    with pytest.raises(ModelError, match=r"No tracking store at sqlite:///mlflow\.db"):
        load("@champion", "sqlite:///mlflow.db")


@pytest.fixture(scope="module")
def one_version(data, tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('one') / 'mlflow.db'}"
    train(data, uri)
    return uri


@pytest.fixture
def changed(one_version, tmp_path):
    """A store of its own with one version, whose files are those of another."""
    uri = copy_store(one_version, tmp_path)
    return uri, connect(uri)


@pytest.mark.slow
def test_only_models_that_waterflow_trained_to_the_end_can_score(changed, tmp_path):
    uri, client = changed
    # A version that another tool registered from a folder.
    version = client.create_model_version("waterflow", (tmp_path / "any").as_uri())
    with pytest.raises(ModelError, match=r"Model waterflow/2 was not trained by waterflow\."):
        load(str(version.version), uri)
    # A training that was killed before the store knew the digest.
    model = logged_model_of(uri)
    client.delete_logged_model_tag(model.model_id, DIGEST_TAG)
    with pytest.raises(
        ModelError, match="Model waterflow/1: the store keeps no sha256 of it, so its files cannot"
    ):
        load("1", uri)
    # Files that somebody tidied away.
    client.set_logged_model_tags(model.model_id, {DIGEST_TAG: model.tags[DIGEST_TAG]})
    folder = Path(model.artifact_location.removeprefix("file://"))
    folder.rename(tmp_path / "tidied")
    with pytest.raises(ModelError, match="is missing, so its files cannot be verified") as missing:
        load("1", uri)
    assert missing.value.exit_code == 4
    (tmp_path / "tidied").rename(folder)


def test_versions_are_listed_the_newest_first(store):
    uri, reports = store
    listed = list_versions("waterflow", uri)
    assert [each["version"] for each in listed] == [2, 1]
    assert [each["aliases"] for each in listed] == [["challenger"], ["champion"]]
    assert [each["plugin"] for each in listed] == ["logreg", "hgb"]
    for each, report in zip(listed, reversed(reports), strict=True):
        assert each["roc_auc"] == report.result.evaluation.estimates["roc_auc"].value
        assert each["run_id"] == report.registered.run_id
        assert abs(each["created_s"] - time.time()) < 3600


@pytest.mark.slow
def test_a_version_whose_run_was_deleted_for_good_is_listed_without_figures(changed, tmp_path):
    uri, _ = changed
    (before,) = list_versions("waterflow", uri)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("DELETE FROM runs WHERE run_uuid = ?", [before["run_id"]])
    assert list_versions("waterflow", uri) == [
        {**before, "roc_auc": None, "false_potable_per_1000": None}
    ]


def test_a_model_without_versions_cannot_be_listed(store):
    uri, _ = store
    with pytest.raises(ModelError, match="No model named 'river' in sqlite:") as missing:
        list_versions("river", uri)
    assert missing.value.hint == "Train one: waterflow train"


def test_an_alias_that_is_not_set_stands_for_none(store):
    uri, _ = store
    client = connect(uri)
    assert if_there(client.get_model_version_by_alias, "waterflow", "previous") is None
    assert if_there(client.get_model_version_by_alias, "river", "champion") is None
    assert if_there(client.get_model_version_by_alias, "waterflow", "champion").version == 1


def drop_table(name, folder):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute(f"DROP TABLE {name}")


def test_a_store_that_lost_its_aliases_is_named(changed, tmp_path):
    uri, client = changed
    drop_table("registered_model_aliases", tmp_path)
    with pytest.raises(ModelError, match=r"The tracking store sqlite:.* cannot be used: "):
        load("@champion", uri)
    with pytest.raises(MlflowException, match="registered_model_aliases"):
        if_there(client.get_model_version_by_alias, "waterflow", "champion")


def test_a_store_that_lost_its_runs_is_named(changed, tmp_path):
    uri, _ = changed
    drop_table("runs", tmp_path)
    with pytest.raises(ModelError, match=r"The tracking store sqlite:.* cannot be used: "):
        list_versions("waterflow", uri)


# --- a tracking server ---------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real `mlflow server` that keeps the artifacts, on this machine alone."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "kept")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            },
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}", folder / "kept"
    finally:
        stop(process)


def wait_for(url, process, log, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text("utf-8", errors="replace")
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer: {log.read_text('utf-8', errors='replace')}")


def stop(process):
    """End the process and its children, whose group it leads."""
    os.killpg(process.pid, 15)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.slow
def test_a_model_on_a_tracking_server_is_fetched_and_verified(server, data):
    uri, kept = server
    report = train(data, uri)
    model = load("@champion", uri)
    assert model.label == "waterflow/1"
    X = data.X
    assert np.array_equal(model.decision.probability(X), report.result.model.probability(X))
    (estimator,) = kept.rglob("estimator.skops")
    content = estimator.read_bytes()
    estimator.write_bytes(content + b"x")
    with pytest.raises(ModelError, match=r"estimator\.skops is not what was saved"):
        load("@champion", uri)
    estimator.unlink()
    with pytest.raises(ModelError, match=r"estimator\.skops is not what was saved"):
        load("1", uri)
