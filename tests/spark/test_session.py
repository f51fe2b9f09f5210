"""Spark starts, or one message says why not; what runs there fails in words of ours."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import venv
from pathlib import Path

import pytest
from clusters import SparkCluster

from waterflow_cli.common import errors
from waterflow_cli.common.errors import EngineError, InputError, WaterflowError
from waterflow_cli.spark.jvm import find_java
from waterflow_cli.spark.remote import (
    check_versions,
    decode_error,
    encode_error,
    expected_versions,
    explain_failure,
    find_cause,
    remote_errors,
)
from waterflow_cli.spark.session import SparkOptions, list_executors, open_session
from waterflow_cli.spark.settings import check_master, plan_settings, read_defaults

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WaterflowError)
]


@pytest.fixture
def identity():
    """A function that is sent as code: executors do not know this module."""

    def unchanged(batches):
        yield from batches

    return unchanged


def fake_java(folder: Path, says: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\n", "utf-8")
    program.chmod(0o755)
    return folder


@pytest.fixture
def no_spark_settings(monkeypatch):
    for name in ("SPARK_CONF_DIR", "SPARK_HOME", "PYSPARK_PYTHON", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "master",
    ["local", "local[2]", "local[*]", "local[2,3]", "spark://a:7077,b:7077", "yarn", "k8s://x"],
)
def test_masters_that_spark_knows_are_taken(master, no_spark_settings):
    assert plan_settings(SparkOptions(master=master)).master == master


@pytest.mark.parametrize("master", ["foo://x", "spark://host", "local[two]", "sc://host", " "])
def test_master_that_spark_does_not_know_is_refused(master, no_spark_settings):
    options = SparkOptions(conf={"spark.master": master})
    with pytest.raises(EngineError, match="Spark knows no such master") as caught:
        plan_settings(options)
    assert "spark://HOST:PORT" in str(caught.value.hint)


def test_master_is_the_options_then_the_properties_then_the_files(
    tmp_path, monkeypatch, no_spark_settings
):
    (tmp_path / "spark-defaults.conf").write_text(
        "# ours\nspark.master  local[3]\nspark.ui.enabled=true\n", "utf-8"
    )
    assert plan_settings(SparkOptions()).master == "local[*]"
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert read_defaults() == {"spark.master": "local[3]", "spark.ui.enabled": "true"}
    conf = {"spark.master": "local[4]"}
    assert plan_settings(SparkOptions()).master == "local[3]"
    assert plan_settings(SparkOptions(conf=conf)).master == "local[4]"
    assert plan_settings(SparkOptions("local[5]", conf)).master == "local[5]"
    assert "spark.ui.enabled" not in plan_settings(SparkOptions()).conf


def test_only_loopback_masters_keep_to_loopback(no_spark_settings):
    for master in ("local[2]", "spark://localhost:1", "spark://127.0.0.1:1"):
        conf = plan_settings(SparkOptions(master)).conf
        assert conf["spark.driver.host"] == conf["spark.driver.bindAddress"] == "127.0.0.1"
    asked = {"spark.driver.host": "10.0.0.1"}
    assert plan_settings(SparkOptions("local", asked)).conf["spark.driver.host"] == "10.0.0.1"
    for master in ("spark://10.0.0.1:1", "spark://localhost:1,10.0.0.1:1", "yarn"):
        assert "spark.driver.host" not in plan_settings(SparkOptions(master)).conf


def test_executors_python_is_this_one_unless_named_or_shipped(monkeypatch, no_spark_settings):
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    named = {"spark.pyspark.python": "/named"}
    assert plan_settings(SparkOptions("yarn")).python == sys.executable
    assert plan_settings(SparkOptions("yarn", ship_env=True)).python == version
    assert plan_settings(SparkOptions("local", ship_env=True)).python == sys.executable
    assert plan_settings(SparkOptions("yarn", named, ship_env=True)).python == "/named"
    monkeypatch.setenv("PYSPARK_PYTHON", "/environment")
    assert plan_settings(SparkOptions("yarn")).python == "/environment"
    assert plan_settings(SparkOptions("yarn", named)).python == "/named"


def test_missing_pyspark_is_named_with_its_install_command(tmp_path, samples):
    (tmp_path / "pyspark.py").write_text("raise ImportError('broken on purpose')\n", "utf-8")
    code = (
        "from waterflow_cli.spark.session import *\n"
        "try:\n    open_session(SparkOptions()).__enter__()\n"
        "except Exception as exc: print(type(exc).__name__, exc, exc.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "EngineError --engine spark needs pyspark, which is not installed (broken on purpose). "
        "Install it: pip install 'waterflow-cli[spark]'\n"
    )
    assert done.stderr == ""


def test_missing_java_is_said(tmp_path, monkeypatch, no_spark_settings):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="needs Java, and there is none") as caught:
        find_java()
    assert "Install Java 17" in str(caught.value.hint)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EngineError, match="no bin/java there"):
        find_java()


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "Java 11 is too old for Spark"),
        ('java version "1.8.0_202"', "Java 8 is too old for Spark"),
        ("no such thing", "tells no version of Java"),
    ],
)
def test_unfit_java_is_said(says, problem, tmp_path, monkeypatch, no_spark_settings):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk", says)))
    with pytest.raises(EngineError, match=problem):
        find_java()


def test_new_java_is_taken(tmp_path, monkeypatch, no_spark_settings):
    home = fake_java(tmp_path / "jdk", 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java() == (home / "bin" / "java", "21.0.1")


def test_dead_master_is_said_at_once(no_spark_settings):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"spark://127.0.0.1:{bound.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(EngineError, match="no Spark master answers"):
            check_master(plan_settings(SparkOptions(url)))
    assert time.monotonic() - start < 6


def test_one_of_several_masters_is_enough(no_spark_settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_master(plan_settings(SparkOptions(f"spark://127.0.0.1:1,127.0.0.1:{port}")))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_of_an_executor_is_the_same_here(kind):
    if kind is InputError:
        raised = InputError("a b.csv", 'is "été" {x}\nand more.', line=3, hint="Look.")
    else:
        raised = kind('is "été" {x}', "Look.")
    line = encode_error(raised)
    assert "\n" not in line
    found = decode_error(f"Traceback:\n  File x\nRuntimeError: {line}\n\tat org.apache.spark.X\n")
    assert type(found) is kind
    assert (str(found), found.hint, found.exit_code) == (str(raised), "Look.", kind.exit_code)
    assert vars(found) == vars(raised)


def test_subclass_of_an_error_comes_back_as_the_known_class():
    class OddError(EngineError):
        pass

    found = decode_error(encode_error(OddError("odd.")))
    assert (type(found), str(found)) == (EngineError, "odd.")


@pytest.mark.parametrize("text", ["", "WATERFLOW-ERROR ", 'WATERFLOW-ERROR {"class": "os"}'])
def test_text_without_an_error_of_ours_gives_none(text):
    assert decode_error(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("No module named 'waterflow_cli.spark'", "The executors lack waterflow"),
        ("No module named 'waterflow_plugins'", "no module named 'waterflow_plugins'"),
        ("ModuleNotFoundError: No module named 'skops'", "lack a library: no module named 'skops'"),
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.10 than that in "
            "driver: 3.11, PySpark cannot run",
            "The executors run Python 3.10, and this is Python 3.11.",
        ),
        (
            'java.io.IOException: Cannot run program "/no/python": error=2',
            "no Python at /no/python",
        ),
        ("a\nCaused by: java.lang.OutOfMemoryError: Java heap space", "memory: OutOfMemoryError"),
        ("Python worker exited unexpectedly (crashed).", "Python crashed on the executors"),
        ("x: ExecutorLostFailure (executor 6 exited) Reason: gone", "Spark lost its executors"),
        ("Job 0 cancelled because SparkContext was shut down", "the master is gone, or ended it"),
        ("a.b.SparkException: odd\n\tat c.d", "Spark failed: SparkException: odd"),
    ],
)
def test_failure_of_spark_is_told_in_one_line(text, message):
    pytest.importorskip("pyspark")
    found = explain_failure(RuntimeError(text))
    assert isinstance(found, EngineError)
    assert message in found.message
    assert "\n" not in found.message
    assert found.hint


def test_cause_is_the_last_line_that_tells_something():
    text = (
        "org.apache.spark.SparkException: Job aborted: Task 0 in stage 0.0 failed 4 times, most "
        "recent failure: Lost task 0.3 in stage 0.0 (TID 7) (127.0.0.1 executor 1): "
        "java.io.IOException: disk full\n\tat x.y(Z.scala:1)\nDriver stacktrace:\n"
    )
    assert find_cause(RuntimeError(text)) == "IOException: disk full"
    assert find_cause(RuntimeError()) == "RuntimeError"


def test_cause_is_not_the_plan_of_the_query():
    text = "[UNRESOLVED_COLUMN] no such column;\n'Sort ['a ASC], false\n+- Relation [p#1] x: y"
    assert find_cause(ValueError(), text) == "[UNRESOLVED_COLUMN] no such column;"


def test_value_of_a_property_is_not_shown(cli):
    done = cli("doctor", "--engine", "spark", "--spark-conf", "fs.s3a.secret.key=hush")
    assert done.code == 2
    assert "fs.s3a.secret.key" in done.err
    assert "hush" not in done.err


def test_versions_of_this_machine_are_those_expected():
    expected = expected_versions()
    assert {"waterflow-cli", "numpy", "pandas", "pyarrow", "scikit-learn"} <= set(expected)
    check_versions(expected)


def test_few_libraries_decide_where_no_estimator_is_asked():
    few = expected_versions(portable=True)
    assert set(few) == {"waterflow-cli", "numpy", "pyarrow"}
    assert few.items() <= expected_versions().items()
    check_versions(few)


def test_each_version_that_differs_is_named():
    expected = expected_versions() | {"numpy": "0.1", "no-such-library": "2"}
    with pytest.raises(EngineError, match=r"no no-such-library instead of 2, numpy \S+ instead of"):
        check_versions(expected)


PACKS = """
import sys
from pathlib import Path
from waterflow_cli.spark.environment import pack_environment
try:
    pack_environment(Path(sys.argv[1]))
except Exception as exc:
    print(type(exc).__name__, exc)
"""


@pytest.fixture
def small_environment(tmp_path):
    """A virtual environment with waterflow, as a wheel puts it there, pyspark and tests."""
    venv.create(tmp_path / "env", symlinks=True)
    (library,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    shutil.copytree(Path(errors.__file__).parents[1], library / "waterflow_cli")
    for name, package in (("waterflow-cli", "waterflow_cli"), ("pyspark", "pyspark")):
        folder = library / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n", "utf-8")
        (folder / "RECORD").write_text(f"{package}/__init__.py,,\n", "utf-8")
    for folder in ("pyspark", "other/tests"):
        (library / folder).mkdir(parents=True)
        (library / folder / "__init__.py").touch()
    return library


def pack(library: Path, folder: Path) -> str:
    python = library.parents[2] / "bin" / "python"
    done = subprocess.run(
        [python, "-I", "-c", PACKS, folder], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_environment_is_packed_without_spark_and_tests(small_environment, tmp_path):
    assert pack(small_environment, tmp_path) == ""
    with tarfile.open(tmp_path / "environment.tar.gz") as packed:
        names = set(packed.getnames())
    assert {
        "waterflow_cli/common/errors.py",
        "waterflow_cli-1.0.dist-info/METADATA",
        "other",
    } <= names
    assert not [name for name in names if "__pycache__" in name or "tests" in name]
    assert not [name for name in names if name.startswith("pyspark/")]


def test_editable_plugin_is_not_shipped(small_environment, tmp_path):
    folder = small_environment / "river-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: river\nVersion: 1.0\n", "utf-8")
    (folder / "entry_points.txt").write_text("[waterflow.models]\nriver = r:plugin\n", "utf-8")
    (folder / "direct_url.json").write_text('{"dir_info": {"editable": true}}', "utf-8")
    assert "river is installed as editable" in pack(small_environment, tmp_path)
    assert not (tmp_path / "environment.tar.gz").exists()


@pytest.mark.spark
@pytest.mark.slow
def test_local_session_leaves_all_as_it_was(capfd, no_spark_settings):
    before, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    with open_session(SparkOptions("local[1]")) as session:
        from pyspark import SparkContext

        jvm = SparkContext._gateway.proc
        assert (dict(os.environ), signal.getsignal(signal.SIGINT)) == (before, handler)
        assert session.conf.get("spark.sql.session.timeZone") == "UTC"
        assert session.conf.get("spark.sql.execution.arrow.maxBytesPerBatch") == "8388608"
        assert len(list_executors(session)) == 1
        line = encode_error(InputError("a.csv", "is empty.", hint="Take another."))

        def fail(batches):
            raise RuntimeError(line)
            yield from batches

        with pytest.raises(InputError, match=r"a\.csv: is empty") as caught, remote_errors():
            session.range(1).mapInArrow(fail, "id long").collect()
        assert caught.value.hint == "Take another."
        with open_session(SparkOptions()) as joined:  # as in a notebook
            assert joined.range(3).count() == 3
        with pytest.raises(EngineError, match=r"with the master local\[1\]"):
            open_session(SparkOptions("local[2]")).__enter__()
        assert session.range(3).count() == 3
        jvm.kill()
        jvm.wait()
        with pytest.raises(EngineError, match="ended while the job ran"), remote_errors():
            session.range(3).count()
    assert jvm.poll() is not None
    assert SparkContext._active_spark_context is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.spark
def test_what_spark_says_of_a_start_that_failed_is_told(capfd, no_spark_settings):
    with (
        pytest.raises(EngineError, match=r"Spark does not start: .* 0 threads"),
        open_session(SparkOptions("local[0]")),
    ):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.spark
@pytest.mark.slow
def test_cluster_runs_what_is_sent_and_survives_an_executor(
    spark_cluster: SparkCluster, identity, no_spark_settings
):
    with open_session(SparkOptions(spark_cluster.url)) as session, remote_errors():
        assert session.range(9).mapInArrow(identity, "id long").count() == 9
        spark_cluster.kill_executor()
        assert session.range(9).mapInArrow(identity, "id long").count() == 9


@pytest.mark.spark
@pytest.mark.slow
def test_python_that_executors_lack_is_named(
    spark_cluster: SparkCluster, identity, no_spark_settings
):
    conf = {"spark.pyspark.python": "/no/python"}
    with (
        pytest.raises(EngineError, match="no Python at /no/python"),
        open_session(SparkOptions(spark_cluster.url, conf)) as session,
        remote_errors(),
    ):
        session.range(9).mapInArrow(identity, "id long").count()


@pytest.mark.spark
def test_cluster_that_grants_no_executor_is_said(spark_cluster: SparkCluster, no_spark_settings):
    conf = {
        "spark.executor.memory": "64g",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "1s",
    }
    with (
        pytest.raises(EngineError, match="grants no executor, after 1 seconds"),
        open_session(SparkOptions(spark_cluster.url, conf)),
    ):
        pass


WAITS = """
import sys, time
from waterflow_cli import main
from waterflow_cli.spark.session import SparkOptions, open_session

def wait(args, console):
    with open_session(SparkOptions("local[1]")) as session:
        def rest(batches):
            time.sleep(60)
            yield from batches
        print("started", flush=True)
        session.range(1).mapInArrow(rest, "id long").count()
    return 0

main._run = wait
main.main([])
"""


@pytest.mark.spark
@pytest.mark.slow
def test_interrupted_job_ends_with_130(no_spark_settings):
    running = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "started\n"
    time.sleep(2)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert err.strip().startswith("Error: Interrupted")
    assert "Traceback" not in err
    assert "at org" not in err


def test_closed_pipe_is_no_failure_of_spark():
    pytest.importorskip("pyspark")
    with pytest.raises(BrokenPipeError), remote_errors():
        raise BrokenPipeError
