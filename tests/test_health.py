"""``waterflow doctor`` says what is here, what is not, and what to do about it."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from clusters import SparkCluster

from waterflow_cli.health import LIBRARIES, check_libraries, check_python, check_store
from waterflow_cli.registry.sqlite_tables import count_models, sqlite_path


def checks_of(outcome) -> dict[str, dict[str, str]]:
    content = json.loads(outcome.out)
    assert content["version"] == 1
    return {each["name"]: each for each in content["checks"]}


def test_all_is_well_without_a_store_and_none_is_made(cli, workdir):
    outcome = cli("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    assert "none yet at sqlite:///mlflow.db" in outcome.out
    assert list(workdir.iterdir()) == []


def test_json_is_one_object(cli):
    outcome = cli("doctor", "--json")
    checks = checks_of(outcome)
    assert list(checks) == ["Python", "libraries", "tracking store"]
    assert {each["status"] for each in checks.values()} == {"ok"}
    assert json.loads(outcome.out)["ok"] is True


def test_models_of_a_store_are_counted(store_uri):
    check = check_store(store_uri)
    assert (check.status, check.fix) == ("ok", "")
    assert check.found == f"{store_uri}, registered models: 1"


def test_models_are_counted_by_mlflow_where_its_table_is_not_as_known(store_uri, monkeypatch):
    known = check_store(store_uri)
    monkeypatch.setattr("waterflow_cli.registry.sqlite_tables._MODELS", "of_tomorrow")
    assert count_models(sqlite_path(store_uri)) is None
    assert check_store(store_uri) == known


@pytest.mark.parametrize("content", [b"", b"no database, whatever its name says" * 50])
def test_file_that_is_no_store_fails_and_stays_as_it_was(cli, workdir, content):
    path = workdir / "mlflow.db"
    path.write_bytes(content)
    outcome = cli("doctor")
    assert outcome.code == 4
    assert "cannot be read as a store" in outcome.out
    assert path.read_bytes() == content


def test_store_that_is_locked_or_old_is_only_read(workdir):
    with sqlite3.connect(workdir / "mlflow.db") as connection:
        connection.execute("CREATE TABLE registered_models (name TEXT)")
    connection.close()
    assert check_store("sqlite:///mlflow.db").found.endswith("registered models: 0")


def test_server_that_does_not_answer_fails(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    check = check_store("http://user:secret@127.0.0.1:9")
    assert check.status == "failed"
    assert "secret" not in check.found + check.fix


def test_old_python_fails():
    assert check_python((3, 10)).status == "failed"
    assert check_python((3, 11)).status == "ok"


def test_broken_library_is_named():
    modules = {"numpy": "numpy", "gone": "no_such_module"}
    check = check_libraries(modules, thorough=True)
    assert check.status == "failed"
    assert check.found == "no_such_module: No module named 'no_such_module'"
    assert check_libraries(LIBRARIES, thorough=True).status == "ok"
    assert check_libraries(modules, thorough=False).found == "gone is not installed"


def test_options_of_spark_are_refused_for_the_local_engine(cli):
    outcome = cli("doctor", "--master", "local[2]")
    assert outcome.code == 2
    assert "--master is for --engine spark." in outcome.err


@pytest.mark.parametrize("text", ["x=1", "spark.a", "spark.=1"])
def test_what_is_no_spark_property_is_refused(cli, text):
    outcome = cli("doctor", "--engine", "spark", "--spark-conf", text)
    assert outcome.code == 2
    assert "spark.NAME=VALUE is expected" in outcome.err


def test_what_needs_java_is_not_checked_without(cli, tmp_path, monkeypatch):
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    outcome = cli("doctor", "--engine", "spark", "--json")
    assert outcome.code == 4
    checks = checks_of(outcome)
    assert checks["pyspark"]["status"] == "ok"
    assert checks["Java"]["status"] == "failed"
    assert "Install Java 17" in checks["Java"]["fix"]
    after = [checks[name]["status"] for name in ("Spark master", "executors")]
    assert after == ["not checked", "not checked"]


@pytest.mark.spark
def test_dead_master_fails(cli):
    outcome = cli("doctor", "--engine", "spark", "--master", "spark://127.0.0.1:1")
    assert outcome.code == 4
    assert "no Spark master answers" in outcome.out
    assert outcome.out.count("not checked") == 2


@pytest.mark.spark
@pytest.mark.slow
def test_cluster_is_well(cli, spark_cluster: SparkCluster):
    outcome = cli("doctor", "--engine", "spark", "--master", spark_cluster.url, "--json")
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    checks = checks_of(outcome)
    assert checks["executors"]["found"] == "2, on 127.0.0.1"
    assert sys.executable in checks["versions on executors"]["found"]


@pytest.mark.spark
@pytest.mark.slow
def test_bare_executors_answer_and_are_found_wanting(cli, spark_cluster: SparkCluster, workdir):
    import venv

    venv.create(workdir / "bare")
    python = Path("bare", "bin", "python").absolute()
    options = ("--master", spark_cluster.url, "--spark-conf", f"spark.pyspark.python={python}")
    outcome = cli("doctor", "--engine", "spark", *options, "--json")
    assert outcome.code == 4
    check = checks_of(outcome)["versions on executors"]
    assert check["status"] == "failed"
    assert "no waterflow-cli instead of" in check["found"]
    assert "--ship-env" in check["fix"]
