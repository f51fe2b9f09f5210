"""The record of a scoring job: which bytes went in, which model judged, which bytes came out."""

from __future__ import annotations

import platform
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from waterflow_cli import __version__
from waterflow_cli.common.errors import InputError
from waterflow_cli.common.hashing import file_sha256
from waterflow_cli.common.json import json_text, path_text
from waterflow_cli.common.libraries import SCORING, installed_versions
from waterflow_cli.models.files import StoredModel
from waterflow_cli.tables.outputs import STDOUT, open_output
from waterflow_cli.tables.sources import is_uri


def write_manifest(
    path: str,
    model: StoredModel,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    counts: Mapping[str, Any],
    options: Mapping[str, Any],
    force: bool,
) -> None:
    """Write what a job read, used and wrote, with the sha256 of each.

    Parameters
    ----------
    path : str
        Where to.
    counts, options : mapping
        JSON of the job's counts, and of the options that decided its output.

    Raises
    ------
    UsageError
        If it cannot be written.
    InputError
        If an input or output cannot be read any more.
    """
    content = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "waterflow": __version__,
        "python": platform.python_version(),
        "libraries": installed_versions((*SCORING, "pandera", "mlflow")),
        "model": {"label": model.label, "plugin": model.plugin, "sha256": model.digest},
        "options": options,
        "inputs": [_describe(each) for each in inputs],
        "outputs": [_describe(each) for each in outputs],
        **counts,
    }
    with open_output(path, force=force, inputs=inputs) as sink:
        sink.write(json_text(content).encode())


def _describe(path: str) -> dict[str, Any]:
    try:
        if path == STDOUT or is_uri(path) or not stat.S_ISREG(Path(path).stat().st_mode):
            # What went through a pipe is gone; what lies elsewhere, or in a folder, is not read.
            return {"path": path_text(path), "bytes": None, "sha256": None}
        digest, n_bytes = file_sha256(path), Path(path).stat().st_size
        return {"path": path_text(path), "bytes": n_bytes, "sha256": digest}
    except OSError as exc:
        raise InputError(
            path, "cannot be read again for the manifest ({strerror}).", strerror=exc.strerror
        ) from exc
