"""Private names of other libraries stand in one module each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from paths import ROOT

# Public, whatever they begin with: of named tuples, and of the standard library.
PUBLIC = {"_asdict", "_replace", "_fields", "_make", "_exit"}
EXPECTED = {
    # As they stand in files.
    "waterflow_cli/models/boosters.py": {"_handle", "_network"},
    # skops has no public way to look at a part before it is built; setup.cfg bounds its version.
    "waterflow_cli/models/estimator_files.py": {"_audit", "_protocol", "_utils"},
    "waterflow_cli/models/soundness.py": {
        *("_baseline_prediction", "_bin_mapper", "_predictors", "_preprocessor"),
        *("_dual_coef_", "_gamma", "_impl", "_intercept_", "_n_support", "_probA", "_probB"),
        "_sparse",
    },
    "waterflow_cli/models/portable/conversion.py": {
        "_baseline_prediction",
        "_gamma",
        "_predictors",
    },
    "waterflow_cli/spark/jvm.py": {
        *("_find_spark_home", "_gateway", "_jvm", "_jsc", "_instantiatedSession", "_activeSession"),
    },
}


def is_private(name: str) -> bool:
    return name.isidentifier() and re.match("_[a-z]", name) is not None and name not in PUBLIC


def own_names(tree: ast.AST) -> Iterator[str]:
    """Give what a module of ours names itself: functions, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            yield node.attr


def used_names(tree: ast.AST) -> Iterator[str]:
    """Give the private names that a module asks of objects and modules, by text too."""
    parts = {id(part) for node in ast.walk(tree) for part in getattr(node, "values", ())}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.Constant) and id(node) not in parts:  # of a longer text
            yield str(node.value)


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    paths = [*(ROOT / "waterflow_cli").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def test_private_names_of_other_libraries_stand_in_their_modules_only(trees):
    known = {name for tree in trees.values() for name in own_names(tree)}
    # Texts that begin like a private name: ends of names of metrics, and a folder of Spark's.
    known |= {"_low", "_high", "_per_1000", "_temporary"}
    found = {
        path: names
        for path, tree in trees.items()
        if (names := {name for name in used_names(tree) if is_private(name)} - known)
    }
    assert found == EXPECTED
