"""The commands that no other file speaks of: what they print and what they leave."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from waterflow_cli.commands import COMMANDS, load_command
from waterflow_cli.commands.families import console_of

BUNDLED = {"blend", "extra-trees", "gp", "hgb", "lightgbm", "logreg", "mlp", "rf", "svm", "xgboost"}


def read_csv(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_rows(out):
    """The cells of a printed table, below its header."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith("─"))
    return [[cell for cell in line.split("  ") if cell.strip()] for line in lines[start + 1 :]]


def test_every_command_has_a_line_in_the_help(cli):
    out = cli("--help").out
    for name in COMMANDS:
        command = load_command(name)
        assert command.short_help
        assert command.name == name
        assert f"  {name}" in out


# --- plugins --------------------------------------------------------------------------------------


def test_plugins_are_listed_with_their_origin(cli):
    outcome = cli("plugins", "list")
    assert outcome.code == 0
    listed = {row[0].strip(): row for row in table_rows(outcome.out)}
    assert set(listed) >= {"hgb", "logreg", "rf"}
    assert listed["rf"][-1].strip().startswith("waterflow-cli ")


def test_list_of_plugins_as_json_says_which_can_be_used(cli, tmp_path, monkeypatch):
    info = tmp_path / "site" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waterflow.models]\nbroken = no_such_module:plugin\n")
    monkeypatch.syspath_prepend(str(info.parent))
    outcome = cli("plugins", "list", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    plugins = {plugin.pop("name"): plugin for plugin in report.pop("plugins")}
    assert report == {"version": 1}
    assert set(plugins) == BUNDLED | {"broken"}
    assert plugins["rf"]["usable"]
    assert plugins["rf"]["summary"]
    assert plugins["broken"]["distribution"] == "broken 1.0"
    assert not plugins["broken"]["usable"]
    assert "no_such_module" in plugins["broken"]["problem"]
    assert plugins["broken"]["remedy"]
    outcome = cli("plugins", "list")
    assert outcome.code == 0
    assert "broken" not in {row[0].strip() for row in table_rows(outcome.out)}
    assert outcome.err.startswith(
        "Warning: The plugin 'broken' (no_such_module:plugin, from broken 1.0)"
    )


def test_checks_of_a_plugin_are_named_one_by_one(cli):
    outcome = cli("plugins", "check", "logreg")
    assert (outcome.code, outcome.out) == (0, "logreg keeps the contract.\n")
    claims = outcome.err.splitlines()
    assert len(claims) >= 8
    assert all(claim.startswith("ok: ") for claim in claims)
    assert "ok: equal seeds give equal probabilities, bit for bit" in claims
    assert cli("plugins", "check", "logreg", "-q").err == ""


def test_new_plugin_is_a_project_and_the_next_step_is_named(cli, workdir):
    outcome = cli("plugins", "new", "near-by")
    assert (outcome.code, outcome.out) == (0, "waterflow-near-by\n")
    assert "pip install -e waterflow-near-by && waterflow plugins check near-by" in outcome.err
    assert (workdir / "waterflow-near-by" / "pyproject.toml").is_file()
    outcome = cli("plugins", "new", "near-by")
    assert (outcome.code, outcome.out) == (2, "")
    assert "waterflow-near-by: cannot be created (File exists)." in outcome.err
    assert cli("plugins", "new", "near-by", "--folder", "other").out == "other\n"
    assert cli("plugins", "new", "Near By").code == 2


# --- schemas --------------------------------------------------------------------------------------


def test_schemas_are_listed(cli):
    outcome = cli("schemas", "list")
    assert (outcome.code, outcome.err) == (0, "")
    rows = table_rows(outcome.out)
    assert [name.strip() for name, _, _ in rows] == ["drinking-water", "water"]
    _, title, digest = rows[1]
    assert title.strip() == "Water sample, nine measurements"
    report = json.loads(cli("schemas", "list", "--json").out)
    _, schema = report["schemas"]
    assert (report["version"], schema["name"], schema["title"]) == (1, "water", title.strip())
    assert len(schema["sha256"]) == 64
    assert schema["sha256"].startswith(digest.strip())


def test_shown_schema_can_be_used_as_ones_own(cli, samples, workdir):
    outcome = cli("schemas", "show")
    assert (outcome.code, outcome.err) == (0, "")
    assert cli("schemas", "show", "water").out == outcome.out
    (workdir / "mine.yaml").write_text(outcome.out)
    assert cli("validate", samples, "--schema", "mine.yaml").code == 0
    assert cli("schemas", "show", "mine.yaml").out == outcome.out


# --- simulate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz", "out.jsonl.zst"]
)
def test_simulated_samples_are_the_same_in_every_format(output, cli, workdir):
    assert cli("simulate", "--rows", "50", "--seed", "9", "-o", "reference.csv").code == 0
    assert cli("simulate", "--rows", "50", "--seed", "9", "-o", output).code == 0
    expected = read_csv("reference.csv")
    assert len(expected) == 50
    content = Path(output).read_bytes()
    if output.endswith(".gz"):
        content = gzip.decompress(content)
    if output.endswith(".zst"):
        content = pa.input_stream(output, compression="zstd").read()
    if output.endswith(".parquet"):
        rows = pq.read_table(output).to_pylist()
    elif ".jsonl" in output:
        rows = [json.loads(line) for line in content.decode().splitlines()]
    else:
        separator = "\t" if ".tsv" in output else ","
        rows = list(csv.DictReader(io.StringIO(content.decode()), delimiter=separator))
    for row, other in zip(rows, expected, strict=True):
        for name, cell in other.items():
            value = "" if row[name] is None else row[name]
            assert str(value) == cell or float(value) == float(cell)


def test_simulation_says_what_is_possible(cli, workdir):
    outcome = cli(
        "simulate", "--rows", "7", "--seed", "3", "--signal", "0.9", "-o", "out.csv", "--json"
    )
    assert outcome.code == 0
    report = json.loads(outcome.out)
    attainable = report.pop("best_auc_with_missing")
    assert 0.85 < attainable < 0.9
    assert report.pop("best_auc_complete") == pytest.approx(0.9, abs=1e-6)
    assert report == {"version": 1, "output": "out.csv", "rows": 7, "seed": 3}
    assert (
        "Wrote 7 simulated samples to out.csv (seed 3). Best possible ROC AUC: 0.900" in outcome.err
    )
    assert f"{attainable:.3f} with the missing ones." in outcome.err
    outcome = cli("simulate", "--rows", "7", "--seed", "3", "--signal", "0.9", "-o", "-")
    assert outcome.out == Path("out.csv").read_text()


@pytest.mark.parametrize("signal", ["0.4", "1", "nan", "-1", "inf"])
def test_impossible_signal_is_refused(signal, cli, workdir):
    outcome = cli("simulate", "--signal", signal, "-o", "out.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert "it must lie between 0.5 and 0.99" in outcome.err
    assert list(workdir.iterdir()) == []


# --- train and models -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store that the tests of this file write to."""
    return f"sqlite:///{tmp_path_factory.mktemp('own') / 'mlflow.db'}"


@pytest.fixture
def train(cli, samples, own_store):
    def run(*arguments, data=samples):
        return cli(
            *("train", data, "--plugin", "logreg", "--balance", "none", "--cv", "3x1"),
            *("--tracking-uri", own_store, "--name", "own", *arguments),
        )

    return run


@pytest.fixture
def two_versions(train, own_store, cli):
    """The store with two versions at least: @champion and a later @challenger."""
    while True:
        listed = cli("models", "list", "--tracking-uri", own_store, "--name", "own", "--json")
        versions = json.loads(listed.out)["versions"] if listed.code == 0 else []
        if len(versions) >= 2:
            return versions
        assert train("--quiet").code == 0


def test_first_training_gives_a_champion_and_says_so(train):
    outcome = train("--name", "first")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    title = "3-fold cross-validation, once, 400 rows: estimate and 95 % interval"
    assert lines[0].strip() == title
    assert lines[2].split("  ")[-1].strip() == "logistic regression"
    assert any(line.strip().startswith("ROC AUC ") for line in lines)
    assert any(line.startswith("Threshold 0.") for line in lines)
    assert any(line.startswith("Verdicts: likely_potable from 0.800") for line in lines)
    assert lines[-1].startswith("Registered first version 1 as @champion (run ")
    assert "promote" not in outcome.err
    # A figure that cannot be computed is shown as such: the constant calls nothing potable.
    (line,) = [line for line in lines if "Precision on potable" in line]
    assert "undefined" in line


@pytest.mark.slow
def test_later_training_gives_a_challenger_and_says_how_to_promote_it(train, two_versions, cli):
    outcome = train()
    assert outcome.code == 0
    number = two_versions[0]["version"] + 1
    assert f"Registered own version {number} as @challenger" in outcome.out
    assert f"To put it in use: waterflow models promote {number}" in outcome.err
    assert "Creating" not in outcome.err


def reject_constant(text):
    raise AssertionError(f"{text} is no JSON")


def test_report_of_a_training_as_json(train, samples):
    outcome = train("--json", "--threshold", "f1", "--seed", "4")
    assert outcome.code == 0
    report = json.loads(outcome.out, parse_constant=reject_constant)
    assert report["version"] == 1
    assert report["plugin"] == "logreg"
    data = report["data"]
    assert data["path"] == str(samples)
    assert len(data["sha256"]) == 64
    assert data["rows_not_potable"] + data["rows_potable"] == 400
    assert data["rows_dropped"] == 0
    assert (report["rows_trained"], report["evaluation"]["rows"]) == (400, 400)
    assert set(report["registered"]) == {"name", "version", "alias", "run_id"}
    assert 0 <= report["decided_share"] <= 1
    for evaluation in (report["evaluation"], *report["baselines"].values()):
        assert sum(evaluation["confusion"].values()) == 400
        for estimate in evaluation["estimates"].values():
            if estimate["value"] is not None:
                assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert report["threshold"] == report["evaluation"]["threshold"]
    assert set(report["baselines"]) == {"always the base rate", "logistic regression"}
    # What cannot be computed is null: the constant calls nothing potable.
    constant = report["baselines"]["always the base rate"]["estimates"]
    assert constant["precision_potable"] == {"value": None, "low": None, "high": None}
    assert len(report["permutation_importance"]) == 9
    assert set(report["policy"]) == {"potable_from", "not_potable_to"}


@pytest.mark.slow
def test_rows_that_cannot_be_learned_from_are_dropped_on_request(train, samples, workdir):
    lines = samples.read_text("utf-8").splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ","
    lines[2] = lines[2].rpartition(",")[0] + ",2"
    (workdir / "in.csv").write_text("\n".join(lines) + "\n")
    outcome = train(data="in.csv")
    assert outcome.code == 1
    assert "2 rows, this one first, cannot be learned from" in outcome.err
    outcome = train("--on-invalid", "drop", "--json", data="in.csv")
    assert outcome.code == 0
    data = json.loads(outcome.out)["data"]
    assert data["rows_dropped"] == 2
    assert data["rows_not_potable"] + data["rows_potable"] == 398


@pytest.mark.slow
def test_rows_that_repeat_others_are_warned_of(train, samples, workdir):
    lines = samples.read_text("utf-8").splitlines()
    (workdir / "in.csv").write_text("\n".join([*lines, *lines[1:11]]) + "\n")
    outcome = train("--quiet", data="in.csv")
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: LEAK in in.csv: ")
    assert "rows that repeat the measurements of another: 10 of 410" in outcome.err


@pytest.mark.slow
def test_without_data_the_usual_file_is_trained_on_and_named(cli, samples, own_store, workdir):
    (workdir / "water_potability.csv").write_bytes(samples.read_bytes())
    arguments = ("--plugin", "logreg", "--balance", "none", "--test-size", "0.3")
    store = ("--tracking-uri", own_store, "--name", "usual")
    outcome = cli("train", *arguments, *store, "--json")
    assert outcome.code == 0
    assert "Training on water_potability.csv in the working folder." in outcome.err
    assert json.loads(outcome.out)["data"]["path"] == "water_potability.csv"


def test_versions_are_listed_the_newest_first(cli, two_versions, own_store):
    outcome = cli("models", "list", "--tracking-uri", own_store, "--name", "own")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0].strip() == "Model own"
    rows = [[cell.strip() for cell in row] for row in table_rows(outcome.out)]
    assert [int(row[0]) for row in rows] == [each["version"] for each in two_versions]
    assert int(rows[0][0]) > int(rows[-1][0])
    for row, version in zip(rows, two_versions, strict=True):
        assert version["run_id"] == row[-1]
        assert row[-2].endswith(" UTC")
        assert f"{version['roc_auc']:.3f}" in row
        assert "logreg" in row


def test_promoting_makes_the_champion_and_remembers_the_one_before(cli, two_versions, own_store):
    store = ("--tracking-uri", own_store, "--name", "own")

    def aliases():
        versions = json.loads(cli("models", "list", *store, "--json").out)["versions"]
        return {alias: each["version"] for each in versions for alias in each["aliases"]}

    before = aliases()
    outcome = cli("models", "promote", "@challenger", *store)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith(f"own version {before['challenger']} is now @champion.\n")
    assert aliases() == {"champion": before["challenger"], "previous": before["champion"]}
    assert cli("models", "promote", before["champion"], *store).code == 0
    assert aliases() == {"champion": before["champion"], "previous": before["challenger"]}
    outcome = cli("models", "promote", "99", *store)
    assert outcome.code == 4
    assert "The model 'own' has no version 99" in outcome.err
    assert aliases()["champion"] == before["champion"]


def test_champion_scores_by_default_and_each_version_by_its_number(
    cli, two_versions, own_store, samples
):
    store = ("--tracking-uri", own_store, "--name", "own")
    aliases = {alias: each["version"] for each in two_versions for alias in each["aliases"]}
    for number in (None, *(each["version"] for each in two_versions)):
        model = () if number is None else ("--model", number)
        assert cli("score", samples, "-o", "out.csv", "--force", *store, *model).code == 0
        expected = f"own/{number or aliases['champion']}"
        assert {row["model_version"] for row in read_csv("out.csv")} == {expected}


def test_unknown_name_of_a_model_is_refused(cli, two_versions, own_store):
    outcome = cli("models", "list", "--tracking-uri", own_store, "--name", "nobody")
    assert (outcome.code, outcome.out) == (4, "")
    assert "No model named 'nobody'" in outcome.err


# --- demo -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo_does_the_whole_job_and_prints_each_step(cli, workdir):
    outcome = cli("demo")
    assert outcome.code == 0, outcome.err
    steps = [
        shlex.split(line)[2:]
        for line in outcome.out.splitlines()
        if line.startswith("$ waterflow ")
    ]
    assert [step[0] for step in steps] == ["simulate", "simulate", "validate", "train", "score"]
    folder = workdir / "waterflow-demo"
    assert [path.name for path in workdir.iterdir()] == ["waterflow-demo"]
    scored = (folder / "scored.csv").read_text("utf-8").splitlines()
    assert len(scored) == 201
    assert outcome.out.splitlines()[-4:] == scored[:4]
    assert "Registered waterflow version 1 as @champion" in outcome.out
    assert "no row is real" in outcome.err

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = cli("demo")
    assert (again.code, again.out) == (2, "")
    assert "waterflow-demo: cannot be created (File exists)." in again.err
    assert "--folder NAME" in again.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    # The steps are real commands: run by themselves they give the same rows.
    for step in (steps[1], steps[4]):
        assert cli(*step, "--force").code == 0
    assert (folder / "scored.csv").read_text("utf-8").splitlines() == scored


def test_demo_below_a_file_is_refused(cli, workdir):
    (workdir / "file").write_text("")
    outcome = cli("demo", "--folder", "file/demo")
    assert outcome.code == 2
    assert "file/demo: cannot be created (Not a directory)." in outcome.err


def test_demo_stops_at_a_step_that_fails(cli, workdir, monkeypatch):
    # A schema of one's own that the simulated samples break makes `validate` say no.
    (workdir / "strict.yaml").write_text(
        "columns:\n  ph: {dtype: float64, nullable: true, lt: 1}\n"
    )
    (workdir / "waterflow.toml").write_text('[validate]\nschema = "strict.yaml"\n')
    outcome = cli("demo", "--folder", "demo")
    assert outcome.code == 1
    assert "$ waterflow train" not in outcome.out
    assert "do not pass" in outcome.err


# --- shared options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rename", "ph"), "--rename ph: FROM=TO is expected."),
        (("--rename", "=ph"), "--rename =ph: FROM=TO is expected."),
        (("--rename", "ph="), "--rename ph=: FROM=TO is expected."),
        (("--loq", "ph=x"), "--loq ph=x: COLUMN=VALUE, a number above 0 is expected."),
        (("--loq", "ph=0"), "--loq ph=0: COLUMN=VALUE, a number above 0 is expected."),
        (("--loq", "ph=nan"), "--loq ph=nan: COLUMN=VALUE, a number above 0 is expected."),
        (("--unit", "ph"), "--unit ph: COLUMN=UNIT is expected."),
        (("--sep", "x"), "--sep 'x': one of ,, ;, |, tab is expected."),
        (("--decimal", ";"), "--decimal ';': one of ., ,, point, comma is expected."),
    ],
)
def test_misshapen_reading_option_is_refused(cli, options, message):
    outcome = cli("validate", "in.csv", *options)
    assert outcome.code == 2
    assert message in outcome.err


def test_cores_are_counted_where_the_system_tells_only_of_all(cli, monkeypatch):
    for name in ("sched_getaffinity", "cpu_count"):
        if name == "sched_getaffinity":
            monkeypatch.delattr(os, name)
        else:
            monkeypatch.setattr(os, name, lambda: None)
        assert cli("score", "x.csv", "-o", "y.csv").code == 4  # and no defect


def test_console_is_that_of_the_outermost_command():
    from waterflow_cli.console import Console
    from waterflow_cli.main import cli

    console = Console()
    with cli.make_context("waterflow", ["schemas", "list"], obj=console) as context:
        assert console_of(context) is console
