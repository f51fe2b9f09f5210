"""Can Spark be used? Checks in the order in which each needs the one before."""

from __future__ import annotations

import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from waterflow_cli.common.errors import EngineError, WaterflowError
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.health import FAILED, NOT_CHECKED, OK, Check
from waterflow_cli.spark.jvm import find_java, find_spark
from waterflow_cli.spark.remote import difference_of, expected_versions, remote_errors
from waterflow_cli.spark.session import list_executors, open_session
from waterflow_cli.spark.settings import SparkOptions, check_master, plan_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHECKS = (
    *(marked("pyspark"), marked("Java"), marked("Spark master")),
    *(marked("executors"), marked("versions on executors")),
)
# Executors register one after another; when none has for so long, these are all.
_SETTLE_S = 2.0
_SETTLE_AT_MOST_S = 20.0
_POLL_S = 0.1
_PROBE_S = 0.3


def check_spark(options: SparkOptions, *, debug: bool = False) -> list[Check]:
    """Check what a job on Spark needs, up to what its executors have installed.

    Returns
    -------
    list of Check
        One for each of `CHECKS`; what follows a failed one is not checked.
    """
    checks: list[Check] = []
    try:
        for found in _find_all(options, debug=debug):
            checks.append(Check(CHECKS[len(checks)], OK, found))
    except WaterflowError as exc:
        checks.append(Check(CHECKS[len(checks)], FAILED, exc.message, exc.hint or ""))
    return checks + [Check(name, NOT_CHECKED) for name in CHECKS[len(checks) :]]


def _find_all(options: SparkOptions, *, debug: bool) -> Iterator[str]:
    """Yield what each check finds, until one of them raises."""
    spark_version, spark_home = find_spark()
    yield f"{spark_version}, {spark_home}"
    java, java_version = find_java()
    yield f"{java_version}, {java}"
    settings = plan_settings(options, spark_home)
    check_master(settings)
    yield settings.master
    with open_session(options, debug=debug) as session:
        hosts = _settle(session)
        yield tr("{n}, on {hosts}", n=len(hosts), hosts=", ".join(sorted(set(hosts))))
        yield _compare_versions(_probe(session))


def _settle(session: SparkSession) -> list[str]:
    """Wait until no further executor comes, and give the host of each."""
    end = time.monotonic() + _SETTLE_AT_MOST_S
    executors, since = list_executors(session), time.monotonic()
    is_local = session.sparkContext.master.startswith("local")
    while not is_local and time.monotonic() < min(end, since + _SETTLE_S):
        time.sleep(_POLL_S)
        now = list_executors(session)
        if len(now) != len(executors):
            executors, since = now, time.monotonic()
    return executors


def _compare_versions(answers: list[dict[str, Any]]) -> str:
    """Compare what executors have installed with this machine."""
    expected = expected_versions(portable=True)
    for answer in answers:
        if error := difference_of(expected, answer["versions"]):
            where = f"{answer['host']}, {answer['executable']}"
            raise EngineError("{where}: {problem}", error.hint, where=where, problem=error)
    pythons = sorted({f"Python {answer['python']}, {answer['executable']}" for answer in answers})
    return tr("as here; {pythons}", pythons="; ".join(pythons))


def _probe(session: SparkSession) -> list[dict[str, Any]]:
    """Ask the executors what they have."""
    names = tuple(expected_versions(portable=True))

    # It is sent as code, being of no module: an executor without waterflow answers too.
    def describe(_: Any) -> Iterator[dict[str, Any]]:
        time.sleep(_PROBE_S)  # which keeps one executor from answering for all
        versions = dict.fromkeys(names, "")
        for name in names:
            with suppress(PackageNotFoundError):
                versions[name] = version(name)
        yield {
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "executable": sys.executable,
            "versions": versions,
        }

    context = session.sparkContext
    n_tasks = 2 * max(int(context.defaultParallelism), len(list_executors(session)))
    with remote_errors():
        tasks = context.parallelize(range(n_tasks), n_tasks)
        answers: list[dict[str, Any]] = tasks.mapPartitions(describe).collect()
    return answers
