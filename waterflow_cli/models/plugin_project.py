"""Start a plugin project: a small distribution that passes the conformance checks."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.contract import GROUP

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# `waterflow_NAME` would be one of the packages of waterflow itself.
_TAKEN = ("cli", "plugins", "schemas")

_SETUP = Template("""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "waterflow-$name"
version = "0.1.0"
description = "The model '$name' for waterflow"
requires-python = ">=3.11"
dependencies = ["waterflow"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."$group"]
$name = "waterflow_$module:plugin"

[tool.setuptools]
py-modules = ["waterflow_$module"]
""")

_MODULE = Template('''\
"""The model '$name' for waterflow."""

from waterflow_cli.pipelines import EstimatorPlugin

# `waterflow_cli.contract.ModelPlugin` says what a plugin is. EstimatorPlugin makes one of any
# scikit-learn classifier whose fit takes sample_weight; for more freedom, write a class with the
# same members.
plugin = EstimatorPlugin(
    summary="Gaussian naive Bayes: each measurement on its own",
    estimator="sklearn.naive_bayes:GaussianNB",
    search_space={"var_smoothing": (1e-9, 1e-3, 1e-1)},
)
''')

_TEST = Template('''\
"""The plugin keeps waterflow's contract."""

from waterflow_cli.testing import check_model_plugin


def test_plugin_keeps_the_contract():
    assert list(check_model_plugin("$name"))
''')

_README = Template("""\
# waterflow-$name

The model `$name` for waterflow.

    pip install -e '.[test]'
    waterflow plugins check $name
    waterflow train --plugin $name
    pytest
""")


def create_plugin_project(name: str, folder: str | None = None) -> Path:
    """Write a project for a plugin.

    Parameters
    ----------
    name : str
        What users will type: lower-case letters, digits and single hyphens.
    folder : str, optional
        Where; it must not exist. ``waterflow-NAME`` otherwise.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        If the name is none, or the folder cannot be created.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            tr("'{name}' is no name for a plugin.", name=name),
            tr("Use lower-case letters, digits and hyphens."),
        )
    if name in _TAKEN:
        raise UsageError(
            tr(
                "A plugin named '{name}' would overwrite waterflow's own package waterflow_{name}.",
                name=name,
            ),
            tr("Choose another name."),
        )
    root = Path(folder or f"waterflow-{name}")
    module = name.replace("-", "_")
    values = {"name": name, "module": module, "group": GROUP}
    contents = {
        "pyproject.toml": _SETUP,
        f"waterflow_{module}.py": _MODULE,
        f"tests/test_{module}.py": _TEST,
        "README.md": _README,
    }
    try:
        root.mkdir(parents=True)
        (root / "tests").mkdir()
        for path, template in contents.items():
            (root / path).write_text(template.substitute(values), "utf-8")
    except OSError as exc:
        raise UsageError(
            tr("{folder}: cannot be created ({strerror}).", folder=root, strerror=exc.strerror),
            tr("Choose another: --folder NAME"),
        ) from exc
    return root
