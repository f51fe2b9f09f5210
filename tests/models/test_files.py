from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from laws import tried_on
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from waterflow_cli.common.errors import ModelError, PluginError
from waterflow_cli.models.calibration import Sigmoid, fit_calibrator
from waterflow_cli.models.decision import DecisionModel, Policy
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.estimator_scores import EstimatorScores, scores_of
from waterflow_cli.models.files import FORMAT, StoredModel, load_payload, save_payload
from waterflow_cli.models.manifest import (
    DECISION_FILE,
    ESTIMATOR_FILE,
    MANIFEST,
    PAYLOAD,
    SCHEMA_FILE,
    ModelFiles,
    read_verified,
    write_manifest,
)
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.models.portable.form import FORM_FILE
from waterflow_cli.models.reference import REFERENCE_FILES, Reference
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

QUICK = {
    "blend": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 20},
    "gp": {},
    "hgb": {"max_iter": 20},
    "lightgbm": {"n_estimators": 20},
    "logreg": {},
    "mlp": {"max_iter": 20},
    "rf": {"n_estimators": 20},
    "svm": {},
    "xgboost": {"n_estimators": 20},
}
COLUMNS = load_schema().measurements
LABEL = "tests"
REFERENCE = Reference(
    n_rows=0,
    n_invalid=0,
    n_read=0,
    nondetect="half",
    missing={},
    below={},
    above={},
    classes=(0, 0),
    verdicts=(0, 0, 0),
    n_repeated=0,
    X=pd.DataFrame(columns=list(COLUMNS), dtype=float),
    label=np.empty(0),
    probability=np.empty(0),
    hashes=np.empty(0, dtype=np.uint64),
)


@pytest.fixture(scope="module")
def data(samples):
    return load_training_data(str(samples), load_schema())


def load_or_skip(name):
    try:
        return load_plugin(name)
    except PluginError as exc:
        pytest.skip(f"{exc.message} {exc.hint}")


def fit_quickly(name, data, **options):
    plugin = load_or_skip(name)
    options = TrainingOptions(params=QUICK[name], **options)
    with single_threaded_fits():
        fitted = build_pipeline(plugin, list(COLUMNS), options).fit(data.X, data.y)
    calibrator = fit_calibrator(data.y, fitted.predict_proba(data.X)[:, 1], options.calibration)
    estimator = strip_for_scoring(fitted)
    return plugin, DecisionModel(
        scores=scores_of(estimator, COLUMNS),
        estimator=estimator,
        measurements=list(COLUMNS),
        calibrator=calibrator,
        threshold=0.4,
        policy=Policy.default(0.4),
    )


@pytest.fixture(scope="module", params=sorted(QUICK))
def saved(request, data, tmp_path_factory):
    """The payload of each bundled plugin, and the model that it was saved from."""
    plugin, decision = fit_quickly(request.param, data)
    folder = tmp_path_factory.mktemp(request.param) / PAYLOAD
    save_payload(folder, decision, load_schema(), plugin, {"run_id": "r1"}, REFERENCE)
    return folder, decision


def files_of(payload):
    """Give a payload's files as they are, verified by nobody."""
    return ModelFiles(
        "d",
        {
            f"data/{PAYLOAD}/{path.relative_to(payload).as_posix()}": path.read_bytes()
            for path in files_in(payload)
        },
    )


def rows_of_all_kinds(data):
    """Give rows as they come, rows with gaps, an empty one and one far outside."""
    gaps = data.X.mask(np.random.default_rng(0).random(data.X.shape) < 0.5)
    far = pd.DataFrame([[np.nan] * len(COLUMNS), [1e6] * len(COLUMNS)], columns=COLUMNS)
    return pd.concat([data.X, gaps, far], ignore_index=True)


# --- saving and loading --------------------------------------------------------------------------


def test_a_saved_model_scores_as_the_one_in_memory_bit_for_bit(saved, data):
    folder, decision = saved
    loaded = load_payload(files_of(folder), label=LABEL).decision
    X = rows_of_all_kinds(data)
    assert np.array_equal(loaded.probability(X), decision.probability(X))
    assert loaded.threshold == decision.threshold
    assert loaded.policy == decision.policy
    assert loaded.calibrator == decision.calibrator
    assert list(loaded.measurements) == list(decision.measurements)


@given(seed=st.integers(0, 10**6))
@tried_on(15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_saved_model_scores_any_rows_as_the_one_in_memory(saved, seed):
    folder, decision = saved
    random = np.random.default_rng(seed)
    X = pd.DataFrame(
        random.normal(0, 10 ** random.uniform(0, 4), (5, len(COLUMNS))), columns=COLUMNS
    )
    X = X.mask(random.random(X.shape) < 0.2)
    loaded = load_payload(files_of(folder), label=LABEL).decision
    assert np.array_equal(loaded.probability(X), decision.probability(X))


def test_no_file_holds_a_pickle(saved):
    folder, _ = saved
    portable = folder / "portable"
    names = {path.name for path in folder.iterdir()} - {portable.name}
    assert names == {ESTIMATOR_FILE, DECISION_FILE, SCHEMA_FILE, *REFERENCE_FILES}
    for path in files_in(folder):
        assert not path.read_bytes().startswith(b"\x80")
    json.loads((portable / FORM_FILE).read_text("utf-8"))
    arrays = [path for path in files_in(portable) if path.name != FORM_FILE]
    assert arrays
    for path in arrays:
        assert path.suffix == ".npy"
        assert np.load(path, allow_pickle=False).dtype.kind in "fib"
    with zipfile.ZipFile(folder / ESTIMATOR_FILE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    json.loads(members.pop("schema.json"))
    for name, content in members.items():
        assert name.endswith((".npy", ".bin")), name
        assert not content.startswith(b"\x80"), name
        assert b"|O" not in content[:128], name  # an array of objects would be pickled


def test_a_model_without_a_portable_form_scores_as_its_estimator(saved, data):
    """So do models of the format before, and those of plugins that have none."""
    folder, decision = saved
    files = files_of(folder)
    content = {name: data for name, data in files.content.items() if "/portable/" not in name}
    estimator = EstimatorScores(decision.estimator, COLUMNS)
    X = rows_of_all_kinds(data)
    expected = decision.calibrator.apply(estimator(X.to_numpy()))
    for number in (4, FORMAT):
        told = json.loads(content[f"data/{PAYLOAD}/{DECISION_FILE}"])
        content[f"data/{PAYLOAD}/{DECISION_FILE}"] = json.dumps({**told, "format": number}).encode()
        loaded = load_payload(ModelFiles("d", content), label=LABEL).decision
        assert np.array_equal(loaded.probability(X), decision.probability(X))
        assert np.allclose(loaded.probability(X), expected, rtol=0, atol=1e-9)


def test_the_decision_is_told_in_json(saved, data):
    folder, decision = saved
    content = json.loads((folder / DECISION_FILE).read_text("utf-8"))
    assert content["format"] == FORMAT
    assert content["measurements"] == list(COLUMNS)
    assert content["threshold"] == decision.threshold
    assert content["plugin"] in QUICK
    assert content["plugin_distribution"].startswith("waterflow-cli ")
    assert content["run_id"] == "r1"
    stored = load_payload(files_of(folder), label=LABEL)
    assert (stored.label, stored.digest, stored.plugin) == (LABEL, "d", content["plugin"])


def test_the_schema_is_stored_as_it_was(saved):
    folder, _ = saved
    stored = load_payload(files_of(folder), label=LABEL)
    assert stored.schema.sha256 == load_schema().sha256
    assert stored.schema.measurements == tuple(COLUMNS)


@pytest.mark.slow
def test_loading_runs_no_pickle(model_folder, tmp_path):
    """Python reports each object that a pickle names; here the first would end the process."""
    code = f"""
import os, sys
def watch(event, args):
    if event == "pickle.find_class":
        print("a pickle names", args, flush=True)
        os._exit(9)
import waterflow_cli.scoring.frames, waterflow_cli.registry.location as location
import numpy as np, pandas as pd
sys.addaudithook(watch)
model = location.load_model({str(model_folder)!r}, name="waterflow", tracking_uri="sqlite:///no.db")
X = pd.DataFrame([[np.nan] * 8 + [1.0]], columns={list(COLUMNS)!r})
print(waterflow_cli.scoring.frames.score_frame(model, X)["probability"][0])
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert 0 < float(finished.stdout) < 1


# --- tampering -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    """A store with a registered model, and the folder of its files."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    options = TrainingOptions(params=QUICK["hgb"], cv=parse_cv("3x1"))
    tracking = TrackingOptions(uri)
    training = Training(data, load_schema(), load_plugin("hgb"), options)
    report = run_training(training, tracking, lambda _text: None)
    client = connect(uri)
    source = client.get_model_version("waterflow", str(report.registered.version)).source
    location = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    return uri, Path(location.removeprefix("file://"))


@pytest.fixture
def tampered(store, tmp_path):
    """The store and its model folder, which is put back afterwards."""
    uri, folder = store
    shutil.copytree(folder, tmp_path / "backup")
    yield uri, folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)


@pytest.fixture
def model_folder(store, tmp_path):
    """A copy of the model folder, which no tracking store vouches for."""
    return Path(shutil.copytree(store[1], tmp_path / "model"))


def load_registered(uri):
    return load_model("@champion", name="waterflow", tracking_uri=uri)


def load_folder(folder):
    return load_model(str(folder), name="waterflow", tracking_uri="sqlite:///nowhere.db")


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


_ARRAYS = (
    *("0-values", "1-centre", "1-scale", "2-ends", "2-measurements", "2-missing_right", "2-roots"),
    *("2-thresholds", "2-values", "2-words"),
)
FILES = [
    "MLmodel",
    "conda.yaml",
    "data/waterflow/decision.json",
    "data/waterflow/estimator.skops",
    "data/waterflow/portable/form.json",
    *(f"data/waterflow/portable/root-{name}.npy" for name in _ARRAYS),
    *(f"data/waterflow/{name}" for name in sorted(REFERENCE_FILES)),
    "data/waterflow/schema.yaml",
    "python_env.yaml",
    "requirements.txt",
    "waterflow-manifest.json",
]


def check_refused(error):
    assert error.exit_code == 4
    assert "\n" not in error.message
    assert "refused, not loaded" in error.message


@pytest.mark.slow
def test_every_file_of_the_folder_is_in_the_manifest(store, tmp_path):
    _, folder = store
    assert [str(path.relative_to(folder)) for path in files_in(folder)] == FILES
    entries = json.loads((folder / MANIFEST).read_text("utf-8"))["sha256"]
    assert sorted([*entries, MANIFEST]) == FILES
    for name, digest in entries.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_an_untouched_model_is_loaded_both_ways(store, data):
    uri, folder = store
    registered, bare = load_registered(uri), load_folder(folder)
    X = rows_of_all_kinds(data)
    assert np.array_equal(registered.decision.probability(X), bare.decision.probability(X))
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert registered.digest == bare.digest == digest
    assert (registered.label, bare.label) == ("waterflow/1", f"sha256:{digest[:12]}")


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_in_any_file_is_refused_both_ways(tampered, name, place):
    uri, folder = tampered
    content = bytearray((folder / name).read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    for load, where in ((load_registered, uri), (load_folder, folder)):
        with pytest.raises(ModelError, match="is not what was saved") as refused:
            load(where)
        check_refused(refused.value)
        assert name == MANIFEST or f"{name} is not what was saved" in refused.value.message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["removed", "emptied", "cut short", "prolonged"])
def test_a_file_that_is_gone_or_of_another_length_is_refused_both_ways(tampered, name, change):
    uri, folder = tampered
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    changed = {"emptied": b"", "cut short": content[:-2], "prolonged": content + b"\0"}
    if change in changed:
        (folder / name).write_bytes(changed[change])
    for load, where in ((load_registered, uri), (load_folder, folder)):
        with pytest.raises(ModelError) as refused:
            load(where)
        assert refused.value.exit_code == 4
        assert "\n" not in refused.value.message


def test_a_changed_byte_anywhere_in_the_manifest_is_noticed(model_folder):
    content = (model_folder / MANIFEST).read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        (model_folder / MANIFEST).write_bytes(changed)
        with pytest.raises(ModelError, match="is not what was saved"):
            read_verified(model_folder, label=LABEL)


def test_a_missing_manifest_is_refused_both_ways(tampered):
    uri, folder = tampered
    (folder / MANIFEST).unlink()
    for load, where in ((load_registered, uri), (load_folder, folder)):
        with pytest.raises(
            ModelError, match=f"{MANIFEST} is missing, so its files cannot be verif"
        ):
            load(where)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"version": 1}',
        b'{"version": 1, "sha256": []}',
        b'{"version": 2, "sha256": {}}',
        b'{"sha256": {}}',
        b'{"version": 1, "sha256": {"MLmodel": null}}',
        b'{"version": 1, "sha256": {}}',
        b'{"version": 1, "sha256": {"no\\u0000file": "00"}}',
        b"[" * 100_000,
    ],
)
def test_a_manifest_of_any_other_form_is_refused(model_folder, content):
    (model_folder / MANIFEST).write_bytes(content)
    with pytest.raises(ModelError) as refused:
        load_folder(model_folder)
    check_refused(refused.value)


def test_a_manifest_written_anew_in_the_folder_is_caught_by_the_stores_digest(tampered):
    uri, folder = tampered
    decision = folder / "data" / PAYLOAD / DECISION_FILE
    content = json.loads(decision.read_text("utf-8"))
    decision.write_text(json.dumps({**content, "threshold": 0.0}), "utf-8")
    write_manifest(folder)
    assert load_folder(folder).decision.threshold == 0.0  # in itself the folder is in order
    with pytest.raises(ModelError, match=f"{MANIFEST} is not what was saved") as refused:
        load_registered(uri)
    check_refused(refused.value)


class Malicious:
    """Leaves a mark where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def drop_form(folder):
    """Leave a model nothing but its estimator to score by, with all hashes in order."""
    shutil.rmtree(folder / "data" / PAYLOAD / "portable")
    write_manifest(folder)
    return folder


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_in_place_of_the_estimator_is_never_loaded(tampered, tmp_path, rewrite, protocol):
    uri, folder = tampered
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Malicious(marker), protocol)
    (folder / "data" / PAYLOAD / ESTIMATOR_FILE).write_bytes(bomb)
    if rewrite:
        write_manifest(folder)
        load_folder(folder)  # the portable form is asked, and the estimator not opened
        drop_form(folder)
    for load, where in ((load_registered, uri), (load_folder, folder)):
        with pytest.raises(ModelError):
            load(where)
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()  # it would have gone off


def test_a_pickle_inside_the_skops_file_is_never_loaded(model_folder, tmp_path):
    """An array of objects in the archive is a pickle behind another name."""
    marker, path = tmp_path / "marker", model_folder / "data" / PAYLOAD / ESTIMATOR_FILE
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    arrays = [name for name in members if name.endswith(".npy")]
    assert arrays
    np.save(tmp_path / "bomb.npy", np.array([Malicious(marker)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            bomb = (tmp_path / "bomb.npy").read_bytes()
            archive.writestr(name, bomb if name in arrays else content)
    drop_form(model_folder)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(model_folder)
    assert not marker.exists()


@pytest.mark.parametrize("rewrite", [False, True])
def test_another_loader_module_is_refused_and_never_run(tampered, tmp_path, monkeypatch, rewrite):
    uri, folder = tampered
    marker = tmp_path / "marker"
    (tmp_path / "waterflow_test_evil.py").write_text(
        f"import os\nos.mkdir({str(marker)!r})\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (folder / "MLmodel").read_text("utf-8")
    assert "loader_module: waterflow_cli.pyfunc" in text
    (folder / "MLmodel").write_text(
        text.replace("loader_module: waterflow_cli.pyfunc", "loader_module: waterflow_test_evil"),
        "utf-8",
    )
    if rewrite:
        write_manifest(folder)
        load_folder(folder)  # waterflow itself asks no MLmodel what to import
    else:
        with pytest.raises(ModelError, match="MLmodel is not what was saved"):
            load_folder(folder)
    with pytest.raises(ModelError, match="is not what was saved"):
        load_registered(uri)
    assert not marker.exists()


def test_a_tampered_model_stops_the_command_in_one_line(tampered, cli, samples):
    uri, folder = tampered
    with (folder / "data" / PAYLOAD / ESTIMATOR_FILE).open("ab") as file:
        file.write(b"x")
    outcome = cli("score", samples, "-o", "out.csv", "--tracking-uri", uri)
    assert outcome.code == 4
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("Error: Model waterflow/1: ")
    assert not Path("out.csv").exists()


# --- what a model may hold -----------------------------------------------------------------------


class Stranger(ClassifierMixin, BaseEstimator):
    """A type that nobody vouches for."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


def decision_of(estimator):
    return DecisionModel(
        scores=scores_of(estimator, COLUMNS),
        estimator=estimator,
        measurements=list(COLUMNS),
        calibrator=Sigmoid(1.0, 0.0),
        threshold=0.5,
        policy=Policy.default(0.5),
    )


def build_folder(root, estimator, **changes):
    """Build a model folder without a portable form by hand, all hashes in order, as anyone can."""
    payload = root / "data" / PAYLOAD
    plugin = load_plugin("logreg")
    fitted = LogisticRegression().fit(np.eye(9), [0, 1] * 4 + [0])
    fitted = Pipeline([("classifier", fitted)])
    save_payload(payload, decision_of(fitted), load_schema(), plugin, {}, REFERENCE)
    shutil.rmtree(payload / "portable", ignore_errors=True)
    skops.io.dump(estimator, payload / ESTIMATOR_FILE)
    content = json.loads((payload / DECISION_FILE).read_text("utf-8"))
    (payload / DECISION_FILE).write_text(json.dumps({**content, **changes}), "utf-8")
    (root / "MLmodel").write_text("flavors: {}\n", "utf-8")
    write_manifest(root)
    return root


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (Stranger(), "Stranger"),
        (FunctionTransformer(func=os.system), "system"),
        (FunctionTransformer(func=shutil.rmtree), "rmtree"),
    ],
)
def test_an_untrusted_type_in_a_folder_of_correct_hashes_is_refused(tmp_path, step, named):
    folder = build_folder(tmp_path / "model", Pipeline([("step", step)]))
    read_verified(folder, label=LABEL)
    with pytest.raises(ModelError) as refused:
        load_folder(folder)
    assert refused.value.message.startswith(
        "The estimator holds types that neither waterflow nor the plugin 'logreg' "
    )
    assert named in refused.value.message
    assert refused.value.exit_code == 4


def test_a_model_is_not_saved_with_a_type_that_loading_would_refuse(tmp_path):
    with pytest.raises(ModelError, match=r"holds types that neither .* trusts: .*Stranger\.") as no:
        save_payload(
            tmp_path / PAYLOAD,
            decision_of(Pipeline([("step", Stranger())])),
            load_schema(),
            load_plugin("logreg"),
            {},
            REFERENCE,
        )
    assert no.value.hint == "The plugin's author can declare them as trusted_types."


def test_a_model_whose_plugin_is_not_installed_is_refused_by_the_plugins_name(
    tmp_path, cli, samples
):
    folder = build_folder(
        tmp_path / "model",
        Pipeline([("step", Stranger())]),
        plugin="ghost",
        plugin_distribution="waterflow-ghost 1.2",
    )
    outcome = cli("score", samples, "-o", "out.csv", "--model", folder)
    assert outcome.code == 4
    assert "needs the plugin 'ghost', which is not installed.\n" in outcome.err
    assert outcome.err.endswith("Install what trained it: waterflow-ghost 1.2\n")


def test_a_model_of_trusted_types_alone_needs_no_plugin(tmp_path):
    fitted = LogisticRegression().fit(np.eye(9), [0, 1] * 4 + [0])
    folder = build_folder(tmp_path / "model", Pipeline([("c", fitted)]), plugin="ghost")
    assert load_folder(folder).plugin == "ghost"


def test_a_model_of_a_later_format_is_refused_by_its_number(tmp_path):
    folder = build_folder(tmp_path / "model", Pipeline([("step", Stranger())]), format=FORMAT + 1)
    problem = rf"has format {FORMAT + 1}; this version knows {FORMAT}\."
    with pytest.raises(ModelError, match=problem) as refused:
        load_folder(folder)
    assert refused.value.hint.startswith("Install the version of waterflow that wrote it")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (DECISION_FILE, "{}"),
        (DECISION_FILE, "[]"),
        (DECISION_FILE, "no json"),
        (ESTIMATOR_FILE, "no zip"),
    ],
)
def test_a_payload_that_is_none_cannot_be_loaded(model_folder, name, content):
    (model_folder / "data" / PAYLOAD / name).write_text(content, "utf-8")
    drop_form(model_folder)
    with pytest.raises(
        ModelError, match=r"Model sha256:[0-9a-f]{12} cannot be loaded: "
    ) as refused:
        load_folder(model_folder)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("name", [DECISION_FILE, ESTIMATOR_FILE, SCHEMA_FILE])
def test_a_manifest_that_leaves_a_file_of_the_payload_out_is_refused(model_folder, name):
    path = model_folder / "data" / PAYLOAD / name
    content = path.read_bytes()
    path.unlink()
    write_manifest(model_folder)
    path.write_bytes(content)  # it is there, and nothing vouches for it
    with pytest.raises(ModelError, match="is not what was saved") as refused:
        load_folder(model_folder)
    check_refused(refused.value)


class Moody(Stranger):
    """Predicts as it is told."""

    def __init__(self, mood):
        self.mood = mood

    def predict_proba(self, X):
        if self.mood == "angry":
            raise ValueError("not today")
        return np.where(X.iloc[:, [0, 0]].isna(), np.nan, 0.5)


@pytest.mark.parametrize(
    ("mood", "problem"),
    [
        ("angry", r"failed to predict: ValueError: not today\."),
        ("absent", r"gave no probability for 2 of 3 rows \(NaN\)\."),
    ],
)
def test_a_stored_estimator_that_fails_is_put_on_its_plugin(mood, problem):
    estimator = Pipeline([("classifier", Moody(mood).fit(None, None))])
    model = StoredModel(
        label="waterflow/1",
        digest="d",
        decision=decision_of(estimator),
        schema=load_schema(),
        plugin="moody",
    )
    X = pd.DataFrame(1.0, index=range(3), columns=COLUMNS)
    X.iloc[:2, 0] = np.nan
    with pytest.raises(PluginError, match=f"Model waterflow/1, of the plugin 'moody', {problem}"):
        model.probability(X)


def test_files_beside_the_manifest_are_no_part_of_the_model(model_folder, tmp_path):
    # MLflow leaves a note about the version in each folder that it fetches.
    (model_folder / "registered_model_meta").write_text("model_name: waterflow\n", "utf-8")
    assert load_folder(model_folder).digest == write_manifest(model_folder)
