"""What the cells of a table are, and the warnings that follow from it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import Nondetect, ReadingOptions
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = load_schema()
ROW = dict.fromkeys(SCHEMA.measurements, "7") | {"Solids": "500", "Conductivity": "800"}


def write(path: Path, rows: list[dict[str, str]]) -> str:
    lines = [",".join(ROW), *(",".join((ROW | row).values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


def count(path: str, batch_rows: int | None = None, way: Nondetect = "half") -> CellCounts:
    counts, reading = CellCounts(), ReadingOptions(nondetect=way)
    with open_samples(path, SCHEMA, reading, batch_rows=batch_rows) as table:
        checker = RowChecker(SCHEMA, table, reading)
        for batch in table.batches():
            counts.add(CellCounts.of(checker.check(batch), SCHEMA))
    return counts


def held(counts: dict[str, int]) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = [
        *({"ph": text} for text in ("", "NA", "<4", "ND", "nd<3", "x", "15")),
        *({"Turbidity": text} for text in (">200", "<LQ", "traces", "< 0.5")),
        {"Sulfate": "0"},
    ]
    return write(tmp_path / "river.csv", rows)


def test_each_cell_is_counted_as_what_it_is(table):
    counts = count(table)
    assert held(counts.missing) == {"ph": 3}
    assert held(counts.nondetects) == {"ph": 2, "Turbidity": 1}
    assert held(counts.above_range) == {"Turbidity": 1}
    assert held(counts.without_limit) == {"ph": 1}
    assert held(counts.positive) == {
        "Solids": 12,
        "Sulfate": 11,
        "Conductivity": 12,
        "Organic_carbon": 12,
        "Trihalomethanes": 12,
    }
    assert held(counts.small) == held(counts.large) == {}


@pytest.mark.parametrize("batch_rows", [1, 2, 5])
def test_counts_of_batches_add_up(table, batch_rows):
    assert count(table, batch_rows) == count(table)


def test_counts_come_back_from_json(table):
    counts = count(table)
    again = CellCounts.from_content(json.loads(json.dumps(counts.content())))
    assert again == counts
    again.add(counts)
    assert again.missing["ph"] == 2 * counts.missing["ph"]
    assert list(again.alarms(SCHEMA)) == list(counts.alarms(SCHEMA))


def test_rows_that_are_none_are_not_counted(tmp_path):
    path = Path(write(tmp_path / "river.csv", [{}, {"ph": ""}]))
    path.write_text(path.read_text("utf-8") + "<1,2,3\n", "utf-8")
    counts = count(str(path))
    assert held(counts.missing) == {"ph": 1}
    assert held(counts.nondetects) == {}
    assert counts.positive["Solids"] == 2


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("half", "half of their bound"),
        ("zero", "zero"),
        ("missing", "missing"),
        ("loq", "their bo"),
    ],
)
def test_notes_say_what_bounds_count_as(table, way, words):
    notes = list(count(table, way=way).notes(way))
    nondetects = {"missing": 3, "zero": 3}.get(way, 1)
    assert notes[0].startswith(f"Non-detects: ph 2, Turbidity {nondetects}")
    assert f"count as {words}" in notes[0]
    assert notes[0].endswith(f"(--nondetect {way}).")
    assert ("missing" if way == "missing" else "their bound") in notes[1]
    assert notes[2].endswith("read as missing: ph 1. If it is known: --loq COLUMN=VALUE")


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("Conductivity", ["0.8", "1.2", "0.5"], "lie below 10 µS/cm.*--unit Conductivity=mS/cm"),
        ("Trihalomethanes", ["0.06", "0.07", "0.08"], "below 0.5 µg/L.*Trihalomethanes=mg/L"),
        ("Sulfate", ["8000", "9000", "7500"], "lie above 5000 mg/L SO4.*--unit Sulfate=µg/L"),
        ("Organic_carbon", ["150", "180", "120"], "above 100 mg/L C.*Organic_carbon=µg/L"),
    ],
)
def test_column_that_is_a_thousand_times_off_raises_an_alarm(tmp_path, column, values, words):
    path = write(tmp_path / "river.csv", [{column: value} for value in values])
    (alarm,) = count(path).alarms(SCHEMA)
    assert alarm.startswith(f"{column}: 100% of its values")
    assert re.search(words, alarm)


def test_alarm_on_a_unit_that_was_converted_guesses_no_other_one(tmp_path):
    path = tmp_path / "river.csv"
    write(path, [{"Solids": value} for value in ("300", "400")])
    path.write_text(path.read_text("utf-8").replace("Solids", "Solids (g/L)"), "utf-8")
    (alarm,) = count(str(path)).alarms(SCHEMA)
    assert "lie above 100000 mg/L" in alarm
    assert "--unit" not in alarm


@pytest.mark.parametrize(
    "values",
    [
        ["0.8", "1.2", "700", "800"],
        ["0", "0", "0", "0"],
        ["<1", "<1", "<1", "<1", "<1", "500"],
        ["", "", "", ""],
    ],
)
def test_few_odd_values_or_bounds_raise_none(tmp_path, values):
    path = write(tmp_path / "river.csv", [{"Conductivity": value} for value in values])
    assert not list(count(path).alarms(SCHEMA))


@pytest.mark.real_data
def test_real_table_raises_no_alarm(real_table):
    counts = count(str(real_table))
    assert not list(counts.alarms(SCHEMA))
    assert not list(counts.notes("half"))
    assert held(counts.missing) == {"ph": 491, "Sulfate": 781, "Trihalomethanes": 162}


@pytest.mark.parametrize(
    ("n_below", "words"),
    [(5, None), (6, "6% .* learns what was put in"), (15, "15% "), (16, "Above 15% substitution")],
)
def test_model_that_would_learn_substitutes_is_warned_of(tmp_path, n_below, words):
    rows = [{"Turbidity": "<0.5"} for _ in range(n_below)] + [{}] * (100 - n_below)
    rows += [{"Turbidity": ""}] * 50
    warnings = list(count(write(tmp_path / "river.csv", rows)).substituted(len(rows)))
    assert len(warnings) == (words is not None)
    for text in warnings:
        assert re.search(f"^Turbidity: .*{words}", text)


def test_column_of_nothing_but_missing_values_warns_of_nothing(tmp_path):
    rows = [{"Turbidity": "ND"}] * 4
    assert not list(count(write(tmp_path / "river.csv", rows)).substituted(4))
