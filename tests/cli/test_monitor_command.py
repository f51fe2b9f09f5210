"""``waterflow monitor``: exit codes, outputs, and what MLflow is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from learnable import write_learnable
from prometheus_client.parser import text_string_to_metric_families

from waterflow_cli.monitoring.log import EXPERIMENT


@pytest.fixture
def quiet_file(workdir):
    write_learnable("quiet.csv", 200, seed=77)
    return "quiet.csv"


@pytest.fixture
def shifted_file(quiet_file):
    frame = pd.read_csv(quiet_file)
    frame["Trihalomethanes"] /= 1000
    frame["site"] = ['<b>"well"</b>', "spring"] * 100
    frame["when"] = "2024-05-03"
    frame.to_csv("shifted.csv", index=False)
    return "shifted.csv"


@pytest.fixture
def own_store(store_uri, workdir):
    """A copy of the store that may be written to; the model's files stay where they are."""
    shutil.copy(store_uri.removeprefix("sqlite:///"), "mlflow.db")
    return f"sqlite:///{workdir / 'mlflow.db'}"


def test_quiet_rows_end_with_0_and_an_alarm_with_1(cli, store_uri, quiet_file, shifted_file):
    common = ("--tracking-uri", store_uri, "--no-log")
    quiet = cli("monitor", quiet_file, *common)
    headline, *lines = quiet.out.splitlines()
    assert (quiet.code, headline) == (
        0,
        "No alarm: 52 checks of quiet.csv against the training rows of waterflow/1.",
    )
    assert any(
        line.endswith("other checks show nothing; -v, --json or -o lists all.") for line in lines
    )
    assert any(line.startswith(" Precision on potable") for line in lines)
    assert lines[-1].startswith("Off by, at most and truth inside: of 3 folds of ")
    assert len(lines) < 20
    assert len(cli("monitor", quiet_file, *common, "-v").out.splitlines()) > 30
    loud = cli("monitor", shifted_file, *common, "--labels", "--by", "site")
    assert loud.code == 1
    first, second, *rest = loud.out.splitlines()
    assert first.startswith("Alarm: ")
    assert second.startswith("! Trihalomethanes looks 0.001 times what it was in training: median")
    assert any("Brier score" in line for line in rest)
    assert any("spring" in line and "Trihalomethanes level" in line for line in rest)
    assert "If the file gives mg/L: --unit Trihalomethanes=mg/L" in loud.err
    again = cli("monitor", shifted_file, *common, "--unit", "Trihalomethanes=mg/L", "-q")
    assert again.code == 0, again.out


def test_all_outputs_and_the_run_tell_the_same(cli, own_store, shifted_file):
    done = cli(
        *("monitor", shifted_file, "--tracking-uri", own_store, "--json", "--by", "site"),
        *("--window", "30d", "--date", "when", "-o", "r.html", "--prometheus", "m.prom"),
    )
    assert done.code == 1, done.err
    content = json.loads(done.out)
    assert (content["version"], content["alarm"], content["file"]["rows"]) == (1, True, 200)
    alarms = [check for check in content["checks"] if check["alarm"]]
    assert len({check["group"] for check in alarms}) == 3
    page = Path("r.html").read_text("utf-8")
    assert "&lt;b&gt;" in page
    assert '<b>"well"' not in page
    assert "<script" not in page
    gauges = {
        (each.name, each.labels.get("check"), each.labels.get("measurement"), group): each.value
        for family in text_string_to_metric_families(Path("m.prom").read_text("utf-8"))
        for each in family.samples
        if not (group := each.labels.get("group"))
    }
    assert gauges["waterflow_monitor_alarm", None, None, None] == 1
    assert gauges["waterflow_monitor_check_alarm", "unit", "Trihalomethanes", ""] == 1
    assert gauges["waterflow_monitor_check_file", "missing", "ph", ""] < 0.5
    mlflow.set_tracking_uri(own_store)
    (run,) = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    assert run.data.tags["waterflow.alarm"] == "true"
    assert len(run.data.tags["waterflow.file_sha256"]) == 64
    assert run.data.metrics["drift.Trihalomethanes.unit"] == -3
    assert run.data.metrics["alarms"] == len(alarms)
    names = {each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert names == {"report.html", "report.json"}


@pytest.mark.slow
def test_a_second_check_is_a_second_run(cli, own_store, quiet_file):
    for _ in range(2):
        assert cli("monitor", quiet_file, "--tracking-uri", own_store, "-q").code == 0
    mlflow.set_tracking_uri(own_store)
    assert len(mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")) == 2


def test_a_file_that_cannot_be_tested_does_not_pass(cli, store_uri, quiet_file):
    pd.read_csv(quiet_file)[:5].to_csv("few.csv", index=False)
    done = cli("monitor", "few.csv", "--tracking-uri", store_uri, "--no-log")
    assert (done.code, done.out.splitlines()[0]) == (
        1,
        "Not checked: few.csv against the training rows of waterflow/1; 5 different rows; at least "
        "20.",
    )


def test_the_results_are_out_before_they_are_logged(cli, own_store, store_uri, quiet_file):
    database = sqlite3.connect("mlflow.db")
    database.execute("DROP TABLE metrics")  # found out only when the run's figures are logged
    database.commit()
    database.close()
    done = cli("monitor", quiet_file, "--tracking-uri", own_store, "-o", "r.html")
    assert done.code == 4
    assert done.out.startswith("No alarm: ")
    assert Path("r.html").exists()


def test_the_page_goes_to_stdout_alone(cli, store_uri, quiet_file):
    done = cli("monitor", quiet_file, "--tracking-uri", store_uri, "--no-log", "-o", "-", "-q")
    assert done.out.startswith("<!doctype html>")
    assert done.out.rstrip().endswith("</html>")
    refused = cli("monitor", quiet_file, "--tracking-uri", store_uri, "-o", "-", "--json")
    assert (refused.code, refused.out) == (2, "")


def test_french_is_spoken(cli, store_uri, shifted_file):
    done = cli(
        *("monitor", shifted_file, "--tracking-uri", store_uri, "--no-log", "--lang", "fr"),
        *("--labels", "-o", "fr.html"),
    )
    assert done.out.startswith("Alerte\u00a0: ")
    assert "L'unité a-t-elle changé\u00a0?" in done.out
    assert "Tous les contrôles du fichier entier" in Path("fr.html").read_text("utf-8")


def test_an_existing_output_and_the_input_are_left_alone(cli, store_uri, quiet_file):
    Path("m.prom").write_text("mine")
    common = ("monitor", quiet_file, "--tracking-uri", store_uri, "--no-log")
    for option, name in (("--prometheus", "m.prom"), ("-o", quiet_file)):
        assert cli(*common, option, name).code == 2
    assert Path("m.prom").read_text() == "mine"
    assert cli(*common, "--window", "soon").code == 2
    assert cli("monitor", "absent.csv", "--tracking-uri", store_uri, "--no-log").code == 3
    assert cli("monitor", quiet_file, "--no-log").code == 4


def test_a_schedule_keeps_passwords_and_names_the_interpreter(cli, workdir, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/waterflow_cli/__main__.py"])
    done = cli(
        *("monitor", "new.csv", "--schedule"),
        "--tracking-uri=postgresql://ana:pa/ss@w@db/mlflow?sslpassword=hush",
    )
    said = done.out + done.err
    assert not any(secret in said for secret in ("pa/ss", "ss@w", "hush"))
    assert f"{sys.executable} -m waterflow_cli monitor new.csv" in done.out


def test_a_schedule_repeats_the_command_and_does_nothing_else(cli, workdir):
    done = cli(
        *("monitor", "new 100%.csv", "--schedule", "--by", "site"),
        *("--tracking-uri", "postgresql://ana:secret@db/mlflow"),
    )
    assert done.code == 0
    cron, *timer = done.out.splitlines()
    assert cron.startswith(f"0 6 * * * cd {workdir} && ")
    assert cron.endswith(
        r"monitor 'new 100\%.csv' --by site --tracking-uri 'postgresql://***@db/mlflow'"
    )
    assert any('monitor "new 100%%.csv" --by site' in line for line in timer)
    assert "OnCalendar=*-*-* 06:00:00" in timer
    assert "secret" not in done.out + done.err
    assert "MLFLOW_TRACKING_URI" in done.err
    assert not list(workdir.iterdir())


def test_without_a_model_no_store_is_made(cli, quiet_file, workdir):
    outcome = cli("monitor", quiet_file)
    assert outcome.code == 4
    assert "No tracking store" in outcome.err
    assert [path.name for path in workdir.iterdir()] == [quiet_file]
