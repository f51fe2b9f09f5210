"""What is said of how results became samples: each row is used, or counted by why it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.profiles import parse_profile
from waterflow_cli.samples.results.report import NOT_USED
from waterflow_cli.samples.results.tables import ResultTable
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.sheets.opening import open_file

SCHEMA = load_schema()
TEXT = """
[results]
sample = ["id"]
parameter = "what"
value = "result"
qualifier = "said"
[units]
ph = "pH"
[qualifiers]
below = ["U"]
reject = ["R"]
[leave_out]
kind = ["blank"]
[differences]
Chloramines = ["1399", "1398"]
"""
PROFILE = parse_profile(TEXT, "own", "own.toml")
ROWS = st.tuples(
    st.sampled_from("ABC"),
    st.sampled_from(["pH", "pH", "Sulfate", "1399", "1398", "Chloramines", "lead"]),
    st.sampled_from(["7", "7.0", "8", "9", "<8", "", "NA", "n.d.", "-999", "much"]),
    st.sampled_from(["", "", "", "U", "R", "?"]),
    st.sampled_from(["", "", "", "blank"]),
)
WAYS = ["finding", "first", "last", "mean", "max", "prefer=said:U"]


@tried_on(300)
@given(rows=st.lists(ROWS, min_size=1, max_size=12), way=st.sampled_from(WAYS))
def test_each_row_is_used_or_counted_by_why_it_is_not(
    rows: list[tuple[str, ...]], way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "account.csv"
    lines = [",".join(row) for row in rows]
    Path(path).write_text("\n".join(["id,what,result,said,kind", *lines, ""]), "utf-8")
    reading = ReadingOptions(duplicates=way, na=["-999"], units={"Sulfate": "mg/L"})
    with open_file(str(path), PROFILE.header, reading) as table:
        results = ResultTable(table, PROFILE, SCHEMA, reading)
        if {row[1] for row in rows if row[4] != "blank"} <= {"lead"}:
            with pytest.raises(InputError, match=r"of (no|a) known parameter"):
                results.read()
            return
        read = results.read()
        said = read.remarks()
        cells = next(read.batches()).columns
    counts = results.counts
    assert counts["results"] == len(rows)
    assert min(counts.values()) >= 0
    not_used = sum(counts[name] for name in NOT_USED)
    assert counts["used"] + counts["left out"] + not_used == len(rows)
    if not any(row[1] == "1398" for row in rows):  # of a difference two are used for one cell
        filled = [text for name in SCHEMA.measurements for text in cells[name].to_pylist() if text]
        assert counts["used"] == len(filled)
    told = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z]+)", ", ".join(said))}
    assert told.get("used", len(rows)) == counts["used"]
