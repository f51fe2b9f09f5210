"""What a command imports before it has anything to do: help answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from portable_forms import plugin_or_skip

from waterflow_cli.main import cli as waterflow

HEAVY = {
    *("imblearn", "matplotlib", "mlflow", "numpy", "pandas", "pandera", "pyarrow"),
    *("pydantic", "rich", "scipy", "skops", "sklearn"),
}
# Runs a command in a process of its own, and then says what was imported.
IMPORTS = """
import json, sys
from waterflow_cli.main import main
try:
    main(sys.argv[1:])
finally:
    top = sorted({name.partition(".")[0] for name in sys.modules})
    sys.stderr.write("IMPORTED" + json.dumps(top))
"""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*path, name))


def imported_by(*arguments, code=0):
    """Run a command, and return its output and the packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    err, _, names = done.stderr.partition("IMPORTED")
    return done.stdout, err, set(json.loads(names))


COMMANDS = [path for path in walk(waterflow) if path]


def test_there_are_commands_to_ask_for_help():
    assert {("score",), ("models", "list"), ("plugins", "check")} <= set(COMMANDS)


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=lambda path: "-".join(path) or "waterflow")
def test_help_imports_nothing_heavy(path, workdir):
    out, err, imported = imported_by(*path, "--help")
    assert out.startswith(f"Usage: {' '.join(('waterflow', *path))}")
    assert err == ""
    assert not imported & HEAVY


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        ((), 0),
        (("scroe",), 2),
        (("score", "x.csv"), 2),
        (("train", "x.csv", "--plugin"), 2),
    ],
)
def test_wrong_usage_is_told_without_importing_anything_heavy(arguments, code, workdir):
    assert not imported_by(*arguments, code=code)[2] & HEAVY


def test_settings_import_nothing_heavy(workdir):
    (workdir / "waterflow.toml").write_text("[train]\nplugin = 'rf'\n")
    assert not imported_by("train", "--help")[2] & HEAVY


def test_validating_imports_no_learning_and_no_tracking(workdir, samples):
    _, err, imported = imported_by("validate", samples)
    assert "400 rows, all pass" in err
    assert not imported & (HEAVY - {"numpy", "pyarrow", "rich"})


@pytest.mark.slow
def test_validating_a_long_file_imports_no_more(workdir):
    imported_by("simulate", "--rows", "3000", "-o", "long.csv")
    _, err, imported = imported_by("validate", "long.csv")
    assert "3000 rows, all pass" in err
    assert not imported & (HEAVY - {"numpy", "pyarrow", "rich"})


@pytest.mark.slow
def test_scoring_from_a_sqlite_store_imports_no_mlflow_and_no_pandera(workdir, samples, store_uri):
    arguments = ("score", samples, "-o", "out.csv", "--tracking-uri", store_uri)
    _, err, imported = imported_by(*arguments)
    assert "400 scored" in err
    assert not imported & {"imblearn", "matplotlib", "mlflow", "pandera"}


# Nothing of it is needed to compute a probability, or to write results.
LEARNING = {
    *("imblearn", "joblib", "lightgbm", "mlflow", "numba", "pandas", "pandera", "scipy", "skops"),
    *("sklearn", "xgboost"),
}
QUICK = {
    "blend": ("n_estimators=5",),
    **dict.fromkeys(("extra-trees", "lightgbm", "rf", "xgboost"), ("n_estimators=5",)),
    "gp": (),
    "hgb": ("max_iter=5",),
    "logreg": (),
    "mlp": ("max_iter=300",),
    "svm": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUICK))
def test_scoring_few_rows_imports_no_library_that_trains(name, workdir, samples):
    plugin_or_skip(name)
    params = [part for each in QUICK[name] for part in ("--param", each)]
    store = ("--tracking-uri", "sqlite:///mlflow.db")
    imported_by("train", samples, "--plugin", name, "--cv", "3x1", *params, *store)
    for output in ("out.csv", "out.jsonl"):
        _, err, imported = imported_by("score", samples, "-o", output, *store)
        assert "400 scored" in err
        assert not imported & LEARNING


@pytest.mark.slow
def test_a_server_imports_pydantic_when_it_first_answers(workdir, store_uri):
    served = """
import sys
from waterflow_cli.serving.app import Service
from waterflow_cli.serving.server import Server
from waterflow_cli.serving.served_model import ModelWatch
watch = ModelWatch("@champion", name="waterflow", tracking_uri=sys.argv[1], report=print)
sys.exit(", ".join({"fastapi", "pydantic", *sys.argv[2:]} & sys.modules.keys()) or 0)
"""
    unwanted = LEARNING - {"numba", "scipy"}  # it compiles the walk at once, and numba asks SciPy
    subprocess.run([sys.executable, "-c", served, store_uri, *unwanted], check=True)


def test_simulating_imports_no_learning_and_no_tracking(workdir):
    _, _, imported = imported_by("simulate", "--rows", "3", "-o", "out.csv")
    assert not imported & {"imblearn", "matplotlib", "mlflow", "pandera", "skops", "sklearn"}


@pytest.mark.parametrize(
    "arguments",
    [("models", "list"), ("models", "history"), ("plugins", "list"), ("doctor",)],
    ids=" ".join,
)
def test_a_look_at_what_is_here_imports_nothing_heavy_but_the_table(arguments, workdir, store_uri):
    store = () if arguments[0] == "plugins" else ("--tracking-uri", store_uri)
    _, _, imported = imported_by(*arguments, *store)
    assert not imported & (HEAVY - {"rich"})


@pytest.mark.slow
def test_no_plugin_is_imported_but_the_chosen_one(workdir, store_uri):
    """Listing versions and schemas imports none at all."""
    for arguments in (("schemas", "list"), ("models", "list", "--tracking-uri", store_uri)):
        assert "waterflow_plugins" not in imported_by(*arguments)[2]


def test_no_command_is_imported_before_it_is_named():
    code = "import sys, waterflow_cli.main as main; print(*(set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "waterflow_cli.commands" in imported
    assert imported.isdisjoint(f"waterflow_cli.commands.{name}" for name, *_ in COMMANDS)
