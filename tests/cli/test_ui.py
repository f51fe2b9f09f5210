"""MLflow's pages on the working store: the leaderboard first, loopback only, no leftovers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
from clusters import free_ports, processes
from conftest import Cli
from mlflow import MlflowClient

from waterflow_cli.common.errors import ModelError
from waterflow_cli.registry.experiment_layout import (
    KIND_TAG,
    NOTE_TAG,
    VIEW_KEY,
    VIEW_TAG,
    lay_out,
    leaderboard,
    with_leaderboard,
)
from waterflow_cli.registry.mlflow_ui import RunningUI, _without_user
from waterflow_cli.registry.stores import connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    """A store in the working folder, without a run."""
    return connect("sqlite:///mlflow.db", create=True)


def log_run(
    client: MlflowClient,
    experiment_id: str,
    plugin: str,
    roc_auc: float,
    data: str = "a" * 64,
    evaluation: str = "cv-5x1",
) -> str:
    run_id = client.create_run(experiment_id).info.run_id
    for name, value in (("", roc_auc), ("_low", roc_auc - 0.05), ("_high", roc_auc + 0.05)):
        client.log_metric(run_id, f"test_roc_auc{name}", value)
    client.log_param(run_id, "evaluation", evaluation)
    client.set_tag(run_id, "waterflow.plugin", plugin)
    client.set_tag(run_id, "waterflow.data_sha256", data)
    client.set_terminated(run_id)
    return str(run_id)


def test_the_leaderboard_ranks_what_can_be_compared(client: MlflowClient) -> None:
    river = client.create_experiment("river")
    client.create_experiment("empty")
    log_run(client, river, "old", 0.99, data="b" * 64)
    time.sleep(0.002)
    # As 0.1 logged it, in French.
    former = "validation croisée à 5 plis, une fois"
    first = log_run(client, river, "hgb", 0.61, evaluation=former)
    log_run(client, river, "extra|trees", 0.66)
    running = client.create_run(river).info.run_id
    client.log_metric(running, "test_roc_auc", 1.0)  # not to its end
    client.create_registered_model("water")
    client.create_model_version("water", f"runs:/{first}/model", first)
    client.set_registered_model_alias("water", "champion", "1")

    found = lay_out(client)

    assert [(each.name, each.n_runs) for each in found] == [("river", 3)]
    assert found[0].page.startswith(f"#/experiments/{river}/runs?workflowType=machine_learning")
    tags = client.get_experiment(river).tags
    note = tags[NOTE_TAG].splitlines()
    assert note[1] == (
        r"**Best: extra\|trees, ROC AUC 0.660 (0.610 to 0.710) (95 % interval), of 2 runs on data "
        "(aaaaaaaa).**"
    )
    rows = [line for line in note if line.startswith("| ") and "](" in line]
    assert [row.split("[")[1].split("]")[0] for row in rows] == [r"extra\|trees", "hgb", "old"]
    assert "water/1 (champion)" in rows[1]
    assert tags[KIND_TAG] == "custom_model_development"
    state = json.loads(json.loads(tags[VIEW_TAG])["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test_roc_auc`", False)
    assert "metrics.`test_roc_auc_low`" in state["selectedColumns"]
    assert NOTE_TAG not in client.get_experiment_by_name("empty").tags


@pytest.mark.slow
def test_what_a_person_wrote_stays_and_a_second_time_changes_nothing(
    client: MlflowClient,
) -> None:
    river = client.create_experiment("river", tags={NOTE_TAG: "Ask Ana.", KIND_TAG: "regression"})
    log_run(client, river, "hgb", 0.61)
    lay_out(client)
    once = client.get_experiment(river).tags
    lay_out(client)
    assert client.get_experiment(river).tags == once
    assert once[NOTE_TAG].endswith("-->\n\nAsk Ana.")
    assert once[KIND_TAG] == "regression"


def test_private_names_of_the_pages_are_those_of_this_mlflow() -> None:
    scripts = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    text = "".join(path.read_text("utf-8") for path in scripts.glob("main.*.js"))
    for name in (KIND_TAG, VIEW_TAG.removesuffix(VIEW_KEY), "viewStateShareKey"):
        assert name in text, name


def test_leaderboard_is_in_the_description_without_the_private_tags(client: MlflowClient) -> None:
    river = client.create_experiment("river")
    log_run(client, river, "hgb", 0.61)
    lay_out(client)
    note = client.get_experiment(river).tags[NOTE_TAG]
    for tag in (VIEW_TAG, KIND_TAG):
        client.delete_experiment_tag(river, tag)
    assert client.get_experiment(river).tags == {NOTE_TAG: note}
    assert "**Best: hgb" in note


@pytest.mark.slow
def test_a_description_stays_within_what_mlflow_keeps(client: MlflowClient) -> None:
    river = client.create_experiment("river")
    for number in range(12):
        log_run(client, river, "p" * 80, number / 20, data=f"{number % 2}" * 64)
    lay_out(client)
    board = client.get_experiment(river).tags[NOTE_TAG]
    assert len(board) <= 5000
    long = with_leaderboard("x" * 4000, "\n".join(["y" * 99] * 20))
    assert len(long) <= 5000
    assert long.endswith("x" * 4000)
    assert with_leaderboard("x" * 6000, "y" * 99) == "x" * 6000


@pytest.mark.slow
def test_runs_beyond_the_tenth_are_counted(client: MlflowClient) -> None:
    river = client.create_experiment("river")
    for number in range(12):
        log_run(client, river, "hgb", number / 20)
    lay_out(client)
    assert "2 more runs are not shown." in client.get_experiment(river).tags[NOTE_TAG]


def test_figures_without_an_interval_are_shown_as_such() -> None:
    from waterflow_cli.common.number_formats import Estimate
    from waterflow_cli.registry.experiment_layout import RankedRun

    run = RankedRun(
        run_id="r",
        start_ms=1,
        plugin="hgb",
        figures={"roc_auc": Estimate(0.6, *[float("nan")] * 2)},
        versions="",
        data="d",
        evaluation="e",
    )
    assert "| 1 | [hgb](#/experiments/7/runs/r) | 0.600 |  |  |  |" in leaderboard("7", [run])


def test_a_store_that_is_not_there_is_not_created(cli: Cli) -> None:
    done = cli("ui", "--tracking-uri", "sqlite:///nowhere.db")
    assert done.code == 4
    assert "waterflow train" in done.err
    assert list(Path().iterdir()) == []


def test_a_port_that_is_taken_is_refused(cli: Cli, client: MlflowClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("ui", "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "is taken" in done.err


def test_pages_of_a_server_are_named_without_its_password() -> None:
    assert _without_user("https://ana:p%40ss@lab.example/ml") == "https://lab.example/ml"
    RunningUI("http://lab.example/#/experiments", [], None).wait()


class Visitor(threading.Thread):
    """Looks at the pages while the command runs in the main thread, then ends the command."""

    def __init__(self, port: int, run_id: str) -> None:
        super().__init__()
        self.base, self.run_id = f"http://127.0.0.1:{port}", run_id
        self.port, self.seen, self.is_over = port, {}, threading.Event()

    def open(self, path: str) -> Any:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(f"{self.base}/{path}")

    def ask(self, method: str, path: str, **headers: str) -> int:
        """Ask as a browser would that a page has told to: by any host, from any origin."""
        asked = urllib.request.Request(f"{self.base}/{path}", method=method, headers=headers)
        asked.add_header("Content-Type", "application/json")
        asked.add_header("Access-Control-Request-Method", "POST")
        asked.data = b'{"max_results": 5}' if method == "POST" else None
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(asked) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not self.is_over.is_set():
            with suppress(OSError), self.open("health"):
                break
            time.sleep(0.1)
        try:
            asked = urllib.parse.urlencode({"path": "report.html", "run_uuid": self.run_id})
            for name, path in (
                ("artifact", f"get-artifact?{asked}"),
                ("page", ""),
                ("telemetry", "ajax-api/3.0/mlflow/ui-telemetry"),
            ):
                with self.open(path) as answer:
                    self.seen[name] = answer.read().decode("utf-8")
            listing = list(processes())
            self.seen["processes"] = [line for _, _, line in listing if str(self.port) in line]
            search = "ajax-api/2.0/mlflow/experiments/search"
            names = ("10.evil.example", "192.168.evil.example:80", "fc00:evil", "evil.example", "")
            self.seen["rebound"] = [
                self.ask(method, path, host=name)
                for name in (*names, "localhost:evil", f"localhost.evil.example:{self.port}")
                for method, path in (("GET", ""), ("POST", search))
            ]
            self.seen["from elsewhere"] = [
                self.ask(method, search, origin=origin)
                for origin in ("http://evil.example", "null", "http://localhost.evil.example")
                for method in ("POST", "OPTIONS")
            ]
            with socket.socket() as other:  # another address of this machine
                self.seen["beyond loopback"] = other.connect_ex(("127.0.0.2", self.port)) == 0
            time.sleep(1)  # the command notices too that the server is up
        finally:
            if not self.is_over.is_set():
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_pages_are_served_on_loopback_until_the_command_ends(
    cli: Cli, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_UVICORN_OPTS", "--host 0.0.0.0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # no way to this machine's own server
    run_id = log_run(client, "0", "hgb", 0.61)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        client.log_text(run_id, "<p>a report</p>", "report.html")
    [port] = free_ports(1)
    visitor = Visitor(port, run_id)
    visitor.start()
    browser = Path("bin") / "xdg-open"
    browser.parent.mkdir()
    browser.write_text('#!/bin/sh\necho "$1" > opened.txt\n')
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(browser.parent.absolute()), prepend=os.pathsep)
    done = cli("ui", "--port", port, "--open")
    visitor.is_over.set()
    visitor.join()
    assert (done.code, visitor.seen["artifact"]) == (0, "<p>a report</p>")
    assert done.out.startswith(f"{visitor.base}/#/experiments/0/runs?")
    assert Path("opened.txt").read_text("utf-8") == done.out
    assert "Ended." in done.err
    assert "<title>MLflow</title>" in visitor.seen["page"]
    assert json.loads(visitor.seen["telemetry"])["disable_ui_telemetry"] is True
    assert len(visitor.seen["processes"]) >= 2
    assert not any("sqlite" in line for line in visitor.seen["processes"])
    assert not visitor.seen["beyond loopback"]
    assert set(visitor.seen["rebound"]) == {403}
    assert set(visitor.seen["from elsewhere"]) == {403, 400}  # and what may be asked is not told
    assert not [line for _, _, line in processes() if f"--port {port}" in line]


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(
    cli: Cli, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACE_ARCHIVAL_CONFIG", "/nowhere.yaml")
    done = cli("ui")
    assert done.code == 4
    assert "MLflow's server does not start: " in done.err
    assert "nowhere.yaml" in done.err


def test_a_server_that_ends_by_itself_is_an_error() -> None:
    import subprocess

    ended = subprocess.Popen(["true"])
    with pytest.raises(ModelError, match="ended by itself"):
        RunningUI("http://127.0.0.1:1/", [], ended).wait()
