from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.interrupts import install_interrupts
from waterflow_cli.registry.sqlite_tables import sqlite_path
from waterflow_cli.registry.stores import changing, connect, redact, store_errors

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def _in_empty_folder(workdir):
    pass


def names(client):
    return [experiment.name for experiment in client.search_experiments()]


def test_a_store_that_is_not_there_is_created_only_when_asked(workdir):
    uri = f"sqlite:///{workdir / 'new.db'}"
    with pytest.raises(
        ModelError, match=f"No tracking store at {uri}: no model is regist"
    ) as missing:
        connect(uri)
    assert missing.value.exit_code == 4
    assert missing.value.hint.startswith("Train one: waterflow train")
    assert list(workdir.iterdir()) == []
    assert names(connect(uri, create=True)) == ["Default"]
    assert [path.name for path in workdir.iterdir()] == ["new.db"]
    assert names(connect(uri)) == ["Default"]


@pytest.mark.slow
def test_a_relative_uri_means_the_working_folder_of_now(workdir, monkeypatch):
    # MLflow keeps its connections by URI: the same words in another folder are another store.
    for folder in ("one", "two"):
        (workdir / folder).mkdir()
        monkeypatch.chdir(workdir / folder)
        client = connect("sqlite:///mlflow.db", create=True)
        client.create_experiment(folder)
    assert sorted(names(connect("sqlite:///mlflow.db"))) == ["Default", "two"]
    assert (workdir / "one" / "mlflow.db").is_file()


@pytest.mark.parametrize("folder", ["50 % river?", "a%20b #1 Fluß"])
def test_a_working_folder_may_have_any_name(workdir, monkeypatch, folder):
    (workdir / folder).mkdir()
    monkeypatch.chdir(workdir / folder)
    connect("sqlite:///mlflow.db", create=True).create_experiment("river")
    assert [path.name for path in Path().iterdir()] == ["mlflow.db"]
    assert sorted(names(connect("sqlite:///mlflow.db"))) == ["Default", "river"]


def test_options_of_the_uri_are_no_part_of_the_file(workdir):
    connect("sqlite:///mlflow.db?timeout=5", create=True)
    assert [path.name for path in workdir.iterdir()] == ["mlflow.db"]
    assert names(connect("sqlite:///mlflow.db?timeout=5")) == ["Default"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", Path("mlflow.db")),
        ("sqlite:////var/mlflow.db", Path("/var/mlflow.db")),
        ("sqlite:///a%20b.db?timeout=5", Path("a b.db")),
        ("http://localhost:5000", None),
        ("postgresql://db/mlflow", None),
    ],
)
def test_only_a_sqlite_uri_has_a_file(uri, expected):
    assert sqlite_path(uri) == expected


def test_a_store_in_a_folder_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match=r"cannot be created: no such folder\."):
        connect("sqlite:///nowhere/mlflow.db", create=True)


def test_a_file_that_is_no_database_is_refused():
    Path("mlflow.db").write_text("These are my notes on the river.\n" * 100, "utf-8")
    with pytest.raises(ModelError, match=r"cannot be used: .*file is not a database") as refused:
        connect("sqlite:///mlflow.db")
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 300
    assert refused.value.hint == "Check the URI, and that the store is up, intact and writable."
    assert "my notes" in Path("mlflow.db").read_text("utf-8")


@pytest.mark.parametrize("name", ["folder", ""])
def test_a_folder_is_refused_at_once(name):
    # SQLAlchemy would try for two minutes to open it.
    Path("folder").mkdir()
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"cannot be used: .*Is a directory"):
        connect(f"sqlite:///{name}")
    assert time.monotonic() - started < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_database_that_may_not_be_read_is_refused_at_once():
    Path("mlflow.db").touch(mode=0o000)
    with pytest.raises(ModelError, match=r"cannot be used: .*Permission denied"):
        connect("sqlite:///mlflow.db")


@pytest.mark.parametrize("options", [{}, {"write": True}, {"create": True}])
def test_a_database_of_another_program_is_refused_and_left_as_it_was(options):
    with closing(sqlite3.connect("mlflow.db")) as connection:
        connection.execute("CREATE TABLE rivers (name TEXT)")
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(ModelError, match="is no store of MLflow: its tables are missing"):
        connect("sqlite:///mlflow.db", **options)
    assert Path("mlflow.db").read_bytes() == before


def test_an_empty_file_is_refused_and_left_empty():
    Path("mlflow.db").touch()
    with pytest.raises(ModelError, match="is no store of MLflow") as refused:
        connect("sqlite:///mlflow.db", create=True)
    assert refused.value.hint == "Nothing was written to it. Name another: --tracking-uri"
    assert Path("mlflow.db").read_bytes() == b""


def test_a_damaged_store_is_refused_before_anything_is_written():
    connect("sqlite:///mlflow.db", create=True)
    whole = Path("mlflow.db").read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + os.urandom(8192) + whole[middle + 8192 :]
    Path("mlflow.db").write_bytes(damaged)
    with pytest.raises(ModelError, match=r"is damaged: |disk image is malformed"):
        connect("sqlite:///mlflow.db", write=True)
    assert Path("mlflow.db").read_bytes() == damaged


def test_a_store_that_cannot_be_written_to_is_refused_before_any_work(workdir):
    connect("sqlite:///mlflow.db", create=True)
    readonly = workdir / "readonly"
    readonly.mkdir()
    mount = ["mount", "--bind", "-o", "ro", str(workdir), str(readonly)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a folder can be mounted by root only ({mounted.stderr.strip()})")
    try:
        with pytest.raises(ModelError, match="cannot be written to: it is read-only here"):
            connect(f"sqlite:///{readonly / 'mlflow.db'}", write=True)
        assert names(connect(f"sqlite:///{readonly / 'mlflow.db'}")) == ["Default"]
    finally:
        subprocess.run(["umount", "--lazy", str(readonly)], check=True)


def test_a_store_that_is_locked_is_said_to_be_busy(monkeypatch):
    monkeypatch.setattr("waterflow_cli.registry.stores._BUSY_TIMEOUT_S", 0.2)
    connect("sqlite:///mlflow.db", create=True)
    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ModelError, match="is busy: other commands are writing to it") as busy:
            connect("sqlite:///mlflow.db")
    assert busy.value.hint == "Try again when they have ended."


def test_an_interruption_while_the_lock_is_taken_leaves_no_file(workdir, monkeypatch):
    install_interrupts()
    opened = os.open

    def open_and_interrupt(*arguments):
        descriptor = opened(*arguments)
        signal.raise_signal(signal.SIGINT)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_interrupt)
    with pytest.raises(KeyboardInterrupt), changing("sqlite:///mlflow.db"):
        pytest.fail("it was not heard")
    assert list(workdir.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_up_within_a_minute():
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9/ does not answer\.") as refused:
        connect("http://127.0.0.1:9/")
    assert time.monotonic() - started < 60
    assert refused.value.exit_code == 4


def test_a_database_without_its_driver_is_refused_without_the_password():
    with pytest.raises(
        ModelError, match=r"mysql://\*\*\*@db/mlflow cannot be used: No module"
    ) as no:
        connect("mysql://ana:secret@db/mlflow")
    assert "secret" not in no.value.message
    assert no.value.hint.startswith("Install the driver of its database")


def test_an_unknown_kind_of_store_is_refused():
    with pytest.raises(ModelError, match="The tracking store gopher://x cannot be used"):
        connect("gopher://x")


@pytest.mark.parametrize("error", [MlflowException, OSError])
def test_an_error_of_the_store_is_told_in_one_line_without_credentials(error):
    uri = "https://ana:secret@mlflow.example"
    with pytest.raises(ModelError) as told, store_errors(uri):
        raise error(f"on {uri}\nall is\n\n lost " + "x" * 500)
    assert told.value.message.startswith(
        "The tracking store https://***@mlflow.example cannot be used: on https://***@mlflow.exa"
    )
    assert "all is lost" in told.value.message
    assert "secret" not in told.value.message
    assert len(told.value.message) < 300


def test_other_errors_pass_by():
    with pytest.raises(ValueError, match="mine"), store_errors("sqlite:///mlflow.db"):
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://localhost:5000", "http://localhost:5000"),
        ("https://token@host/x", "https://***@host/x"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("http://ana:pa ss9w@host:1/x", "http://***@host:1/x"),
        ("postgresql://ana:p?w d@host/db", "postgresql://***@host/db"),
        (
            "postgresql://ana:a@b@host/db?password=hu s@h&x=1",
            "postgresql://***@host/db?password=***&x=1",
        ),
        ("x://host?odbc_connect=PWD%3Dhu sh%3BServer%3Dx", "x://host?odbc_connect=PWD%3D***"),
        ("no http://ana:pa ss9w@host, or", "no http://***@host, or"),
        ("at http://host:5000, ask ana@host", "at http://host:5000, ask ana@host"),
        ("from https://a:b@c and http://d:e@f", "from https://***@c and http://***@f"),
    ],
)
def test_user_and_password_are_hidden(uri, shown):
    assert redact(uri) == shown


def test_a_password_with_spaces_is_hidden_as_written_and_escaped():
    for uri in ("http://ana:pa ss9w@host", "x://host/db?password=pa ss9w&x=1"):
        assert redact("not pa ss9w, pa%20ss9w", uri) == "not ***, ***"


@pytest.mark.parametrize("text", ["y", "password", "ana:", "@", "x=1&"])
def test_the_search_for_passwords_ends_in_a_long_text(text):
    """Within a second; one that began anew at each letter would take hours."""
    assert redact(text * 100_000) == text * 100_000


@pytest.mark.slow
def test_a_store_that_another_is_making_is_waited_for(workdir):
    """Several commands may start at the same time in a new folder."""
    start = Barrier(3)

    def open_store(_number):
        start.wait()
        return names(connect("sqlite:///mlflow.db", create=True))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(open_store, range(3))) == [["Default"]] * 3
    assert [path.name for path in workdir.iterdir()] == ["mlflow.db"]


def test_nothing_is_reported_to_anybody():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_the_client_that_is_given_is_of_the_store(workdir):
    client = connect("sqlite:///mlflow.db", create=True)
    assert isinstance(client, MlflowClient)
    assert client.tracking_uri == f"sqlite:///{workdir / 'mlflow.db'}"
