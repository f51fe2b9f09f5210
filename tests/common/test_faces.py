"""What each folder shows of itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest
from paths import ROOT

FACES = sorted((ROOT / "waterflow_cli").rglob("*/__init__.py"))


def shown(path):
    """The names that a folder shows, each with the module that it is from."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_names":
            for keyword in node.keywords:
                for name in ast.literal_eval(keyword.value).split():
                    yield package, name, f"{package}.{keyword.arg}"


NAMES = [names for path in FACES for names in shown(path)]


def test_most_folders_show_what_others_use():
    assert len({package for package, _, _ in NAMES}) >= 10


@pytest.mark.parametrize(("package", "name", "module"), NAMES)
def test_a_name_is_what_its_module_has(package, name, module):
    assert getattr(import_module(package), name) is getattr(import_module(module), name)


@pytest.mark.parametrize("package", sorted({package for package, _, _ in NAMES}))
def test_an_unknown_name_is_no_attribute(package):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = import_module(package).nothing


def test_importing_the_folders_imports_none_of_their_modules():
    packages = sorted({package for package, _, _ in NAMES})
    code = f"import sys, {', '.join(packages)}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("waterflow_cli.")}
    assert loaded - {"waterflow_cli.common.faces"} <= {*packages, "waterflow_cli.common"}
