"""Run MLflow's own server on a store, for a browser on this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import mlflow

from waterflow_cli.common.errors import ModelError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.registry.experiment_layout import LaidOut, lay_out
from waterflow_cli.registry.sqlite_tables import sqlite_path
from waterflow_cli.registry.stores import ARTIFACT_FOLDER, connect, redact, store_errors

HOST, FIRST_PORT = "127.0.0.1", 5000
_N_PORTS = 100
_START_TIMEOUT_S, _STOP_TIMEOUT_S = 90.0, 5.0
_LOG_BYTES = 2000
# Settings of MLflow's server that would open it to others, or name another store.
_NOT_OURS = (
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_UVICORN_OPTS",
    "MLFLOW_WORKERS",
)


@dataclass(frozen=True)
class RunningUI:
    """Pages that a browser can open.

    Attributes
    ----------
    url : str
        Of the leaderboard; of the list of experiments where no model was trained yet.
    server : subprocess.Popen, optional
        What serves the pages; None where the store has a server of its own.
    """

    url: str
    experiments: list[LaidOut]
    server: subprocess.Popen[bytes] | None

    def wait(self) -> None:
        """Wait until the server ends by itself, which it should not: a `ModelError` says so."""
        if self.server is not None:
            self.server.wait()
            raise ModelError("MLflow's server ended by itself.", tr("Start it again."))


@contextmanager
def running_ui(uri: str, port: int | None = None) -> Iterator[RunningUI]:
    """Lay out a store's experiments, and serve MLflow's pages until the context ends.

    Parameters
    ----------
    uri : str
        The tracking store. One that is a server has pages of its own.
    port : int, optional
        On loopback; without it 5000, or the next that is free.

    Raises
    ------
    ModelError
        If the store cannot be used, or MLflow's server does not start.
    UsageError
        If the port is taken.
    """
    client = connect(uri, write=True)
    with store_errors(uri):
        experiments = lay_out(client)
    page = experiments[0].page if experiments else "#/experiments"
    if uri.startswith(("http://", "https://")):
        yield RunningUI(f"{_without_user(uri).rstrip('/')}/{page}", experiments, None)
        return
    chosen = _free_port(port)
    with tempfile.TemporaryFile() as log, _server(uri, chosen, log) as server:
        base = f"http://{HOST}:{chosen}/"
        _await_answer(base, server, log)
        yield RunningUI(base + page, experiments, server)


def _without_user(uri: str) -> str:
    return re.sub("(?<=://)[^/]*@", "", uri, count=1)


def _free_port(wanted: int | None) -> int:
    ports = [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + _N_PORTS)
    for port in ports:
        with socket.socket() as each:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                each.bind((HOST, port))
                return port
    if wanted:
        raise UsageError(
            "--port {port}: is taken, or not allowed.",
            tr("Leave it out: the next free one is taken."),
            port=wanted,
        )
    raise UsageError(
        "No port from {first} to {last} is free.",
        tr("Name one: --port"),
        first=ports[0],
        last=ports[-1],
    )


@contextmanager
def _server(uri: str, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start MLflow's server in a process group of its own, and end all of that."""
    # The store's URI can hold a password: it goes by the environment, which `ps` does not show.
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    environ |= {
        "MLFLOW_BACKEND_STORE_URI": mlflow.get_tracking_uri(),
        # By itself MLflow takes any name that begins as a private address does: 10.evil.example.
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port},localhost:{port}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    database = sqlite_path(uri)
    folder = Path.cwd() if database is None else database.absolute().parent
    environ["MLFLOW_ARTIFACTS_DESTINATION"] = (folder / ARTIFACT_FOLDER).as_uri()
    listening = ("--host", HOST, "--port", str(port), "--workers", "1")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *listening],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _end_group(server)


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """Ask the processes of a group to end, and kill those that do not."""
    for number, timeout_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout_s)


def _await_answer(base: str, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    # No proxy: it would look for the server on its own machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), direct.open(f"{base}health", timeout=5):
            return
        time.sleep(0.1)
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
    lines = log.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    raise ModelError(
        "MLflow's server does not start: {cause}",
        tr("Try another --port, or see what it says: mlflow server"),
        cause=redact(said[-1] if said else ""),
    )
