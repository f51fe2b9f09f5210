"""The two forms of any small model of a bundled plugin say the same of any row."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from portable_forms import (
    QUICK,
    TREES,
    asked,
    by_both_walks,
    form_of,
    plugin_or_skip,
    whole_plugin,
    with_gaps,
)
from sklearn.pipeline import Pipeline
from small_models import SMALL

from waterflow_cli.models.estimator_scores import EstimatorScores
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.models.portable.conversion import portable_form
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Skipping features without any observed values"),
]
EXTREMES = (0.0, -0.0, 5e-324, -1e-35, 1e30, -1e30, 1e38, 3.5e38, -1e39, 1e150, -1e308, 1e308)


def simulated(seed: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Give simulated samples, with gaps, and their labels."""
    table = pa.Table.from_batches(simulate_batches(n_rows, seed=seed))
    X = np.column_stack([table[each.name].to_numpy() for each in MEASUREMENTS]).astype(float)
    y = np.array(table[LABEL].to_pylist(), dtype=int)
    y[:10] = [0, 1] * 5
    return X, y


def check_equal(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Check for the bits of trees, and for 1e-12 where sums are added in another order."""
    if name in TREES:
        assert np.array_equal(found, expected)
    else:
        assert np.allclose(found, expected, rtol=0, atol=1e-12)


def ask_alone(pipeline: Pipeline, X: np.ndarray) -> np.ndarray:
    """Ask an estimator for each row; NaN where it refuses the row or computes nothing."""
    found = np.full(len(X), np.nan)
    ask = asked(pipeline)
    for place in range(len(X)):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found[place] = ask(X[[place]])[0]
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("name", sorted(SMALL))
@tried_on(40)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_both_forms_of_a_small_model_say_the_same(
    name: str, seed: int, data: st.DataObject
) -> None:
    X, y = simulated(seed, 150)
    pipeline = whole_plugin(name, X, y, **SMALL[name])
    form = form_of(pipeline)
    fresh = np.concatenate([simulated(seed + 1, 60)[0], with_gaps(X, seed, 0.5)])
    one_gap = np.repeat(fresh[:1], X.shape[1], axis=0)
    np.fill_diagonal(one_gap, np.nan)
    fresh = np.concatenate([fresh, one_gap, np.full((1, X.shape[1]), np.nan)])
    check_equal(name, by_both_walks(form, fresh), asked(pipeline)(fresh))

    # An estimator may refuse a value that single precision cannot hold, or what becomes of it; the
    # form gives a probability then, or NaN, with which no model scores.
    value = st.one_of(st.sampled_from(EXTREMES), st.floats(allow_nan=False, allow_infinity=False))
    width = X.shape[1]
    odd = np.array(data.draw(st.lists(st.lists(value, min_size=width, max_size=width), max_size=3)))
    odd = np.concatenate([odd.reshape(-1, width), fresh[:3]])
    odd[-3:, data.draw(st.integers(0, width - 1))] = data.draw(value)
    found, expected = by_both_walks(form, odd), ask_alone(pipeline, odd)
    answered = ~np.isnan(expected)
    if name in TREES:
        check_equal(name, found[answered], expected[answered])
        assert not np.isnan(found).any()
    known = found[~np.isnan(found)]
    assert ((known >= 0) & (known <= 1)).all()


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(QUICK))
def test_both_forms_say_the_same_of_the_real_table(name: str, real_table: Path) -> None:
    table = load_training_data(str(real_table), load_schema())
    columns = list(table.X.columns)
    params: dict[str, Any] = {**QUICK[name]}
    with single_threaded_fits():
        fitted = build_pipeline(
            plugin_or_skip(name), columns, TrainingOptions(params=params, balance="none")
        ).fit(table.X, table.y)
    pipeline = strip_for_scoring(fitted)
    ask = EstimatorScores(pipeline, columns)
    form = portable_form(pipeline, ask)
    assert form is not None
    X = table.X.to_numpy(dtype=float)
    check_equal(name, by_both_walks(form, X), ask(X))
