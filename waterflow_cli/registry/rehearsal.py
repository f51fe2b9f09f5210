"""Let a stranger's model score its own reference rows in a process that can fail for itself.

What the checks of `waterflow_cli.models.soundness` miss ends that process, not this one; and an
archive is no use whose model gives other probabilities here than where it was exported, or by its
portable form than by its estimator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.errors import ModelError, WaterflowError
from waterflow_cli.common.messages import chosen_language, tr, use_language
from waterflow_cli.models.files import StoredModel, check_form, load_payload
from waterflow_cli.models.manifest import ModelFiles, read_verified
from waterflow_cli.models.reference import COUNTS_FILE, load_reference

_N_ROWS = 100
_MOST_SECONDS, _MOST_BYTES = 60, 8 << 30
# Linear algebra adds up in another order on another machine.
_TOLERANCE = 1e-6
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def reference_probabilities(model: StoredModel, files: ModelFiles) -> list[float] | None:
    """Give a model's probabilities of the first of its reference rows; None where it has none."""
    if COUNTS_FILE not in files.payload:
        return None
    rows = load_reference(files.payload, label=model.label).X.iloc[:_N_ROWS]
    return [float(each) for each in model.probability(rows)]


def rehearse(folder: Path, *, label: str, digest: str) -> list[float] | None:
    """Give `reference_probabilities` of a model folder, found in a process of its own.

    Raises
    ------
    ModelError
        If the model cannot be loaded, or the process fails or takes too much time or memory.
    """
    command = [sys.executable, "-P", "-m", __name__, str(folder), label, digest, chosen_language()]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS,
            env={**os.environ, **_ONE_THREAD},
            check=False,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        if "refused" in answer:
            raise ModelError(answer["refused"], answer["hint"])
        probability: list[float] | None = answer["probability"]
    except subprocess.TimeoutExpired as exc:
        cause = f"{_MOST_SECONDS} s"
        raise _failed(label, cause) from exc
    except (ValueError, LookupError, TypeError) as exc:
        raise _failed(label, f"exit {done.returncode}") from exc
    return probability


def check_rehearsed(label: str, found: list[float] | None, stated: Any) -> None:
    """Compare with what an archive states, if it does.

    Raises
    ------
    ModelError
        If the model gives other probabilities.
    """
    if stated is not None:
        same = found is not None and len(found) == len(stated)
        if not same or not np.allclose(found or [], stated, rtol=0, atol=_TOLERANCE):
            raise ModelError(
                "{label}: the model gives other probabilities of its reference rows here than "
                "where it was exported. Nothing was imported.",
                tr("It needs the versions of the libraries that it was trained with: see doctor."),
                label=label,
            )


def _failed(label: str, cause: str) -> ModelError:
    return ModelError(
        "{label}: the model failed to score its own reference rows ({cause}). Nothing was "
        "imported.",
        label=label,
        cause=cause,
    )


def _answer(folder: Path, label: str, digest: str) -> dict[str, Any]:
    try:
        files = read_verified(folder, label=label, digest=digest)
        model = load_payload(files, label=label)
        typical = pd.DataFrame([model.decision.typical], columns=[*model.decision.measurements])
        model.probability(typical)
        check_form(model, files, n_rows=_N_ROWS, tolerance=_TOLERANCE)
        return {"probability": reference_probabilities(model, files)}
    except WaterflowError as exc:
        return {"refused": exc.message, "hint": exc.hint}


def _main(folder: str, label: str, digest: str, language: str) -> None:
    try:
        import resource
    except ImportError:  # no limits of this kind on this system
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    use_language(language)
    print(json.dumps(_answer(Path(folder), label, digest)))  # noqa: T201


if __name__ == "__main__":
    _main(*sys.argv[1:])
