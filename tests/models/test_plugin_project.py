from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from learnable import write_learnable

from waterflow_cli.common.errors import UsageError
from waterflow_cli.models.plugin_project import create_plugin_project


@pytest.fixture(autouse=True)
def _in_empty_folder(workdir):
    pass


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_a_project_is_written_into_a_folder_of_its_name():
    root = create_plugin_project("nearest-wells")
    assert root == Path("waterflow-nearest-wells")
    assert list(contents(root)) == [
        "README.md",
        "pyproject.toml",
        "tests/test_nearest_wells.py",
        "waterflow_nearest_wells.py",
    ]


def test_its_settings_declare_the_entry_point():
    root = create_plugin_project("nearest-wells", "mine")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["name"] == "waterflow-nearest-wells"
    assert project["project"]["entry-points"] == {
        "waterflow.models": {"nearest-wells": "waterflow_nearest_wells:plugin"}
    }
    assert project["tool"]["setuptools"]["py-modules"] == ["waterflow_nearest_wells"]


def test_no_template_mark_is_left():
    for name, text in contents(create_plugin_project("k9")).items():
        assert "$" not in text, name
        assert "k9" in text, name


def test_a_folder_below_others_is_created_with_them():
    assert create_plugin_project("forest", "a/b/c").is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Forest",
        "my_forest",
        "-forest",
        "forest-",
        "a--b",
        "9lives",
        "forêt",
        "../x",
        "a b",
        "a\n",
    ],
)
def test_a_name_that_is_none_is_refused_and_nothing_written(name):
    with pytest.raises(UsageError, match="is no name for a plugin") as refused:
        create_plugin_project(name)
    assert refused.value.hint == "Use lower-case letters, digits and hyphens."
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["cli", "plugins", "schemas"])
def test_a_name_that_would_overwrite_waterflow_itself_is_refused(name):
    with pytest.raises(UsageError, match=f"overwrite waterflow's own package waterflow_{name}"):
        create_plugin_project(name)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("inside", [None, "pyproject.toml", "tests/test_mine.py"])
def test_an_existing_folder_is_refused_and_left_as_it_was(inside):
    root = Path("waterflow-forest")
    root.mkdir()
    if inside is not None:
        (root / inside).parent.mkdir(exist_ok=True)
        (root / inside).write_text("mine", "utf-8")
    before = contents(root)
    with pytest.raises(UsageError, match=r"waterflow-forest: cannot be created \(File exists\)"):
        create_plugin_project("forest")
    assert contents(root) == before


def test_a_file_in_the_way_is_refused():
    Path("taken").write_text("mine", "utf-8")
    for folder in ("taken", "taken/below"):
        with pytest.raises(UsageError, match=f"{folder}: cannot be created") as refused:
            create_plugin_project("forest", folder)
        assert refused.value.hint == "Choose another: --folder NAME"
    assert Path("taken").read_text("utf-8") == "mine"


def test_the_command_says_what_comes_next(cli):
    outcome = cli("plugins", "new", "forest", "--folder", "mine")
    assert (outcome.code, outcome.out) == (0, "mine\n")
    assert outcome.err == "Next: pip install -e mine && waterflow plugins check forest\n"
    assert cli("plugins", "new", "forest", "--folder", "mine").code == 2


# --- the project, installed for real -------------------------------------------------------------


def call(command, **settings):
    """Run a command to its end; what it said is shown where it fails."""
    finished = subprocess.run(
        command,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder for PYTHONPATH with a new project in it, built and installed by pip."""
    folder = tmp_path_factory.mktemp("project")
    root = create_plugin_project("nearest-wells", str(folder / "project"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    call([*pip, "wheel", *offline, "--wheel-dir", str(folder / "wheels"), str(root)])
    (wheel,) = (folder / "wheels").iterdir()
    call([*pip, "install", *offline, "--target", str(folder / "site"), str(wheel)])
    return root, folder / "site", wheel


def waterflow(installed, *args):
    return call(
        [sys.executable, "-m", "waterflow_cli", *map(str, args)], PYTHONPATH=str(installed[1])
    )


@pytest.mark.slow
def test_the_wheel_holds_the_module_and_nothing_of_waterflow(installed):
    with zipfile.ZipFile(installed[2]) as wheel:
        modules = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert modules == ["waterflow_nearest_wells.py"]


@pytest.mark.slow
def test_the_installed_project_is_listed_and_keeps_the_contract(installed):
    listed = json.loads(waterflow(installed, "plugins", "list", "--json"))["plugins"]
    (found,) = [each for each in listed if each["name"] == "nearest-wells"]
    assert found["usable"]
    assert found["distribution"] == "waterflow-nearest-wells 0.1.0"
    assert waterflow(installed, "plugins", "check", "nearest-wells").endswith(
        "keeps the contract.\n"
    )


@pytest.mark.slow
def test_the_projects_own_test_passes(installed):
    root, site, _ = installed
    said = call(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root)],
        PYTHONPATH=str(site),
    )
    assert "1 passed" in said


@pytest.mark.slow
def test_the_installed_project_trains_and_scores(installed):
    write_learnable("samples.csv", 300, seed=1)
    trained = json.loads(
        waterflow(installed, "train", "samples.csv", "--plugin", "nearest-wells", "--json")
    )
    assert trained["registered"]["alias"] == "champion"
    waterflow(installed, "score", "samples.csv", "-o", "scored.csv")
    with Path("scored.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert {row["model_version"] for row in rows} == {"waterflow/1"}
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
