"""Without pyspark's private names the way into Spark's process is its public one."""

from __future__ import annotations

from pathlib import Path

import pytest

from waterflow_cli.common.errors import EngineError
from waterflow_cli.spark.files import HadoopFiles
from waterflow_cli.spark.jvm import find_process, find_spark_home, launch_jvm
from waterflow_cli.spark.session import SparkOptions, list_executors, open_session

pyspark = pytest.importorskip("pyspark")


@pytest.fixture(scope="module")
def local_session():
    with open_session(SparkOptions("local[1]")) as session:
        yield session


@pytest.fixture
def no_private_names(monkeypatch, local_session):
    monkeypatch.delattr(local_session.sparkContext, "_jsc")
    for name in ("_gateway", "_jvm"):
        monkeypatch.delattr(pyspark.SparkContext, name)


@pytest.mark.spark
def test_sessions_are_forgotten_only_where_pyspark_keeps_them(monkeypatch):  # before the fixture
    from pyspark.sql import SparkSession

    with open_session(SparkOptions("local[1]")):
        assert SparkSession._activeSession is not None
    names = ("_instantiatedSession", "_activeSession")
    assert [getattr(SparkSession, name) for name in names] == [None, None]
    with monkeypatch.context() as patch:
        with open_session(SparkOptions("local[1]")) as session:
            assert session.range(2).count() == 2
            for name in names:  # from the object made as from the class
                patch.delattr(SparkSession, name)
        assert not any(hasattr(SparkSession, name) for name in names)
    for name in names:
        monkeypatch.setattr(SparkSession, name, None)


def test_home_of_spark_is_found_without_the_private_function(monkeypatch, tmp_path):
    monkeypatch.delenv("SPARK_HOME", raising=False)
    found = find_spark_home()
    monkeypatch.delattr("pyspark.find_spark_home._find_spark_home")
    assert find_spark_home() == found == Path(pyspark.__file__).parent
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert find_spark_home() == tmp_path


@pytest.mark.spark
def test_executors_files_and_process_are_found_by_the_gateway(local_session, workdir, request):
    Path("a.csv").write_text("x", "utf-8")

    def look():
        hadoop = HadoopFiles(local_session)
        (file,) = hadoop.list_inputs(("a.csv",))
        return list_executors(local_session), file, hadoop.read_start(file, 9), find_process()

    with_private_names = look()
    request.getfixturevalue("no_private_names")
    assert not hasattr(local_session.sparkContext, "_jvm")
    assert look() == with_private_names
    assert with_private_names[0] == ["127.0.0.1"]


@pytest.mark.spark
def test_foreign_session_without_private_names_is_refused_in_words(
    local_session, no_private_names, monkeypatch
):
    monkeypatch.setattr("waterflow_cli.spark.jvm._launched", [])
    with pytest.raises(EngineError, match="no way into the Spark session that runs"):
        list_executors(local_session)
    assert find_process() is None


@pytest.mark.spark
def test_jvm_is_launched_and_ended_where_pyspark_keeps_no_gateway(local_session, request):
    conf = pyspark.SparkConf(loadDefaults=False).setMaster("local[7]")
    request.getfixturevalue("no_private_names")
    with launch_jvm(conf, {}) as gateway:
        assert gateway.jvm.java.lang.System.getProperty("spark.master") == "local[7]"
        assert not hasattr(pyspark.SparkContext, "_gateway")
    assert gateway.proc.poll() is not None
