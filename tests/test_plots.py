from __future__ import annotations

from dataclasses import replace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from waterflow_cli.discovery import load_plugin
from waterflow_cli.metrics import evaluate_predictions
from waterflow_cli.plots import save_plots
from waterflow_cli.schemas import load_schema
from waterflow_cli.training import Predictions, TrainingOptions, train_model
from waterflow_cli.training_data import load_training_data

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
    return train_model(data, load_plugin("hgb"), TrainingOptions(params={"max_iter": 20}))


def drawn(result, folder):
    folder.mkdir()
    return {path.stem: matplotlib.image.imread(path) for path in save_plots(result, folder)}


def test_every_picture_is_drawn_into_the_folder(result, tmp_path):
    paths = save_plots(result, tmp_path)
    assert paths == [tmp_path / f"{name}.png" for name in NAMES]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        picture = matplotlib.image.imread(path)
        assert picture.shape[0] > 400
        assert picture.std() > 0.05  # it is not blank


def test_a_loss_curve_is_drawn_where_there_is_one(result, tmp_path):
    pictures = drawn(replace(result, loss_curve=[0.7, 0.5, 0.4]), tmp_path / "with")
    assert list(pictures) == [*NAMES, "loss_curve"]
    other = drawn(replace(result, loss_curve=[0.4, 0.5, 0.7]), tmp_path / "other")
    assert not np.array_equal(pictures["loss_curve"], other["loss_curve"])


def test_pictures_show_the_result(result, tmp_path):
    """Another result gives another picture, and the same one the same."""
    first = drawn(result, tmp_path / "first")
    again = drawn(result, tmp_path / "again")
    y, probability = result.held_out
    turned = Predictions(y, 1 - probability)
    other = replace(
        result,
        held_out=turned,
        out_of_fold=Predictions(result.out_of_fold.y, 1 - result.out_of_fold.probability),
        evaluation=evaluate_predictions(*turned, 0.7, seed=0),
        importance=result.importance.iloc[::-1] * 2,
    )
    changed = drawn(other, tmp_path / "changed")
    for name in NAMES:
        assert np.array_equal(first[name], again[name]), name
        assert not np.array_equal(first[name], changed[name]), name


def constant(result, probability):
    y = result.held_out.y
    held_out = Predictions(y, np.full(len(y), probability))
    return replace(
        result,
        held_out=held_out,
        out_of_fold=held_out,
        evaluation=evaluate_predictions(*held_out, 0.5, seed=0),
    )


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_a_constant_model_can_be_drawn(result, tmp_path, probability):
    # With 0 and 0.3 nothing is called potable, so precision is undefined.
    assert list(drawn(constant(result, probability), tmp_path / "plots")) == NAMES


def test_few_rows_can_be_drawn(result, tmp_path):
    held_out = Predictions(np.array([0, 1]), np.array([0.4, 0.6]))
    few = replace(
        result,
        held_out=held_out,
        out_of_fold=held_out,
        evaluation=evaluate_predictions(*held_out, 0.5, seed=0),
        importance=pd.DataFrame({"mean": [0.0], "std": [0.0]}, index=["ph"]),
    )
    assert list(drawn(few, tmp_path / "plots")) == NAMES
