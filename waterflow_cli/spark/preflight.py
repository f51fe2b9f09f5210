"""What can be known before Spark is started, which would take its time to say it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from waterflow_cli.common.errors import EngineError
from waterflow_cli.common.messages import tr
from waterflow_cli.spark.jvm import find_spark_home
from waterflow_cli.spark.settings import SparkSettings

LEAST_JAVA = 17
_CONNECT_TIMEOUT_S = 5.0
_JAVA_TIMEOUT_S = 20.0
_JAVA_VERSION = re.compile(r'version "(?:1\.)?(\d+)([^"]*)"')


def find_spark() -> tuple[str, Path]:
    """Find pyspark: its version, and the folder of Spark itself.

    Raises
    ------
    EngineError
        If it is not installed, or only its client for Spark Connect is.
    """
    try:
        import pyspark
        from pyspark.java_gateway import launch_gateway  # noqa: F401 (the client has none)
    except ImportError as exc:
        raise EngineError(
            tr("--engine spark needs pyspark, which is not installed ({cause}).", cause=exc),
            tr("Install it: pip install 'waterflow[spark]'"),
        ) from exc
    return str(pyspark.__version__), find_spark_home()


def find_java() -> tuple[Path, str]:
    """Find the Java that Spark will use: its path and version.

    Raises
    ------
    EngineError
        If there is none, it does not run, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    hint = tr("Install Java {version} or newer, or set JAVA_HOME.", version=LEAST_JAVA)
    if home and not os.access(str(found), os.X_OK):
        raise EngineError(tr("JAVA_HOME={home}: no bin/java there.", home=home), hint)
    if found is None:
        raise EngineError(tr("--engine spark needs Java, and there is none."), hint)
    try:
        done = subprocess.run(
            [found, "-version"], capture_output=True, timeout=_JAVA_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EngineError(
            tr("{java}: does not run ({cause}).", java=found, cause=exc), hint
        ) from exc
    output = (done.stderr + done.stdout).decode("utf-8", "replace")
    version = _JAVA_VERSION.search(output)
    if version is None:
        raise EngineError(tr("{java}: tells no version of Java.", java=found), hint)
    if int(version[1]) < LEAST_JAVA:
        raise EngineError(
            tr("{java}: Java {version} is too old for Spark.", java=found, version=version[1]), hint
        )
    return Path(found), version[1] + version[2]


def check_master(settings: SparkSettings) -> None:
    """Check that a standalone master answers; of several one is enough.

    Raises
    ------
    EngineError
        If none can be connected to.
    """
    problem = ""
    for address in settings.addresses:
        try:
            socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S).close()
            return
        except OSError as exc:
            problem = exc.strerror or str(exc)
    if problem:
        raise EngineError(
            tr(
                "{master}: no Spark master answers ({cause}).",
                master=settings.master,
                cause=problem,
            ),
            tr("Check the address, and that the master is up."),
        )
