"""The files of a model folder, read once and verified against their manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.hashing import file_sha256, sha256_of
from waterflow_cli.common.messages import tr
from waterflow_cli.models.reference import REFERENCE_FILES

_FORMAT = 1
MANIFEST = "waterflow-manifest.json"
PAYLOAD = "waterflow"
ESTIMATOR_FILE, DECISION_FILE, SCHEMA_FILE = "estimator.skops", "decision.json", "schema.yaml"
# MLflow writes this note about a version into the folder whenever it is fetched.
_ADDED_BY_MLFLOW = "registered_model_meta"


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model folder as they were read and hashed, once.

    Attributes
    ----------
    digest : str
        The sha256 of the manifest, which lists those of the others.
    content : mapping of str to bytes
        By their paths in the folder, the manifest included.
    """

    digest: str
    content: Mapping[str, bytes]

    @property
    def payload(self) -> dict[str, bytes]:
        """What waterflow itself wrote, by name."""
        return files_below(f"data/{PAYLOAD}/", self.content)


def files_below(start: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the files whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(start): data for name, data in files.items() if name.startswith(start)
    }


def write_manifest(folder: Path) -> str:
    """List the sha256 of every file of a model folder in it, and return the list's own sha256."""
    entries = {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, _ADDED_BY_MLFLOW)
    }
    text = json.dumps({"version": _FORMAT, "sha256": entries}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")
    return sha256_of(text)


@contextmanager
def model_file_errors() -> Iterator[None]:
    """Name a file of a model that this user cannot read."""
    try:
        yield
    except OSError as exc:
        raise ModelError(
            "{path}: this file of a model cannot be read ({strerror}).",
            tr("Check the name, and that you have the right to read it."),
            path=exc.filename,
            strerror=exc.strerror,
        ) from exc


@model_file_errors()
def read_verified(folder: Path, *, label: str, digest: str | None = None) -> ModelFiles:
    """Read each file of a model folder that its manifest lists, and check it against that.

    Nothing is executed. A file is read once: what was hashed is what is loaded.

    Parameters
    ----------
    digest : str, optional
        The manifest's sha256 as the tracking store keeps it.

    Raises
    ------
    ModelError
        If a file is missing or changed.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ModelError(
            "Model {label}: {file} is missing, so its files cannot be verified.",
            tr("Only models that waterflow trained can be used."),
            label=label,
            file=folder / MANIFEST,
        ) from exc
    found = sha256_of(text)
    if digest is not None and found != digest:
        raise ModelError(_tampered(label, folder / MANIFEST))
    try:
        listing = json.loads(text)
        version, entries = listing["version"], dict(listing["sha256"])
        paths = [PurePosixPath(name) for name in entries]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ModelError(_tampered(label, folder / MANIFEST)) from exc
    payload = {f"data/{PAYLOAD}/{name}" for name in (ESTIMATOR_FILE, DECISION_FILE, SCHEMA_FILE)}
    # Models of former formats have no reference; one that is there must be listed too.
    reference = {f"data/{PAYLOAD}/{name}" for name in REFERENCE_FILES}
    payload |= {name for name in reference if (folder / name).exists()}
    leads_out = any(path.is_absolute() or ".." in path.parts for path in paths)
    if version != _FORMAT or leads_out or not {"MLmodel", *payload} <= {*entries}:
        raise ModelError(_tampered(label, folder / MANIFEST))
    content = {MANIFEST: text}
    for name, expected in entries.items():
        path = folder / name
        content[name] = path.read_bytes() if path.is_file() else b""
        if not path.is_file() or sha256_of(content[name]) != expected:
            raise ModelError(_tampered(label, path))
    return ModelFiles(found, content)


def _tampered(label: str, path: Path) -> str:
    return tr(
        "Model {label}: {path} is not what was saved (its sha256 differs); refused, not loaded.",
        label=label,
        path=path,
    )
