"""Sqlite stores past MLflow: where they lie, and what its tables say, which may change.

A lookup by MLflow takes a CPU second and more. Where a store has another revision or other tables
than those known here, MLflow is asked.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path
from urllib.parse import quote, unquote

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.manifest import DIGEST_TAG
from waterflow_cli.registry.references import Located, parse_reference

SQLITE = "sqlite:///"
_REVISIONS, _MODELS = "alembic_version", "registered_models"
# Revisions of MLflow's tables that the query below was tried with (table alembic_version).
_KNOWN_REVISIONS = ("dc11669786a5",)
_QUERY = """
    SELECT v.name, v.version, m.artifact_location, t.tag_value
    FROM model_versions v
    JOIN logged_models m ON 'models:/' || m.model_id = v.source AND m.lifecycle_stage = 'active'
    JOIN logged_model_tags t ON t.model_id = m.model_id AND t.tag_key = :tag
    WHERE v.workspace = 'default' AND v.name = :name AND v.current_stage != 'Deleted_Internal'
      AND v.version = coalesce(:number, (
        SELECT a.version FROM registered_model_aliases a
        WHERE a.workspace = 'default' AND a.name = :name AND a.alias = :alias))
"""


def sqlite_path(uri: str) -> Path | None:
    """Give the file of a sqlite store; None for any other kind of store.

    There is a `ModelError` where the system knows no such name, or gives no access to it.

    >>> sqlite_path("sqlite:///my%20river/mlflow.db?timeout=5")
    PosixPath('my river/mlflow.db')
    """
    if not uri.startswith(SQLITE):
        return None
    path = Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))
    try:
        str(path).encode()  # which sqlite needs
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as exc:
        raise ModelError(
            "The tracking store {uri} cannot be used: {cause}",
            tr("Name another: --tracking-uri"),
            uri=uri,
            cause=getattr(exc, "strerror", exc),
        ) from exc
    return path


def read_only(database: Path, timeout_s: float = 5.0) -> AbstractContextManager[sqlite3.Connection]:
    """Open a database that nothing is written to; it is not made where there is none."""
    address = f"file:{quote(str(database))}?mode=ro"
    return closing(sqlite3.connect(address, uri=True, timeout=timeout_s))


def is_made_by_mlflow(connection: sqlite3.Connection) -> bool:
    """Tell whether a database holds what MLflow puts into each store."""
    return _REVISIONS in _tables(connection)


def locate_in_sqlite(reference: str, name: str, uri: str) -> Located | None:
    """Look a version up in a sqlite file; None where MLflow must be asked, or can say more."""
    database, version = sqlite_path(uri), parse_reference(reference, name)
    if database is None or version is None or "?" in uri:
        return None
    try:
        with read_only(database) as connection:
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if [revision for (revision,) in revisions if revision not in _KNOWN_REVISIONS]:
                return None
            rows = connection.execute(_QUERY, {**version._asdict(), "tag": DIGEST_TAG}).fetchall()
    except sqlite3.Error:  # locked, damaged or missing: MLflow waits, or says what is wrong
        return None
    if len(rows) != 1:
        return None
    found, number, location, digest = rows[0]
    return Located(f"{found}/{number}", location, digest)


def count_models(database: Path) -> int | None:
    """Count registered models; None where MLflow must be asked.

    Where it is no database, or no store, there is a `sqlite3.Error`.
    """
    with read_only(database) as connection:
        if is_made_by_mlflow(connection) and _MODELS not in _tables(connection):
            return None
        return int(connection.execute("SELECT COUNT(*) FROM registered_models").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
