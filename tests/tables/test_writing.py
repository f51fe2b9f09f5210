"""Outputs hold what they were given, in every format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import UsageError
from waterflow_cli.tables.outputs import open_output
from waterflow_cli.tables.writing import (
    DelimitedWriter,
    JsonLinesWriter,
    ParquetTableWriter,
    open_table_writer,
    output_format,
    text_of,
)

# What UTF-8 can write: everything but lone surrogates.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
MISCHIEF = st.one_of(TEXT, st.text('",;\t\r\n \\\x00\x1f\x7f\u2028\ufeffé', max_size=6))
PATHS = ("out.csv", "out.tsv", "out.jsonl", "out.parquet")
COMPRESSED = tuple(f"{path}{suffix}" for path in PATHS[:3] for suffix in (".gz", ".zst"))


@st.composite
def tables(draw):
    """Draw a table of text in some batches: its names, and its rows by batch."""
    n_columns = draw(st.integers(1, 4))
    names = draw(st.lists(MISCHIEF, min_size=n_columns, max_size=n_columns, unique=True))
    row = st.lists(MISCHIEF, min_size=n_columns, max_size=n_columns)
    batches = draw(st.lists(st.lists(row, max_size=4), min_size=1, max_size=3))
    return names, batches


def write_batches(writer, names, batches):
    for rows in batches:
        cells = [[row[position] for row in rows] for position in range(len(names))]
        writer.write({name: pa.array(cells[i], pa.string()) for i, name in enumerate(names)})


def write_table(path, columns, **options):
    with (
        open_output(str(path), force=False, **options) as sink,
        open_table_writer(str(path), sink) as writer,
    ):
        writer.write(columns)


def read_bytes(path):
    """Read a plain or compressed file with other means than waterflow's."""
    if path.endswith(".gz"):
        return gzip.decompress(Path(path).read_bytes())
    if path.endswith(".zst"):
        return pa.input_stream(path, compression="zstd").read()
    return Path(path).read_bytes()


@pytest.mark.parametrize("separator", [",", "\t"])
@given(tables())
def test_any_text_survives_csv(separator, table):
    names, batches = table
    sink = io.BytesIO()
    write_batches(DelimitedWriter(sink, separator), names, batches)
    text = io.StringIO(sink.getvalue().decode("utf-8"), newline="")
    rows = list(csv.reader(text, delimiter=separator, strict=True))
    assert rows == [names, *(row for rows in batches for row in rows)]


@given(tables())
def test_any_text_survives_json_lines(table):
    names, batches = table
    sink = io.BytesIO()
    write_batches(JsonLinesWriter(sink), names, batches)
    lines = sink.getvalue().decode("utf-8").split("\n")
    assert lines.pop() == ""
    expected = [dict(zip(names, row, strict=True)) for rows in batches for row in rows]
    assert [json.loads(line) for line in lines] == expected


@given(tables())
def test_any_text_survives_parquet(table):
    names, batches = table
    sink = io.BytesIO()
    with ParquetTableWriter(sink) as writer:
        write_batches(writer, names, batches)
    read = pq.read_table(io.BytesIO(sink.getvalue()))
    assert read.column_names == names
    assert [list(row.values()) for row in read.to_pylist()] == [r for b in batches for r in b]


def test_csv_quotes_only_where_a_cell_needs_it():
    sink = io.BytesIO()
    writer = DelimitedWriter(sink, ",")
    writer.write({"a": pa.array(["x y", " 007 ", "a;b", "a,b"]), "b,c": pa.array([""] * 4)})
    assert sink.getvalue() == b'a,"b,c"\nx y,\n 007 ,\na;b,\n"a,b",\n'


def test_row_of_one_empty_cell_is_still_a_row():
    sink = io.BytesIO()
    DelimitedWriter(sink, ",").write({"a": pa.array(["1", "", None, "2"])})
    assert sink.getvalue() == b'a\n1\n""\n""\n2\n'


def test_table_without_rows_has_its_header():
    sink = io.BytesIO()
    DelimitedWriter(sink, "\t").write(
        {"a": pa.array([], pa.string()), "b": pa.array([], pa.int8())}
    )
    assert sink.getvalue() == b"a\tb\n"


@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1))
def test_numbers_are_written_in_their_shortest_exact_form(values):
    column = pa.array(values, pa.float64(), from_pandas=False)
    for value, text in zip(values, text_of(column).to_pylist(), strict=True):
        if value is None:
            assert text == ""
        else:
            assert float(text) == value or (math.isnan(value) and text == "nan")
            assert math.isnan(value) or Decimal(text) == Decimal(repr(value))


def test_json_lines_hold_values_of_their_kind():
    sink = io.BytesIO()
    columns = {
        "float": pa.array([1.5, None, math.nan, -math.inf, 0.1], from_pandas=False),
        "half": pa.array([1.5, None, math.nan, 0, 1], pa.float16(), from_pandas=False),
        "int": pa.array([1, None, -(2**62), 0, 2]),
        "bool": pa.array([True, None, False, True, True]),
        "text": pa.array(["NA", None, "", "007", 'a"\\\n\x00\u2028é']),
        "date": pa.array([0, None, 1, 2, 3], pa.date32()),
        "nothing": pa.nulls(5),
    }
    JsonLinesWriter(sink).write(columns)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    rows = [json.loads(line, parse_constant=refuse) for line in sink.getvalue().splitlines()]
    read = {name: [row[name] for row in rows] for name in columns}
    assert read["float"] == [1.5, None, None, None, 0.1]
    assert read["half"] == [1.5, None, None, 0, 1]
    assert read["int"] == [1, None, -(2**62), 0, 2]
    assert read["bool"] == [True, None, False, True, True]
    assert read["text"] == columns["text"].to_pylist()
    assert read["date"] == ["1970-01-01", None, "1970-01-02", "1970-01-03", "1970-01-04"]
    assert read["nothing"] == [None] * 5


@pytest.mark.parametrize("writer", [lambda sink: DelimitedWriter(sink, ","), JsonLinesWriter])
@pytest.mark.parametrize(
    "column",
    [pa.array([[1], None]), pa.array([{"a": 1}, None]), pa.array([b"\xff", None])],
    ids=["list", "struct", "bytes"],
)
def test_values_that_are_no_text_are_refused_by_name(writer, column):
    with pytest.raises(UsageError, match=r"^The column 'odd' holds .*cannot be written as text"):
        writer(io.BytesIO()).write({"a": pa.array(["1", "2"]), "odd": column})


def test_parquet_refuses_a_column_that_changes_its_type():
    with ParquetTableWriter(io.BytesIO()) as writer:
        writer.write({"a": pa.array(["x"]), "b": pa.array(["1"])})
        with pytest.raises(UsageError, match=r"^The column 'b' holds int64 here and string before"):
            writer.write({"a": pa.array(["x"]), "b": pa.array([1])})


def test_row_groups_do_not_depend_on_how_the_rows_arrive(monkeypatch):
    monkeypatch.setattr(ParquetTableWriter, "ROW_GROUP", 4)
    written = set()
    for sizes in ((11,), (4, 4, 3), (1,) * 11, (0, 3, 8, 0)):
        sink, start = io.BytesIO(), 0
        with ParquetTableWriter(sink) as writer:
            for size in sizes:
                writer.write({"a": pa.array(range(start, start + size), pa.int64())})
                start += size
        written.add(sink.getvalue())
        file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [4, 4, 3]
    assert len(written) == 1


def test_parquet_that_was_never_written_to_holds_nothing():
    sink = io.BytesIO()
    with ParquetTableWriter(sink):
        pass
    assert sink.getvalue() == b""


@pytest.mark.parametrize("path", [*PATHS, *COMPRESSED])
def test_suffix_chooses_the_format(path, workdir):
    columns = {"a": pa.array(["x", 'y,"\t z']), "n": pa.array([1, None])}
    write_table(path, columns)
    assert [found.name for found in workdir.iterdir()] == [path]
    if path.endswith(".parquet"):
        assert pq.read_table(path).to_pydict() == {
            name: c.to_pylist() for name, c in columns.items()
        }
        return
    text = read_bytes(path).decode()
    if ".jsonl" in path:
        rows = [json.loads(line) for line in text.splitlines()]
        assert rows == [{"a": "x", "n": 1}, {"a": 'y,"\t z', "n": None}]
        return
    separator = "\t" if ".tsv" in path else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    assert rows == [["a", "n"], ["x", "1"], ['y,"\t z', ""]]


@pytest.mark.parametrize("path", ["out.csv.gz", "out.jsonl.gz", "out.csv.zst", "out.parquet"])
def test_equal_rows_give_equal_bytes(path, workdir, monkeypatch):
    contents = []
    for clock in (0.0, 2e9):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        write_table(path, {"a": pa.array(["x"] * 9)})
        contents.append(Path(path).read_bytes())
        Path(path).rename(f"other_{path}")
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("-", (".csv", "")),
        ("a.csv", (".csv", "")),
        ("A.CSV.GZ", (".csv", ".gz")),
        ("v1.2/run.3.tsv.zst", (".tsv", ".zst")),
        ("a.b.jsonl", (".jsonl", "")),
        ("a.csv.parquet", (".parquet", "")),
    ],
)
def test_format_is_told_by_the_last_suffixes(path, expected):
    assert output_format(path) == expected


@pytest.mark.parametrize("path", ["out", "out.gz", "out.xls", "out.csv.bz2", ".csv", "csv"])
def test_other_suffixes_name_no_format(path):
    with pytest.raises(UsageError, match=r"its suffix names no format"):
        output_format(path)


@tried_on(20)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_slices_of_longer_arrays_are_written_alone(sizes):
    cells = [f'c"{number}' if number % 3 else f"c{number}" for number in range(sum(sizes))]
    whole, sink, start = pa.array([*cells, "beyond"], pa.string()), io.BytesIO(), 0
    with ExitStack() as stack:
        writer = stack.enter_context(open_table_writer("-", sink))
        for size in sizes:
            writer.write({"a": whole.slice(start, size), "b": whole.slice(start, size)})
            start += size
    rows = list(csv.reader(io.StringIO(sink.getvalue().decode())))
    assert rows == [["a", "b"], *([cell, cell] for cell in cells)]


@given(
    st.lists(
        st.lists(st.text("ab é.0", max_size=4), min_size=2, max_size=2), min_size=1, max_size=6
    ),
    st.sampled_from([",", "\t"]),
)
def test_rows_that_are_text_already_are_written_as_their_cells_would_be(rows, separator):
    text = pa.array([separator.join(row) + "\n" for row in ["beyond", *rows]])[1:]
    cells = {name: pa.array([row[i] for row in rows]) for i, name in enumerate("xy")}
    added = {"n,1": pa.array([f'{i},"' for i in range(len(rows))])}
    writer = DelimitedWriter(io.BytesIO(), separator)
    assert [bytes(part) for part in writer.encode_after(text, cells, added)] == [
        bytes(part) for part in writer.encode(cells | added)
    ]
