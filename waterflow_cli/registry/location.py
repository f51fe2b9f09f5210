"""Find the files of a model: in a folder, in a sqlite store, or by MLflow's client.

MLflow takes a CPU second and more to import and to connect, which is most of what scoring a few
rows would cost: it is imported only where the store's tables do not tell.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from waterflow_cli.models.files import StoredModel, load_payload
from waterflow_cli.models.manifest import ModelFiles, model_file_errors, read_verified
from waterflow_cli.models.reference import COUNTS_FILE, Reference, load_reference
from waterflow_cli.registry.references import Located
from waterflow_cli.registry.sqlite_tables import locate_in_sqlite


@dataclass(frozen=True)
class FetchedModel:
    """A model's files, each read once and verified; its label is in the scored rows."""

    files: ModelFiles
    label: str

    def load(self) -> StoredModel:
        """Load it; a `ModelError` where it is malformed, holds untrusted types or is too new."""
        return load_payload(self.files, label=self.label)

    def reference(self) -> Reference | None:
        """Read what it remembers of its training rows; None for models of the first versions."""
        if COUNTS_FILE not in self.files.payload:
            return None
        return load_reference(self.files.payload, label=self.label)


def fetch_model(reference: str, *, name: str, tracking_uri: str) -> FetchedModel:
    """Find a model, and read and verify each of its files.

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
    located = locate_model(reference, name=name, tracking_uri=tracking_uri)
    if located is None:
        folder = Path(reference)
        files = read_verified(folder, label=reference)
        return FetchedModel(files, f"sha256:{files.digest[:12]}")
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        folder = _fetch(located, Path(scratch), tracking_uri)
        files = read_verified(folder, label=located.label, digest=located.digest)
    return FetchedModel(files, located.label)


def locate_model(reference: str, *, name: str, tracking_uri: str) -> Located | None:
    """Tell which version a reference names now, and load nothing; None for a model folder.

    There is a `ModelError` where there is no such model.
    """
    with model_file_errors():
        if (Path(reference) / "MLmodel").is_file():
            return None
    located = locate_in_sqlite(reference, name, tracking_uri)
    if located is None:
        from waterflow_cli.registry.lookup import locate

        located = locate(reference, name=name, tracking_uri=tracking_uri)
    return located


def load_model(reference: str, *, name: str, tracking_uri: str) -> StoredModel:
    """Find a model, verify each of its files, and load it; see `fetch_model`."""
    return fetch_model(reference, name=name, tracking_uri=tracking_uri).load()


def _fetch(located: Located, scratch: Path, uri: str) -> Path:
    parsed = urlparse(located.location)
    if parsed.scheme in ("", "file"):
        return Path(unquote(parsed.path))
    from waterflow_cli.registry.lookup import download

    return download(located.location, scratch, uri)
