from __future__ import annotations

import gzip
import hashlib
import sys
from datetime import date
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import DataRefusedError, InputError, UsageError
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.training.data import (
    MIN_ROWS_PER_CLASS,
    SAMPLE_ROWS,
    DataOptions,
    find_training_data,
    load_training_data,
)

SCHEMA = """
schema_type: dataframe
name: river
metadata: {label: Potability}
columns:
  ph: {dtype: float64, nullable: true, in_range: {min_value: 0, max_value: 14}}
  Turbidity: {dtype: float64, nullable: true, required: false}
  Potability: {dtype: float64, nullable: true, required: false}
"""
RIVER = parse_schema(SCHEMA, "river.yaml")


def write_rows(labels, *, name="river.csv", header="ph,Turbidity,Potability", values="7.1,3.5"):
    """Write a row for each label; its pH and turbidity tell its position."""
    rows = [f"{values},{label}" for label in labels]
    Path(name).write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return name


ENOUGH = [0, 1] * MIN_ROWS_PER_CLASS


@pytest.fixture(autouse=True)
def _in_empty_folder(workdir):
    pass


def test_measurements_and_labels_are_read_in_the_files_order():
    labels = [0] * 20 + [1] * 25
    rows = [f"{index / 10},{index},{label}" for index, label in enumerate(labels)]
    Path("river.csv").write_text("\n".join(["ph,Turbidity,Potability", *rows]), "utf-8")
    data = load_training_data("river.csv", RIVER)
    assert list(data.X.columns) == ["ph", "Turbidity"]
    assert data.X["Turbidity"].tolist() == list(range(45))
    assert data.X.dtypes.eq("float64").all()
    assert data.y.tolist() == labels
    assert data.y.dtype == np.int64
    assert data.class_counts == (20, 25)
    assert (data.path, data.n_dropped) == ("river.csv", 0)


def test_missing_measurements_are_nan_and_no_fault():
    write_rows(ENOUGH, values="7.1,")
    data = load_training_data("river.csv", RIVER)
    assert data.X["Turbidity"].isna().all()
    assert not data.X["ph"].isna().any()


def test_a_measurement_that_the_file_may_lack_is_missing_throughout():
    write_rows(ENOUGH, header="ph,Potability", values="7.1")
    data = load_training_data("river.csv", RIVER)
    assert list(data.X.columns) == ["ph", "Turbidity"]
    assert data.X["Turbidity"].isna().all()


@pytest.mark.parametrize("name", ["river.csv", "river.csv.gz", "river.parquet"])
def test_sha256_is_that_of_the_files_bytes(name):
    write_rows(ENOUGH)
    if name.endswith(".gz"):
        Path(name).write_bytes(gzip.compress(Path("river.csv").read_bytes()))
    if name.endswith(".parquet"):
        pd.read_csv("river.csv").to_parquet(name)
    expected = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    assert load_training_data(name, RIVER).sha256 == expected


def read_stdin(text, monkeypatch):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BufferedReader(BytesIO(text))))
    return load_training_data("-", RIVER)


def test_sha256_of_standard_input_is_that_of_its_values(monkeypatch):
    text = Path(write_rows(ENOUGH)).read_bytes()
    first = read_stdin(text, monkeypatch)
    assert first.path == "-"
    assert len(first.sha256) == 64
    assert read_stdin(text.replace(b"7.1,", b"7.10,"), monkeypatch).sha256 == first.sha256
    assert read_stdin(text.replace(b"7.1,", b"7.2,", 1), monkeypatch).sha256 != first.sha256


def test_a_renamed_label_is_found():
    write_rows(ENOUGH, header="ph,Turbidity,safe to drink")
    data = load_training_data(
        "river.csv", RIVER, DataOptions(ReadingOptions(renames={"safe to drink": "Potability"}))
    )
    assert data.class_counts == (20, 20)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([1] * 40, "only the class 1; both 0 and 1 are needed."),
        ([0] * 40, "only the class 0; both 0 and 1 are needed."),
        ([0, 1, 2] * 20, "3 classes (0, 1, 2); it must hold 0 and 1 alone."),
        ([1, 2] * 20, "2 classes (1, 2); it must hold 0 and 1 alone."),
        ([0, 0.5, 1] * 20, "3 classes (0, 0.5, 1); it must hold 0 and 1 alone."),
        (range(50), "50 classes (0, 1, 2, 3, 4); it must hold 0 and 1 alone."),
    ],
)
def test_labels_that_are_not_0_and_1_are_refused(labels, problem):
    write_rows(labels)
    with pytest.raises(DataRefusedError) as refused:
        load_training_data("river.csv", RIVER)
    assert refused.value.message == f"river.csv, column Potability: {problem}"
    assert refused.value.exit_code == 1


def test_too_few_rows_of_a_class_are_refused_with_the_count_and_the_limit():
    write_rows([0] * 100 + [1] * 19)
    with pytest.raises(
        DataRefusedError, match=r"river\.csv: class 1 has 19 rows; at least 20 of each class"
    ):
        load_training_data("river.csv", RIVER)
    write_rows([0] * 100 + [1] * 20)
    assert load_training_data("river.csv", RIVER).class_counts == (100, 20)


def test_rows_without_a_label_are_refused_at_the_first():
    write_rows([0, 1, "", 1, "NA", *ENOUGH])
    with pytest.raises(DataRefusedError) as refused:
        load_training_data("river.csv", RIVER)
    assert refused.value.message == (
        "river.csv, line 4, column Potability: the label is missing. "
        "Stopped: 2 rows, this one first, cannot be learned from or measured with."
    )
    assert refused.value.hint == (
        "See all: waterflow validate river.csv. To do without them: --on-invalid drop"
    )


def test_a_single_bad_row_is_refused_as_one():
    write_rows([*ENOUGH, "maybe"])
    with pytest.raises(
        DataRefusedError, match=r"line 42, .*'maybe' is neither 1 nor 0.*: this row"
    ):
        load_training_data("river.csv", RIVER)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("15,3.5,1", "line 2, column ph: 15 is above 14"),
        ("7.1,cloudy,1", "line 2, column Turbidity: 'cloudy' is not a number"),
        ("7.1,3.5", "line 2: "),
        ("15,3.5,", "line 2, column ph: 15 is above 14"),
    ],
)
def test_rows_that_break_the_schema_are_refused_at_the_first(bad, problem):
    lines = Path(write_rows(["", *ENOUGH])).read_text("utf-8").splitlines()
    Path("river.csv").write_text("\n".join([lines[0], bad, *lines[1:]]), "utf-8")
    with pytest.raises(DataRefusedError, match=rf"river\.csv, {problem}.*2 rows, this one first"):
        load_training_data("river.csv", RIVER)


def test_a_missing_label_is_named_when_it_comes_before_a_bad_value():
    lines = Path(write_rows(["", *ENOUGH])).read_text("utf-8").splitlines()
    Path("river.csv").write_text("\n".join([*lines, "15,3.5,1"]), "utf-8")
    with pytest.raises(DataRefusedError, match="line 2, column Potability: the label is missing"):
        load_training_data("river.csv", RIVER)


def test_bad_rows_are_dropped_when_asked_and_counted():
    lines = Path(write_rows(ENOUGH)).read_text("utf-8").splitlines()
    bad = ["15,1,1", "7,1,", "7,1", "7,x,0"]
    Path("dirty.csv").write_text("\n".join([lines[0], *bad, *lines[1:]]), "utf-8")
    data = load_training_data("dirty.csv", RIVER, DataOptions(drop_invalid=True))
    assert (len(data.X), len(data.y), data.n_dropped) == (40, 40, 4)
    assert data.X.index.tolist() == list(range(40))
    assert data.X["ph"].eq(7.1).all()


def test_dropping_every_row_leaves_nothing_to_learn_from():
    write_rows([""] * 50)
    with pytest.raises(
        DataRefusedError, match="column Potability: no row; both 0 and 1 are needed"
    ):
        load_training_data("river.csv", RIVER, DataOptions(drop_invalid=True))


def test_a_file_without_the_label_column_is_refused_with_the_way_to_name_it():
    write_rows([7] * 40, header="ph,Turbidity,Verdict")
    with pytest.raises(InputError) as refused:
        load_training_data("river.csv", RIVER)
    assert refused.value.exit_code == 3
    assert refused.value.message == (
        "river.csv, line 1: column Potability (the label) not found in the header."
    )
    assert refused.value.hint.endswith("--rename 'NAME IN FILE=Potability'")


def test_a_file_without_a_measurement_is_refused():
    write_rows(ENOUGH, header="pressure,Turbidity,Potability")
    with pytest.raises(InputError, match=r"river\.csv, line 1: column ph not found"):
        load_training_data("river.csv", RIVER)


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match="nowhere") as refused:
        load_training_data("nowhere.csv", RIVER)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{label: Potability}", "{}", "The schema river names no label."),
        (
            "Potability: {dtype: float64,",
            "Potability: {dtype: str,",
            "The schema river: its label Potability is no number.",
        ),
        (
            "{label: Potability}",
            "{label: Potability, measurements: []}",
            "The schema river has no measurement to learn from.",
        ),
    ],
)
def test_a_schema_that_names_nothing_to_learn_is_refused(old, new, problem):
    assert old in SCHEMA
    write_rows(ENOUGH)
    with pytest.raises(UsageError) as refused:
        load_training_data("river.csv", parse_schema(SCHEMA.replace(old, new), "river.yaml"))
    assert refused.value.message == problem
    assert refused.value.exit_code == 2


def test_the_bundled_schema_refuses_other_classes_row_by_row():
    schema = load_schema()
    header = ",".join([*schema.measurements, "Potability"])
    rows = ["7,200,20000,7,300,400,14,66,4,0"] * 20 + ["7,200,20000,7,300,400,14,66,4,2"] * 20
    Path("classes.csv").write_text("\n".join([header, *rows]), "utf-8")
    with pytest.raises(
        DataRefusedError, match=r"line 22, column Potability: '2' is not one of 0, 1"
    ):
        load_training_data("classes.csv", schema)


def test_the_file_that_is_named_is_trained_on():
    said = []
    with find_training_data("mine.csv", said.append, said.append) as found:
        assert found == ("mine.csv", False)
    assert said == []


def test_the_public_table_in_the_working_folder_comes_next():
    Path("water_potability.csv").write_text("", "utf-8")
    said, warned = [], []
    with find_training_data(None, said.append, warned.append) as found:
        assert found == ("water_potability.csv", False)
    assert said == ["Training on water_potability.csv in the working folder."]
    assert warned == []


def test_else_a_simulated_sample_is_made_and_removed_again():
    said, warned = [], []
    with find_training_data(None, said.append, warned.append) as (path, is_simulated):
        assert is_simulated
        data = load_training_data(path, load_schema())
        assert len(data.y) == SAMPLE_ROWS
    assert not Path(path).exists()
    assert list(Path().iterdir()) == []
    (message,) = warned
    assert said == []
    assert message.startswith(
        "No DATA named and no water_potability.csv here: training on 3000 sim"
    )


@pytest.mark.parametrize(
    ("labels", "header", "code"),
    [
        ([1] * 40, "ph,Potability", 3),  # the other measurements are not there
        ([1] * 40, None, 1),
        (["", *ENOUGH], None, 1),
    ],
)
def test_nothing_is_written_before_the_data_was_found_good(labels, header, code, cli):
    measurements = load_schema().measurements
    values = "7,200,20000,7,300,400,14,66,4" if header is None else "7"
    write_rows(labels, header=header or ",".join([*measurements, "Potability"]), values=values)
    outcome = cli("train", "river.csv", "--plugin", "logreg")
    assert outcome.code == code
    assert outcome.err.startswith("Error: river.csv")
    assert [path.name for path in Path().iterdir()] == ["river.csv"]


@pytest.mark.real_data
def test_the_real_table_is_read_whole(real_table):
    data = load_training_data(str(real_table), load_schema())
    assert data.sha256 == hashlib.sha256(real_table.read_bytes()).hexdigest()
    assert data.class_counts == (1998, 1278)
    missing = data.X.isna().sum()
    assert missing[missing > 0].to_dict() == {"ph": 491, "Sulfate": 781, "Trihalomethanes": 162}
    assert data.n_dropped == 0


def test_rows_that_repeat_the_measurements_of_another_are_counted(tmp_path):
    write_simulation(str(tmp_path / "once.csv"), 200)
    header, *rows = (tmp_path / "once.csv").read_text("utf-8").splitlines()
    (tmp_path / "more.csv").write_text("\n".join([header, *rows, *rows[:7]]) + "\n", "utf-8")
    schema = load_schema()
    assert load_training_data(str(tmp_path / "once.csv"), schema).n_repeated == 0
    assert load_training_data(str(tmp_path / "more.csv"), schema).n_repeated == 7


# --- columns that say how rows may be split ------------------------------------------------------


def write_columns(name, values):
    """Write a good file with one more column."""
    lines = Path(write_rows(ENOUGH)).read_text("utf-8").splitlines()
    rows = [f"{line},{value}" for line, value in zip(lines, [name, *values], strict=True)]
    Path("river.csv").write_text("\n".join(rows) + "\n", "utf-8")


SITES = [f"site {row // 4}" for row in range(40)]
DAYS = [f"2024-05-{1 + row % 20:02}" for row in range(40)]


def test_without_such_columns_rows_are_free():
    data = load_training_data(write_rows(ENOUGH), RIVER)
    assert (data.groups, data.when) == (None, None)


@pytest.mark.parametrize("asked", ["Site", "site"])
def test_groups_are_read_in_the_files_order_and_are_no_measurement(asked):
    write_columns("Site", SITES)
    data = load_training_data("river.csv", RIVER, DataOptions(group=asked))
    assert data.groups.tolist() == SITES
    assert list(data.X.columns) == ["ph", "Turbidity"]


def test_times_may_be_dates_or_numbers():
    write_columns("taken", DAYS)
    when = load_training_data("river.csv", RIVER, DataOptions(time="taken")).when
    assert np.argsort(when, kind="stable").tolist() == np.argsort(DAYS, kind="stable").tolist()
    assert len(np.unique(when)) == 20
    write_columns("taken", range(40, 0, -1))
    assert load_training_data("river.csv", RIVER, DataOptions(time="taken")).when.tolist() == [
        *range(40, 0, -1)
    ]


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y %H:%M", "%Y.%m.%d", "%Y%m%dT%H%M"])
def test_dates_are_the_same_however_they_are_written(form):
    days = [date(2024, 5, 1 + row % 20) for row in range(40)]
    write_columns("taken", [day.strftime(form) for day in days])
    when = load_training_data("river.csv", RIVER, DataOptions(time="taken")).when
    write_columns("taken", days)
    assert (
        when.tolist()
        == load_training_data("river.csv", RIVER, DataOptions(time="taken")).when.tolist()
    )


def test_a_date_that_reads_in_two_ways_is_refused_with_its_line():
    write_columns("taken", ["2024-05-01", *["03/04/2024"] * 39])
    problem = r"river\.csv, line 3, column taken: a date that reads in two ways \(39 such rows\)"
    with pytest.raises(DataRefusedError, match=problem):
        load_training_data("river.csv", RIVER, DataOptions(time="taken"))


def test_dates_with_zones_are_put_in_order():
    days = [f"2024-05-{1 + row % 20:02}T00:00:00Z" for row in range(40)]
    days[0] = "2024-05-01T00:00:00+02:00"  # two hours before midnight in Greenwich
    write_columns("taken", days)
    assert load_training_data("river.csv", RIVER, DataOptions(time="taken")).when.argmin() == 0


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("group", "", r"the group is missing \(1 such row\)"),
        ("group", "  ", "the group is missing"),
        ("time", "", "the time is missing"),
        ("time", "soon", "no date such as 2024-05-31, and no number"),
    ],
)
def test_a_cell_that_cannot_be_split_by_is_refused_with_its_line(option, value, problem):
    write_columns("by", [*DAYS[:3], value, *DAYS[4:]])
    with pytest.raises(DataRefusedError, match=rf"river\.csv, line 5, column by: {problem}"):
        load_training_data("river.csv", RIVER, DataOptions(**{option: "by"}))


@pytest.mark.parametrize("option", ["group", "time"])
def test_a_column_that_is_not_there_is_refused_with_the_nearest(option):
    write_columns("station", SITES)
    problem = rf"river\.csv, line 1: no column 'statoin' \(--{option}\).*Did you mean 'station'"
    with pytest.raises(InputError, match=problem):
        load_training_data("river.csv", RIVER, DataOptions(**{option: "statoin"}))


def test_groups_stay_with_their_rows_where_bad_rows_are_dropped():
    write_columns("Site", SITES)
    lines = Path("river.csv").read_text("utf-8").splitlines()
    lines.insert(2, "15,3.5,1,bad")
    lines.insert(6, "7.1,3.5,,unlabelled")
    Path("river.csv").write_text("\n".join(lines) + "\n", "utf-8")
    data = load_training_data("river.csv", RIVER, DataOptions(group="Site", drop_invalid=True))
    assert data.groups.tolist() == SITES


def test_some_rows_are_taken_with_all_that_belongs_to_them():
    write_columns("by", DAYS)
    data = load_training_data("river.csv", RIVER, DataOptions(group="by", time="by"))
    rows = np.array([7, 2, 30])
    part = data.take(rows)
    assert part.X.index.tolist() == [0, 1, 2]
    assert part.X.to_numpy().tolist() == data.X.to_numpy()[rows].tolist()
    assert part.y.tolist() == data.y[rows].tolist()
    assert part.groups.tolist() == [DAYS[row] for row in rows]
    assert part.when.tolist() == data.when[rows].tolist()
    assert len(data.y) == 40
