"""A Spark cluster of this machine: a master and two workers, as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

START_TIMEOUT_S = 60.0
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs Spark where there is none, with the reason."""
    if item.get_closest_marker("spark") and (lacks := missing_for_spark()):
        pytest.skip(lacks)


@cache
def missing_for_spark() -> str | None:
    """Say what Spark's tests lack on this machine; None if nothing."""
    from waterflow_cli.common.errors import EngineError
    from waterflow_cli.spark.jvm import find_java, find_spark

    try:
        find_spark()
    except EngineError:
        return "pyspark is not installed"
    try:
        find_java()
    except EngineError:
        return "no Java 17 or newer"
    return None


@dataclass
class SparkCluster:
    """A standalone master and its workers, until `stop`."""

    url: str
    page: str
    master: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def executors(self) -> list[int]:
        """Give the process ids of the executors that run now."""
        parents = {worker.pid for worker in self.workers}
        return [
            pid
            for pid, parent, command in processes()
            if parent in parents and "CoarseGrainedExecutorBackend" in command
        ]

    def kill_executor(self, timeout_s: float = 30.0) -> int:
        """Kill one executor as a machine that fails would, and give its process id."""
        wait_until(lambda: bool(self.executors()), timeout_s, "no executor runs")
        victim = self.executors()[0]
        os.kill(victim, signal.SIGKILL)
        return victim

    def stop(self) -> None:
        """End the workers, with their executors, and the master."""
        executors = self.executors()
        for process in (*self.workers, self.master):
            process.terminate()
        for process in (*self.workers, self.master):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in executors:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start_cluster(folder: Path, n_workers: int = 2) -> SparkCluster:
    """Start a master and workers of one core each, and wait until they know each other."""
    port, page_port = free_ports(2)
    url, page = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page_port}/json/"
    master = _launch(folder, "master", _MASTER, "--port", str(port), "--webui-port", str(page_port))
    cluster = SparkCluster(url, page, master)
    try:
        wait_until(lambda: _alive_workers(page) is not None, START_TIMEOUT_S, "no master")
        for number in range(n_workers):
            options = ("--webui-port", "0", "--cores", "1", "--memory", "1g")
            work = ("--work-dir", str(folder / f"work{number}"), url)
            name = f"worker{number}"
            cluster.workers.append(_launch(folder, name, _WORKER, *options, *work))
        wait_until(lambda: _alive_workers(page) == n_workers, START_TIMEOUT_S, "no workers")
    except BaseException:
        cluster.stop()
        raise
    return cluster


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A standalone cluster on loopback: a master, and two workers of one core each."""
    lacks = missing_for_spark()
    if lacks:
        pytest.skip(lacks)
    cluster = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def _launch(folder: Path, name: str, main_class: str, *options: str) -> subprocess.Popen[bytes]:
    from waterflow_cli.spark.jvm import find_spark

    _, home = find_spark()
    environ = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)}
    environ["SPARK_DAEMON_MEMORY"] = "256m"
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [str(home / "bin" / "spark-class"), main_class, "--host", "127.0.0.1", *options],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the tests is not for them
        )


def _alive_workers(page: str) -> int | None:
    """Ask the master how many workers it has; None while it does not answer."""
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except (OSError, ValueError, urllib.error.URLError):
        return None


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield process id, parent and command of each process."""
    ps = shutil.which("ps")
    assert ps is not None
    listing = subprocess.run(
        [ps, "-e", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, parent, command = line.split(None, 2)
        yield int(pid), int(parent), command


def wait_until(is_so: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"{otherwise} within {timeout_s} seconds")
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
