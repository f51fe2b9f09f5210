"""Versions and their aliases: promoted, rolled back, and each change explained."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from waterflow_cli.common.errors import ModelError, ModelRefusedError
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.registry import stores as store_module
from waterflow_cli.registry.overview import read_history
from waterflow_cli.registry.references import GATE_TAG
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.registry.stores import connect
from waterflow_cli.registry.versions import (
    JUDGED_BESIDE_TAG,
    promote,
    rollback,
)
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
NAME = "waterflow"


@pytest.fixture(scope="module")
def three_versions(samples, tmp_path_factory):
    """A store with three versions of hgb; its folder."""
    folder = tmp_path_factory.mktemp("versions")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    data = load_training_data(str(samples), load_schema())
    for seed in range(3):
        options = TrainingOptions(
            balance="none", cv=CrossValidation(3, 1), params={"max_iter": 30}, seed=seed
        )
        tracking = TrackingOptions(uri)
        training = Training(data, load_schema(), load_plugin("hgb"), options)
        run_training(training, tracking, lambda _: None)
    return folder


@pytest.fixture
def uri(three_versions, tmp_path):
    """A copy of that store; the models' files stay where they are."""
    shutil.copy(three_versions / "mlflow.db", tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def aliases_of(uri, name=NAME):
    model = connect(uri).get_registered_model(name)
    return {alias: int(number) for alias, number in sorted(model.aliases.items())}


def told(uri):
    return [
        (each.action, each.version, each.before, each.after) for each in read_history(NAME, uri)
    ]


@pytest.mark.slow
def test_trainings_stand_in_the_history_with_their_figures(uri):
    assert aliases_of(uri) == {"challenger": 3, "champion": 1}
    entries = read_history(NAME, uri)
    assert told(uri) == [("train", 1, None, 1), ("train", 2, 1, 1), ("train", 3, 1, 1)]
    for entry in entries:
        assert 0 < entry.metrics["roc_auc_low"] < entry.metrics["roc_auc"] < 1
        assert entry.metrics["false_potable_per_1000"] > 0
        assert entry.when.startswith("20")


def test_promotion_and_rollback_move_the_aliases_and_are_remembered(uri):
    change = promote(NAME, "@challenger", uri, why="better in the trial")
    assert (change.version, change.before) == (3, 1)
    assert change.figures["roc_auc"] > 0.5
    assert aliases_of(uri) == {"champion": 3, "previous": 1}
    promote(NAME, "2", uri)
    assert aliases_of(uri) == {"champion": 2, "previous": 3}
    assert rollback(NAME, uri, why="complaints").version == 3
    assert aliases_of(uri) == {"champion": 3, "previous": 1}
    assert rollback(NAME, uri).version == 1
    assert aliases_of(uri) == {"champion": 1}
    with pytest.raises(ModelError, match="no version was in use before this one"):
        rollback(NAME, uri)
    assert told(uri)[3:] == [
        *(("promote", 3, 1, 3), ("promote", 2, 3, 2)),
        *(("rollback", 3, 2, 3), ("rollback", 1, 3, 1)),
    ]
    assert [entry.why for entry in read_history(NAME, uri)][3:6] == [
        *("better in the trial", ""),
        "complaints",
    ]


def test_promoting_the_champion_again_changes_nothing(uri):
    before = told(uri)
    change = promote(NAME, "1", uri)
    assert (change.version, change.before) == (1, 1)
    assert aliases_of(uri) == {"challenger": 3, "champion": 1}
    assert told(uri) == before


def test_another_models_version_moves_its_own_aliases(uri):
    client = connect(uri)
    source = client.get_model_version(NAME, "2")
    client.create_registered_model("river")
    client.create_model_version("river", source.source, source.run_id)
    assert promote(NAME, "models:/river/1", uri).name == "river"
    assert aliases_of(uri, "river") == {"champion": 1}
    assert aliases_of(uri) == {"challenger": 3, "champion": 1}


@pytest.mark.parametrize(
    ("reference", "problem"), [("99", "no version 99"), ("@previous", "no @previous")]
)
def test_a_version_that_is_not_there_is_refused(uri, reference, problem):
    with pytest.raises(ModelError, match=problem):
        promote(NAME, reference, uri)


def test_a_version_that_cannot_be_loaded_is_not_promoted(uri):
    client = connect(uri)
    client.set_logged_model_tags(
        client.get_model_version(NAME, "3").source.removeprefix("models:/"),
        {"waterflow.manifest_sha256": "0" * 64},
    )
    with pytest.raises(ModelError, match="is not what was saved"):
        promote(NAME, "3", uri)
    assert aliases_of(uri) == {"challenger": 3, "champion": 1}
    assert len(told(uri)) == 3


def test_a_version_that_a_gate_refused_needs_force(uri):
    connect(uri).set_model_version_tag(NAME, "3", GATE_TAG, "refused")
    with pytest.raises(ModelRefusedError, match="version 3 was refused by the gate") as refused:
        promote(NAME, "3", uri)
    assert refused.value.exit_code == 1
    assert aliases_of(uri)["champion"] == 1
    promote(NAME, "3", uri, force=True, why="I know better")
    assert told(uri)[3:] == [("promote", 3, 1, 3)]


def test_a_version_that_passed_beside_another_champion_needs_force(uri):
    client = connect(uri)
    client.set_model_version_tag(NAME, "3", GATE_TAG, "passed")
    client.set_model_version_tag(NAME, "3", JUDGED_BESIDE_TAG, "2")
    with pytest.raises(ModelRefusedError, match="beside version 2, but version 1 is in use now"):
        promote(NAME, "3", uri)
    promote(NAME, "2", uri)
    assert promote(NAME, "3", uri).before == 2


@pytest.mark.parametrize(
    ("figure", "ends", "shown"),
    [
        ("roc_auc", (0.1, 0.2), "roc_auc 0.15 against"),
        ("false_potable_per_1000", (900, 990), "false_potable_per_1000 945 against"),
    ],
)
def test_a_version_that_is_clearly_worse_needs_force(uri, figure, ends, shown):
    client = connect(uri)
    run_id = client.get_model_version(NAME, "3").run_id
    for name, value in (("_low", ends[0]), ("_high", ends[1]), ("", sum(ends) / 2)):
        client.log_metric(run_id, f"test_{figure}{name}", value, step=1)
    with pytest.raises(ModelRefusedError, match=f"is worse than version 1.*{shown}"):
        promote(NAME, "3", uri)
    assert aliases_of(uri)["champion"] == 1
    assert promote(NAME, "3", uri, force=True).version == 3


def test_a_champion_that_changed_meanwhile_is_not_overwritten(uri):
    promote(NAME, "2", uri)
    with pytest.raises(ModelError, match="version 2 became @champion meanwhile, in the place of 1"):
        promote(NAME, "3", uri, expected_champion=1)
    assert aliases_of(uri) == {"challenger": 3, "champion": 2, "previous": 1}
    assert promote(NAME, "3", uri, expected_champion=2).before == 2


def test_what_other_programs_change_is_written_down_by_the_next_command(uri):
    connect(uri).set_registered_model_alias(NAME, "champion", "2")
    assert told(uri)[3:] == [("found", 2, 1, 2)]
    assert len(told(uri)) == 4  # reading wrote nothing
    promote(NAME, "3", uri)
    assert told(uri)[3:] == [("found", 2, 1, 2), ("promote", 3, 2, 3)]
    assert aliases_of(uri) == {"champion": 3, "previous": 2}


def test_a_deleted_version_is_not_rolled_back_to(uri):
    promote(NAME, "2", uri)
    promote(NAME, "3", uri)
    client = connect(uri)
    client.delete_model_version(NAME, "1")
    rollback(NAME, uri)
    assert aliases_of(uri) == {"champion": 2}


# --- several commands at once, and commands that are killed ---------------------------------------

# Ends the process at once, as a kill does, before the n-th line of putting a version in use.
KILLED = """
import os, signal, sys
from waterflow_cli import main
from waterflow_cli.registry import history
from waterflow_cli.registry import versions
left, put_in_use = int(sys.argv[1]), versions._Model.put_in_use
def trace(frame, event, arg):
    global left
    if frame.f_code.co_filename not in (history.__file__, versions.__file__):
        return None
    if event == "line":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace
def put_in_use_traced(*args, **more):
    sys.settrace(trace)
    return put_in_use(*args, **more)
versions._Model.put_in_use = put_in_use_traced
main.main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_lines", [46, 62, 65, 67])
def test_a_promotion_that_is_killed_leaves_usable_aliases_and_a_whole_history(uri, n_lines):
    command = ["models", "promote", "3", "--tracking-uri", uri]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(n_lines), *command], capture_output=True, text=True
    )
    assert ended.returncode == -9, ended.stderr
    found = aliases_of(uri)
    assert found["champion"] in (1, 3)
    assert set(found.values()) <= {1, 2, 3}
    assert read_history(NAME, uri)[-1].after == found["champion"]
    promote(NAME, "3", uri)
    assert aliases_of(uri)["champion"] == 3
    assert aliases_of(uri)["previous"] == 1
    assert read_history(NAME, uri)[-1].after == 3


@pytest.mark.slow
@pytest.mark.parametrize("n_lines", [60, 62])
def test_a_killed_promotion_is_never_rolled_back_to(uri, n_lines):
    promote(NAME, "2", uri)
    killed = [sys.executable, "-c", KILLED, str(n_lines), "models", "promote", "3"]
    subprocess.run([*killed, "--tracking-uri", uri], capture_output=True, check=False)
    assert aliases_of(uri)["champion"] == 2
    assert rollback(NAME, uri).version == 1
    assert aliases_of(uri) == {"challenger": 3, "champion": 1}


@pytest.mark.slow
def test_promotions_at_the_same_time_lose_no_entry(uri):
    commands = [
        [sys.executable, "-m", "waterflow_cli", "models", "promote", n, "--tracking-uri", uri]
        for n in ("2", "3", "2", "3")
    ]
    running = [subprocess.Popen(each, stderr=subprocess.PIPE, text=True) for each in commands]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    changes = [(before, after) for _, _, before, after in told(uri)[3:]]
    # Each one started from where the one before had ended.
    assert [before for before, _ in changes] == [1, *(after for _, after in changes[:-1])]
    assert aliases_of(uri)["champion"] == changes[-1][1]
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_that_is_kept_busy_is_said_to_be(uri, monkeypatch):
    monkeypatch.setattr(store_module, "_BUSY_TIMEOUT_S", 0.2)
    database = Path(uri.removeprefix("sqlite:///"))
    with (
        FileLock(database.with_name(".mlflow.db.changes.lock")),
        pytest.raises(ModelError, match="is busy: other commands are writing to it") as busy,
    ):
        promote(NAME, "3", uri)
    assert busy.value.exit_code == 4
    assert aliases_of(uri)["champion"] == 1
    assert promote(NAME, "3", uri).version == 3
    assert not database.with_name(".mlflow.db.changes.lock").exists()


# --- on the command line --------------------------------------------------------------------------


def test_models_commands_tell_the_life_of_a_model(cli, uri):
    where = ("--tracking-uri", uri)
    outcome = cli("models", "promote", "3", "--why", "it is smaller", *where)
    assert outcome.code == 0
    assert outcome.err.startswith("waterflow version 3 is now @champion.\nroc_auc: 0.")
    assert cli("models", "rollback", *where).code == 0
    history = cli("models", "history", *where)
    assert "it is smaller" in history.out
    assert "1 → 3" in history.out
    content = json.loads(cli("models", "history", "--json", *where).out)
    assert [each["action"] for each in content["history"]] == [
        *("train", "train", "train", "promote", "rollback"),
    ]
    assert {"who", "when", "why", "from", "to", "metrics"} <= content["history"][3].keys()
    change = json.loads(cli("models", "promote", "2", "--json", *where).out)
    assert (change["version"], change["before"]) == (2, 1)


def test_models_show_says_what_a_version_learned_from_and_decides_by(cli, uri, samples):
    shown = cli("models", "show", "2", "--tracking-uri", uri)
    assert shown.code == 0
    assert "ROC AUC" in shown.out
    content = json.loads(cli("models", "show", "2", "--json", "--tracking-uri", uri).out)
    assert (content["model"], content["plugin"], content["rows"]) == ("waterflow/2", "hgb", 400)
    assert content["options"]["balance"] == "none"
    assert content["estimates"]["roc_auc"]["low"] < content["estimates"]["roc_auc"]["value"]
    assert content["history"][0]["action"] == "train"
    assert f"{content['threshold']:.4g}" in shown.out


def test_models_list_shows_what_a_gate_said(cli, uri):
    connect(uri).set_model_version_tag(NAME, "2", GATE_TAG, "passed")
    versions = json.loads(cli("models", "list", "--json", "--tracking-uri", uri).out)["versions"]
    assert [each["gate"] for each in versions] == [None, "passed", None]


@pytest.mark.parametrize("command", [("history",), ("show",), ("rollback",), ("promote", "1")])
def test_a_model_that_is_not_there_is_refused_with_4(cli, uri, command):
    outcome = cli("models", *command, "--name", "lake", "--tracking-uri", uri)
    assert outcome.code == 4
    assert outcome.err.startswith("Error: ")
    assert len(outcome.err.splitlines()) <= 3
