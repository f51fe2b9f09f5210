"""Outputs are whole or not there, and hold what they were given."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterflow_cli.errors import InputError, UsageError
from waterflow_cli.writing import (
    DelimitedWriter,
    JsonLinesWriter,
    ParquetTableWriter,
    check_outputs,
    open_output,
    open_table_writer,
    output_format,
    path_text,
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


def write_while(path, meanwhile, *, force=False):
    """Write an output, and let something happen before it is published."""
    with open_output(path, force=force) as sink:
        sink.write(b"mine")
        meanwhile()


def read_bytes(path):
    """Read a plain or compressed file with other means than waterflow's."""
    if path.endswith(".gz"):
        return gzip.decompress(Path(path).read_bytes())
    if path.endswith(".zst"):
        return pa.input_stream(path, compression="zstd").read()
    return Path(path).read_bytes()


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("separator", [",", "\t"])
@settings(deadline=None)
@given(tables())
def test_any_text_survives_csv(separator, table):
    names, batches = table
    sink = io.BytesIO()
    write_batches(DelimitedWriter(sink, separator), names, batches)
    text = io.StringIO(sink.getvalue().decode("utf-8"), newline="")
    rows = list(csv.reader(text, delimiter=separator, strict=True))
    assert rows == [names, *(row for rows in batches for row in rows)]


@settings(deadline=None)
@given(tables())
def test_any_text_survives_json_lines(table):
    names, batches = table
    sink = io.BytesIO()
    write_batches(JsonLinesWriter(sink), names, batches)
    lines = sink.getvalue().decode("utf-8").split("\n")
    assert lines.pop() == ""
    expected = [dict(zip(names, row, strict=True)) for rows in batches for row in rows]
    assert [json.loads(line) for line in lines] == expected


@settings(deadline=None)
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


@settings(deadline=None)
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
    assert files_in(workdir) == [path]
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


@pytest.mark.parametrize("path", ["out", "out.gz", "out.xlsx", "out.csv.bz2", ".csv", "csv"])
def test_other_suffixes_name_no_format(path):
    with pytest.raises(UsageError, match=r"its suffix names no format"):
        output_format(path)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "path", ["out.csv", "out.csv.gz", "out.csv.zst", "out.jsonl", "out.parquet"]
)
def test_error_midway_leaves_what_was_there_before(path, force, workdir):
    if force:
        Path(path).write_text("precious\n")

    def fail_midway():
        with open_output(path, force=force) as sink, open_table_writer(path, sink) as writer:
            writer.write({"a": pa.array(["x"] * 100_000)})
            raise InputError("in.csv", "damaged")

    with pytest.raises(InputError, match="damaged"):
        fail_midway()
    assert files_in(workdir) == ([path] if force else [])
    if force:
        assert Path(path).read_text() == "precious\n"


def test_interruption_midway_leaves_nothing(workdir):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_while("out.csv", interrupt)
    assert files_in(workdir) == []


def test_output_appears_only_at_the_end(workdir):
    with open_output("out.csv", force=False) as sink:
        sink.write(b"all of it")
        sink.flush()
        assert not Path("out.csv").exists()
        (part,) = files_in(workdir)
        assert part.startswith(".out.csv.")
        assert part.endswith(".part")
    assert files_in(workdir) == ["out.csv"]
    assert Path("out.csv").read_bytes() == b"all of it"


def test_replaced_output_keeps_its_old_content_until_the_end(workdir):
    Path("out.csv").write_text("old")
    with open_output("out.csv", force=True) as sink:
        sink.write(b"new")
        assert Path("out.csv").read_text() == "old"
    assert Path("out.csv").read_text() == "new"
    assert files_in(workdir) == ["out.csv"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_the_users_mask(mask, workdir):
    before = os.umask(mask)
    try:
        write_table("out.csv", {"a": pa.array(["x"])})
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("out.csv").stat().st_mode) == 0o666 & ~mask


def test_output_that_appears_meanwhile_is_not_replaced(workdir):
    with pytest.raises(UsageError, match=r"^out\.csv: exists already\.$"):
        write_while("out.csv", lambda: Path("out.csv").write_text("theirs"))
    assert Path("out.csv").read_text() == "theirs"
    assert files_in(workdir) == ["out.csv"]


def test_folder_that_appears_meanwhile_is_an_error(workdir):
    with pytest.raises(UsageError, match=r"^out\.csv: cannot be written \("):
        write_while("out.csv", lambda: Path("out.csv").mkdir(), force=True)
    assert files_in(workdir) == ["out.csv"]


def test_output_appears_where_the_file_system_knows_no_hard_links(workdir, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_table("out.csv", {"a": pa.array(["x"])})
    assert Path("out.csv").read_text() == "a\nx\n"
    assert files_in(workdir) == ["out.csv"]


def test_dangling_link_is_not_replaced(workdir):
    Path("out.csv").symlink_to("nowhere.csv")
    with pytest.raises(UsageError, match="exists already"):
        write_table("out.csv", {"a": pa.array(["x"])})
    assert Path("out.csv").is_symlink()
    assert files_in(workdir) == ["out.csv"]


def test_longest_name_of_a_file_can_be_written(workdir):
    name = "é" * 125 + ".csv"
    write_table(name, {"a": pa.array(["x"])})
    assert files_in(workdir) == [name]


def test_folder_that_cannot_be_written_is_refused(workdir, monkeypatch):
    (workdir / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match="the folder closed is not writable"):
        write_table("closed/out.csv", {"a": pa.array(["x"])})


def test_input_is_known_under_all_its_names(workdir):
    Path("in.csv").write_text("a\n1\n")
    Path("hard.csv").hardlink_to("in.csv")
    Path("soft.csv").symlink_to("in.csv")
    for name in ("in.csv", "./in.csv", str(workdir / "in.csv"), "hard.csv", "soft.csv"):
        with pytest.raises(UsageError, match="is an input; the output must be another file"):
            write_table(name, {"a": pa.array(["x"])}, inputs=["-", "no_such.csv", "in.csv"])
    assert Path("in.csv").read_text() == "a\n1\n"


def test_file_that_is_no_input_is_replaced_by_force(workdir):
    Path("in.csv").write_text("a\n1\n")
    Path("out.csv").write_text("old")
    with open_output("out.csv", force=True, inputs=["-", "no_such.csv", "in.csv"]) as sink:
        sink.write(b"new")
    assert Path("out.csv").read_text() == "new"


def test_outputs_that_are_one_file_are_refused(workdir):
    (workdir / "sub").mkdir()
    check_outputs({"-o": "a.csv", "--good": "sub/a.csv", "--bad": None}, force=False)
    for other in ("a.csv", "./a.csv", "sub/../a.csv", str(workdir / "a.csv")):
        with pytest.raises(UsageError, match=r"is both -o and --bad; name two files\.$"):
            check_outputs({"-o": "a.csv", "--bad": other}, force=False)
    check_outputs({"-o": "-", "--bad": None}, force=False)
    with pytest.raises(UsageError, match=r"^-: is both -o and --bad"):
        check_outputs({"-o": "-", "--bad": "-"}, force=False)


def test_name_that_is_no_utf8_is_shown_as_text():
    assert path_text(os.fsdecode(b"caf\xe9/\xc3\xa9.csv")) == r"caf\udce9/é.csv"
    assert path_text("plain.csv") == "plain.csv"


def test_stdout_takes_rows_as_csv(capfdbinary):
    sys.stdout.write("before\n")
    write_table("-", {"a": pa.array(["é"])})
    sys.stdout.write("after\n")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == "before\na\né\nafter\n".encode()


def test_closed_stdout_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match=r"^Standard output is closed\.$"):
        write_table("-", {"a": pa.array(["x"])})


def test_errors_of_the_body_pass_through_stdout(capfd):
    with pytest.raises(InputError, match="damaged"), open_output("-", force=False):
        raise InputError("in.csv", "damaged")
    with pytest.raises(BrokenPipeError), open_output("-", force=False):
        raise BrokenPipeError
    with (
        pytest.raises(UsageError, match=r"^Standard output cannot be written \(No space"),
        open_output("-", force=False),
    ):
        raise OSError(28, "No space left on device")


# A limit on the size of files stands for a full disk: writes beyond it fail with an OSError.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from waterflow_cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "path", ["out.csv", "out.csv.gz", "out.csv.zst", "out.jsonl", "out.parquet"]
)
@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_is_an_error_of_use_and_leaves_what_was_there(path, existing, workdir):
    if existing:
        Path(path).write_text("precious\n")
    limit = 20_000 if existing else 100
    command = ("simulate", "--rows", "20000", "-o", path, *(("--force",) if existing else ()))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    error, hint = done.stderr.splitlines()
    assert error == f"Error: {path}: cannot be written (File too large)."
    assert hint == "Nothing was left under that name by this command."
    assert files_in(workdir) == ([path] if existing else [])
    if existing:
        assert Path(path).read_text() == "precious\n"


@settings(max_examples=20, deadline=None)
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
