"""Sqlite stores past MLflow: where they lie, and what its tables say, which may change.

A lookup by MLflow takes a CPU second and more. Where a store has another revision or other tables
than those known here, MLflow is asked.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.messages import tr
from waterflow_cli.registry.references import (
    DIGEST_TAG,
    ListedModel,
    ListedVersion,
    Located,
    parse_reference,
)

T = TypeVar("T")
SQLITE = "sqlite:///"
_REVISIONS, _MODELS = "alembic_version", "registered_models"
# Revisions of MLflow's tables that the queries below were tried with (table alembic_version).
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
_OF_MODEL = "WHERE workspace = 'default' AND name = :name"
_VERSIONS = f"""
    SELECT version, creation_time, run_id FROM model_versions {_OF_MODEL}
    AND current_stage != 'Deleted_Internal' ORDER BY version
"""
_VERSION_TAGS = f"SELECT version, key, value FROM model_version_tags {_OF_MODEL}"
_ALIASES = f"SELECT version, alias FROM registered_model_aliases {_OF_MODEL}"
_MODEL_TAGS = f"SELECT key, value FROM registered_model_tags {_OF_MODEL}"
_METRICS = """
    SELECT v.version, m.value FROM model_versions v
    JOIN runs r ON r.run_uuid = v.run_id JOIN latest_metrics m ON m.run_uuid = r.run_uuid
    WHERE v.workspace = 'default' AND v.name = :name AND m.key = :key AND NOT m.is_nan
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


def check_exists(uri: str) -> None:
    """Refuse, by a `ModelError`, a sqlite store that is not there."""
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        raise ModelError(
            "No tracking store at {uri}: no model is registered here yet.",
            tr("Train one: waterflow train, or name the store: --tracking-uri"),
            uri=uri,
        )


def read_only(database: Path, timeout_s: float = 5.0) -> AbstractContextManager[sqlite3.Connection]:
    """Open a database that nothing is written to; it is not made where there is none."""
    address = f"file:{quote(str(database))}?mode=ro"
    return closing(sqlite3.connect(address, uri=True, timeout=timeout_s))


def is_made_by_mlflow(connection: sqlite3.Connection) -> bool:
    """Tell whether a database holds what MLflow puts into each store."""
    return _REVISIONS in _tables(connection)


def locate_in_sqlite(reference: str, name: str, uri: str) -> Located | None:
    """Look a version up in a sqlite file; None where MLflow must be asked, or can say more."""
    version = parse_reference(reference, name)
    if version is None:
        return None

    def locate(connection: sqlite3.Connection) -> Located | None:
        rows = connection.execute(_QUERY, {**version._asdict(), "tag": DIGEST_TAG}).fetchall()
        if len(rows) != 1:
            return None
        found, number, location, digest = rows[0]
        return Located(f"{found}/{number}", location, digest)

    return _read_known(uri, locate)


def read_in_sqlite(name: str, uri: str, figures: Sequence[str]) -> ListedModel | None:
    """Read what is registered of a model; None where MLflow must be asked, or can say more."""

    def read(connection: sqlite3.Connection) -> ListedModel | None:
        def ask(query: str, **values: str) -> list[tuple[Any, ...]]:
            return connection.execute(query, {"name": name, **values}).fetchall()

        tags: dict[int, dict[str, str]] = defaultdict(dict)
        for number, key, value in ask(_VERSION_TAGS):
            tags[number][key] = value
        aliases = ask(_ALIASES)
        measured = {name: dict(ask(_METRICS, key=f"test_{name}")) for name in figures}
        versions = [
            ListedVersion(
                number=number,
                created_ms=created_ms,
                run_id=run_id,
                tags=tags[number],
                aliases=[alias for version, alias in aliases if version == number],
                figures={
                    name: found[number] for name, found in measured.items() if number in found
                },
            )
            for number, created_ms, run_id in ask(_VERSIONS)
        ]
        return ListedModel(versions, dict(ask(_MODEL_TAGS))) if versions else None

    return _read_known(uri, read)


def _read_known(uri: str, read: Callable[[sqlite3.Connection], T | None]) -> T | None:
    """Read in one transaction from a sqlite file whose tables are known; None from any other."""
    database = sqlite_path(uri)
    if database is None or "?" in uri:
        return None
    try:
        with read_only(database) as connection:
            connection.execute("BEGIN")
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if [revision for (revision,) in revisions if revision not in _KNOWN_REVISIONS]:
                return None
            return read(connection)
    except sqlite3.Error:  # locked, damaged or missing: MLflow waits, or says what is wrong
        return None


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
