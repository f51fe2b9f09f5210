"""Stores in PostgreSQL, by themselves and behind MLflow's server; passwords stay unsaid."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from clusters import free_ports
from conftest import Cli, Outcome
from databases import PASSWORD, USER, Postgres, running_postgres

from waterflow_cli.common.credentials import redact

pytestmark = pytest.mark.slow

# As it is meant, and as any part of MLflow, SQLAlchemy or requests may write it.
WRITTEN = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), "ss:w/rd", "ss%3Aw%2Frd")


@dataclass
class Listener:
    """Runs commands, and keeps all that they say."""

    cli: Cli
    heard: list[str] = field(default_factory=list)

    def __call__(self, *args: object) -> Outcome:
        """Run a command; none may take a minute."""
        started = time.monotonic()
        done = self.cli(*args)
        assert time.monotonic() - started < 60
        assert done.code in (0, 4), done.err
        self.heard += [done.out, done.err]
        return done

    def refuses(self, *args: object) -> str:
        """Give the error of a command that must end with exit code 4, below its traceback."""
        done = self(*args, "--debug")
        assert (done.code, done.out) == (4, "")
        told = done.err[done.err.rindex("\nError: ") + 1 :]
        assert len(told.splitlines()) <= 3
        return told


@dataclass(frozen=True)
class Tracking:
    """MLflow's server on a PostgreSQL."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def uri(self) -> str:
        """Its address, with a password that a proxy before it would ask for."""
        return f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def tracking(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    folder = tmp_path_factory.mktemp("tracking")
    [port] = free_ports(1)
    environ = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": postgres.uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    listening = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    kept = ("--artifacts-destination", str(folder / "artifacts"))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *listening, *kept],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield Tracking(process, port, folder)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


@pytest.fixture
def listener(cli: Cli) -> Iterator[Listener]:
    """Check at the end of a test that no command said the password."""
    listener = Listener(cli)
    yield listener
    assert not [said for said in listener.heard for text in WRITTEN if text in said]


def await_answer(tracking: Tracking) -> None:
    for _ in range(600):
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{tracking.port}/health"),
        ):
            return
        time.sleep(0.1)
    pytest.fail((tracking.folder / "server.log").read_text("utf-8"))


def verdicts(path: str) -> set[str]:
    with Path(path).open(encoding="utf-8") as file:
        return {row["model_version"] for row in csv.DictReader(file)}


def test_a_model_lives_in_the_database_and_behind_the_server(
    listener: Listener, postgres: Postgres, tracking: Tracking, samples: Path
) -> None:
    """Train and score on the database itself; train, promote and score through the server."""
    await_answer(tracking)
    train = ("train", samples, "--plugin", "logreg", "--cv", "3x1", "-v")
    score = ("score", samples, "-v", "-o")
    direct, served = (("--tracking-uri", uri) for uri in (postgres.uri(), tracking.uri))

    assert listener(*train, *direct).code == 0
    assert listener(*score, "direct.csv", *direct).code == 0
    assert verdicts("direct.csv") == {"waterflow/1"}

    assert listener(*train, "--experiment", "lab", *served).code == 0
    assert list((tracking.folder / "artifacts").rglob("MLmodel"))
    assert listener("models", "promote", "@challenger", *served).code == 0
    assert listener(*score, "served.csv", *served).code == 0
    assert verdicts("served.csv") == {"waterflow/2"}
    listed = json.loads(listener("models", "list", "--json", *direct).out)
    aliases = {each["version"]: each["aliases"] for each in listed["versions"]}
    assert aliases == {1: ["previous"], 2: ["champion"]}

    pages = json.loads(listener("ui", "--json", *served).out)
    assert pages["url"].startswith(f"http://127.0.0.1:{tracking.port}/#/experiments/")
    assert set(pages["experiments"]) == {"waterflow", "lab"}
    assert listener("doctor", *served).code == 0
    assert listener("replay", "direct.csv", "--model", "@champion", *served).code == 0

    kept = [
        path.read_bytes()
        for path in (*Path().rglob("*"), *tracking.folder.rglob("*"))
        if path.is_file()
    ]
    everything = [postgres.dump().encode(), *kept]
    assert not [text for text in WRITTEN for content in everything if text.encode() in content]


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ana:{escaped}x@127.0.0.1:{port}/postgres",
        "postgresql://127.0.0.1:{port}/postgres?user=ana&password={escaped}x",
        "postgresql://ana:ss:w/rd@127.0.0.1:{port}/postgres",
        "postgresql://ana:{escaped}@127.0.0.1:{port}/nowhere",
    ],
)
def test_a_wrong_password_is_refused_without_being_said(
    listener: Listener, postgres: Postgres, uri: str
) -> None:
    named = uri.format(escaped=quote(PASSWORD, safe=""), port=postgres.port)
    told = listener.refuses("models", "list", "--tracking-uri", named)
    assert "cannot be used" in told
    assert re.search("password authentication failed|does not exist", told)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ana:ss:w/rd@127.0.0.1:9/db",
        "postgresql://ana:p@ss:w/rd@127.0.0.1:9/db",
        "postgresql://ana:ss:w/rd@127.0.0.1:port/db",
        "http://ana:p@ss:w/rd@127.0.0.1:9",
        "http://ana:ss%3Aw%2Frd@127.0.0.1:9/?token=ss%3Aw%2Frd",
        "postgresql+nothing://ana:ss:w/rd@127.0.0.1/db",
    ],
)
def test_what_cannot_be_reached_is_refused_without_its_password(
    listener: Listener, uri: str
) -> None:
    told = listener.refuses("models", "list", "--tracking-uri", uri)
    assert re.search("cannot be used|does not answer|is no URI", told)


def test_a_store_that_stops_is_one_message(
    listener: Listener, postgres: Postgres, tracking: Tracking, samples: Path
) -> None:
    """PostgreSQL stops, then MLflow's server is killed; no test after this one has a store."""
    await_answer(tracking)
    postgres.stop()
    direct, served = (("--tracking-uri", uri) for uri in (postgres.uri(), tracking.uri))
    assert "cannot be used" in listener.refuses("models", "list", *direct)
    assert "cannot be used" in listener.refuses("score", samples, "-o", "out.csv", *served)
    os.killpg(tracking.process.pid, 9)
    tracking.process.wait()
    assert "does not answer" in listener.refuses("train", samples, "--plugin", "hgb", *served)
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ana:a/b@c@host/db", "postgresql://***@host/db"),
        ("x?user=ana&password=hush&sslmode=require", "x?user=ana&password=***&sslmode=require"),
        ("odbc_connect=UID%3Dana%3BPWD%3Dhush", "odbc_connect=UID%3Dana%3BPWD%3D***"),
        ("host=db password='two words' port=1", "host=db password=*** port=1"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("models:/waterflow@champion", "models:/waterflow@champion"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_known_password_is_hidden_wherever_it_stands() -> None:
    uri = f"postgresql://ana:{quote(PASSWORD, safe='')}@db/x?sslpassword=hush%20now"
    assert redact(f"no {PASSWORD}, and 'hush now'", uri) == "no ***, and '***'"
    assert redact("a pin", "http://ana:pin@db") == "a pin"
