from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import copy_store

from waterflow_cli.commands.retrain import read_as_recorded
from waterflow_cli.commands.retrain import retrain as retrain_command
from waterflow_cli.common.errors import ModelError
from waterflow_cli.registry.overview import read_history
from waterflow_cli.registry.stores import connect
from waterflow_cli.registry.versions import promote
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.retraining import retrainer
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.retraining.retrainer import find_champion, retrain
from waterflow_cli.training.retraining.row_matching import match_rows
from waterflow_cli.training.runs.combined_data import COMBINED, COMBINED_FILE
from waterflow_cli.training.runs.reproduction import read_record, reproduce_run
from waterflow_cli.training.summary import unseen_probabilities

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
NAME = "waterflow"
QUICK = ("--plugin", "extra-trees", "--param", "n_estimators=40", "--cv", "3x1", "-q")
# So few rows tell models apart by a wide margin alone.
LENIENT = {"margin": 0.1}


def write_rows(path, header, rows):
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """Old samples, and new ones with right and with shuffled labels; each has an id."""
    folder = tmp_path_factory.mktemp("months")
    write_simulation(str(folder / "all.csv"), 800, seed=5, signal=0.9)
    header, *rows = csv.reader((folder / "all.csv").open(newline=""))
    write_rows(folder / "old.csv", header, rows[:500])
    write_rows(folder / "new.csv", header, rows[500:])
    labels = [row[-1] for row in rows[500:]]
    random.Random(1).shuffle(labels)
    shuffled = [[*row[:-1], label] for row, label in zip(rows[500:], labels, strict=True)]
    write_rows(folder / "shuffled.csv", header, shuffled)
    return folder


@pytest.fixture(scope="module")
def trained(months, tmp_path_factory):
    from waterflow_cli.main import main

    uri = f"sqlite:///{tmp_path_factory.mktemp('trained') / 'mlflow.db'}"
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(months / "old.csv"), *QUICK, "--tracking-uri", uri])
    assert stopped.value.code == 0
    return uri


@pytest.fixture
def uri(trained, tmp_path):
    """A store of the test's own with one champion; copying it saves making the tables."""
    return copy_store(trained, tmp_path)


@pytest.fixture(scope="module")
def retrained(trained, months, tmp_path_factory):
    """A store with a challenger that passed, and its retraining."""
    uri = copy_store(trained, tmp_path_factory.mktemp("retrained"))
    return uri, retrain_with(months / "new.csv", uri, **LENIENT)


def aliases(uri):
    return {name: int(n) for name, n in connect(uri).get_registered_model(NAME).aliases.items()}


def retrain_with(path, uri, **options):
    champion = find_champion(NAME, uri)
    recorded = champion.load_data(None)
    new = load_training_data(str(path), champion.record.schema, ids=IdColumn())
    return retrain(champion, recorded, new, RetrainingOptions(**options))


@pytest.mark.slow
def test_good_labels_pass_and_the_challenger_is_promoted(cli, uri, months):
    new = ("--with", months / "new.csv", "--margin", "0.1")
    done = cli("retrain", *new, "--promote", "--tracking-uri", uri)
    assert done.code == 0, done.out + done.err
    assert "Passed: waterflow version 2 is now @champion, and version 1 @previous." in done.out
    assert "Sample ids: 'sample_id'." in done.err
    assert aliases(uri) == {"champion": 2, "previous": 1}
    assert [entry.action for entry in read_history(NAME, uri)] == [
        *("train", "retrain", "gate", "promote")
    ]

    # Its rows lie with its run: it can be trained again, and so can the champion after it.
    champion = find_champion(NAME, uri)
    assert champion.record.path == COMBINED
    assert champion.beginning.version == 1
    assert champion.beginning.roc_auc != champion.measures.roc_auc.value
    again = reproduce_run("@champion", name=NAME, tracking_uri=uri)
    assert again.comparison.identical
    assert again.comparison.n_rows == 650
    same = cli("retrain", "--with", months / "old.csv", "--tracking-uri", uri, "--json")
    assert same.code == 1
    assert "no row is of a new and undisputed sample" in same.err
    assert same.out == ""
    done = cli("retrain", "--with", months / "new.csv", "--tracking-uri", uri, "--json")
    found = json.loads(done.out)
    assert found["new"]["rows_repeated"] == 150
    assert found["new"]["compared_by"] == "sample id"
    assert found["training"]["rows_trained"] == 725
    assert found["promoted"] is False


@pytest.mark.slow
def test_shuffled_labels_are_refused_and_the_challenger_is_kept(cli, uri, months):
    bad = months / "shuffled.csv"
    done = cli("retrain", "--with", bad, "--promote", "--tracking-uri", uri)
    assert done.code == 1
    assert "Refused: waterflow version 2 stays @challenger, and 1 @champion." in done.out
    assert "the labels are wrong; check them" in done.out
    assert aliases(uri) == {"champion": 1, "challenger": 2}
    client = connect(uri)
    version = client.get_model_version(NAME, "2")
    assert version.tags["waterflow.gate"] == "refused"
    run = client.get_run(version.run_id)
    assert run.data.metrics["gate_passed"] == 0
    assert run.data.tags["waterflow.retrained_from"] == "1"
    assert {"gate.json", COMBINED_FILE} <= {f.path for f in client.list_artifacts(version.run_id)}
    refused = cli("models", "promote", "2", "--tracking-uri", uri)
    assert refused.code == 1


def test_the_challenger_is_held_to_the_rates_of_the_first_champion(retrained):
    uri, found = retrained
    chosen, began = found.prepared.training.options, found.prepared.champion.beginning
    assert chosen.threshold.text == f"fpr:{began.false_potable_rate:g}"
    assert 0 <= began.false_potable_rate - found.result.false_potable_rate < 0.02
    record = read_record(connect(uri), found.registered.run_id)
    assert record.options.threshold == chosen.threshold
    assert record.options.verdict_ceiling == began.false_likely_potable_rate
    given = found.result.verdicts["likely_potable"]
    n_false = given.n_given - given.n_right
    assert n_false <= began.false_likely_potable_rate * found.prepared.training.data.class_counts[0]
    assert find_champion(NAME, uri).version == 1


def test_rows_that_both_learned_from_judge_out_of_fold(retrained):
    """Each by models that had not seen it, and with the label that it has."""
    _, found = retrained
    known = found.gate.n_known
    assert known == found.prepared.champion.reference.n_rows == 500
    assert found.gate.auc_difference.high - found.gate.auc_difference.low < 0.1
    learned = found.result.model.probability(found.prepared.training.data.X)
    assert not np.isin(unseen_probabilities(found.result), learned).all()


def test_non_detects_mean_what_they_meant_to_the_champion(uri):
    champion = find_champion(NAME, uri)
    data = champion.record.reading
    before = replace(data.reading, nondetect="zero", loq={"Sulfate": 2.0})
    record = replace(champion.record, reading=replace(data, reading=before))
    champion = replace(champion, record=record)
    warned = []

    def read(*options):
        with retrain_command.make_context("retrain", ["--with", "new.csv", *options]) as ctx:
            asked = ReadingOptions(nondetect=ctx.params["nondetect"], loq=ctx.params["loq"])
            return read_as_recorded(champion, asked, ctx, warned.append)

    assert read() == before
    assert read("--nondetect", "zero") == before
    assert warned == []
    assert read("--nondetect", "loq") == replace(before, nondetect="loq")
    assert "--nondetect is another than the champion was trained with" in warned[0]


@pytest.mark.slow
def test_a_disputed_sample_is_not_fresh_the_next_time(cli, uri, months, workdir):
    """Neither while it is recorded, nor once a retraining has taken it out."""
    header, *old = csv.reader((months / "old.csv").open(newline=""))
    _, *new = csv.reader((months / "new.csv").open(newline=""))
    disputed = [[*row[:-1], str(1 - int(row[-1]))] for row in old[:10]]
    write_rows("new.csv", header, disputed + new)
    command = ("retrain", "--with", "new.csv", "--tracking-uri", uri, "--json")
    first = json.loads(cli(*command, "--promote", "--margin", "0.3").out)
    assert first["promoted"], first["reasons"]
    assert (first["new"]["rows_in_conflict"], first["new"]["rows_recorded_removed"]) == (10, 10)
    champion = find_champion(NAME, uri)
    recorded = champion.load_data(None)
    assert (len(recorded.y), len(recorded.contested.y)) == (490 + 150, 20)
    again = load_training_data("new.csv", champion.record.schema, ids=IdColumn())
    found = match_rows(recorded, again)
    assert (len(found.conflicts), len(found.fresh), found.n_repeated) == (10, 150, 150)
    assert reproduce_run("@champion", name=NAME, tracking_uri=uri).comparison.n_rows == 640


@pytest.mark.slow
def test_another_plugin_comes_with_its_own_defaults(uri, months):
    found = retrain_with(months / "new.csv", uri, plugin="hgb")
    record = read_record(connect(uri), found.registered.run_id)
    assert (record.plugin, record.options.params) == ("hgb", {})
    assert str(record.options.cv) == "3x1"


@pytest.mark.slow
def test_a_champion_that_was_changed_meanwhile_is_not_overwritten(
    retrained, tmp_path, months, monkeypatch
):
    uri = copy_store(retrained[0], tmp_path)
    log_result = retrainer.log_result

    def meanwhile(*args):
        promote(NAME, "2", uri, force=True)
        return log_result(*args)

    monkeypatch.setattr(retrainer, "log_result", meanwhile)
    with pytest.raises(ModelError, match="became @champion meanwhile"):
        retrain_with(months / "new.csv", uri, promote=True, **LENIENT)
    assert aliases(uri) == {"champion": 2, "previous": 1, "challenger": 3}


@pytest.mark.slow
def test_a_retraining_that_is_stopped_leaves_no_version(uri, months, monkeypatch):
    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(retrainer, "log_result", stop)
    with pytest.raises(KeyboardInterrupt):
        retrain_with(months / "new.csv", uri)
    assert aliases(uri) == {"champion": 1}
    assert len(read_history(NAME, uri)) == 1


@pytest.mark.parametrize(
    ("change", "options", "code", "message"),
    [
        ("few", (), 1, "new samples would judge the models; at least 20 of each are needed"),
        ("moved", (), 3, "cannot be read"),
        ("other", ("--data", "new.csv"), 1, "is not what the run was trained on"),
        ("", ("--id", "well"), 3, "no column 'well' (--id)"),
        ("", ("--plugin", "forrest"), 2, "No model plugin named 'forrest'"),
        ("", ("--holdout", "nan"), 2, "nan is no number"),
        ("evaluation", (), 4, "has no evaluation.json to judge by"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(
    cli, uri, months, workdir, monkeypatch, change, options, code, message
):
    new = (months / "new.csv").read_text().splitlines(keepends=True)
    (workdir / "new.csv").write_text("".join(new[: 40 if change == "few" else None]))
    if change == "moved":
        (months / "old.csv").rename(workdir / "old.csv")
    if change == "evaluation":
        monkeypatch.setattr(
            "waterflow_cli.training.retraining.retrainer.EVALUATION_FILE", "lost.json"
        )
        message = message.replace("evaluation.json", "lost.json")
    done = cli("retrain", "--with", "new.csv", *options, "--tracking-uri", uri)
    if change == "moved":
        moved = cli(
            *("retrain", "--with", "new.csv", "--data", "old.csv", "--holdout", "0.1"),
            *("--tracking-uri", uri),
        )
        (workdir / "old.csv").rename(months / "old.csv")
        assert "would judge the models" in moved.err  # the old data was found
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Measuring" not in done.err
    assert aliases(uri) == {"champion": 1}


def test_without_a_champion_there_is_nothing_to_retrain(cli, months):
    done = cli("retrain", "--with", months / "new.csv")
    assert done.code == 4
    assert "waterflow train" in done.err


@pytest.mark.slow
def test_training_data_that_the_run_has_lost_is_named(cli, retrained, workdir):
    uri, found = retrained
    run = connect(uri).get_run(found.registered.run_id)
    file = Path(run.info.artifact_uri.removeprefix("file://")) / COMBINED_FILE
    file.rename(workdir / "rows.parquet")
    lost = cli("reproduce", "2", "--tracking-uri", uri)
    assert lost.code == 4
    assert f"has lost its {COMBINED_FILE}" in lost.err
    folder = cli("reproduce", "2", "--data", ".", "--tracking-uri", uri)
    assert (folder.code, "is no file" in folder.err) == (3, True)
    kept = cli("reproduce", "2", "--data", "rows.parquet", "--tracking-uri", uri)
    assert kept.code == 0
    (workdir / "rows.parquet").rename(file)
