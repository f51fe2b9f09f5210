"""One file with a version: the model, its manifest, its evaluation and its history.

The file is a zip. ``export.json`` lists the sha256 and the size of every other member; the model's
own manifest is among them, so that what is imported is, byte for byte, what was exported.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient

from waterflow_cli import __version__, pyfunc
from waterflow_cli.common.errors import InputError, ModelError
from waterflow_cli.common.hashing import file_sha256, sha256_of
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.models.estimator_files import check_members
from waterflow_cli.models.files import estimator_of
from waterflow_cli.models.manifest import ModelFiles, read_verified
from waterflow_cli.registry.history import Action
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.registry.lookup import find_version, if_there
from waterflow_cli.registry.overview import read_history
from waterflow_cli.registry.references import CHAMPION, DIGEST_TAG, GATE_TAG
from waterflow_cli.registry.rehearsal import check_rehearsed, reference_probabilities, rehearse
from waterflow_cli.registry.runs import RECORD_FILE, TrackingOptions, tracked_run
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.registry.versions import (
    PASSED,
    REFUSED,
    Aliasing,
    GateVerdict,
    Origin,
    RegisteredVersion,
    promote,
    register,
)

FORMAT = 1
_LIST = "export.json"
MODEL_FOLDER = "model"
# What the run keeps beside the model, where it does.
_RUN_FILES = ("evaluation.json", "report.html", RECORD_FILE)
_MAX_LIST_BYTES = 16 << 20
_CHUNK = 1 << 20
_MAX_NAME, _MOST_MEMBERS = 200, 1000
_IMPORTED = "imported with --promote"
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
    is_compared: bool


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
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        with store_errors(tracking_uri):
            found = find_version(client, reference, name, tracking_uri)
            uri = f"models:/{found.name}/{found.version}"
            fetched = fetch_model(uri, name=found.name, tracking_uri=tracking_uri)
            model = fetched.load()
            # No more than was verified: MLflow leaves a file beside a model that it loads.
            members = {
                f"{MODEL_FOLDER}/{file}": data for file, data in fetched.files.content.items()
            }
            members.update(_fetch_run_files(client, found.run_id, Path(scratch)))
            listing = {
                "version": FORMAT,
                "waterflow": __version__,
                "model": fetched.label,
                "plugin": model.plugin,
                "manifest_sha256": model.digest,
                "gate": found.tags.get(GATE_TAG),
                **_describe_run(client, found.run_id),
                "history": [
                    entry.to_json()
                    for entry in read_history(found.name, tracking_uri)
                    if entry.version == int(found.version)
                ],
                "reference_probabilities": reference_probabilities(model, fetched.files),
                "files": {name: _describe(data) for name, data in sorted(members.items())},
            }
        with open_output() as output:
            _write_zip(output, members, listing)
    return Exported(model.label, model.digest)


def export_estimator(
    reference: str, *, name: str, tracking_uri: str, open_output: Callable[[], Any]
) -> Exported:
    """Write the estimator of a version alone, for skops to load.

    There is a `ModelError` where there is no such version, a file of it was changed, or the
    estimator would not be loaded here either.
    """
    fetched = fetch_model(reference, name=name, tracking_uri=tracking_uri)
    data = estimator_of(fetched.files, label=fetched.label)
    with open_output() as output:
        output.write(data)
    return Exported(fetched.label, sha256_of(data))


def import_version(
    path: str, tracking: TrackingOptions, *, digest: str | None = None, is_promoted: bool = False
) -> Imported:
    """Verify an exported version, and register it here, without an alias.

    Its model first scores its own reference rows, in a process of its own.

    Parameters
    ----------
    digest : str, optional
        The start of the sha256 that the model's manifest must have, as the exporter told it.
    is_promoted : bool
        Whether it becomes the champion at once.

    Raises
    ------
    InputError
        If the file cannot be read, or is no whole export.
    ModelError
        If a file of the model was changed, it holds types that are not trusted, is malformed or
        gives other probabilities than the archive states, or its plugin is not installed.
    ModelRefusedError
        If it is registered, and is worse than the champion.
    """
    shown = path_text(path)
    with open_export(path) as (folder, content):
        files = read_verified(folder / MODEL_FOLDER, label=shown)
        found = files.digest
        if found != content["manifest_sha256"] or not found.startswith(digest or ""):
            raise ModelError(
                "{path}: holds the model sha256:{found}…, not sha256:{digest}….",
                tr("Nothing was imported. Ask for the file again."),
                path=shown,
                found=found[:12],
                digest=(digest or content["manifest_sha256"])[:12],
            )
        _refuse_foreign_code(folder / MODEL_FOLDER, files, shown)
        stated = content.get("reference_probabilities")
        check_rehearsed(shown, rehearse(folder / MODEL_FOLDER, label=shown, digest=found), stated)
        origin = f"{content['model']} from {shown}"
        history = Origin(Action.IMPORT, origin, gate_of(content), Aliasing.NONE)
        registered = log_archive(folder, content, tracking, history)
    if is_promoted:
        promote(registered.name, str(registered.version), tracking.uri, why=_IMPORTED)
        registered = replace(registered, alias=CHAMPION)
    return Imported(registered, str(content["model"]), found, is_compared=stated is not None)


@interrupts_held_back()
def log_archive(
    folder: Path, content: Mapping[str, Any], tracking: TrackingOptions, history: Origin
) -> RegisteredVersion:
    """Log what `open_export` unpacked as a run of its own, and register its model."""
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
        client.log_model_artifacts(logged.model_id, str(folder / MODEL_FOLDER))
        client.set_logged_model_tags(logged.model_id, {DIGEST_TAG: content["manifest_sha256"]})
        client.finalize_logged_model(logged.model_id, "READY")
        return register(run, logged.model_id, plugin=content["plugin"], origin=history)


def gate_of(content: Mapping[str, Any]) -> GateVerdict | None:
    """Keep that a gate refused a version; that it passed means nothing beside another champion."""
    if content["gate"] != REFUSED:
        return None
    return GateVerdict(passed=False, why=str(content["model"]), champion=None)


def _refuse_foreign_code(folder: Path, files: ModelFiles, path: str) -> None:
    """Refuse a model that MLflow would load by other code, or with files that nobody listed."""
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    description = yaml.safe_load(files.content["MLmodel"])
    flavors = description["flavors"]
    function = flavors.get("python_function", {})
    is_ours = (
        set(flavors) == {"python_function"}
        and function.get("loader_module") == pyfunc.__name__
        and not function.get("code")
        and found == {*files.content}
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


def _fetch_run_files(client: MlflowClient, run_id: str, folder: Path) -> dict[str, bytes]:
    # None where the run was deleted for good: the model is whole without it.
    kept = {file.path for file in if_there(client.list_artifacts, run_id) or ()}
    return {
        name: Path(client.download_artifacts(run_id, name, str(folder))).read_bytes()
        for name in _RUN_FILES
        if name in kept
    }


def _describe(data: bytes) -> dict[str, Any]:
    return {"sha256": sha256_of(data), "bytes": len(data)}


def _write_zip(output: Any, members: Mapping[str, bytes], content: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(content, indent=2) + "\n"
        for name, data in ((_LIST, text.encode()), *sorted(members.items())):
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)


@contextmanager
def open_export(path: str) -> Iterator[tuple[Path, dict[str, Any]]]:
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
        try:
            check_members(archive.infolist(), Path(path).stat().st_size, at_most=_MOST_MEMBERS)
            content = _read_list(archive, path)
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
            and _are_numbers(content.get("reference_probabilities"))
        )
        if not whole:
            raise ValueError(_LIST)
    except (*_DAMAGED, AttributeError) as exc:
        raise _no_export(path, tr("its list is missing or damaged")) from exc
    return content


def _are_numbers(stated: Any) -> bool:
    """Say whether an archive states probabilities as it must, if it does."""
    if stated is None:
        return True
    return isinstance(stated, list) and all(
        isinstance(each, float) and math.isfinite(each) for each in stated
    )


def _unpack(archive: zipfile.ZipFile, name: str, expected: Any, folder: Path, path: str) -> None:
    target = folder / name
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
