"""Start a plugin project: a small distribution that passes the conformance checks."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from waterflow_cli.common.effects import new_folder
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.contract import GROUP

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# `waterflow_NAME` would be one of the packages of waterflow itself.
_TAKEN = ("cli", "plugins", "schemas")


def create_plugin_project(name: str, folder: str | None = None) -> Path:
    """Write a project for a plugin, and give its folder.

    Parameters
    ----------
    name : str
        What users will type: lower-case letters, digits and single hyphens.
    folder : str, optional
        Where; it must not exist. ``waterflow-NAME`` otherwise.

    Raises
    ------
    UsageError
        If the name is none, or the folder cannot be created.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            "'{name}' is no name for a plugin.",
            tr("Use lower-case letters, digits and hyphens."),
            name=name,
        )
    if name in _TAKEN:
        raise UsageError(
            "A plugin named '{name}' would overwrite waterflow's own package waterflow_{name}.",
            tr("Choose another name."),
            name=name,
        )
    root = Path(folder or f"waterflow-{name}")
    module = name.replace("-", "_")
    values = {"name": name, "module": module, "group": GROUP}
    contents = {
        "pyproject.toml": "pyproject.toml",
        f"waterflow_{module}.py": "plugin.py",
        f"tests/test_{module}.py": "test_plugin.py",
        "README.md": "README.md",
    }
    templates = files("waterflow_cli").joinpath("templates", "plugin")
    with new_folder(root):
        (root / "tests").mkdir()
        for path, source in contents.items():
            template = Template(templates.joinpath(f"{source}.txt").read_text("utf-8"))
            (root / path).write_text(template.substitute(values), "utf-8")
    return root
