from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.retraining.row_matching import match_rows
from waterflow_cli.training.runs.combined_data import combine

NAN = float("nan")
TWO = parse_schema(
    "schema_type: dataframe\nversion: 0.35.0\nmetadata: {label: Potability}\ncolumns:\n"
    "  ph: {dtype: float64, nullable: true}\n  Sulfate: {dtype: float64, nullable: true}\n"
    "  Potability: {dtype: float64, nullable: true}\n",
    "two",
)


def table(rows, path="new.csv"):
    """Make a table of (id, ph, Sulfate, label)."""
    ids = np.array([row[0] for row in rows], dtype=object)
    return TrainingData(
        path=path,
        X=pd.DataFrame([row[1:3] for row in rows], columns=["ph", "Sulfate"], dtype=float),
        y=np.array([row[3] for row in rows], dtype=np.int64),
        sha256="",
        n_dropped=0,
        ids=None if all(each is None for each in ids) else ids,
        lines=np.arange(len(rows)) + 2,
    )


OLD = [("a", 7.0, NAN, 0), ("b", 6.5, 300.0, 1), ("c", 8.0, 250.0, 0)]


def recorded_after(found, recorded, new):
    """Put together what the next retraining finds recorded."""
    parts = [(recorded, found.kept), (new, np.union1d(found.fresh, found.corrected))]
    return combine(parts, TWO, found.contested)[0]


def without_ids(rows):
    return table([(None, *row[1:]) for row in rows])


def test_a_new_sample_is_fresh_and_a_known_one_repeats():
    found = match_rows(table(OLD), table([("a", 7.0, NAN, 0), ("d", 7.0, 1.0, 1)]))
    assert (found.by_id, found.n_repeated, found.conflicts) == (True, 1, [])
    assert found.fresh.tolist() == [1]
    assert found.kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("on_conflict", "kept", "corrected"),
    [("drop", [0, 2], []), ("new", [0, 2], [0]), ("old", [0, 1, 2], [])],
)
def test_another_value_of_a_known_sample_is_a_conflict(on_conflict, kept, corrected):
    new = table([("b", 6.5, 310.0, 1), ("d", 7.0, 1.0, 1)])
    found = match_rows(table(OLD, "old.csv"), new, on_conflict)
    assert [each.describe() for each in found.conflicts] == [
        "new.csv, line 2 (b): Sulfate is 310 here and 300 in old.csv, line 3"
    ]
    assert (found.kept.tolist(), found.corrected.tolist()) == (kept, corrected)
    assert found.fresh.tolist() == [1]
    assert found.summary()["rows_in_conflict"] == 1


@pytest.mark.parametrize("by_id", [True, False])
def test_a_contested_sample_stays_contested_in_later_retrainings(by_id):
    """Both one that contradicts the recorded row, and one of which two new rows disagree."""
    make = table if by_id else without_ids
    new = make([("b", 6.5, 300.0, 0), ("d", 7.0, 1.0, 1), ("e", 5.0, 2.0, 1), ("e", 5.0, 2.0, 0)])
    first = match_rows(make(OLD), new)
    assert (first.n_removed, first.summary()["rows_contested"]) == (1, 4)
    recorded = recorded_after(first, make(OLD), new)
    assert len(recorded.y) == 3
    again = match_rows(recorded, new)
    assert (again.fresh.size, again.n_repeated, again.n_removed) == (0, 1, 0)
    assert [each.line for each in again.conflicts] == [2, 4, 5]
    assert "the sample is contested" in str(again.conflicts[0])
    assert again.summary()["rows_contested"] == 4  # none twice

    settled = match_rows(recorded, new, "new")
    assert settled.corrected.tolist() == [0]
    known = recorded_after(settled, recorded, new)
    assert match_rows(known, make([("b", 6.5, 300.0, 0)])).n_repeated == 1
    kept = match_rows(recorded, new, "old")
    assert (kept.corrected.size, kept.summary()["rows_contested"]) == (0, 4)


def test_a_row_without_id_is_one_with_the_row_of_its_measurements():
    recorded, new = table([("", 1.0, 2.0, 0), *OLD]), table([("z", 1.0, 2.0, 0), ("", *OLD[0][1:])])
    recorded.ids[0] = new.ids[1] = None
    found = match_rows(recorded, new)
    assert (found.n_repeated, found.fresh.size) == (2, 0)


def test_an_id_that_means_missing_is_none(tmp_path):
    path = tmp_path / "missing.csv"
    rows = [f"{name},7,{n},{n % 2}" for n, name in enumerate(["NA", "n/a", "null", "-", "nd", "X"])]
    header = "sample_id,ph,Sulfate,Potability"
    path.write_text("\n".join([header, *rows]))
    data = load_training_data(str(path), TWO, ids=IdColumn(), min_per_class=1)
    assert data.ids.tolist() == [None] * 5 + ["X"]


def test_conflicts_can_be_refused():
    with pytest.raises(DataRefusedError, match=r"the label is 0 here and 1 in .*, line 3"):
        match_rows(table(OLD), table([("b", 6.5, 300.0, 0)]), "fail")


def test_without_ids_equal_measurements_are_one_sample():
    new = without_ids([*OLD[:1], ("", 6.5, 300.0, 0), ("", 1.0, 2.0, 0)])
    found = match_rows(table(OLD), new)
    assert not found.by_id
    assert (found.n_repeated, found.fresh.tolist()) == (1, [2])
    assert found.conflicts[0].differs == "the label is 0 here and 1"
    assert found.conflicts[0].sample == ""


def test_a_row_without_id_in_a_table_with_ids_is_told_by_its_measurements():
    found = match_rows(table(OLD), table([(None, 1.0, 2.0, 1), (None, 1.0, 2.0, 1), OLD[0]]))
    assert (found.fresh.tolist(), found.n_repeated) == ([0], 2)


def test_new_rows_that_contradict_each_other_are_never_used():
    new = table([("d", 7.0, 1.0, 1), ("d", 7.0, 1.0, 0), ("e", 7.0, NAN, 0), ("e", 7.0, NAN, 0)])
    for on_conflict in ("drop", "new", "old"):
        found = match_rows(table(OLD), new, on_conflict)
        assert found.fresh.tolist() == [2]
        assert found.n_repeated == 1
        assert [each.line for each in found.conflicts] == [2, 3]


def test_minus_zero_and_any_nan_are_what_they_are():
    odd = np.frombuffer(np.uint64(0x7FF8000000000123).tobytes(), dtype=np.float64)[0]
    found = match_rows(without_ids([("", 0.0, NAN, 0)]), without_ids([("", -0.0, odd, 0)]))
    assert found.n_repeated == 1


def test_recorded_data_without_lines_are_named_as_such():
    recorded = table(OLD)
    object.__setattr__(recorded, "lines", None)
    found = match_rows(recorded, table([("b", NAN, 300.0, 1)]))
    assert found.conflicts[0].describe().endswith("ph is nan here and 6.5 in the training data")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["ph", "Sample ID"], "Sample ID"),
        (["N° échantillon", "ph"], "N° échantillon"),
        (["code_prelevement"], "code_prelevement"),
        (["Lab No."], "Lab No."),
        (["id", "no", "sample", "ph"], None),
    ],
)
def test_a_column_of_ids_is_known_by_its_name(header, found):
    assert IdColumn().find(header) == found


def test_a_column_that_the_user_names_is_found_without_regard_to_case():
    assert IdColumn("ID").find(["ph", "Id"]) == "Id"
    assert IdColumn("ID").find(["Sample ID"]) is None
