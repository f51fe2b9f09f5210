from __future__ import annotations

import json
import shutil
import sys
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
from learnable import write_learnable
from stores import copy_store

from waterflow_cli.common.errors import InputError, ModelError, UsageError
from waterflow_cli.models.decision import Policy
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.guarantees import parse_guarantee
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.runs import RECORD_FILE, TrackingOptions, tracked_run
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.training.data import DataOptions, TrainingData, load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training, TrainingRecord, deciding_versions
from waterflow_cli.training.runs.reproduction import (
    Comparison,
    compare_models,
    compare_versions,
    reproduce_run,
)
from waterflow_cli.training.trainer import train_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

QUICK = {
    "blend": {"n_estimators": 10},
    "rf": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "gp": {},
    "hgb": {"max_iter": 10},
    "logreg": {},
    "svm": {"C": 0.5},
    "mlp": {"hidden_layer_sizes": (8, 4), "max_iter": 30},
    "xgboost": {"n_estimators": 10},
    "lightgbm": {"n_estimators": 10},
}
CV = parse_cv("3x1")
UNKNOWN = "0" * 32
LOGREG = ("--plugin", "logreg", "--cv", "3x1")


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_learnable(path, 300, seed=5)
    return path


@pytest.fixture(scope="module")
def data(table):
    return load_training_data(str(table), load_schema())


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """A store with one version, logreg, and its run's id; copying it saves making the tables."""
    folder = tmp_path_factory.mktemp("trained")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return uri, train(table, uri, "logreg")


@pytest.fixture
def uri(trained, tmp_path):
    """A store of the test's own, with the one version, to which others can be added."""
    return copy_store(trained[0], tmp_path)


def train(path, uri, plugin, **options):
    """Train in a run, and give its id."""
    training = Training(
        load_training_data(str(path), load_schema()),
        load_schema(),
        load_plugin(plugin),
        TrainingOptions(**{"params": QUICK[plugin], "cv": CV, **options}),
    )
    report = run_training(training, TrackingOptions(uri), lambda _step: None)
    return report.registered.run_id


def reproduce(reference, uri, path=None, **others):
    return reproduce_run(
        reference, None if path is None else str(path), name="waterflow", tracking_uri=uri, **others
    )


def record_of(uri, run_id):
    folder = connect(uri).get_run(run_id).info.artifact_uri.removeprefix("file://")
    return Path(folder) / RECORD_FILE


def edit_record(uri, run_id, *keys, value):
    """Put another value into the record of a run."""
    path = record_of(uri, run_id)
    content = json.loads(path.read_text("utf-8"))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content), "utf-8")


@pytest.fixture
def edited(trained):
    """The store and its run, whose record may be edited: it is put back afterwards."""
    path = record_of(*trained)
    before = path.read_bytes()
    yield trained
    path.write_bytes(before)


# --- the record ----------------------------------------------------------------------------------


def test_a_record_comes_back_from_json_as_it_was(data):
    how = ReadingOptions(renames={"pH value": "ph"}, decimal=",", loq={"Sulfate": 2.0})
    read = DataOptions(how, drop_invalid=True, group="site", time="day")
    options = TrainingOptions(
        params={"hidden_layer_sizes": (8, 4), "solver": "adam", "alpha": 0.1, "verbose": False},
        balance="weight",
        threshold=parse_threshold("cost:10:1"),
        calibration="isotonic",
        cv=parse_cv("7x3"),
        test_size=0.3,
        guarantees=(parse_guarantee("precision=0.81234567@90.1234567%"),),
        require_guarantee=True,
        seed=12,
    )
    data = TrainingData(
        path=data.path, X=data.X, y=data.y, sha256=data.sha256, n_dropped=3, options=read
    )
    record = TrainingRecord.of(Training(data, load_schema(), load_plugin("mlp"), options))
    assert record.path == data.path
    assert TrainingRecord.from_json(record.to_json().encode(), "run") == record


def test_a_path_is_recorded_in_full(table, workdir):
    shutil.copy(table, "river.csv")
    data = load_training_data("river.csv", load_schema())
    training = Training(data, load_schema(), load_plugin("logreg"), TrainingOptions())
    record = TrainingRecord.of(training)
    assert record.path == str(workdir / "river.csv")


def test_the_number_of_jobs_is_no_part_of_a_record(data):
    records = [
        TrainingRecord.of(
            Training(data, load_schema(), load_plugin("rf"), TrainingOptions(jobs=jobs))
        )
        for jobs in (1, 4)
    ]
    assert records[0].to_json() == records[1].to_json()


def test_the_versions_of_what_a_plugin_requires_are_recorded():
    pytest.importorskip("lightgbm")
    assert "lightgbm" in deciding_versions(load_plugin("lightgbm"))
    assert "lightgbm" not in deciding_versions(load_plugin("rf"))
    assert {"python", "platform", "waterflow", "numpy", "scikit-learn", "scipy"} <= set(
        deciding_versions(load_plugin("rf"))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is no record of a training"),
        (b"[]", "is no record of a training"),
        (b'{"version": 1}', r"is no record of a training \(KeyError: 'data'\)"),
        (b'{"version": 2}', "has version 2; this version of waterflow knows 1"),
        (b"\xff", "is no record of a training"),
    ],
)
def test_what_is_no_record_is_refused(text, message):
    with pytest.raises(ModelError, match=message):
        TrainingRecord.from_json(text, "The run 1")


@pytest.mark.slow
def test_a_failed_run_has_its_record_too_but_no_model(table, uri):
    with pytest.raises(UsageError, match="--param"):
        train(table, uri, "logreg", params={"C": -1})
    client = connect(uri)
    (run,) = client.search_runs(["1"], "attributes.status = 'FAILED'")
    assert RECORD_FILE in {file.path for file in client.list_artifacts(run.info.run_id)}
    with pytest.raises(ModelError, match="has no model"):
        reproduce(run.info.run_id, uri)


# --- identical -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("plugin", QUICK)
def test_a_model_trained_again_is_identical(plugin, table, uri):
    for module in load_plugin(plugin).model.requires:
        pytest.importorskip(module)
    found = reproduce(train(table, uri, plugin, seed=3), uri, jobs=2)
    assert found.comparison.identical
    assert found.comparison.n_rows == 300
    assert found.versions == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"balance": "none", "threshold": parse_threshold("cost:10:1"), "calibration": "isotonic"},
        {"balance": "under", "threshold": parse_threshold("0.37"), "calibration": "none"},
        {"test_size": 0.25, "guarantees": (parse_guarantee("precision=0.6@80%"),)},
        {"quick": True, "cv": None},
    ],
    ids=["cost", "fixed", "guarantee", "quick"],
)
def test_the_options_are_those_of_the_run(options, table, uri):
    assert reproduce(train(table, uri, "rf", **options), uri).comparison.identical


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("plugin", QUICK)
def test_a_model_of_the_real_table_is_identical(plugin, real_table, uri):
    for module in load_plugin(plugin).model.requires:
        pytest.importorskip(module)
    found = reproduce(train(real_table, uri, plugin), uri, jobs=2)
    assert found.comparison.identical
    assert found.comparison.n_rows == 3276


@pytest.mark.parametrize(
    "reference", ["1", "@champion", "models:/waterflow/1", "runs:/{}/model", "{}"]
)
def test_a_run_is_named_by_its_id_or_by_its_model(reference, trained):
    uri, run_id = trained
    found = reproduce(reference.format(run_id), uri)
    assert found.run_id == run_id
    assert found.comparison.identical


def test_nothing_is_logged(trained):
    uri, run_id = trained
    before = Path(uri.removeprefix("sqlite:///")).read_bytes()
    reproduce(run_id, uri)
    assert Path(uri.removeprefix("sqlite:///")).read_bytes() == before


def test_the_command_line_prints_one_line_and_ends_with_0(cli, trained):
    outcome = cli("reproduce", "@champion", "--tracking-uri", trained[0])
    assert outcome.code == 0
    assert outcome.out == (
        "Identical: 300 rows get the same probabilities and verdicts, bit for bit, and threshold "
        "and policy are the same.\n"
    )


@pytest.mark.slow
def test_how_the_file_was_read_is_remembered_and_its_schema_may_be_gone(cli, table, uri):
    schema = load_schema().text.replace("max_value: 14}", "max_value: 9}")
    Path("own.yaml").write_text(schema, "utf-8")
    text = table.read_text("utf-8").replace(",ph,", ",acidity,", 1)
    Path("river.csv").write_text(text, "utf-8")
    trained = cli(
        *("train", "river.csv", *LOGREG, "--group", "site"),
        *("--rename", "acidity=ph", "--schema", "own.yaml", "--on-invalid", "drop"),
        *("--tracking-uri", uri),
    )
    assert trained.code == 0, trained.err
    Path("own.yaml").unlink()
    outcome = cli("reproduce", "2", "--json", "--tracking-uri", uri)
    content = json.loads(outcome.out)
    assert (outcome.code, content["version"], content["identical"]) == (0, 1, True)
    assert 200 < content["rows"] < 300


@pytest.mark.slow
def test_the_simulated_sample_is_made_again(cli, uri):
    assert cli("train", *LOGREG, "--tracking-uri", uri).code == 0
    outcome = cli("reproduce", "2", "--tracking-uri", uri)
    assert (outcome.code, outcome.out[:20]) == (0, "Identical: 3000 rows")


@pytest.mark.slow
def test_data_that_came_through_a_pipe_is_piped_again(cli, table, uri, monkeypatch):
    def pipe():
        monkeypatch.setattr(
            sys, "stdin", TextIOWrapper(BufferedReader(BytesIO(table.read_bytes())))
        )

    pipe()
    assert cli("train", "-", *LOGREG, "--tracking-uri", uri).code == 0
    absent = cli("reproduce", "2", "--tracking-uri", uri)
    assert absent.code == 3
    assert absent.err == (
        "Error: -: the run read its data through a pipe.\nPipe it again: --data -\n"
    )
    pipe()
    assert cli("reproduce", "2", "--data", "-", "--tracking-uri", uri).code == 0


# --- not identical -------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_seed_is_seen(cli, table, uri):
    run_id = train(table, uri, "rf", seed=1)
    edit_record(uri, run_id, "options", "seed", value=2)
    outcome = cli("reproduce", run_id, "--tracking-uri", uri)
    assert outcome.code == 1
    assert outcome.out.startswith("Not identical: ")
    assert "of 300 rows differ, by at most 0." in outcome.out
    assert len(outcome.out.splitlines()) == 1


def test_another_threshold_is_seen_where_no_probability_differs(cli, edited):
    uri, run_id = edited
    edit_record(uri, run_id, "options", "threshold", value="0.123")
    outcome = cli("reproduce", run_id, "--tracking-uri", uri, "--json")
    content = json.loads(outcome.out)
    assert outcome.code == 1
    assert content["identical"] is False
    assert content["largest_difference"] == 0
    assert content["threshold"]["here"] == 0.123 != content["threshold"]["recorded"]


def test_the_rows_that_differ_are_counted(trained, data):
    uri, run_id = trained
    stored = load_model(f"runs:/{run_id}/model", name="waterflow", tracking_uri=uri)
    other = train_model(data, load_plugin("rf"), TrainingOptions(params=QUICK["rf"], cv=CV)).model
    found = compare_models(stored, other, data.X)
    difference = np.abs(stored.probability(data.X) - other.probability(data.X))
    assert found.n_differing == np.count_nonzero(difference) > 0
    assert found.largest == difference.max()
    assert not found.identical


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"n_differing": 2, "n_verdicts": 1, "largest": 1e-16},
            "2 of 9 rows differ, by at most 1e-16 in probability, 1 in the verdict.",
        ),
        ({"thresholds": (0.5, 0.6)}, "0 of 9 rows differ, the threshold is another."),
        (
            {"policies": (Policy(0.8, 0.2), Policy(0.9, 0.2))},
            "0 of 9 rows differ, the policy is another.",
        ),
    ],
)
def test_a_comparison_says_what_differs(changes, message):
    same = {"thresholds": (0.5, 0.5), "policies": (Policy(0.8, 0.2), Policy(0.8, 0.2))}
    counts = {"n_rows": 9, "n_differing": 0, "n_verdicts": 0, "largest": 0.0}
    assert Comparison(**counts, **same).identical
    found = Comparison(**{**counts, **same, **changes})
    assert not found.identical
    assert found.describe() == f"Not identical: {message}"


# --- versions ------------------------------------------------------------------------------------


def test_versions_that_differ_are_named(cli, edited):
    uri, run_id = edited
    here = deciding_versions(load_plugin("logreg"))["numpy"]
    edit_record(uri, run_id, "versions", "numpy", value="1.0")
    outcome = cli("reproduce", run_id, "--tracking-uri", uri, "-q", "--json")
    assert outcome.code == 0
    assert outcome.err == (
        "Warning: Not the versions that trained, so the bits may differ: "
        f"numpy {here} (then 1.0).\n"
    )
    assert json.loads(outcome.out)["versions_differing"] == {
        "numpy": {"recorded": "1.0", "here": here}
    }


def test_a_library_that_is_gone_or_new_differs():
    assert compare_versions({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == {
        "a": ("1", "none"),
        "c": ("none", "3"),
    }


# --- what is missing -----------------------------------------------------------------------------


def test_changed_data_is_refused(cli, table, trained, workdir):
    text = table.read_text("utf-8").rstrip().rsplit("\n", 1)[0]
    Path("changed.csv").write_text(f"{text}\n99,,,,,,,,,1\n", "utf-8")
    outcome = cli("reproduce", "1", "--data", "changed.csv", "--tracking-uri", trained[0])
    assert outcome.code == 1
    assert outcome.err.startswith("Error: changed.csv: is not what the run was trained on: ")


@pytest.mark.slow
def test_data_may_lie_elsewhere_but_must_be_named(cli, table, uri, workdir):
    shutil.copy(table, "river.csv")
    assert cli("train", "river.csv", *LOGREG, "--tracking-uri", uri).code == 0
    Path("river.csv").rename("moved.csv")
    outcome = cli("reproduce", "2", "--tracking-uri", uri)
    assert outcome.code == 3
    assert outcome.err == (
        f"Error: {workdir / 'river.csv'}: cannot be read (No such file or directory).\n"
        "Name the file as it was then: --data FILE (or - for what came through a pipe).\n"
    )
    assert cli("reproduce", "2", "--data", "moved.csv", "--tracking-uri", uri).code == 0


def test_a_folder_is_no_data(trained, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        reproduce("1", trained[0], tmp_path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (UNKNOWN, f"No run '{UNKNOWN}' in "),
        (f"runs:/{UNKNOWN}/model", f"No run '{UNKNOWN}' in "),
        ("7", "The model 'waterflow' has no version 7"),
        ("@best", "The model 'waterflow' has no @best"),
        ("nonsense", "No run 'nonsense'."),
    ],
)
def test_an_unknown_run_is_not_available(reference, message, cli, trained):
    outcome = cli("reproduce", reference, "--tracking-uri", trained[0])
    assert outcome.code == 4
    assert outcome.err.startswith(f"Error: {message}")


def test_a_run_without_a_record_cannot_be_trained_again(cli, uri):
    with tracked_run(TrackingOptions(uri)) as run:
        pass
    outcome = cli("reproduce", run.run_id, "--tracking-uri", uri)
    assert outcome.code == 4
    assert outcome.err.startswith(f"Error: The run {run.run_id} has no training.json")


def test_a_plugin_that_is_not_installed_is_named(cli, edited):
    uri, run_id = edited
    edit_record(uri, run_id, "plugin", value="reverie")
    outcome = cli("reproduce", run_id, "--tracking-uri", uri)
    assert outcome.code == 4
    assert "trained by the plugin 'reverie', which is not installed" in outcome.err
    assert "Install what trained it: waterflow-cli " in outcome.err
