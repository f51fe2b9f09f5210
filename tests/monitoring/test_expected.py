"""What may be expected of a model on rows without labels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from learnable import write_learnable

from waterflow_cli.models.reference import load_reference
from waterflow_cli.monitoring.expected import describe_expected, expected_rows
from waterflow_cli.monitoring.log import run_metrics
from waterflow_cli.monitoring.monitor import monitor_file
from waterflow_cli.monitoring.page import render_monitoring
from waterflow_cli.monitoring.report import render_metrics, summarise
from waterflow_cli.monitoring.samples import MonitoringOptions
from waterflow_cli.registry.location import fetch_model


@pytest.fixture(scope="module")
def trained(store_uri):
    fetched = fetch_model("@champion", name="waterflow", tracking_uri=store_uri)
    return fetched.load(), load_reference(fetched.files.payload, label=fetched.label)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """500 samples as those that the model was trained on, and none of them."""
    path = tmp_path_factory.mktemp("fresh") / "fresh.csv"
    write_learnable(path, 500, seed=77)
    return path


@pytest.fixture(scope="module")
def found(trained, fresh):
    return monitor_file(*trained, str(fresh), MonitoringOptions(with_labels=True))


def test_the_labels_lie_within_what_was_expected_without_them(found):
    expected, record = found.expected, found.whole.record
    assert expected.n_rows == len(found.whole.probability)
    assert not expected.is_void
    precision = expected.estimates["precision_potable"]
    assert precision.low < record.estimate("precision").value < precision.high
    assert expected.in_training["precision_potable"] == pytest.approx(
        found.old_record.estimate("precision").value
    )


def test_the_report_shows_the_figures_and_how_far_they_were_off_in_training(found):
    columns, rows = expected_rows(found.expected)
    assert [row[0] for row in rows] == ["Accuracy", "Balanced accuracy", "Precision on potable"]
    assert {len(row) for row in rows} == {len(columns)} == {6}
    page = render_monitoring(found)
    assert all(cell in page for row in rows for cell in row)
    assert b'waterflow_monitor_expected{figure="accuracy"' in render_metrics(found)
    assert run_metrics(found)["expected.accuracy"] == found.expected.estimates["accuracy"].value
    stored = json.loads(json.dumps(summarise(found)["expected"]))
    assert (stored["void"], stored["backtest"]["n_folds"]) == (False, 3)


def test_an_alarm_makes_it_void(trained, fresh, tmp_path):
    table = pd.read_csv(fresh)
    table.assign(ph=table.ph + 2).to_csv(tmp_path / "shifted.csv", index=False)
    found = monitor_file(*trained, str(tmp_path / "shifted.csv"), MonitoringOptions())
    assert found.expected.is_void
    assert expected_rows(found.expected)[1] == []
    (text,) = describe_expected(found.expected)
    assert text.startswith("How often the model is right here is not known without labels")
    assert text in render_monitoring(found)
    assert "expected.accuracy" not in run_metrics(found)


def test_a_model_whose_training_tried_no_estimate_has_one_all_the_same(trained, fresh):
    model, reference = trained
    former = replace(reference, backtest=None)
    expected = monitor_file(model, former, str(fresh), MonitoringOptions()).expected
    columns, rows = expected_rows(expected)
    assert {len(row) for row in rows} == {len(columns)} == {3}
    assert len(describe_expected(expected)) == 1


def test_nothing_is_expected_of_rows_that_cannot_be_judged(trained, fresh, tmp_path):
    model, reference = trained
    pd.read_csv(fresh).assign(Solids=-1.0).to_csv(tmp_path / "bad.csv", index=False)
    bad = monitor_file(model, reference, str(tmp_path / "bad.csv"), MonitoringOptions())
    assert (bad.expected, expected_rows(None)[1], describe_expected(None)) == (None, [], [])
    untested = replace(reference, probability=np.full(len(reference.label), np.nan))
    assert monitor_file(model, untested, str(fresh), MonitoringOptions()).expected is None
