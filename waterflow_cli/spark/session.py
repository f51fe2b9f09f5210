"""Open a Spark session, or say in one message why there is none; leave nothing behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from waterflow_cli.common.errors import EngineError
from waterflow_cli.common.messages import tr
from waterflow_cli.common.progress import Report
from waterflow_cli.spark.environment import pack_environment
from waterflow_cli.spark.jvm import (
    find_java,
    find_java_context,
    find_spark,
    launch_jvm,
    stop_context,
)
from waterflow_cli.spark.remote import find_cause, remote_errors
from waterflow_cli.spark.settings import (
    ARCHIVE_NAME,
    WAITING_TIME,
    SparkOptions,
    SparkSettings,
    check_master,
    plan_settings,
)

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

__all__ = ["SparkOptions", "list_executors", "open_session", "watched"]

# A master of another version takes the connection and never answers.
_REGISTRATION_TIMEOUT_S = 25.0
_POLL_S = 0.1
_SECONDS_BETWEEN_LOOKS = 1.0
_LOG_TAIL = 100_000
_HIDDEN_VARIABLES = (
    *("PYSPARK_SUBMIT_ARGS", "PYSPARK_GATEWAY_PORT"),
    *("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE"),
)
_QUERY_LOGGERS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")


@contextmanager
def open_session(options: SparkOptions, *, debug: bool = False) -> Iterator[SparkSession]:
    """Open a Spark session, and stop it at the end, however that comes.

    A session that already runs in this process, as in a notebook, is used and not stopped.

    Parameters
    ----------
    debug : bool
        Leave what Spark writes on stderr there, instead of dropping it.

    Raises
    ------
    EngineError
        If pyspark or Java is missing, the master does not answer or grants no executor, or Spark
        does not start for another reason.
    """
    _, spark_home = find_spark()
    settings = plan_settings(options, spark_home)
    if _is_spark_running():
        with _quiet(debug=debug):
            yield _join_session(settings, options)
        return
    find_java()
    check_master(settings)
    with ExitStack() as stack:
        stack.enter_context(_quiet(debug=debug))
        if settings.ship_env:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="waterflow-"))
            settings = _with_archive(settings, pack_environment(Path(folder)))
        log = None if debug else stack.enter_context(tempfile.TemporaryFile())
        context = _start(settings, log, stack)
        from pyspark.sql import SparkSession

        with remote_errors():
            session = SparkSession(context)
            _await_executor(session, settings)
        yield session


def list_executors(session: SparkSession) -> list[str]:
    """List the host of each executor that Spark has now; that of the driver in local mode."""
    context = find_java_context(session.sparkContext)
    known = str(context.getExecutorMemoryStatus().keySet().mkString(",")).split(",")
    hosts = [each.rpartition(":")[0] for each in known]
    driver = str(context.conf().get("spark.driver.host"))
    if not context.isLocal() and driver in hosts:  # the driver is in Spark's list too
        hosts.remove(driver)
    return sorted(hosts)


@contextmanager
def watched(spark: SparkSession, report: Report, count_rows: Callable[[], int]) -> Iterator[None]:
    """Report the rows that finished tasks counted, and the share of the tasks that are finished."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            with suppress(Exception):  # the job has ended, and Spark with it
                report(count_rows(), _share_done(spark))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _is_spark_running() -> bool:
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql.utils import get_active_spark_context

    with suppress(PySparkRuntimeError):
        return bool(get_active_spark_context())
    return False


def _join_session(settings: SparkSettings, options: SparkOptions) -> SparkSession:
    """Use the session that runs, with our own settings of SQL; its master cannot be changed."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate().newSession()
    running = session.sparkContext.master
    asked = options.master or options.conf.get("spark.master")
    if asked not in (None, running):
        raise EngineError(
            "A Spark session runs in this process, with the master {master}.",
            tr("Stop it, or leave --master out."),
            master=running,
        )
    for key, value in settings.conf.items():
        if session.conf.isModifiable(key):
            session.conf.set(key, value)
    return session


def _start(settings: SparkSettings, log: IO[bytes] | None, stack: ExitStack) -> SparkContext:
    """Launch a JVM of our own and the context in it; the stack ends both."""
    from pyspark import SparkConf, SparkContext

    conf = SparkConf(loadDefaults=False).setMaster(settings.master)
    conf.setAll(list(settings.conf.items()))
    streams: dict[str, Any] = {"stdout": log, "stderr": log} if log else {"stdout": 2}
    is_late = threading.Event()
    try:
        with _environment(settings), _signal_handler_kept():
            gateway = stack.enter_context(launch_jvm(conf, streams))
            with _time_limit(gateway.proc, is_late, settings):
                context = SparkContext(conf=conf, gateway=gateway)
    except Exception as exc:
        raise _explain(exc, settings, log, is_late=is_late.is_set()) from exc
    stack.callback(stop_context, context)
    return context


def _with_archive(settings: SparkSettings, archive: Path) -> SparkSettings:
    """Send an archive of libraries along, before those that the executors have."""
    conf = dict(settings.conf)
    path = conf.get("spark.executorEnv.PYTHONPATH")
    archives = conf.get("spark.archives")
    shipped = f"{archive}#{ARCHIVE_NAME}"
    conf["spark.archives"] = f"{archives},{shipped}" if archives else shipped
    conf["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(filter(None, (ARCHIVE_NAME, path)))
    return replace(settings, conf=conf)


@contextmanager
def _environment(settings: SparkSettings) -> Iterator[None]:
    """Set the environment in which Spark is started; what Spark sets in it goes too."""
    before = dict(os.environ)
    try:
        for name in _HIDDEN_VARIABLES:
            os.environ.pop(name, None)
        os.environ["PYSPARK_PYTHON"] = settings.python
        if settings.is_loopback:
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quiet(*, debug: bool) -> Iterator[None]:
    """Drop what pyspark warns of, such as a new pandas, and what it and py4j log of errors."""
    from pyspark.logger import PySparkLogger

    handler = logging.NullHandler()  # without any, logging would write to stderr
    # These two write the whole stack of Java to stderr by themselves.
    loggers = [PySparkLogger.getLogger(name) for name in _QUERY_LOGGERS]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pyspark")
        warnings.filterwarnings("ignore", "PySpark does not yet fully support")
        if not debug:
            logging.root.addHandler(handler)
            for logger in loggers:
                logger.disabled = True
        try:
            yield
        finally:
            logging.root.removeHandler(handler)
            for logger, was_disabled in zip(loggers, before, strict=True):
                logger.disabled = was_disabled


@contextmanager
def _signal_handler_kept() -> Iterator[None]:
    """Put back the handler of Ctrl-C, in whose place pyspark installs its own."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _time_limit(
    jvm: subprocess.Popen[bytes], is_late: threading.Event, settings: SparkSettings
) -> Iterator[None]:
    """End a JVM that waits for a standalone master: the call into it has no timeout."""

    def end() -> None:
        is_late.set()
        jvm.kill()

    timer = threading.Timer(_REGISTRATION_TIMEOUT_S, end)
    timer.daemon = True
    if settings.addresses:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _await_executor(session: SparkSession, settings: SparkSettings) -> None:
    """Wait for the first executor: a job without one would wait for ever."""
    if settings.is_local:
        return
    java_context = find_java_context(session.sparkContext)
    patience_s = java_context.conf().getTimeAsMs(WAITING_TIME, "30s") / 1000
    deadline = time.monotonic() + patience_s
    while not java_context.isStopped() and time.monotonic() < deadline:
        if list_executors(session):
            return
        time.sleep(_POLL_S)
    raise EngineError(
        "{master}: the cluster grants no executor, after {seconds:.0f} seconds.",
        tr(
            "Check that workers are up and free; --spark-conf spark.executor.memory=… and "
            "spark.cores.max=… ask for less."
        ),
        master=settings.master,
        seconds=patience_s,
    )


def _explain(
    exc: Exception, settings: SparkSettings, log: IO[bytes] | None, *, is_late: bool
) -> EngineError:
    """Say why Spark did not start."""
    if is_late:
        return EngineError(
            "{master}: no Spark master answers within {seconds:.0f} seconds.",
            tr("Check the address, and that the cluster's Spark has the version of pyspark here."),
            master=settings.master,
            seconds=_REGISTRATION_TIMEOUT_S,
        )
    text = ""
    if log is not None:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
        text = log.read().decode("utf-8", "replace")
    cause = find_cause(exc, text)
    return EngineError(
        "{master}: Spark does not start: {cause}",
        tr("For all that Spark says, add --debug."),
        master=settings.master,
        cause=cause,
    )


def _share_done(spark: SparkSession) -> float | None:
    """Give the share of the tasks of the running stages that are finished; None without any."""
    tracker = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
    n_tasks = sum(int(stage.numTasks) for stage in stages if stage)
    n_done = sum(int(stage.numCompletedTasks) for stage in stages if stage)
    return n_done / n_tasks if n_tasks else None
