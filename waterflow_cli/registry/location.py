"""Find the files of a model: in a folder, in a sqlite store, or by MLflow's client.

MLflow takes a CPU second and more to import and to connect, which is most of what scoring a few
rows would cost. A sqlite store in a version whose tables are known is therefore read directly, and
read only; in any other case MLflow is asked.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlparse

from waterflow_cli.models.files import (
    DIGEST_TAG,
    PAYLOAD,
    StoredModel,
    load_payload,
    verify_folder,
)

SQLITE = "sqlite:///"
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


class VersionReference(NamedTuple):
    """A version of a registered model, by alias or by number."""

    name: str
    alias: str | None
    number: str | None


@dataclass(frozen=True)
class Located:
    """Where a model's files lie, and what they must hash to."""

    label: str
    location: str
    digest: str


def parse_reference(reference: str, name: str) -> VersionReference | None:
    """Read ``@alias``, a number or ``models:/NAME/…``; None for anything else.

    >>> parse_reference("@champion", "waterflow")
    VersionReference(name='waterflow', alias='champion', number=None)
    >>> parse_reference("models:/river/3", "waterflow")
    VersionReference(name='river', alias=None, number='3')
    """
    if match := re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+))", reference):
        return VersionReference(*match.groups())
    if match := re.fullmatch(r"@(.+)|([0-9]+)", reference):
        return VersionReference(name, *match.groups())
    return None


def sqlite_path(uri: str) -> Path | None:
    """Give the file of a sqlite store; None for any other kind of store.

    >>> sqlite_path("sqlite:///my%20river/mlflow.db?timeout=5")
    PosixPath('my river/mlflow.db')
    """
    if not uri.startswith(SQLITE):
        return None
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


@dataclass(frozen=True)
class FetchedModel:
    """A model's files on this machine, each verified.

    Attributes
    ----------
    folder : Path
        As MLflow lays it out.
    label : str
        What a scored row says judged it.
    digest : str
        The sha256 of the manifest.
    """

    folder: Path
    label: str
    digest: str

    def load(self) -> StoredModel:
        """Load it.

        Raises
        ------
        ModelError
            If it holds types that are not trusted, or was saved by another version.
        """
        payload = self.folder / "data" / PAYLOAD
        return load_payload(payload, label=self.label, digest=self.digest)


@contextmanager
def fetch_model(reference: str, *, name: str, tracking_uri: str) -> Iterator[FetchedModel]:
    """Find a model, and verify each of its files.

    Parameters
    ----------
    reference : str
        ``@alias``, a version number, ``models:/…``, ``runs:/…`` or a model folder.
    name : str
        The registered model that aliases and version numbers belong to.

    Raises
    ------
    ModelError
        If there is no such model, or a file of it was changed.
    """
    if (Path(reference) / "MLmodel").is_file():
        folder = Path(reference)
        digest = verify_folder(folder, label=reference)
        yield FetchedModel(folder, f"sha256:{digest[:12]}", digest)
        return
    located = _locate(reference, name, tracking_uri)
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        folder = _fetch(located, Path(scratch), tracking_uri)
        digest = verify_folder(folder, label=located.label, digest=located.digest)
        yield FetchedModel(folder, located.label, digest)


def locate_model(reference: str, *, name: str, tracking_uri: str) -> Located | None:
    """Tell which version a reference names now, and load nothing; None for a model folder.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    if (Path(reference) / "MLmodel").is_file():
        return None
    return _locate(reference, name, tracking_uri)


def load_model(reference: str, *, name: str, tracking_uri: str) -> StoredModel:
    """Find a model, verify each of its files, and load it; see `fetch_model`."""
    with fetch_model(reference, name=name, tracking_uri=tracking_uri) as fetched:
        return fetched.load()


def _locate(reference: str, name: str, uri: str) -> Located:
    located = _locate_in_sqlite(reference, name, uri)
    if located is None:
        from waterflow_cli.registry.lookup import locate

        located = locate(reference, name=name, tracking_uri=uri)
    return located


def _locate_in_sqlite(reference: str, name: str, uri: str) -> Located | None:
    """Look a version up in a sqlite file; None where MLflow must be asked, or can say more."""
    database, version = sqlite_path(uri), parse_reference(reference, name)
    if database is None or version is None or "?" in uri:
        return None
    try:
        address = f"file:{quote(str(database))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
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


def _fetch(located: Located, scratch: Path, uri: str) -> Path:
    parsed = urlparse(located.location)
    if parsed.scheme in ("", "file"):
        return Path(unquote(parsed.path))
    from waterflow_cli.registry.lookup import download

    return download(located.location, scratch, uri)
