"""Which master, and which Spark properties: the user's, those of spark-defaults.conf, ours."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from waterflow_cli.common.errors import EngineError, UsageError
from waterflow_cli.common.messages import tr

ARCHIVE_NAME = "environment"
_CONNECT_TIMEOUT_S = 5.0
BATCH_BYTES = 8 << 20
BATCH_ROWS = 32_768
MAX_SPLIT = "spark.sql.files.maxPartitionBytes"
WAITING_TIME = "spark.scheduler.maxRegisteredResourcesWaitingTime"
# Our own values of Spark properties; the user's and those of the file go before them.
_DEFAULTS = {
    "spark.app.name": "waterflow",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
    "spark.sql.execution.arrow.maxBytesPerBatch": str(BATCH_BYTES),
    "spark.sql.session.timeZone": "UTC",
    # pandas writes timestamps of nanoseconds; they are cast back to what the file says.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # A file can have the columns pH and PH.
    "spark.sql.caseSensitive": "true",
    # Otherwise such a cluster grants no executor before there is work.
    "spark.dynamicAllocation.initialExecutors": "1",
    WAITING_TIME: "30s",
    # Hadoop's clients would try for a quarter of an hour.
    "spark.hadoop.yarn.resourcemanager.connect.max-wait.ms": "30000",
    "spark.hadoop.ipc.client.connect.max.retries": "2",
    "spark.hadoop.ipc.client.connect.max.retries.on.timeouts": "2",
    "spark.hadoop.ipc.client.connect.timeout": "10000",
}
_ON_LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
_PYTHON = "spark.pyspark.python"
_LOOPBACK = re.compile(r"localhost$|127\.\d+\.\d+\.\d+$|\[::1\]$")
_MASTERS = (
    re.compile(r"local(\[(\*|\d+)(, *\d+)?\]|-cluster\[\d+, *\d+, *\d+\])?$"),
    re.compile(r"spark://[^\s/:,]+:\d+(,[^\s/:,]+:\d+)*$"),
    re.compile(r"yarn$|k8s://\S+$"),
)
_PROPERTY = re.compile(r"\s*(spark\.[^\s=:]+)\s*[\s=:]\s*(.*?)\s*$")


@dataclass(frozen=True)
class SparkOptions:
    """What the user says of Spark.

    Attributes
    ----------
    master : str, optional
        The master's URL; without it spark-defaults.conf decides, and then it is ``local[*]``.
    conf : mapping
        Spark properties, which go before all others.
    ship_env : bool
        Whether this Python environment is sent to the executors.
    """

    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    ship_env: bool = False


@dataclass(frozen=True)
class OutputLayout:
    """How outputs are laid out: as one file in the order of the inputs, or a folder of parts.

    Within the latter is a folder for each value of the columns that are keys.
    """

    is_single: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class SparkSettings:
    """What a session is opened with.

    Attributes
    ----------
    conf : dict
        Spark properties, without those that spark-defaults.conf sets.
    python : str
        The executors' Python.
    ship_env : bool
        Whether there are other machines to send the environment to, and it was asked for.
    """

    master: str
    conf: dict[str, str]
    python: str
    ship_env: bool = False

    @property
    def is_local(self) -> bool:
        """Whether all runs in one process on this machine."""
        return self.master.startswith("local")

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each standalone master."""
        if not self.master.startswith("spark://"):
            return ()
        masters = self.master.removeprefix("spark://").split(",")
        parts = [each.rpartition(":") for each in masters]
        return tuple((host, int(port)) for host, _, port in parts)

    @property
    def is_loopback(self) -> bool:
        """Whether nothing beyond this machine takes part."""
        hosts = [host for host, _ in self.addresses]
        return self.is_local or (bool(hosts) and all(map(_LOOPBACK.match, hosts)))


def plan_settings(options: SparkOptions, spark_home: Path | None = None) -> SparkSettings:
    """Put together what a session is opened with.

    Parameters
    ----------
    spark_home : Path, optional
        Where Spark is, for its ``conf/spark-defaults.conf``; SPARK_CONF_DIR goes before it.

    Raises
    ------
    EngineError
        If the master's URL has none of the forms that Spark knows.
    UsageError
        If the size of a part is none.
    """
    defaults = read_defaults(spark_home)
    conf = dict(options.conf)
    bytes_of(conf.get(MAX_SPLIT, "128m"))
    in_conf = conf.pop("spark.master", None)
    master = options.master or in_conf or defaults.get("spark.master", "local[*]")
    if not any(known.match(master) for known in _MASTERS):
        raise EngineError(
            "--master {master}: Spark knows no such master.",
            tr("Known are local[N], local[*], spark://HOST:PORT, yarn and k8s://URL."),
            master=master,
        )
    plain = SparkSettings(master, {}, "")
    ours = _DEFAULTS | (_ON_LOOPBACK if plain.is_loopback else {})
    ours = {key: value for key, value in ours.items() if key not in defaults}
    ship_env = options.ship_env and not plain.is_local
    python = os.environ.get("PYSPARK_PYTHON") or defaults.get(_PYTHON)
    if not python:
        # What is shipped are libraries; the interpreter is the executors' own.
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        python = version if ship_env else sys.executable
    return SparkSettings(master, ours | conf, conf.get(_PYTHON, python), ship_env)


def read_defaults(spark_home: Path | None = None) -> dict[str, str]:
    """Read the properties of ``spark-defaults.conf``; none where there is no such file."""
    folder = os.environ.get("SPARK_CONF_DIR") or (spark_home / "conf" if spark_home else None)
    if folder is None:
        return {}
    try:
        lines = (Path(folder) / "spark-defaults.conf").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {found[1]: found[2] for found in map(_PROPERTY.match, lines) if found}


def check_master(settings: SparkSettings) -> None:
    """Check that a standalone master answers, or raise an EngineError; of several one is enough."""
    problem = ""
    for address in settings.addresses:
        try:
            socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S).close()
            return
        except OSError as exc:
            problem = exc.strerror or str(exc)
    if problem:
        raise EngineError(
            "{master}: no Spark master answers ({cause}).",
            tr("Check the address, and that the master is up."),
            master=settings.master,
            cause=problem,
        )


def bytes_of(text: str) -> int:
    """Read a size as Spark writes it.

    >>> bytes_of("128m"), bytes_of("1000"), bytes_of("2MB")
    (134217728, 1000, 2097152)
    """
    match = re.fullmatch(r"(\d+)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise UsageError("--spark-conf {key}={text}: no size.", key=MAX_SPLIT, text=text)
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2]]
