"""Is all here that waterflow needs? Each check says what it found, and what to do if it failed."""

from __future__ import annotations

import importlib
import platform
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from waterflow_cli.common.credentials import redact
from waterflow_cli.common.errors import WaterflowError
from waterflow_cli.common.libraries import SCORING, installed_versions
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.registry.sqlite_tables import count_models, sqlite_path

OK, FAILED, NOT_CHECKED = marked("ok"), marked("failed"), marked("not checked")
LEAST_PYTHON = (3, 11)
# Distributions that scoring needs, and what to import of them; mlflow is only ever imported
# through the module that forbids it to send anything.
LIBRARIES = {
    **{name: name for name in (*SCORING, "skops", "pandera", "mlflow")},
    "scikit-learn": "sklearn",
    "skops": "skops.io",
    "mlflow": "waterflow_cli.registry.stores",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it if it is not all right.

    Its name and its status, one of the three above, are English.
    """

    name: str
    status: str
    found: str = ""
    fix: str = ""


def check_installation(tracking_uri: str, *, thorough: bool = False) -> list[Check]:
    """Check Python, the libraries that scoring needs, and the tracking store, which is only read.

    Parameters
    ----------
    thorough : bool
        Import each library, which takes seconds; else it is enough that it is there.
    """
    libraries = check_libraries(LIBRARIES, thorough=thorough)
    store = Check(marked("tracking store"), NOT_CHECKED)
    if libraries.status == OK:
        store = check_store(tracking_uri)
    return [check_python(), libraries, store]


def check_python(running: Sequence[int] = sys.version_info[:2]) -> Check:
    """Check the version of Python."""
    name, found = marked("Python"), f"{platform.python_version()}, {sys.executable}"
    if tuple(running[:2]) >= LEAST_PYTHON:
        return Check(name, OK, found)
    least = ".".join(map(str, LEAST_PYTHON))
    return Check(name, FAILED, found, tr("Install Python {version} or newer.", version=least))


def check_libraries(modules: dict[str, str], *, thorough: bool) -> Check:
    """Check that libraries are here, or can be imported: distributions, and a module of each."""
    name, versions = marked("libraries"), installed_versions(modules)
    problems = [
        tr("{name} is not installed", name=each) for each in modules if each not in versions
    ]
    if thorough:
        problems = [problem for each in modules.values() if (problem := _import_problem(each))]
    if problems:
        fix = tr("Install it again: pip install --force-reinstall waterflow-cli")
        return Check(name, FAILED, "; ".join(problems), fix)
    return Check(name, OK, ", ".join(f"{each} {versions.get(each, '?')}" for each in modules))


def check_store(tracking_uri: str) -> Check:
    """Check that the tracking store can be read; none at all is no failure."""
    name, shown = marked("tracking store"), redact(tracking_uri)
    try:
        database = sqlite_path(tracking_uri)
        if database is None or database.is_dir():
            _connect(tracking_uri)
            return Check(name, OK, shown)
        if not database.exists():
            return Check(name, OK, tr("none yet at {uri}; waterflow train makes it", uri=shown))
        n_models = count_models(database)
        if n_models is None:
            n_models = len(_connect(tracking_uri).search_registered_models(max_results=1000))
    except WaterflowError as exc:
        return Check(name, FAILED, exc.message, exc.hint or "")
    except sqlite3.Error as exc:
        problem = tr("{uri}: cannot be read as a store ({cause}).", uri=shown, cause=exc)
        return Check(name, FAILED, problem, tr("Name another: --tracking-uri"))
    return Check(name, OK, tr("{uri}, registered models: {n_models}", uri=shown, n_models=n_models))


def _connect(tracking_uri: str) -> Any:
    from waterflow_cli.registry.stores import connect  # with MLflow

    return connect(tracking_uri)


def _import_problem(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as exc:  # noqa: BLE001 (a broken library can raise anything)
        return f"{module}: {' '.join(str(exc).split()) or type(exc).__name__}"
    return None
