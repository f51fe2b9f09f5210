"""Reach the MLflow tracking store that the user named, and no other."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# Before mlflow is imported: nothing is sent anywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("PGCONNECT_TIMEOUT", "15")
# It would hold the password of the tracking URI.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"

import mlflow
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as ConnectError
from requests.exceptions import SSLError
from requests.exceptions import Timeout as AnswerTimeout
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from waterflow_cli.common.credentials import redact as redact
from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import tr
from waterflow_cli.registry.sqlite_tables import (
    SQLITE,
    check_exists,
    is_made_by_mlflow,
    read_only,
    sqlite_path,
)

ARTIFACT_FOLDER = "mlartifacts"
DATABASES = ("postgresql", "mysql", "mssql")
# How long a server is waited for, unless the user says it: at first, and once it has answered.
_PATIENCE = {
    name: waits
    for name, waits in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": ("0", "2"),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": ("10", "30"),
    }.items()
    if name not in os.environ
}
_UNANSWERED = (ConnectError, AnswerTimeout)
_LOCK_TIMEOUT_S = 120
_BUSY_TIMEOUT_S, _BUSY_POLL_S = 30, 0.05

# Their errors are raised as well, and said by `store_errors`; MLflow would add a traceback.
for _name in ("mlflow", "alembic", "sqlalchemy"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def connect(uri: str, *, create: bool = False, write: bool = False) -> MlflowClient:
    """Connect to a tracking store.

    Parameters
    ----------
    create : bool
        Whether a sqlite store that does not exist is created.
    write : bool
        Whether something is going to be written to it.

    Raises
    ------
    ModelError
        If the store does not exist, does not answer, is damaged, or cannot be written to.
    """
    database = sqlite_path(uri)
    try:
        if database is not None and not database.is_dir():
            if not create:
                check_exists(uri)
            # The file is there some seconds before its tables are, and so long is the lock.
            if not database.exists() or _lock_path(database).exists():
                _create_sqlite(uri, database)
        with store_errors(uri):
            if database is not None:
                _check_sqlite(uri, database, write=create or write)
            elif uri.startswith(DATABASES):
                _check_database(uri)
            mlflow.set_tracking_uri(_absolute(uri))
            client = MlflowClient(tracking_uri=_absolute(uri))
            os.environ.update({name: first for name, (first, _) in _PATIENCE.items()})
            client.search_experiments(max_results=1)
            return client
    except (ImportError, ValueError) as exc:
        driver = tr("Install the driver of its database; for PostgreSQL: waterflow-cli[postgres]")
        raise ModelError(
            "The tracking store {uri} cannot be used: {cause}.",
            driver if isinstance(exc, ImportError) else tr("Check the URI."),
            uri=redact(uri),
            cause=redact(str(exc), uri),
        ) from exc
    finally:
        os.environ.update({name: later for name, (_, later) in _PATIENCE.items()})


@contextmanager
def changing(uri: str) -> Iterator[None]:
    """Let no other command change the versions in a sqlite store at the same time.

    Other stores have no such lock. Where another command keeps it for too long there is a
    `ModelError`.
    """
    database = sqlite_path(uri)
    if database is None:
        yield
        return
    path = database.with_name(f".{database.name}.changes.lock")
    lock = FileLock(path)

    def give_back() -> None:
        if lock.is_locked:
            path.unlink(missing_ok=True)  # while it is held: who waits for it makes a new one
            lock.release()

    with effects.ending(give_back):
        with store_errors(uri):
            _wait_for(lock)
        yield


def _wait_for(lock: FileLock) -> None:
    """Take a lock; an interruption comes between two tries: within one it would leave the file."""
    until = time.monotonic() + _BUSY_TIMEOUT_S
    while not lock.is_locked:
        with interrupts_held_back():
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if time.monotonic() > until:
                    raise
        if not lock.is_locked:
            time.sleep(_BUSY_POLL_S)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database raise into a `ModelError` that names the store.

    It is one line, without credentials.
    """
    try:
        yield
    except Timeout as exc:
        raise _busy(uri) from exc
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as exc:
        if "database is locked" in str(exc):
            raise _busy(uri) from exc
        if isinstance(exc.__context__, _UNANSWERED) and not isinstance(exc.__context__, SSLError):
            raise ModelError(
                "The tracking store {uri} does not answer.",
                tr("Check the URI, and that its server is up."),
                uri=redact(uri),
            ) from exc
        # SQLAlchemy ends with its address, where a database says what matters last.
        said = str(exc).partition("(Background on this error at")[0]
        cause = redact(" ".join(said.split()), uri)
        raise ModelError(
            "The tracking store {uri} cannot be used: {cause}",
            tr("Check the URI, and that the store is up, intact and writable."),
            uri=redact(uri),
            cause=cause,
        ) from exc


def find_experiment(client: MlflowClient, name: str, uri: str) -> str:
    """Give an experiment's id; it is made where there is none, maybe by another command."""
    database = sqlite_path(uri)
    location = None
    if database is not None:
        location = (database.absolute().parent / ARTIFACT_FOLDER).as_uri()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _busy(uri: str) -> ModelError:
    return ModelError(
        "The tracking store {uri} is busy: other commands are writing to it.",
        tr("Try again when they have ended."),
        uri=redact(uri),
    )


def _check_sqlite(uri: str, database: Path, *, write: bool) -> None:
    """Refuse what is no store of MLflow, which would make its tables in it, or is damaged.

    The file is not opened but by sqlite: closing it elsewhere would drop this process's locks.
    """
    if database.is_dir():  # MLflow would try it for two minutes
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(database))
    if not os.access(database, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database))
    with read_only(database, _BUSY_TIMEOUT_S) as connection:
        if not is_made_by_mlflow(connection):
            raise ModelError(
                "The tracking store {uri} is no store of MLflow: its tables are missing.",
                tr("Nothing was written to it. Name another: --tracking-uri"),
                uri=uri,
            )
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if write else "ok"
    if damage != "ok":
        raise ModelError(
            "The tracking store {uri} is damaged: {damage}",
            tr("Nothing was written to it. Put back a copy, or name another: --tracking-uri"),
            uri=uri,
            damage=damage,
        )
    if write and not (
        os.access(database, os.W_OK) and os.access(database.absolute().parent, os.W_OK)
    ):
        raise ModelError(
            "The tracking store {uri} cannot be written to: it is read-only here.",
            tr("Name another: --tracking-uri"),
            uri=uri,
        )


def _check_database(uri: str) -> None:
    """Connect once: MLflow would try ten times, for two minutes."""
    try:
        address = sqlalchemy.make_url(uri)
    except ValueError:  # which says parts of a password that is not escaped
        raise ModelError(
            "The tracking store {uri} is no URI of a database.",
            tr("In a user and password write %40 for @, %3A for :, %2F for / and %25 for %."),
            uri=redact(uri),
        ) from None
    sqlalchemy.create_engine(address, poolclass=NullPool).connect().close()


def _absolute(uri: str) -> str:
    """Name a sqlite file in full: MLflow keeps its connections by URI, whatever folder it is in."""
    database = sqlite_path(uri)
    if database is None:
        return uri
    path = str(database.absolute()).replace("%", "%25").replace("?", "%3F")
    _, separator, query = uri.partition("?")
    return f"{SQLITE}{path}{separator}{query}"


def _create_sqlite(uri: str, database: Path) -> None:
    """Create the tables once, though several commands may start at the same time."""
    if not database.absolute().parent.is_dir():
        raise ModelError("The tracking store {uri} cannot be created: no such folder.", uri=uri)
    lock = FileLock(_lock_path(database), timeout=_LOCK_TIMEOUT_S)
    with store_errors(uri), lock:
        MlflowClient(tracking_uri=_absolute(uri)).search_experiments(max_results=1)
        # Who still waits for this lock finds the tables made, and who comes later needs none.
        _lock_path(database).unlink(missing_ok=True)


def _lock_path(database: Path) -> Path:
    return database.with_name(f".{database.name}.lock")
