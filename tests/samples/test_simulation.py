from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from scipy.special import erf, expit, ndtri
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from waterflow_cli.common.errors import UsageError
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import (
    BASE_RATE,
    BATCH_ROWS,
    DEFAULT_SIGNAL,
    MEASUREMENTS,
    SITES,
    best_auc,
    best_auc_with_missing,
    draw_rows,
    label_model,
    simulate_batches,
)
from waterflow_cli.tables.reading import open_table
from waterflow_cli.validation.row_checker import RowChecker

NAMES = [each.name for each in MEASUREMENTS]
SCORED = [each for each in MEASUREMENTS if each.scored]
LARGE = 200_000
SIGNALS = st.floats(0.5, 0.99)


def simulate(n_rows, **options):
    return pa.Table.from_batches(simulate_batches(n_rows, **options))


def simulate_with_truth(n_rows, signal=DEFAULT_SIGNAL):
    return pa.Table.from_batches(draw_rows(n_rows, 0, label_model(signal)))


@pytest.fixture(scope="module")
def reference():
    return simulate(100_000, seed=3)


@pytest.fixture(scope="module", params=[0.6, 0.75, 0.9])
def large(request):
    return request.param, simulate_with_truth(LARGE, request.param)


@pytest.fixture(scope="module")
def frame():
    return simulate_with_truth(LARGE).to_pandas()


def recomputed_probability(frame, signal):
    """Best prediction from the rows as written, by what the docstrings promise."""
    model = label_model(signal)
    score, unknown = np.zeros(len(frame)), np.zeros(len(frame))
    for each in SCORED:
        distance = (frame[each.name] - each.mean).abs().clip(lower=10.0**-each.decimals / 4)
        part = -np.sqrt(each.scored) * ndtri(erf(distance / each.sd / np.sqrt(2)))
        score += part.fillna(0)
        unknown += each.scored * part.isna()
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    blurred = score.to_numpy()[:, None] + np.sqrt(unknown.to_numpy())[:, None] * nodes
    return expit(model.intercept + model.slope * blurred) @ (weights / weights.sum())


def test_columns_stand_in_the_schemas_order():
    table = simulate(5)
    assert table.column_names == ["sample_id", "site", "date", *NAMES, "Potability"]
    assert tuple(NAMES) == load_schema().measurements


def test_truth_is_an_extra_last_column():
    plain, with_truth = simulate(100), simulate_with_truth(100)
    assert with_truth.column_names[-1] == "true_probability"
    assert with_truth.drop_columns(["true_probability"]).equals(plain)


def test_same_seed_gives_the_same_rows(reference):
    assert simulate(100_000, seed=3).equals(reference)


def test_another_seed_gives_other_rows(reference):
    other = simulate(100_000, seed=4)
    assert not any(other[name].equals(reference[name]) for name in [*NAMES, "Potability"])


@tried_on(25)
@given(n_rows=st.integers(1, 100_000))
def test_rows_do_not_depend_on_the_row_count(reference, n_rows):
    batches = list(simulate_batches(n_rows, seed=3))
    assert pa.Table.from_batches(batches).equals(reference.slice(0, n_rows))
    assert [len(batch) for batch in batches[:-1]] == [BATCH_ROWS] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= BATCH_ROWS


def test_signal_changes_the_labels_alone(reference):
    strong = simulate(100_000, seed=3, signal=0.95)
    assert strong.drop_columns(["Potability"]).equals(reference.drop_columns(["Potability"]))
    assert not strong["Potability"].equals(reference["Potability"])


def test_arrow_memory_does_not_grow_with_the_rows():
    start = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - start for _ in simulate_batches(1_000_000)]
    assert max(held) < 64 << 20


def test_sample_ids_count_from_one_and_are_unique(reference):
    ids = reference["sample_id"].to_pylist()
    assert ids[:2] == ["S0000001", "S0000002"]
    assert len(set(ids)) == len(ids)


def test_forty_sites_and_three_years_occur(frame):
    assert set(frame["site"]) == set(SITES)
    assert len(SITES) == 40
    assert (frame["date"].min(), frame["date"].max()) == ("2022-01-01", "2024-12-31")
    assert frame["date"].nunique() == 365 + 365 + 366


def test_every_row_passes_the_water_schema(tmp_path):
    path, schema = tmp_path / "simulated.csv", load_schema()
    unquoted = pa_csv.WriteOptions(quoting_style="none", quoting_header="none")
    pa_csv.write_csv(simulate(100_000, seed=1), path, unquoted)
    assert path.read_text().startswith("sample_id,site,date,ph,Hardness,")
    with open_table(str(path), schema.header) as table:
        checker = RowChecker(schema, table)
        findings = [each for batch in table.batches() for each in checker.check(batch).findings(5)]
    assert findings == []


@pytest.mark.parametrize("each", MEASUREMENTS, ids=NAMES)
def test_measurement_has_the_stated_distribution(frame, each):
    values = frame[each.name].dropna()
    assert values.mean() == pytest.approx(each.mean, abs=0.02 * each.sd)
    assert values.std() == pytest.approx(each.sd, rel=0.02)
    assert (values.skew() > 0.5) == each.skewed
    assert values.min() > 0
    assert (values == values.round(each.decimals)).all()


@pytest.mark.parametrize("each", MEASUREMENTS, ids=NAMES)
def test_missing_share_is_as_stated(frame, each):
    share = frame[each.name].isna().mean()
    assert share == pytest.approx(each.missing, abs=0.004)
    assert share > 0 or each.missing == 0


def test_no_row_lacks_all_measurements(frame):
    assert frame[NAMES].notna().any(axis=1).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hardness", "Sulfate"),
        ("Solids", "Conductivity"),
        ("Organic_carbon", "Trihalomethanes"),
    ],
)
def test_related_measurements_are_correlated(frame, one, other):
    assert 0.15 < frame[one].corr(frame[other]) < 0.6


def test_site_and_season_shift_measurements_mildly(frame):
    between_sites = frame.groupby("site")["Hardness"].mean().std() / frame["Hardness"].std()
    months = frame.groupby(frame["date"].str[5:7])["Organic_carbon"].mean()
    assert 0.1 < between_sites < 0.5
    assert months.idxmax() in ("07", "08")
    assert 0.3 < np.ptp(months) / frame["Organic_carbon"].std() < 1.2


def test_true_probability_reaches_the_signal(large):
    signal, table = large
    reached = roc_auc_score(table["Potability"], table["true_probability"])
    assert reached == pytest.approx(signal, abs=0.004)


def test_labels_are_calibrated_to_the_true_probability(large):
    _, table = large
    truth, label = (table[name].to_numpy() for name in ("true_probability", "Potability"))
    for part in np.array_split(np.argsort(truth), 10):
        assert label[part].mean() == pytest.approx(truth[part].mean(), abs=0.015)


def test_base_rate_is_the_same_for_every_signal(large):
    _, table = large
    assert table["Potability"].to_numpy().mean() == pytest.approx(BASE_RATE, abs=0.005)


def test_true_probability_follows_from_complete_rows(frame):
    complete = frame.dropna()
    expected = recomputed_probability(complete, DEFAULT_SIGNAL)
    off = np.abs(expected - complete["true_probability"])
    assert off.quantile(0.95) < 0.01


def test_best_prediction_with_missing_values_reaches_the_stated_auc(large):
    signal, table = large
    frame = table.to_pandas()
    reached = roc_auc_score(frame["Potability"], recomputed_probability(frame, signal))
    assert reached == pytest.approx(best_auc_with_missing(signal), abs=0.004)


@tried_on(10)
@given(signal=SIGNALS)
def test_law_has_the_asked_auc_and_base_rate(signal):
    score = np.random.default_rng(0).standard_normal(100_000)
    assert best_auc(signal) == pytest.approx(signal, abs=1e-6)
    assert label_model(signal).probability(score).mean() == pytest.approx(BASE_RATE, abs=0.005)


@pytest.mark.slow
@tried_on(10)
@given(signal=SIGNALS)
def test_missing_values_never_raise_the_best_auc(signal):
    assert 0.5 - 1e-9 <= best_auc_with_missing(signal) <= best_auc(signal) + 1e-9


def test_lowest_signal_is_pure_noise():
    truth = simulate_with_truth(1000, 0.5)["true_probability"].to_numpy()
    assert truth == pytest.approx(BASE_RATE)


def test_linear_model_learns_nothing(large):
    _, table = large
    frame = table.to_pandas()
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    model.fit(frame.loc[: LARGE // 2, NAMES], frame.loc[: LARGE // 2, "Potability"])
    rest = frame.loc[LARGE // 2 + 1 :]
    auc = roc_auc_score(rest["Potability"], model.predict_proba(rest[NAMES])[:, 1])
    assert auc == pytest.approx(0.5, abs=0.012)


@pytest.mark.slow
def test_forest_learns_from_2000_rows_what_a_linear_model_cannot():
    frame = simulate(2000, signal=0.9).to_pandas()

    def auc(model):
        pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)
        scores = cross_val_score(pipeline, frame[NAMES], frame["Potability"], scoring="roc_auc")
        return scores.mean()

    assert auc(ExtraTreesClassifier(100, random_state=0)) > 0.77
    assert auc(LogisticRegression()) < 0.6


@pytest.mark.parametrize("signal", [0.49, 0.991, -1.0, 75.0, float("nan"), float("inf")])
def test_signal_out_of_range_is_refused_at_the_call(signal):
    message = re.escape(f"The signal is {signal}; it must lie between 0.5 and 0.99.")
    with pytest.raises(UsageError, match=message):
        simulate_batches(10, signal=signal)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rows": 0}, "number of rows is 0; it must be at least 1"),
        ({"n_rows": 5, "seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_argument_out_of_range_is_refused_at_the_call(options, message):
    with pytest.raises(UsageError, match=message):
        simulate_batches(**options)
