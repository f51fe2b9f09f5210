"""What is no defect of waterflow never ends with 70: rights, long names, servers that are gone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest

from waterflow_cli.registry import stores
from waterflow_cli.registry.location import locate_model

# Root may do everything; without these two it keeps to the rights of its own files.
DROPPED = "-dac_override,-dac_read_search"
AS_ANYBODY = ["setpriv", f"--bounding-set={DROPPED}", f"--inh-caps={DROPPED}"]


def run_as_anybody(*arguments):
    """Run a command line with the rights that the files give."""
    ahead = AS_ANYBODY if os.geteuid() == 0 else []
    if ahead and not shutil.which("setpriv"):
        pytest.skip("root has every right here, and there is no setpriv")
    command = [*ahead, sys.executable, "-m", "waterflow_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def model(store_uri, tmp_path):
    """A model folder of one's own."""
    located = locate_model("1", name="waterflow", tracking_uri=store_uri)
    return Path(shutil.copytree(urlparse(located.location).path, tmp_path / "model"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("waterflow-manifest.json", 0o000),
        ("data/waterflow/estimator.skops", 0o200),
        ("data/waterflow", 0o600),
        (".", 0o000),
    ],
)
def test_model_that_cannot_be_read_is_named(name, mode, model, samples, workdir):
    (model / name).chmod(mode)
    done = run_as_anybody("score", samples, "-o", "out.csv", "--model", model)
    (model / name).chmod(0o700)
    assert done.returncode == 4, done.stderr
    assert str(model) in done.stderr
    assert "cannot be read (Permission denied)" in done.stderr
    assert not Path("out.csv").exists()


@pytest.mark.slow
def test_folder_that_cannot_be_listed_is_written_to(samples, workdir):
    folder = workdir / "inbox"
    folder.mkdir()
    folder.chmod(0o300)
    done = run_as_anybody("validate", samples, "--good", folder / "good.csv")
    assert done.returncode == 0, done.stderr
    folder.chmod(0o700)
    assert [path.name for path in folder.iterdir()] == ["good.csv"]


@pytest.mark.parametrize(
    "reference",
    ["x" * 300, "models:/" + "x" * 300, "x/" * 3_000, "\udcff", "@" + "x" * 300],
)
def test_model_of_an_odd_name_is_not_there(reference, cli, samples, store_uri):
    more = ("--tracking-uri", store_uri, "-o", "out.csv")
    outcome = cli("score", samples, "--model", reference, *more)
    assert (outcome.code, outcome.out) == (4, ""), outcome.err


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".db", "x/" * 3_000 + "m.db", "a%00b.db", "\udcff.db", "."]
)
def test_store_of_an_odd_name_is_not_there(name, cli, samples):
    uri = f"sqlite:///{name}"
    assert cli("score", samples, "-o", "out.csv", "--tracking-uri", uri).code == 4
    assert cli("models", "list", "--tracking-uri", uri).code == 4
    assert cli("train", samples, "--plugin", "logreg", "--tracking-uri", uri).code == 4
    assert cli("doctor", "--tracking-uri", uri).code == 4


@pytest.mark.parametrize("is_listening", [True, False])
def test_server_that_does_not_answer_is_named_in_time(is_listening, cli, monkeypatch):
    first = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": ("0", "2"),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": ("1", "30"),
    }
    assert stores._PATIENCE.keys() == first.keys()
    monkeypatch.setattr(stores, "_PATIENCE", first)
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://ana:secret@127.0.0.1:{server.getsockname()[1]}"
        if not is_listening:
            server.close()
        start = time.monotonic()
        outcome = cli("models", "list", "--tracking-uri", uri)
    assert time.monotonic() - start < 10
    assert outcome.code == 4
    shown = uri.replace("ana:secret", "***")
    assert outcome.err.startswith(f"Error: The tracking store {shown} does not answer.\n")
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "30"


@pytest.mark.parametrize("text", ["a\0b.csv", "\ud800"])
def test_what_no_shell_can_pass_is_refused_wherever_it_comes_from(text, cli, workdir, samples):
    outcome = cli("validate", text)
    assert (outcome.code, outcome.out) == (2, "")
    assert "a character in it can stand in no option" in outcome.err
    Path("waterflow.toml").write_text('name = "a\\u0000b"\n')
    assert cli("models", "list").code == 2
