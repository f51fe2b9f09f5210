"""A registered model on a labelled file: figures, verdicts and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from learnable import write_learnable
from scipy.stats import beta
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from waterflow_cli.common.errors import ModelError
from waterflow_cli.main import main
from waterflow_cli.models.decision import record_verdict
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.runs.model_evaluation import evaluate_model

PICTURES = [
    "confusion_matrix.png",
    "metrics_by_threshold.png",
    "precision_recall.png",
    "reliability.png",
    "roc.png",
]


@pytest.fixture(scope="module")
def uri(samples, tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('rf') / 'mlflow.db'}"
    options = ["--param", "n_estimators=10", "--cv", "3x1", "--tracking-uri", uri, "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(samples), "--plugin", "rf", *options])
    assert stopped.value.code == 0
    return uri


@pytest.fixture(scope="module")
def model(uri):
    return load_model("@champion", name="waterflow", tracking_uri=uri)


@pytest.fixture(scope="module")
def new_samples(tmp_path_factory):
    """300 samples that the model has not seen."""
    path = tmp_path_factory.mktemp("new") / "new.csv"
    write_learnable(path, 300, seed=11)
    return path


@pytest.fixture(scope="module")
def evaluated(model, new_samples):
    return evaluate_model(model, load_training_data(str(new_samples), model.schema))


@pytest.fixture
def evaluate(cli, uri):
    return lambda *arguments: cli("evaluate", *arguments, "--tracking-uri", uri)


def test_figures_are_those_of_scikit_learn_at_the_threshold_of_the_model(evaluated, model):
    y, probability = evaluated.data.y, evaluated.probability
    assert np.array_equal(probability, model.probability(evaluated.data.X))
    evaluation = evaluated.evaluation
    assert evaluation.threshold == model.decision.threshold
    found = {name: estimate.value for name, estimate in evaluation.estimates.items()}
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, probability))
    assert found["pr_auc"] == pytest.approx(average_precision_score(y, probability))
    called = probability >= evaluation.threshold
    assert evaluation.confusion == tuple(confusion_matrix(y, called).ravel())
    for estimate in evaluation.estimates.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_verdicts_are_counted_against_the_laboratory(evaluated, model):
    y, probability = evaluated.data.y, evaluated.probability
    upper = y[probability >= model.decision.policy.potable_from]
    lower = y[probability <= model.decision.policy.not_potable_to]
    potable, not_potable = evaluated.verdicts.values()
    assert list(evaluated.verdicts) == ["likely_potable", "likely_not_potable"]
    assert (potable.n_given, potable.n_right) == (len(upper), upper.sum())
    assert (not_potable.n_given, not_potable.n_right) == (len(lower), (lower == 0).sum())
    assert evaluated.n_decided == len(upper) + len(lower) > 0
    assert potable.share.value == pytest.approx(upper.mean())


def test_interval_of_a_verdict_is_that_of_clopper_and_pearson():
    record = record_verdict([True] * 17 + [False] * 3)
    assert (record.n_given, record.n_right, record.share.value) == (20, 17, 0.85)
    assert record.share.low == pytest.approx(beta.ppf(0.025, 17, 4))
    assert record.share.high == pytest.approx(beta.ppf(0.975, 18, 3))


def test_interval_reaches_the_end_where_all_are_right():
    share = record_verdict([True] * 10).share
    assert (share.value, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(0.025 ** (1 / 10))


def test_verdict_that_was_never_given_has_no_share():
    record = record_verdict([])
    assert (record.n_given, record.n_right) == (0, 0)
    assert np.isnan([record.share.value, record.share.low, record.share.high]).all()


def test_schema_without_a_measurement_of_the_model_is_refused(evaluated, model):
    data = replace(evaluated.data, X=evaluated.data.X.drop(columns=["ph"]))
    with pytest.raises(ModelError, match=r"needs measurements that the schema does not have: ph\."):
        evaluate_model(model, data)


def test_training_file_is_known_again_by_its_digest(model, samples, evaluated):
    assert not evaluated.is_training_data
    assert evaluate_model(model, load_training_data(str(samples), load_schema())).is_training_data


def test_command_prints_figures_counts_and_verdicts(evaluate, new_samples, evaluated):
    done = evaluate(new_samples)
    assert done.code == 0
    record = evaluated.verdicts["likely_not_potable"]
    share, estimate = record.share, evaluated.evaluation.estimates["roc_auc"]
    assert f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})" in done.out
    assert f"{evaluated.n_decided} of 300 rows decided" in done.out
    assert (
        f"likely_not_potable: {record.n_right} of {record.n_given} right, "
        f"npv {share.value:.3f} ({share.low:.3f} to {share.high:.3f})." in done.out
    )
    assert "Warning" not in done.err


def test_json_holds_the_same(evaluate, new_samples, evaluated):
    done = evaluate(new_samples, "--json")
    content = json.loads(done.out)
    assert (done.code, content["version"], content["model"]) == (0, 1, "waterflow/1")
    assert content["data"]["path"] == str(new_samples)
    assert content["data"]["is_training_data"] is False
    assert content["rows_decided"] == evaluated.n_decided
    found = content["evaluation"]["estimates"]["brier"]
    assert found["value"] == evaluated.evaluation.estimates["brier"].value
    verdicts = content["verdicts"]
    assert verdicts["likely_potable"]["precision"].keys() == {"value", "low", "high"}
    assert (
        verdicts["likely_not_potable"]["rows"] == evaluated.verdicts["likely_not_potable"].n_given
    )


def test_figures_on_the_training_file_come_with_a_warning(evaluate, samples):
    done = evaluate(samples)
    assert done.code == 0
    assert f"Warning: waterflow/1 was trained on {samples} itself" in done.err


@pytest.mark.slow
def test_pictures_are_drawn_into_the_folder_and_replaced_only_by_force(evaluate, new_samples):
    assert evaluate(new_samples, "--plots", "new/pictures").code == 0
    folder = Path("new/pictures")
    assert sorted(path.name for path in folder.iterdir()) == PICTURES
    for path in folder.iterdir():
        assert matplotlib.image.imread(path).std() > 0.05  # it is not blank
    refused = evaluate(new_samples, "--plots", folder)
    assert (refused.code, refused.out) == (2, "")
    assert "exists already" in refused.err
    assert evaluate(new_samples, "--plots", folder, "--force").code == 0


def test_file_without_labels_is_refused(evaluate, new_samples, workdir):
    pd.read_csv(new_samples).drop(columns=["Potability"]).to_csv("bare.csv", index=False)
    done = evaluate("bare.csv")
    assert (done.code, done.out) == (3, "")
    assert "column Potability (the label) not found" in done.err


def test_label_by_another_name_can_be_renamed(evaluate, new_samples, workdir):
    pd.read_csv(new_samples).rename(columns={"Potability": "lab"}).to_csv("in.csv", index=False)
    assert evaluate("in.csv", "--rename", "lab=Potability").code == 0


def test_invalid_rows_stop_it_unless_dropped(evaluate, new_samples, workdir):
    pd.read_csv(new_samples).assign(
        ph=lambda frame: frame["ph"].where(frame.index != 4, 99)
    ).to_csv("in.csv", index=False)
    assert evaluate("in.csv").code == 1
    done = evaluate("in.csv", "--on-invalid", "drop", "--json")
    assert json.loads(done.out)["evaluation"]["rows"] == 299
    assert "1 row dropped" in done.err


def test_unknown_model_and_schema_are_refused(evaluate, new_samples):
    assert evaluate(new_samples, "--model", "9").code == 4
    assert evaluate(new_samples, "--schema", "nosuch").code == 2


def test_training_rows_in_another_order_are_told(evaluate, samples, new_samples, tmp_path):
    rows = pd.concat([pd.read_csv(samples), pd.read_csv(new_samples)]).sample(
        frac=1, random_state=0
    )
    n_known = len(pd.read_csv(samples))
    rows.to_csv(tmp_path / "shuffled.csv", index=False)
    done = evaluate(tmp_path / "shuffled.csv")
    assert f"waterflow/1 was trained on {n_known:,} of {len(rows):,} rows" in done.err
    counts = json.loads(evaluate(tmp_path / "shuffled.csv", "--json").out)["data"]
    assert (counts["rows_trained_on"], counts["rows_compared"]) == (n_known, len(rows))
    assert "was trained on" not in evaluate(new_samples).err
