"""``waterflow serve`` as a process, under a fuzzer, and beside MLflow's own server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from waterflow_cli.commands.serve import _note_defect
from waterflow_cli.common.errors import PluginError
from waterflow_cli.console import Console
from waterflow_cli.models.files import StoredModel

TOKEN = "a-token-of-some-length"
SAMPLE = {
    "ph": 7.0,
    "Hardness": 196.0,
    "Solids": 22000.0,
    "Chloramines": 7.0,
    "Sulfate": None,
    "Conductivity": 426.0,
    "Organic_carbon": 14.0,
    "Trihalomethanes": 66.0,
    "Turbidity": 4.0,
}


class Serving:
    """A running `waterflow serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@contextmanager
def serving(folder: Path, *options: str, prelude: str = "") -> Iterator[Serving]:
    environ = {**os.environ, "WATERFLOW_SERVE_TOKEN": TOKEN, "XDG_CONFIG_HOME": str(folder)}
    script = f"{prelude}\nfrom waterflow_cli.main import main\nmain()"
    command = (sys.executable, "-c", script, "serve", "--port", "0", *options)
    process = subprocess.Popen(
        command, cwd=folder, env=environ, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"Serving (\S+) at (http://127\.0\.0\.1:\d+)$", line.strip())
        assert found, line + process.stderr.read()
        yield Serving(process, found[2])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_server_ends_what_is_under_way_and_exits_with_0(tmp_path, store_uri, samples):
    header, *rows = samples.read_bytes().splitlines(keepends=True)
    answers: list[Any] = []
    with serving(tmp_path, "--tracking-uri", store_uri, "-v") as server:
        assert server.ask("/health")["status"] == "ready"
        body = header + b"".join(rows) * 60
        url = server.url + "/score"
        headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {TOKEN}"}

        def ask() -> None:
            request = urllib.request.Request(url, body, headers)
            with urllib.request.urlopen(request, timeout=60) as reply:
                answers.append(reply.read())

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.15)
        code, err = server.stop()
        asking.join(60)
    assert code == 0
    assert answers[0].count(b"\n") == 24_001
    said = err.splitlines()
    assert said[-1] == "Stopped."
    assert any(re.fullmatch(r"127\.0\.0\.1 POST /score 200 [0-9.]+ ms", line) for line in said)
    assert TOKEN not in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_server_ends_though_a_thread_is_still_at_a_request(tmp_path, store_uri):
    stuck = "import time, waterflow_cli.serving.app as app\napp.judge = lambda *_: time.sleep(600)"
    chosen = ("--tracking-uri", store_uri, "--timeout-s", "0.2")
    with serving(tmp_path, *chosen, prelude=stuck) as server:
        with pytest.raises(urllib.error.HTTPError, match="504"):
            server.ask("/score", b"{}")
        assert server.stop() == (0, "Stopped.\n")


def test_ctrl_c_ends_it_quietly_and_others_are_heard_again(cli, store_uri):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def interrupt() -> None:
        _wait_for_answer(urllib.request.Request(f"http://127.0.0.1:{port}/health"))
        os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=interrupt)
    asking.start()
    outcome = cli("serve", "--port", port, "--tracking-uri", store_uri, "--reload-s", "0", "-v")
    asking.join()
    assert outcome.code == 0
    first, access, last = outcome.err.splitlines()
    assert first == f"Serving waterflow/1 at http://127.0.0.1:{port}"
    assert access.startswith("127.0.0.1 GET /health 200 ")
    assert last == "Stopped."
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


def test_defects_are_told_in_a_line_without_credentials(capfd):
    for debug in (False, True):
        _note_defect(Console(debug=debug), ValueError("at postgresql://ana:hunter2@db/x"))
        err = capfd.readouterr().err
        assert "a defect of its own: ValueError: at postgresql://***@db/x" in err
        assert "hunter2" not in err
        assert len(err.splitlines()) == 1 + debug


def test_a_plugins_failure_is_logged_without_values_of_samples(capfd):
    class Failing:
        def probability(self, X: Any) -> Any:
            raise ValueError(f"cannot read {X}")

    model = StoredModel(
        label="waterflow/1", digest="", decision=Failing(), schema=None, plugin="hgb"
    )  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"cannot read 7\.31") as failed:
        model.probability("7.31")  # type: ignore[arg-type]
    _note_defect(Console(), failed.value)
    assert capfd.readouterr().err == (
        "Warning: Model waterflow/1, of the plugin 'hgb', failed to predict: ValueError.\n"
    )
    _note_defect(Console(), PluginError("No probability for 2 of 3 rows."))
    assert capfd.readouterr().err == "Warning: No probability for 2 of 3 rows.\n"


def test_usage_is_checked_before_anything_is_loaded(cli, workdir, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("serve", "--port", port)
    assert outcome.code == 2
    assert f"Port {port} of 127.0.0.1 is not to be had" in outcome.err
    outcome = cli("serve", "--host", "0.0.0.0")
    assert (outcome.code, "--token-file" in outcome.err) == (2, True)
    monkeypatch.setenv("WATERFLOW_SERVE_TOKEN", TOKEN)
    outcome = cli("serve", "--no-token")
    assert (outcome.code, TOKEN in outcome.err) == (2, False)
    (workdir / "token").write_text("short")
    outcome = cli("serve", "--token-file", "token")
    assert (outcome.code, "short" in outcome.err.replace("shorter", "")) == (2, False)


def test_without_a_model_it_does_not_start(cli):
    outcome = cli("serve", "--port", 0)
    assert outcome.code == 4
    assert "No tracking store" in outcome.err


def test_credentials_of_the_store_are_not_shown(cli):
    outcome = cli(
        "serve", "--port", 0, "--tracking-uri", "postgresql://ana:hunter2@127.0.0.1:1/none"
    )
    assert outcome.code == 4
    assert "hunter2" not in outcome.err + outcome.out


@pytest.mark.slow
def test_description_passes_a_schema_driven_fuzzer(tmp_path, store_uri):
    with serving(tmp_path, "--tracking-uri", store_uri) as server:
        fuzzer = Path(sys.executable).with_name("st")
        command = [
            fuzzer, "run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
            "--max-examples", "15", "--seed", "1", "--generation-database", "none", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        assert server.ask("/health")["status"] == "ready"
        assert server.stop() == (0, "Stopped.\n")


@pytest.mark.slow
def test_mlflows_own_server_gives_the_same_values(tmp_path, store_uri):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store_uri}
    mlflow = Path(sys.executable).with_name("mlflow")
    command = [
        mlflow, "models", "serve", "-m", "models:/waterflow@champion", "--env-manager", "local",
        "--port", str(port),
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environ, "PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        body = json.dumps({"dataframe_records": [SAMPLE]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        theirs = _wait_for_answer(request)["predictions"][0]
        with serving(tmp_path, "--tracking-uri", store_uri) as server:
            sent = json.dumps({"samples": [SAMPLE]}).encode()
            ours = server.ask("/score", sent)["results"][0]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert theirs == {name: ours[name] for name in ("probability", "prediction", "verdict")}


def _wait_for_answer(request: urllib.request.Request) -> Any:
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.loads(reply.read())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
