"""A stored model gives the same bytes where the libraries are older than those that trained it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest
from portable_forms import QUICK, plugin_or_skip

from waterflow_cli.models.files import save_payload
from waterflow_cli.models.manifest import PAYLOAD, write_manifest
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.summary import build_reference
from waterflow_cli.training.trainer import train_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

ROOT = Path(__file__).parents[2]
PARTS = ("waterflow_cli", "plugins", "schemas")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# What scoring by a portable form imports; and what shall be a minor release older than here.
SAME = ("click", "pyarrow", "pyyaml", "threadpoolctl")
OLDER = ("numpy", "scikit-learn")


def run(*command, **options):
    words = map(str, command)
    return subprocess.run([*words], capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Give the Python of an environment of its own, with what scoring needs and nothing else."""
    folder = tmp_path_factory.mktemp("older")
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / "tree" / name)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / "tree" / name)
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    install = (*pip, "--python", python, "install", "--no-deps", "--no-compile")
    wanted = [f"{name}=={version(name)}" for name in SAME]
    wanted += [f"{name}<{'.'.join(version(name).split('.')[:2])}" for name in OLDER]
    downloaded = run(*install, "--only-binary=:all:", *wanted, check=False)
    if downloaded.returncode:
        pytest.skip(f"no older libraries can be installed here: {downloaded.stderr[-300:]}")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    run(*pip, *build, folder / "tree", check=True)
    run(*install, "--no-index", *folder.glob("waterflow_cli-*.whl"), check=True)
    return python


@pytest.fixture(scope="module")
def data(samples):
    return load_training_data(str(samples), load_schema())


def save_model(name, data, folder):
    """Train a plugin's model, and save it as a model folder."""
    plugin, schema = plugin_or_skip(name), load_schema()
    result = train_model(data, plugin, TrainingOptions(params=QUICK[name], quick=True))
    details, reference = {"run_id": "r1"}, build_reference(data, result)
    save_payload(folder / "data" / PAYLOAD, result.model, schema, plugin, details, reference)
    (folder / "MLmodel").write_text("flavors: {}\n")
    write_manifest(folder)
    return folder


def test_the_libraries_there_are_older_and_few(python):
    code = "from importlib.metadata import version as v; print(v('numpy'), v('scikit-learn'))"
    older = run(python, "-c", code, check=True).stdout.split()
    for name, found in zip(OLDER, older, strict=True):
        assert found.split(".")[:2] != version(name).split(".")[:2]
    for name in ("pandas", "scipy", "skops", "mlflow", "numba"):
        assert run(python, "-c", f"import {name}", check=False).returncode


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_stored_model_gives_the_same_bytes_there(name, python, cli, data, samples, workdir):
    folder = save_model(name, data, workdir / "model")
    here = cli("score", samples, "--model", folder, "-o", "here.csv")
    assert here.code == 0, here.err
    there = run(
        *(python, "-m", "waterflow_cli", "score", samples, "--model", folder, "-o", "there.csv"),
        check=False,
    )
    assert there.returncode == 0, there.stderr
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()
