"""Spark's own process on this machine, a JVM, and all that needs private parts of pyspark.

Where a private name is gone, the gateway that this process launched itself is the way in: that is
py4j's public side. Only a session that others opened in this process cannot be entered so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterflow_cli.common.errors import EngineError
from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

_EXIT_TIMEOUT_S = 10.0
_KEPT_BY_CONTEXT = ("_gateway", "_jvm")
_LEAST_JAVA = 17
_JAVA_TIMEOUT_S = 20.0
_JAVA_VERSION = re.compile(r'version "(?:1\.)?(\d+)([^"]*)"')
_launched: list[Any] = []  # the gateway of the session that this process opened, if it did


def find_spark_home() -> Path:
    """Find the folder of Spark itself, as pyspark does."""
    import pyspark

    try:
        from pyspark.find_spark_home import _find_spark_home
    except ImportError:
        return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    return Path(_find_spark_home())


def find_spark() -> tuple[str, Path]:
    """Find pyspark: its version, and the folder of Spark itself.

    An EngineError says that it is not installed, or only its client for Spark Connect.
    """
    try:
        import pyspark
        from pyspark.java_gateway import launch_gateway  # noqa: F401 (the client has none)
    except ImportError as exc:
        raise EngineError(
            "--engine spark needs pyspark, which is not installed ({cause}).",
            tr("Install it: pip install 'waterflow-cli[spark]'"),
            cause=exc,
        ) from exc
    return str(pyspark.__version__), find_spark_home()


def find_java() -> tuple[Path, str]:
    """Find the Java that Spark will use: its path and version.

    An EngineError says that there is none, that it does not run, or that it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    hint = tr("Install Java {version} or newer, or set JAVA_HOME.", version=_LEAST_JAVA)
    if home and not os.access(str(found), os.X_OK):
        raise EngineError("JAVA_HOME={home}: no bin/java there.", hint, home=home)
    if found is None:
        raise EngineError("--engine spark needs Java, and there is none.", hint)
    try:
        done = subprocess.run(
            [found, "-version"], capture_output=True, timeout=_JAVA_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EngineError("{java}: does not run ({cause}).", hint, java=found, cause=exc) from exc
    output = (done.stderr + done.stdout).decode("utf-8", "replace")
    version = _JAVA_VERSION.search(output)
    if version is None:
        raise EngineError("{java}: tells no version of Java.", hint, java=found)
    if int(version[1]) < _LEAST_JAVA:
        raise EngineError(
            "{java}: Java {version} is too old for Spark.", hint, java=found, version=version[1]
        )
    return Path(found), version[1] + version[2]


@contextmanager
def launch_jvm(conf: SparkConf, streams: Mapping[str, Any]) -> Iterator[Any]:
    """Launch a JVM for the next context, and end it: the next one has other properties.

    Parameters
    ----------
    streams : mapping
        As `subprocess.Popen` takes them: where the JVM writes to.

    Yields
    ------
    JavaGateway
        For ``SparkContext(gateway=...)``; its `proc` is the process.
    """
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    gateway: Any = launch_gateway(conf, dict(streams))
    # A gateway that pyspark kept, of a context that was stopped, would be used instead of ours.
    kept = {name: getattr(SparkContext, name, None) for name in _KEPT_BY_CONTEXT}
    _set(SparkContext, dict.fromkeys(kept))
    _launched.append(gateway)
    try:
        yield gateway
    finally:
        _launched.remove(gateway)
        _set(SparkContext, kept)
        _end(gateway)


def stop_context(context: SparkContext) -> None:
    """Stop a context, cancel what runs in it, and let pyspark forget its sessions."""
    from pyspark.sql import SparkSession

    for _ in range(2):  # where the JVM is gone the first time ends early
        with suppress(Exception):
            context.stop()
    _set(SparkSession, {"_instantiatedSession": None, "_activeSession": None})


def view_java(context: SparkContext) -> Any:
    """Give the JVM's packages and classes; an EngineError says that there is no way to them."""
    return getattr(context, "_jvm", None) or _find_gateway().jvm


def find_java_context(context: SparkContext) -> Any:
    """Give Spark's context as the JVM holds it, which knows more than that of Python."""
    wrapped = getattr(context, "_jsc", None)
    return (
        wrapped.sc() if wrapped else _find_gateway().jvm.org.apache.spark.SparkContext.getOrCreate()
    )


def find_process() -> subprocess.Popen[bytes] | None:
    """Give the process of the JVM; None where this one did not start it."""
    with suppress(EngineError):
        return getattr(_find_gateway(), "proc", None)
    return None


def _find_gateway() -> Any:
    from pyspark import SparkContext

    found = [*_launched, getattr(SparkContext, "_gateway", None)][0]
    if found is None:
        raise EngineError(
            "This pyspark gives no way into the Spark session that runs in this process.",
            tr("Stop that session: waterflow opens one of its own."),
        )
    return found


def _set(owner: type, values: Mapping[str, Any]) -> None:
    """Set private attributes of a class, those that it has."""
    for name, value in values.items():
        if hasattr(owner, name):
            setattr(owner, name, value)


def _end(gateway: Any) -> None:
    """End a JVM, with patience first."""
    jvm = gateway.proc
    try:
        with suppress(Exception):  # it ends all the same
            gateway.shutdown()
        jvm.stdin.close()  # what it waits for
        jvm.wait(_EXIT_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        pass
    finally:
        if jvm.poll() is None:
            jvm.kill()
            jvm.wait()
