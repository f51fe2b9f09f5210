"""Fixtures: the command line in this process, a real store with a model, the real table."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from catalogue import compile_stale_texts
from clusters import pytest_runtest_setup, spark_cluster  # noqa: F401
from hypothesis import settings
from paths import ROOT
from stores import copy_store

from waterflow_cli.common.messages import use_language
from waterflow_cli.main import main

# Where a shell runs the tests in the background Ctrl-C is ignored, also in all that they start, and
# under nohup that the terminal was closed.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Messages are tested in English on any machine. Here and not in a fixture: those of the session,
# and the commands that tests start as processes, must not speak otherwise.
os.environ["LC_ALL"] = "C.UTF-8"

# Threads of scikit-learn and of linear algebra that have nothing to do sleep, for the cores are
# shared: while they spin, small models take twenty times as long. NumPy is not imported yet.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"

# A JVM of the tests lives for seconds: the second compiler and the collector for large heaps take
# half of its time, and give nothing back.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
compile_stale_texts()

# Laws are tried on a tenth of their examples, but in CI: `--hypothesis-profile thorough`.
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.register_profile("exhaustive", deadline=None, max_examples=1000)
settings.load_profile("quick")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Share the whole suite among the cores; what is named is tested in this process.

    A file's tests stay together, for they share what is costly to make, and files come in their
    order: those with the fewest tests, which would else come last, are the longest.
    """
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return None if is_whole else 0


@pytest.hookimpl(trylast=True)  # Hypothesis marks its tests in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count no lines in slow tests and laws: the others reach them, and these take longer by half.

    pytest-cov leaves a test out that has its mark.
    """
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def find_real_table() -> Path | None:
    """Find the public Water Potability table, which the project ships no row of."""
    named = os.environ.get("WATERFLOW_REAL_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data" / "water_potability.csv"
    return path if path.is_file() else None


@pytest.fixture(scope="session")
def real_table() -> Path:
    path = find_real_table()
    if path is None:
        pytest.skip("the public Water Potability table is not here; name it in WATERFLOW_REAL_DATA")
    return path


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, and no settings from outside; nor are any left to later tests.

    MLflow puts a tracking URI that it is told into the environment.
    """
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with patch.dict(os.environ, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}):
        for name in list(os.environ):
            if name.startswith(("WATERFLOW_", "MLFLOW_TRACKING")) and name != "WATERFLOW_REAL_DATA":
                del os.environ[name]
        yield folder
    use_language("en")


@pytest.fixture
def cli(workdir: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process, in the empty working folder."""

    def run(*args: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        sys.stdout.flush()
        captured = capfd.readouterr()
        code = stopped.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 simulated samples with a signal that any model finds."""
    from learnable import write_learnable

    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    write_learnable(path, 400, seed=3)
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sqlite store with its tables and nothing in them, to be copied."""
    from waterflow_cli.registry.stores import connect

    uri = f"sqlite:///{tmp_path_factory.mktemp('empty') / 'mlflow.db'}"
    connect(uri, create=True)
    return uri


@pytest.fixture
def new_store(empty_store: str, tmp_path: Path) -> str:
    """An empty store of the test's own."""
    return copy_store(empty_store, tmp_path)


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> str:
    """A sqlite store with one registered model, hgb; tests that write to a store make their own."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(samples), "--plugin", "hgb", "--cv", "3x1", "--tracking-uri", uri, "-q"])
    assert stopped.value.code == 0
    return uri
