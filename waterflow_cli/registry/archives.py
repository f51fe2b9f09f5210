"""One file with a version: the model, its manifest, its evaluation and its history.

The file is a zip. ``export.json`` lists the sha256 and the size of every other member; the model's
own manifest is among them, so that what is imported is, byte for byte, what was exported.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient

from waterflow_cli import __version__, pyfunc
from waterflow_cli.common.errors import InputError, ModelError
from waterflow_cli.common.hashing import file_sha256
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.models.files import DIGEST_TAG, MANIFEST, listed_files, verify_folder
from waterflow_cli.registry.history import Action
from waterflow_cli.registry.location import FetchedModel, fetch_model
from waterflow_cli.registry.lookup import find_version, if_there
from waterflow_cli.registry.runs import RECORD_FILE, TrackingOptions, tracked_run
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.registry.versions import (
    GATE_TAG,
    PASSED,
    REFUSED,
    GateVerdict,
    Origin,
    RegisteredVersion,
    read_history,
    register,
)

FORMAT = 1
_LIST = "export.json"
_MODEL = "model"
# What the run keeps beside the model, where it does.
_RUN_FILES = ("evaluation.json", "report.html", RECORD_FILE)
_MAX_LIST_BYTES = 16 << 20
_CHUNK = 1 << 20
_MAX_NAME = 200
_OWN_TAGS = "waterflow."
# What unpacking raises where bytes were changed, or names are no names of files.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(FileExistsError, NotADirectoryError, IsADirectoryError, KeyError, TypeError, ValueError),
)
# All members carry this time, so that the same version gives the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Exported:
    """A version that was written to a file."""

    label: str
    digest: str


@dataclass(frozen=True)
class Imported:
    """A version that was read from a file: what it is here, and was called where it came from."""

    registered: RegisteredVersion
    origin: str
    digest: str


def export_version(
    reference: str, *, name: str, tracking_uri: str, open_output: Callable[[], Any]
) -> Exported:
    """Write a registered version to one file.

    Parameters
    ----------
    open_output : callable
        Opens the file, as a context; it is called when all else is at hand.

    Raises
    ------
    ModelError
        If there is no such version, or a file of it was changed.
    """
    client = connect(tracking_uri)
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch, ExitStack() as stack:
        with store_errors(tracking_uri):
            found = find_version(client, reference, name, tracking_uri)
            uri = f"models:/{found.name}/{found.version}"
            fetched = stack.enter_context(
                fetch_model(uri, name=found.name, tracking_uri=tracking_uri)
            )
            # No more than was verified: MLflow leaves a file beside a model that it loads.
            members = {
                f"{_MODEL}/{file}": fetched.folder / file
                for file in sorted({*listed_files(fetched.folder), MANIFEST})
            }
            members.update(_fetch_run_files(client, found.run_id, Path(scratch)))
            content = {
                "version": FORMAT,
                "waterflow": __version__,
                "model": fetched.label,
                "plugin": fetched.load().plugin,
                "manifest_sha256": fetched.digest,
                "gate": found.tags.get(GATE_TAG),
                **_describe_run(client, found.run_id),
                "history": [
                    entry.to_json()
                    for entry in read_history(found.name, tracking_uri)
                    if entry.version == int(found.version)
                ],
                "files": {name: _describe(path) for name, path in sorted(members.items())},
            }
        with open_output() as output:
            _write_zip(output, members, content)
    return Exported(fetched.label, fetched.digest)


def import_version(path: str, tracking: TrackingOptions, *, digest: str | None = None) -> Imported:
    """Verify an exported version, and register it here; the first one becomes the champion.

    Parameters
    ----------
    digest : str, optional
        The start of the sha256 that the model's manifest must have, as the exporter told it.

    Raises
    ------
    InputError
        If the file cannot be read, or is no whole export.
    ModelError
        If a file of the model was changed, it holds types that are not trusted, or its plugin is
        not installed.
    """
    shown = path_text(path)
    with _unpacked(path) as (folder, content):
        found = verify_folder(folder / _MODEL, label=shown)
        if found != content["manifest_sha256"] or not found.startswith(digest or ""):
            raise ModelError(
                "{path}: holds the model sha256:{found}…, not sha256:{digest}….",
                tr("Nothing was imported. Ask for the file again."),
                path=shown,
                found=found[:12],
                digest=(digest or content["manifest_sha256"])[:12],
            )
        FetchedModel(folder / _MODEL, shown, found).load()
        _refuse_foreign_code(folder / _MODEL, shown)
        registered = _log_import(folder, content, tracking, shown)
    return Imported(registered, str(content["model"]), found)


def _log_import(
    folder: Path, content: Mapping[str, Any], tracking: TrackingOptions, path: str
) -> RegisteredVersion:
    with tracked_run(tracking) as run:
        client, origin = run.client, content["model"]
        mlflow.log_metrics(content["metrics"])
        mlflow.log_params(content["params"])
        mlflow.set_tags({**content["tags"], "waterflow.imported_from": origin[:_MAX_NAME]})
        client.log_dict(run.run_id, dict(content), _LIST)
        for name in _RUN_FILES:
            if (folder / name).is_file():
                client.log_artifact(run.run_id, str(folder / name))
        logged = client.create_logged_model(
            run.experiment_id, name="model", source_run_id=run.run_id
        )
        client.log_model_artifacts(logged.model_id, str(folder / _MODEL))
        client.set_logged_model_tags(logged.model_id, {DIGEST_TAG: content["manifest_sha256"]})
        client.finalize_logged_model(logged.model_id, "READY")
        history = Origin(Action.IMPORT, f"{origin} from {path}", _gate_of(content))
        return register(run, logged.model_id, plugin=content["plugin"], origin=history)


def _gate_of(content: Mapping[str, Any]) -> GateVerdict | None:
    """Keep that a gate refused a version; that it passed means nothing beside another champion."""
    if content["gate"] != REFUSED:
        return None
    return GateVerdict(passed=False, why=str(content["model"]), champion=None)


def _refuse_foreign_code(folder: Path, path: str) -> None:
    """Refuse a model that MLflow would load by other code, or with files that nobody listed."""
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    description = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
    flavors = description["flavors"]
    function = flavors.get("python_function", {})
    is_ours = (
        set(flavors) == {"python_function"}
        and function.get("loader_module") == pyfunc.__name__
        and not function.get("code")
        and found == {*listed_files(folder), MANIFEST}
    )
    if not is_ours:
        raise ModelError(
            "{path}: holds code or files that are no part of a model of waterflow.",
            tr("Nothing was imported. Do not load it in any other way either."),
            path=path,
        )


def _describe_run(client: MlflowClient, run_id: str) -> dict[str, dict[str, Any]]:
    """Give what a run keeps of a training; nothing where it was deleted for good."""
    run = if_there(client.get_run, run_id)
    if run is None:
        return {"metrics": {}, "params": {}, "tags": {}}
    data = run.data
    tags = {name: value for name, value in data.tags.items() if name.startswith(_OWN_TAGS)}
    return {"metrics": dict(data.metrics), "params": dict(data.params), "tags": tags}


def _fetch_run_files(client: MlflowClient, run_id: str, folder: Path) -> dict[str, Path]:
    # None where the run was deleted for good: the model is whole without it.
    kept = {file.path for file in if_there(client.list_artifacts, run_id) or ()}
    return {
        name: Path(client.download_artifacts(run_id, name, str(folder)))
        for name in _RUN_FILES
        if name in kept
    }


def _describe(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def _write_zip(output: Any, members: Mapping[str, Path], content: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(content, indent=2) + "\n"
        archive.writestr(zipfile.ZipInfo(_LIST, _TIME), text, zipfile.ZIP_DEFLATED)
        for name, path in sorted(members.items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, path.stat().st_size
            with path.open("rb") as file, archive.open(info, "w") as member:
                shutil.copyfileobj(file, member, _CHUNK)


@contextmanager
def _unpacked(path: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Unpack an export whose every member is what its list says."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as exc:
        raise InputError(
            path_text(path), "cannot be read ({strerror}).", strerror=exc.strerror
        ) from exc
    except zipfile.BadZipFile as exc:
        raise _no_export(path, str(exc)) from exc
    with archive, tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        content = _read_list(archive, path)
        try:
            for name, expected in content["files"].items():
                _unpack(archive, name, expected, Path(scratch), path)
        except _DAMAGED as exc:
            raise _no_export(path, str(exc)) from exc
        yield Path(scratch), content


def _read_list(archive: zipfile.ZipFile, path: str) -> dict[str, Any]:
    try:
        if archive.getinfo(_LIST).file_size > _MAX_LIST_BYTES:
            raise _no_export(path, tr("its list is too long"))
        content: dict[str, Any] = json.loads(archive.read(_LIST))
        if content["version"] != FORMAT:
            raise InputError(
                path_text(path),
                "is an export of version {version}; this version of waterflow knows {known}.",
                version=content["version"],
                known=FORMAT,
                hint=tr("Install the version of waterflow that wrote it."),
            )
        whole = (
            set(archive.namelist()) == {_LIST, *content["files"]}
            and all(
                isinstance(content[name], str) for name in ("model", "plugin", "manifest_sha256")
            )
            and len(content["model"]) <= _MAX_NAME
            and content["gate"] in (None, PASSED, REFUSED)
            and all(math.isfinite(value) for value in content["metrics"].values())
            and all(isinstance(text, str) for text in content["params"].values())
            and all(isinstance(text, str) for text in content["tags"].values())
            and all(name.startswith(_OWN_TAGS) for name in content["tags"])
            and all(len(name) <= _MAX_NAME for name in archive.namelist())
            and all(
                info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                for info in archive.infolist()
            )
        )
        if not whole:
            raise ValueError(_LIST)
    except (*_DAMAGED, AttributeError) as exc:
        raise _no_export(path, tr("its list is missing or damaged")) from exc
    return content


def _unpack(archive: zipfile.ZipFile, name: str, expected: Any, folder: Path, path: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise _no_export(path, tr("a name in it leads elsewhere"))
    target = folder / parts
    target.parent.mkdir(parents=True, exist_ok=True)
    n_left = int(expected["bytes"])
    with archive.open(name) as member, target.open("wb") as file:
        while chunk := member.read(_CHUNK):
            n_left -= len(chunk)
            if n_left < 0:  # longer than it says
                break
            file.write(chunk)
    if n_left or file_sha256(target) != expected["sha256"]:
        raise _no_export(path, tr("{name} is not what was exported", name=name))


def _no_export(path: str, cause: str) -> InputError:
    return InputError(
        path_text(path),
        "is no whole export of a model ({cause}).",
        cause=cause,
        hint=tr("Make one: waterflow models export VERSION -o FILE. Nothing was imported."),
    )
