from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.intervals import evaluate_predictions
from waterflow_cli.training.judging import (
    TestedFold as Judged,  # pytest takes a name with Test for a test
)
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.runs.plots import draw_result
from waterflow_cli.training.trainer import Measured, train_model

NAMES = [
    "roc",
    "precision_recall",
    "confusion_matrix",
    "reliability",
    "permutation_importance",
    "metrics_by_threshold",
]


@pytest.fixture(scope="module")
def result(samples):
    data = load_training_data(str(samples), load_schema())
    options = TrainingOptions(params={"max_iter": 20}, cv=parse_cv("3x1"))
    return train_model(data, load_plugin("hgb"), options)


@pytest.fixture(scope="module")
def first(result):
    """The pictures of the result."""
    return drawn(result)


def drawn(result):
    return {
        name: matplotlib.image.imread(BytesIO(content))
        for name, content in draw_result(result).items()
    }


def seen_as(result, y, probability, threshold=0.5):
    """Give a result whose tested rows got other probabilities."""
    fold = Judged(np.arange(len(y)), y, probability, probability, threshold, len(y))
    evaluation = evaluate_predictions(y, probability, threshold)
    return replace(result, measured=Measured([[fold]], evaluation, {}))


@pytest.mark.slow
def test_every_picture_is_drawn(first):
    assert list(first) == NAMES
    for picture in first.values():
        assert picture.shape[0] > 400
        assert picture.std() > 0.05  # it is not blank


@pytest.mark.slow
def test_a_loss_curve_is_drawn_where_there_is_one(result):
    pictures = drawn(replace(result, loss_curve=[0.7, 0.5, 0.4]))
    assert list(pictures) == [*NAMES, "loss_curve"]
    other = drawn(replace(result, loss_curve=[0.4, 0.5, 0.7]))
    assert not np.array_equal(pictures["loss_curve"], other["loss_curve"])


def test_pictures_show_the_result(result, first):
    """Another result gives another picture, and the same one the same."""
    again = drawn(result)
    y, probability = result.tested
    other = replace(
        seen_as(result, y, 1 - probability, threshold=0.7),
        model=replace(result.model, threshold=0.7),
        importance=result.importance.iloc[::-1] * 2,
    )
    changed = drawn(other)
    for name in NAMES:
        assert np.array_equal(first[name], again[name]), name
        assert not np.array_equal(first[name], changed[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_a_constant_model_can_be_drawn(result, probability):
    # With 0 and 0.3 nothing is called potable, so precision is undefined.
    y, _ = result.tested
    constant = seen_as(result, y, np.full(len(y), probability))
    assert list(drawn(constant)) == NAMES


def test_few_rows_can_be_drawn(result):
    few = replace(
        seen_as(result, np.array([0, 1]), np.array([0.4, 0.6])),
        importance=pd.DataFrame({"value": [0.0], "low": [0.0], "high": [0.0]}, index=["ph"]),
    )
    assert list(drawn(few)) == NAMES


def test_importance_without_an_interval_can_be_drawn(result):
    # A single hold-out gives one value, and no interval.
    alone = result.importance.assign(low=np.nan, high=np.nan)
    assert list(drawn(replace(result, importance=alone))) == NAMES
