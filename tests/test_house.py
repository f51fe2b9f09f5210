"""The rules of the house that a reader can rely on: sizes, and how options are handed on."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paths import ROOT

MODULES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for folder in ("waterflow_cli", "plugins")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {name: ast.parse(text) for name, text in MODULES.items()}
MOST_LINES, MOST_BODY, MOST_MODULES, MOST_FIELDS = 450, 60, 16, 4
Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Give the nodes of some kinds in all modules, each with its place."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{name}:{node.lineno}", node  # type: ignore[attr-defined]


def body_lines(function: Function) -> int:
    """Count the lines of a body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def fields(kind: ast.ClassDef) -> int:
    return sum(
        isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation)
        for each in kind.body
    )


def is_positional_dataclass(kind: ast.ClassDef) -> bool:
    """Tell whether a class is a dataclass whose fields can be given by position."""
    for each in kind.decorator_list:
        call = each if isinstance(each, ast.Call) else ast.Call(each, [], [])
        if ast.unparse(call.func) in ("dataclass", "dataclasses.dataclass"):
            return not any(
                keyword.arg == "kw_only" and ast.unparse(keyword.value) == "True"
                for keyword in call.keywords
            )
    return False


def test_dataclasses_of_more_than_four_fields_are_keyword_only():
    assert not [
        f"{place} {kind.name}"
        for place, kind in nodes(ast.ClassDef)
        if is_positional_dataclass(kind) and fields(kind) > MOST_FIELDS
    ]


def test_options_are_dataclasses_and_are_not_looked_up_by_strings():
    loose = [
        place
        for place, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if node.args.kwarg is not None and node.args.kwarg.arg == "options"
    ]
    looked_up = [
        place
        for place, node in nodes(ast.Subscript)
        if isinstance(node.value, ast.Name)
        and node.value.id == "options"
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    assert not loose + looked_up


def test_functions_have_at_most_sixty_lines_of_body():
    assert not [
        f"{place} {function.name}: {body_lines(function)}"
        for place, function in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if body_lines(function) > MOST_BODY
    ]


def test_commands_have_at_most_twenty_five_lines_of_body():
    assert not [
        f"{place} {function.name}: {body_lines(function)}"
        for place, function in nodes(ast.FunctionDef)
        if place.startswith("waterflow_cli/commands/")
        and any(ast.unparse(each).startswith("options.command") for each in function.decorator_list)
        and body_lines(function) > 25
    ]


def test_modules_have_at_most_450_lines():
    lines = {name: len(text.splitlines()) for name, text in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_folders_have_at_most_sixteen_modules():
    counts = Counter(Path(name).parent.as_posix() for name in MODULES if "__init__" not in name)
    del counts["waterflow_cli/commands"]
    assert not {folder: count for folder, count in counts.items() if count > MOST_MODULES}
