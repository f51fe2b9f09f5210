"""Which measurements moved a probability: one at a time, against the training medians."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from waterflow_cli.common.errors import UsageError
from waterflow_cli.main import main
from waterflow_cli.models.calibration import Identity
from waterflow_cli.models.decision import DecisionModel, Policy
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.estimator_scores import EstimatorScores
from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.scorer import check_n_listed, list_movers, measure_contributions
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables import reading
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.trainer import train_model

LISTED = re.compile(r"; moved most by: (.*)$")


class Line:
    """Stands for a pipeline: P = 0.5 + a weighted sum; what is missing counts as 0."""

    def __init__(self, *weights):
        self._weights = np.array(weights)

    def __getitem__(self, _):
        return self

    def predict_proba(self, X):
        positive = 0.5 + np.nan_to_num(X.to_numpy()) @ self._weights
        return np.column_stack([1 - positive, positive])


def line_model(*weights, typical):
    names = ["a", "b", "c"][: len(weights)]
    policy = Policy.default(0.5)
    decision = DecisionModel(
        scores=EstimatorScores(Line(*weights), names),
        measurements=names,
        calibrator=Identity(),
        threshold=0.5,
        policy=policy,
        typical=typical,
    )
    return StoredModel(
        label="line", digest="d", decision=decision, schema=load_schema(), plugin="line"
    )


def explain(model, n_listed, *rows):
    X = np.array(rows, dtype=float).reshape(len(rows), len(model.decision.measurements))
    return list_movers(model, X, model.probability(X), n_listed).to_pylist()


def test_largest_share_comes_first_and_ties_keep_the_order_of_the_measurements():
    model = line_model(0.05, 0.05, 0.05, typical=(0, 0, 0))
    assert explain(model, 2, (1, 2, 3), (1, -1, 1), (-1, 0, 0)) == [
        "; moved most by: c +0.150, b +0.100",
        "; moved most by: a +0.050, b -0.050",
        "; moved most by: a -0.050",
    ]


def test_share_that_would_show_as_zero_is_not_listed():
    model = line_model(0.1, 0.1, typical=(2, 0))
    assert explain(model, 2, (2, 0), (2.004, 0.004), (2, 0.006)) == [
        "",
        "",
        "; moved most by: b +0.001",
    ]


def test_missing_measurement_counts_as_the_model_sees_it():
    model = line_model(0.1, 0.1, typical=(0, 1))
    assert explain(model, 2, (np.nan, np.nan)) == ["; moved most by: b -0.100"]


def test_no_row_gives_no_text():
    assert explain(line_model(0.1, 0.1, typical=(0, 0)), 1) == []


def test_more_than_the_model_has_is_refused():
    with pytest.raises(UsageError, match=r"--explain 3: model line has 2 measurements\."):
        check_n_listed(line_model(0.1, 0.1, typical=(0, 0)), 3)


def train(plugin, samples, folder):
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    options = ["--cv", "3x1", "--tracking-uri", uri, "--quiet"]
    params = ["--param", "n_estimators=10"] if plugin == "rf" else []
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(samples), "--plugin", plugin, *params, *options])
    assert stopped.value.code == 0
    return uri


@pytest.fixture(scope="module")
def logreg_uri(samples, tmp_path_factory):
    return train("logreg", samples, tmp_path_factory.mktemp("logreg"))


@pytest.fixture(scope="module")
def rf_uri(samples, tmp_path_factory):
    return train("rf", samples, tmp_path_factory.mktemp("rf"))


def load(uri):
    return load_model("@champion", name="waterflow", tracking_uri=uri)


def test_typical_values_are_saved_with_the_model(logreg_uri, samples):
    decision = load(logreg_uri).decision
    medians = pd.read_csv(samples)[list(decision.measurements)].median()
    assert decision.typical == medians.tolist()


def test_measurement_that_is_missing_throughout_has_a_typical_value(samples):
    data = load_training_data(str(samples), load_schema())
    without = replace(data, X=data.X.assign(Sulfate=np.nan))
    options = TrainingOptions(cv=CrossValidation(3, 1))
    decision = train_model(without, load_plugin("logreg"), options).model
    assert decision.typical[list(decision.measurements).index("Sulfate")] == 0.0


def test_shares_of_a_logistic_regression_are_those_computed_by_hand(logreg_uri, samples):
    model = load(logreg_uri)
    decision = model.decision
    X = pd.read_csv(samples)[list(decision.measurements)]
    typical = np.array(decision.typical)
    _, scaler, line = decision.scores.root.parts

    def probability(values):
        odds = (values - scaler.centre) / scaler.scale @ line.weights + line.intercept
        score = np.clip(expit(odds), 1e-4, 1 - 1e-4)
        return expit(decision.calibrator.slope * logit(score) + decision.calibrator.intercept)

    filled = np.where(X.isna(), typical, X)
    shares = measure_contributions(model, X.to_numpy(), model.probability(X))
    for column in range(X.shape[1]):
        changed = filled.copy()
        changed[:, column] = typical[column]
        expected = probability(filled) - probability(changed)
        assert shares[:, column] == pytest.approx(expected, abs=1e-9)
    assert (shares[X.isna()] == 0).all()
    assert np.abs(shares).max() > 0.001


@pytest.mark.slow
def test_shares_do_not_depend_on_the_other_rows(rf_uri, samples):
    model = load(rf_uri)
    X = pd.read_csv(samples)[list(model.decision.measurements)].head(50).to_numpy()
    together = list_movers(model, X, model.probability(X), 3).to_pylist()
    rows = [X[[row]] for row in range(len(X))]
    alone = [list_movers(model, row, model.probability(row), 3)[0].as_py() for row in rows]
    assert together == alone
    assert any(text.count(",") == 2 for text in together)


def reasons(path):
    return pd.read_csv(path)["reason"].tolist()


@pytest.fixture
def table(samples, workdir):
    """Samples of which every ninth is invalid."""
    frame = pd.read_csv(samples)
    frame.loc[::9, "ph"] = 99
    frame.to_csv("in.csv", index=False)
    return frame


def test_score_appends_to_the_reasons_of_valid_rows_only(cli, table, rf_uri):
    score = ("score", "in.csv", "--tracking-uri", rf_uri, "-o")
    assert cli(*score, "plain.csv").code == cli(*score, "out.csv", "--explain", 2).code == 0
    names = set(load(rf_uri).decision.measurements)
    n_listed = 0
    for row, (plain, text) in enumerate(zip(reasons("plain.csv"), reasons("out.csv"), strict=True)):
        assert text.startswith(plain)
        match = LISTED.fullmatch(text.removeprefix(plain))
        if row % 9 == 0 or match is None:
            assert text == plain
            continue
        listed = match[1].split(", ")
        assert 1 <= len(listed) <= 2
        assert {each.partition(" ")[0] for each in listed} <= names
        assert all(re.fullmatch(r"\w+ [+-]0\.\d{3}", each) for each in listed)
        n_listed += 1
    assert n_listed > 300


@pytest.mark.slow
def test_bytes_depend_on_no_batch_size_and_no_number_of_jobs(cli, table, rf_uri):
    score = ("score", "in.csv", "--tracking-uri", rf_uri, "--explain", 3, "-o")
    cli(*score, "one.csv", "--jobs", 1)
    cli(*score, "many.csv", "--jobs", 3, "--batch-rows", 13)
    assert Path("one.csv").read_bytes() == Path("many.csv").read_bytes()


def test_manifest_shows_it(cli, table, rf_uri):
    options = ("--tracking-uri", rf_uri, "--explain", 4, "--manifest", "job.json")
    assert cli("score", "in.csv", *options, "-o", "out.csv").code == 0
    assert json.loads(Path("job.json").read_text())["options"]["explain"] == 4


def test_job_cannot_go_on_with_another_number(table, rf_uri, monkeypatch):
    monkeypatch.setattr(reading, "_SAMPLE_BYTES", 1000)
    options = ScoringOptions(resume=True, batch_rows=50, explain=2)

    def stop(n_rows, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_files(load(rf_uri), ["in.csv"], "out.csv", options, stop)
    with pytest.raises(UsageError, match="begun with other options"):
        score_files(load(rf_uri), ["in.csv"], "out.csv", replace(options, explain=3))
    assert score_files(load(rf_uri), ["in.csv"], "out.csv", options).n_resumed > 0
    score_files(load(rf_uri), ["in.csv"], "plain.csv", replace(options, resume=False))
    assert Path("out.csv").read_bytes() == Path("plain.csv").read_bytes()


def test_too_many_are_refused_before_anything_is_written(cli, table, rf_uri, workdir):
    found = cli("score", "in.csv", "--tracking-uri", rf_uri, "-o", "new/", "--explain", 10)
    assert (found.code, found.out) == (2, "")
    assert "--explain 10: model waterflow/1 has 9 measurements." in found.err
    assert not (workdir / "new").exists()
