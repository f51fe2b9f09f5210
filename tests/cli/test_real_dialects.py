"""The public table, written again as laboratories and agencies would: the same probabilities."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dialects import (
    FRENCH,
    NO_BREAK,
    Rows,
    french_rows,
    hubeau,
    json_answer,
    json_lines,
    text,
    titled,
    units_in_a_row,
    units_in_header,
    wqp,
)
from marks import slow

pytestmark = pytest.mark.real_data

WRITTEN: dict[str, tuple[Callable[[Rows], bytes], str]] = {
    "excel": (
        lambda rows: text(french_rows(rows, NO_BREAK, FRENCH)).encode("cp1252"),
        "as cp1252, separator ';', decimal ',', thousands U+00A0",
    ),
    "utf-8": (lambda rows: text(french_rows(rows)).encode(), "thousands U+202F"),
    "bom": (lambda rows: text(french_rows(rows)).encode("utf-8-sig"), "as utf-8 with BOM"),
    "sep-line": (lambda rows: b"sep=;\r\n" + text(french_rows(rows)).encode(), "separator ';'"),
    "utf-16": (lambda rows: text(french_rows(rows), "\t").encode("utf-16"), "separator tab"),
    "utf-16-be": (
        lambda rows: codecs.BOM_UTF16_BE + text(rows, ",", "\n").encode("utf-16-be"),
        "as utf-16-be, separator ','",
    ),
    "utf-16-no-mark": (lambda rows: text(rows, ",").encode("utf-16-le"), "as utf-16-le"),
    "titled": (titled, "header in line 3"),
    "units-in-header": (units_in_header, "(mS/cm to µS/cm)"),
    "units-in-a-row": (units_in_a_row, "units in line 2"),
    "json-lines": (json_lines, "as JSON lines, utf-8."),
    "json": (json_answer, "as JSON, utf-8, not read: count."),
    "hubeau": (hubeau, "3276 samples of"),
    "wqp": (wqp, "3276 samples of"),
}


@pytest.fixture(scope="module")
def rows(real_table: Path) -> Rows:
    with real_table.open(newline="") as file:
        return [row[:9] for row in csv.reader(file)]


@pytest.mark.parametrize(
    "name", ["excel", "wqp", *slow(*sorted(WRITTEN.keys() - {"excel", "wqp"}))]
)
def test_probabilities_are_those_of_the_plain_file(name, rows, cli, store_uri):
    write, told = WRITTEN[name]
    Path("plain.csv").write_bytes(text(rows, ",", "\n").encode())
    Path("lab.csv").write_bytes(write(rows))
    options = ("--tracking-uri", store_uri, "--columns", "ids")
    profile = ("--profile", name) if name in ("hubeau", "wqp") else ()
    assert cli("score", "plain.csv", "-o", "plain_out.csv", *options).code == 0
    outcome = cli("score", "lab.csv", "-o", "lab_out.csv", *options, *profile)
    assert outcome.code == 0, outcome.err
    (reading,) = [line for line in outcome.err.splitlines() if line.startswith("Read lab.csv")]
    assert told in reading
    found, expected = (pd.read_csv(f"{each}_out.csv")["probability"] for each in ("lab", "plain"))
    assert len(found) == len(expected) == 3276
    assert np.abs(found - expected).max() <= 1e-12
