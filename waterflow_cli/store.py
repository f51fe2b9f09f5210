"""Reach the MLflow tracking store that the user named, and no other."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

# Before mlflow is imported: nothing is sent anywhere, and a store that does not answer is given
# up within a minute instead of some ten.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from waterflow_cli.errors import ModelError
from waterflow_cli.messages import tr
from waterflow_cli.model_location import SQLITE, sqlite_path

ARTIFACT_FOLDER = "mlartifacts"
_LOCK_TIMEOUT_S = 120

for _name in ("mlflow", "alembic", "sqlalchemy"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def connect(uri: str, *, create: bool = False) -> MlflowClient:
    """Connect to a tracking store.

    Parameters
    ----------
    uri : str
        As MLflow takes it.
    create : bool
        Whether a sqlite store that does not exist is created.

    Raises
    ------
    ModelError
        If the store does not exist, does not answer, or is damaged.
    """
    database = sqlite_path(uri)
    if database is not None and not database.is_dir():
        if not database.exists() and not create:
            raise ModelError(
                tr("No tracking store at {uri}: no model is registered here yet.", uri=uri),
                tr("Train one: waterflow train, or name the store: --tracking-uri"),
            )
        # The file is there some seconds before its tables are, and so long is the lock.
        if not database.exists() or _lock_path(database).exists():
            _create_sqlite(uri, database)
    try:
        with store_errors(uri):
            if database is not None:  # MLflow would try a folder for two minutes
                database.open("rb").close()
            mlflow.set_tracking_uri(_absolute(uri))
            client = MlflowClient(tracking_uri=_absolute(uri))
            client.search_experiments(max_results=1)
            return client
    except ImportError as exc:
        raise ModelError(
            tr("The tracking store {uri} cannot be used: {cause}.", uri=redact(uri), cause=exc),
            tr("Install the driver of its database."),
        ) from exc


def redact(uri: str) -> str:
    """Hide the user and password of a URI.

    >>> redact("postgresql://ana:secret@db/mlflow")
    'postgresql://***@db/mlflow'
    """
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", uri)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database raise into an error that names the store.

    Raises
    ------
    ModelError
        In one line, without credentials.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as exc:
        cause = redact(" ".join(str(exc).split())[:200])
        raise ModelError(
            tr("The tracking store {uri} cannot be used: {cause}", uri=redact(uri), cause=cause),
            tr("Check the URI, and that the store is up, intact and writable."),
        ) from exc


def _absolute(uri: str) -> str:
    """Name a sqlite file in full: MLflow keeps its connections by URI, whatever folder it is in."""
    database = sqlite_path(uri)
    if database is None:
        return uri
    path = str(database.absolute()).replace("%", "%25").replace("?", "%3F")
    _, mark, query = uri.partition("?")
    return f"{SQLITE}{path}{mark}{query}"


def _create_sqlite(uri: str, database: Path) -> None:
    """Create the tables once, though several commands may start at the same time."""
    if not database.absolute().parent.is_dir():
        raise ModelError(tr("The tracking store {uri} cannot be created: no such folder.", uri=uri))
    lock = FileLock(_lock_path(database), timeout=_LOCK_TIMEOUT_S)
    with store_errors(uri), lock:
        MlflowClient(tracking_uri=_absolute(uri)).search_experiments(max_results=1)
        # Who still waits for this lock finds the tables made, and who comes later needs none.
        _lock_path(database).unlink(missing_ok=True)


def _lock_path(database: Path) -> Path:
    return database.with_name(f".{database.name}.lock")
