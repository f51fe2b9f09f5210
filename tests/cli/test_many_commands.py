"""Commands that use one sqlite store at the same time, or are killed while they do."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.overview import read_history
from waterflow_cli.registry.stores import connect
from waterflow_cli.registry.versions import promote

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
NAME = "waterflow"
TRAIN = ("train", "--plugin", "hgb", "--cv", "3x1", "-q", "--param", "max_iter=30")

# Ends the process at once, as a kill does, when a function is called.
KILLED = """
import os, pkgutil, signal, sys
from waterflow_cli import main
owner, _, name = sys.argv[1].rpartition(".")
setattr(pkgutil.resolve_name(owner), name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main.main(sys.argv[2:])
"""
# The model's digest is not kept yet; its version is not in the history; it has no alias.
MOMENTS = [
    "waterflow_cli.training.runs.log.write_manifest",
    "waterflow_cli.registry.versions._Model.note",
    "waterflow_cli.registry.versions._Model.point",
]


@pytest.fixture
def uri(store_uri, workdir):
    """A copy of the store with one model."""
    shutil.copy(store_uri.removeprefix("sqlite:///"), "mlflow.db")
    return f"sqlite:///{workdir / 'mlflow.db'}"


def start(*args, uri):
    command = [sys.executable, "-m", "waterflow_cli", *map(str, args), "--tracking-uri", uri]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run(*args, uri):
    with start(*args, uri=uri) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def assert_whole(uri):
    """Each version can be loaded, each alias stands for one, and the history tells of all."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    client = connect(uri)
    versions = {int(each.version) for each in client.search_model_versions(f"name='{NAME}'")}
    for version in versions:
        load_model(str(version), name=NAME, tracking_uri=uri)
    aliases = {
        alias: int(number) for alias, number in client.get_registered_model(NAME).aliases.items()
    }
    assert set(aliases.values()) <= versions
    entries = read_history(NAME, uri)
    assert {entry.version for entry in entries} >= versions
    assert entries[-1].after == aliases["champion"]
    return versions, aliases


def test_trainings_a_promotion_and_ten_scorings_at_the_same_time(uri, samples):
    """All end well, or say that the store is busy; nothing is lost."""
    run(*TRAIN, samples, "--seed", "5", uri=uri)
    running = {
        **{f"train {n}": start(*TRAIN, samples, "--seed", n, uri=uri) for n in (6, 7)},
        "promote": start("models", "promote", "2", uri=uri),
        **{f"score {n}": start("score", samples, "-o", f"{n}.csv", uri=uri) for n in range(10)},
    }
    done = set()
    for name, process in running.items():
        _, said = process.communicate(timeout=300)
        if process.returncode == 0:
            done.add(name)
        else:
            assert (process.returncode, "is busy" in said) == (4, True), (name, said)
    versions, aliases = assert_whole(uri)
    assert versions == {*range(1, 3 + len(done & {"train 6", "train 7"}))}
    assert ("promote" in done) == (aliases["champion"] == 2)
    by_version = {1: set(), 2: set()}
    for n in range(10):
        if f"score {n}" in done:
            text = Path(f"{n}.csv").read_text()
            judge = 2 if "waterflow/2" in text else 1
            assert text.count(f"waterflow/{judge}\n") == 400  # never two models in one file
            by_version[judge].add(text)
    assert all(len(texts) <= 1 for texts in by_version.values())


def test_trainings_that_are_killed_while_they_save_leave_no_half_version(uri, samples):
    versions = {1}
    for moment in MOMENTS:
        command = [sys.executable, "-c", KILLED, moment, *TRAIN, str(samples)]
        killed = subprocess.run(
            [*command, "--tracking-uri", uri], capture_output=True, text=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before, (versions, aliases) = versions, assert_whole(uri)
        assert before <= versions
        assert aliases["champion"] == 1
    run(*TRAIN, samples, "--seed", "1", uri=uri)
    after, aliases = assert_whole(uri)
    assert after == {*versions, max(versions) + 1}
    assert aliases == {"champion": 1, "challenger": max(after)}
    assert promote(NAME, "@challenger", uri).version == max(after)
