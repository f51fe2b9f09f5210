"""What a model remembers of its training rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import ModelError
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.reference import (
    REFERENCE_FILES,
    first_of_equals,
    hash_rows,
    load_reference,
)
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.training.data import DataOptions, load_training_data
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.summary import MOST_HASHES, MOST_ROWS, build_reference
from waterflow_cli.training.trainer import train_model


@pytest.fixture(scope="module")
def data(samples):
    return load_training_data(str(samples), load_schema())


@pytest.fixture(scope="module")
def result(data):
    return train_model(data, load_plugin("logreg"), TrainingOptions(cv=parse_cv("3x1")))


@pytest.fixture(scope="module")
def reference(data, result):
    return build_reference(data, result)


def test_equal_rows_have_equal_hashes_and_others_do_not():
    X = pd.DataFrame({"a": [0.0, -0.0, 0.0, 1.0, np.nan], "b": [1.0, 1.0, 2.0, 0.0, 1.0]})
    hashes = hash_rows(X)
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 4
    assert first_of_equals(hashes).tolist() == [0, 2, 3, 4]


def test_a_hash_is_the_same_in_every_version():
    X = pd.DataFrame({"ph": [7.0, np.nan], "Solids": [20_000.5, 0.0]})
    assert hash_rows(X).tolist() == [4630404879789599241, 6009531555643646463]


def test_the_order_of_columns_counts():
    X = pd.DataFrame({"a": [1.0], "b": [2.0]})
    assert hash_rows(X) != hash_rows(X[["b", "a"]])


def test_it_counts_the_rows_and_keeps_what_was_said_of_them_unseen(data, result, reference):
    assert (reference.n_rows, reference.classes) == (len(data.y), data.class_counts)
    assert reference.missing["ph"] == data.X["ph"].isna().sum()
    assert sum(reference.verdicts) == len(data.y)
    fold = result.measured.folds[0][0]
    assert (reference.probability[fold.rows] == fold.probability).all()
    assert (reference.label == data.y).all()


def test_the_backtest_is_stored_and_a_former_version_has_none(reference, tmp_path):
    assert reference.backtest.n_folds == 3
    reference.save(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in REFERENCE_FILES}
    assert load_reference(files, label="m").backtest == reference.backtest
    content = json.loads(files["reference.json"])
    del content["backtest"]
    former = files | {"reference.json": json.dumps(content).encode()}
    assert load_reference(former, label="m").backtest is None
    damaged = files | {"reference.json": json.dumps(content | {"backtest": {"off": 1}}).encode()}
    with pytest.raises(ModelError, match="no readable reference"):
        load_reference(damaged, label="m")


def test_it_knows_the_rows_that_were_trained_on(data, reference):
    hashes = hash_rows(data.X)
    assert reference.seen(hashes).all()
    assert not reference.unseen(hashes).any()
    assert reference.unseen(hash_rows(data.X + 1.0)).all()


def test_beyond_the_cut_no_row_is_said_to_be_new(data, reference):
    cut = int(np.median(reference.hashes))
    part = replace(reference, hashes=reference.hashes[reference.hashes < cut], hash_cut=cut)
    hashes = hash_rows(data.X)
    assert not part.unseen(hashes).any()
    assert 0 < part.seen(hashes).sum() < len(hashes)
    new = hash_rows(data.X + 1.0)
    assert (part.unseen(new) == (new < cut)).all()


def test_rows_set_apart_for_a_guarantee_were_not_trained_on(data, result):
    rows = result.rows[:300]
    of_these = {place: place for place in range(300)}
    fold = result.measured.folds[0][0]
    kept = np.array([row for row in fold.rows if row in of_these])
    short = fold._replace(rows=kept, probability=fold.probability[fold.rows < 300])
    measured = replace(result.measured, folds=[[short]])
    part = build_reference(data, replace(result, rows=rows, measured=measured))
    assert part.n_rows == 300
    assert part.unseen(hash_rows(data.X.iloc[300:])).all()
    assert np.isnan(part.probability).sum() == 300 - len(kept)


def test_copies_count_once_where_they_are_rare(data, result):
    def with_repeats(n_rows):
        X = data.X.copy()
        X.iloc[:n_rows] = X.iloc[n_rows].to_numpy()
        return build_reference(replace(data, X=X), result)

    few, many = with_repeats(5), with_repeats(100)
    assert few.copies_count_once
    assert len(few.X) == len(data.y) - 5
    assert not many.copies_count_once
    assert len(many.X) == len(data.y)


def test_rows_that_break_the_schema_are_counted_without_those_that_have_no_label(samples, tmp_path):
    table = pd.read_csv(samples)
    table["Potability"] = table["Potability"].astype(object).where(table.index % 10 > 0)
    table.loc[1:5, "ph"] = 99
    table.to_csv(tmp_path / "partly.csv", index=False)
    data = load_training_data(
        str(tmp_path / "partly.csv"), load_schema(), DataOptions(drop_invalid=True)
    )
    assert (data.n_invalid, data.n_dropped) == (5, 5 + (len(table) + 9) // 10)


def test_nondetects_that_count_as_missing_are_not_missing_values(samples, tmp_path):
    table = pd.read_csv(samples)
    n_missing = int(table["Sulfate"].isna().sum())
    table["Sulfate"] = table["Sulfate"].astype(object).mask(table["Sulfate"] > 350, ">350")
    table.to_csv(tmp_path / "censored.csv", index=False)
    reading = ReadingOptions(nondetect="missing")
    data = load_training_data(str(tmp_path / "censored.csv"), load_schema(), DataOptions(reading))
    result = train_model(data, load_plugin("logreg"), TrainingOptions(cv=parse_cv("3x1")))
    reference = build_reference(data, result)
    assert reference.above["Sulfate"] > 50
    assert reference.missing["Sulfate"] == n_missing


def test_what_repeats_are_usual_depends_on_the_number_of_rows(reference):
    assert reference.usual_repeats(100) == (pytest.approx(0.366, abs=1e-3), 0.01)
    many = 10 * reference.n_rows
    assert reference.usual_repeats(many)[0] == pytest.approx(0.9, abs=1e-3)


def test_what_is_kept_is_bounded(data, result):
    n = MOST_HASHES + 1000
    rows = np.arange(n)
    X = pd.DataFrame(dict.fromkeys(data.X, rows + 0.5))
    large = replace(data, X=X, y=np.tile([0, 1], n // 2))
    reference = build_reference(large, replace(result, rows=rows))
    assert (len(reference.X), len(reference.hashes)) == (MOST_ROWS, MOST_HASHES)
    assert reference.hash_cut > reference.hashes.max()
    assert reference.n_rows == n


def read_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_comes_back_as_it_was_saved(reference, tmp_path):
    reference.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(REFERENCE_FILES)
    back = load_reference(read_all(tmp_path), label="m/1")
    pd.testing.assert_frame_equal(back.X, reference.X)
    for name in ("label", "probability", "hashes"):
        np.testing.assert_array_equal(getattr(back, name), getattr(reference, name))
    assert (back.verdicts, back.classes) == (reference.verdicts, reference.classes)
    assert len(back.verdicts) == len(VERDICTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (REFERENCE_FILES[0], b"[" * 100_000),
        (REFERENCE_FILES[0], b"[]"),
        (REFERENCE_FILES[1], b"PAR1"),
        (REFERENCE_FILES[2], b"\x93NUMPY\x01\x00\x10\x00{'descr': ', 'a': "),
    ],
)
def test_a_damaged_one_is_refused(reference, tmp_path, name, content):
    reference.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="no readable reference") as refused:
        load_reference(read_all(tmp_path), label="m/1")
    assert "Train again" in refused.value.hint
