"""Reading tables in batches: the same rows, lines and errors whatever the size of a batch."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables import reading
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.table import Batch, RowFinding

Rows = list[tuple[int, list[object], RowFinding | None]]


def read(path: Path, block_bytes: int = 1 << 22) -> tuple[Dialect, list[str], Rows]:
    rows: Rows = []
    with open_table(str(path), block_bytes=block_bytes) as table:
        for batch in table.batches():
            assert list(batch.columns) == table.columns
            assert len(batch) == len(batch.lines) > 0
            cells = zip(*(column.to_pylist() for column in batch.columns.values()), strict=True)
            for row, values in enumerate(cells):
                rows.append((int(batch.lines[row]), list(values), batch.findings.get(row)))
    return table.dialect, table.columns, rows


def outcome(path: Path, block_bytes: int) -> object:
    try:
        return read(path, block_bytes)
    except InputError as exc:
        return str(exc), exc.hint


def write(folder: Path, text: str | bytes, name: str = "river.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared") / "river.csv"


def test_rows_and_lines_of_a_small_file(tmp_path: Path) -> None:
    dialect, columns, rows = read(write(tmp_path, "ph,site\n7.1,North\n\n6.9,South\n"))
    assert str(dialect) == "utf-8, separator ','"
    assert columns == ["ph", "site"]
    assert rows == [(2, ["7.1", "North"], None), (4, ["6.9", "South"], None)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
def test_line_numbers_count_each_physical_line(end: str, block_bytes: int, tmp_path: Path) -> None:
    lines = ["", '"p', 'H",b', "1,2", "", '"x', "", 'y",4', "   ", "5,6", "7"]
    _, columns, rows = read(write(tmp_path, end.join(lines)), block_bytes)
    assert columns == [f"p{end}H", "b"]
    assert [line for line, _, _ in rows] == [4, 6, 10, 11]
    assert rows[1][1] == [f"x{end}{end}y", "4"]
    assert rows[3][2] == RowFinding("ragged_row", {"n": 1, "n_columns": 2})


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_of_a_parquet_file_has_first_rows_to_look_at(
    kind: pa.DataType, tmp_path: Path
) -> None:
    cells = pa.array(["7,1", "6,5"]).cast(kind)
    pq.write_table(pa.table({"ph": cells, "n": [1, 2]}), tmp_path / "a.parquet")
    with open_table(str(tmp_path / "a.parquet")) as table:
        sample = table.sample()
        assert sample is not None
        assert sample.columns["ph"].to_pylist() == ["7,1", "6,5"]
        assert sum(len(batch) for batch in table.batches()) == 2
    pq.write_table(pa.table({"ph": [7.1]}), tmp_path / "b.parquet")
    with open_table(str(tmp_path / "b.parquet")) as table:
        assert table.sample() is None


NAMES = Header({"ph": [], "Sulfate": []})


def read_known(path: Path, block_bytes: int = 1 << 20) -> tuple[str, list[Any], dict[str, int]]:
    """Give what is said of the file, its rows, and which columns how many of them lack."""
    with open_table(str(path), NAMES, block_bytes=block_bytes) as table:
        batches = list(table.batches())
    rows = [
        [*cells, batch.findings[row].rule if row in batch.findings else ""]
        for batch in batches
        for row, cells in enumerate(zip(*batch.columns.values(), strict=True))
    ]
    left_out: Counter[str] = Counter()
    for batch in batches:
        left_out.update(batch.left_out)
    assert not any(batch.plain_rows() for batch in batches if batch.left_out)
    return str(table.dialect), [list(map(str, row)) for row in rows], dict(left_out)


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_row_may_end_before_columns_that_nothing_reads(block_bytes: int, tmp_path: Path) -> None:
    path = write(tmp_path, "site,ph,Sulfate,by,remark\nA,7,1,me,x\nB,7,1,me\nC,7,1\nD,7\n")
    _, rows, left_out = read_known(path, block_bytes)
    assert rows == [
        ["A", "7", "1", "me", "x", ""],
        ["B", "7", "1", "me", "", ""],
        ["C", "7", "1", "", "", ""],
        ["D", "7", "", "", "", "ragged_row"],
    ]
    assert left_out == {"remark": 2, "by": 1}


def test_last_row_without_line_end_may_be_cut_and_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "site,ph,Sulfate,remark\nA,7,1\nB,7,12")
    _, rows, left_out = read_known(path)
    assert [row[-1] for row in rows] == ["", "ragged_row"]
    assert left_out == {"remark": 1}


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_one_separator_more_on_each_row_is_read_and_told(block_bytes: int, tmp_path: Path) -> None:
    rows_below = "A,7,1,\nB,7,1,\n" + "C,7,1,\n" * 60 + "D,7,1\nE,7,1,5\n"
    path = write(tmp_path, "site,ph,Sulfate\n" + rows_below)
    said, rows, left_out = read_known(path, block_bytes)
    assert "each row with one empty cell more than the header" in said
    assert rows[0] == ["A", "7", "1", ""]
    assert rows[-2:] == [["D", "7", "1", ""], ["E", "7", "1", "ragged_row"]]
    assert left_out == {}
    with open_table(str(path), NAMES, block_bytes=block_bytes) as table:
        assert all(batch.plain_rows() is None for batch in table.batches())


@pytest.mark.parametrize("rows", ["A,7,1,,\nB,7,1,,\n", "A,7,1,\nB,7,1\n", "A,7,1,x\nB,7,1,x\n"])
def test_other_cells_beyond_the_header_are_findings(rows: str, tmp_path: Path) -> None:
    _, read_rows, _ = read_known(write(tmp_path, "site,ph,Sulfate\n" + rows))
    assert read_rows[0][-1] == "ragged_row"


FRAGMENTS = ["a", "b", "1", '"', '"', ",", ",", "\n", "\n", "\r", "\r\n", "\t", " ", "é", "\0"]
FRAGMENTS += ["\ufeff", "\u00a0", '""', '"x\ny"', '5" p', "\n\n", ',"', '",']


@given(
    head=st.sampled_from(["a,b\n", "\ufeffa,b\r\n", "\n \na,b\r", '"a\n1",b\n', "a\n", ""]),
    body=st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    block_bytes=st.integers(1, 200),
)
@example(head="a,b\r\n", body="1,2\r\n", block_bytes=4)
@example(head="\ufeffa,b\n", body="1,2\n", block_bytes=1)
@example(head="a\n", body=" \n\n \n", block_bytes=1)
@example(head="a,b\n", body="1,2\n\u00a0\n\n", block_bytes=3)
@tried_on(600)
def test_any_block_size_gives_the_same_table_or_the_same_error(
    head: str, body: str, block_bytes: int, shared_path: Path
) -> None:
    shared_path.write_bytes((head + body).encode())
    assert outcome(shared_path, block_bytes) == outcome(shared_path, 1 << 20)


@given(
    body=st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    block_bytes=st.sampled_from([1, 5, 11, 1 << 20]),
)
@tried_on(500)
def test_raw_text_of_a_row_holds_its_cells_and_nothing_more(
    body: str, block_bytes: int, shared_path: Path
) -> None:
    shared_path.write_bytes(f"a,b\n{body}".encode())
    try:
        with open_table(str(shared_path), block_bytes=block_bytes) as table:
            batches = list(table.batches())
    except InputError:
        return
    if table.columns != ["a", "b"]:  # NULs that make it UTF-16
        return
    for batch in batches:
        raws = batch.raw_rows(np.arange(len(batch)))
        for row, raw in enumerate(raws):
            cells, *blank = csv.reader(io.StringIO(raw, newline=""))
            # Only a blank line with quotes in it cannot be told from the row's own.
            assert all("".join(line).strip() == "" for line in blank)
            assert not blank or '"' in raw.splitlines()[-1]
            padded = [*cells, "", ""][:2]
            assert padded == [column[row].as_py() for column in batch.columns.values()]


def test_raw_text_leaves_out_blank_lines_around_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, '\n\na,b\n\n1,2\n  \n\n"x\n\n",3\r\n\r\n 4,5 \n')
    with open_table(str(path)) as table:
        (batch,) = table.batches()
    assert batch.raw_rows(np.arange(3)) == ["1,2", '"x\n\n",3', " 4,5 "]
    assert batch.raw_rows(np.array([2, 0])) == [" 4,5 ", "1,2"]
    assert batch.raw_rows(np.array([], dtype=np.int64)) == []


def test_raw_text_of_a_row_of_tabs_is_kept(tmp_path: Path) -> None:
    with open_table(str(write(tmp_path, "a\tb\n\t\n1\t\n", "river.tsv"))) as table:
        (batch,) = table.batches()
    assert batch.raw_rows(np.arange(2)) == ["\t", "1\t"]


def test_tsv_is_read_at_tabs(tmp_path: Path) -> None:
    dialect, columns, rows = read(write(tmp_path, "a\tb,c\n1\t2\n", "river.TSV"))
    assert str(dialect) == "utf-8, separator tab"
    assert columns == ["a", "b,c"]
    assert rows == [(2, ["1", "2"], None)]


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 100])
def test_row_of_empty_cells_is_a_row_in_any_block(block_bytes: int, tmp_path: Path) -> None:
    path = write(tmp_path, "a\tb\n\t\n1\t2\n\t\n", "river.tsv")
    assert [line for line, _, _ in read(path, block_bytes)[2]] == [2, 3, 4]


@pytest.mark.parametrize("block_bytes", [1, 4, 1 << 20])
def test_long_header_is_read_whole(block_bytes: int, tmp_path: Path) -> None:
    names = [f"column {number}" for number in range(300)]
    path = write(tmp_path, ",".join(names) + "\r\n" + ",".join("1" * 300) + "\r\n")
    _, columns, rows = read(path, block_bytes)
    assert columns == names
    assert rows == [(2, ["1"] * 300, None)]


def test_header_without_end_is_refused_before_all_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 2 << 20)
    for text in ("x" * 3_000_000, 'a,"b\n' + "1,2\n" * 700_000):
        path = write(tmp_path, text)
        with pytest.raises(InputError, match="the header does not end within 2 MiB") as caught:
            read(path, 1 << 20)
        assert caught.value.exit_code == 3


def test_header_that_ends_late_is_read_whole(tmp_path: Path) -> None:
    long = "x" * (5 << 18)
    for start in (f"{long},", f'"{long}\n",', "\n" * len(long)):
        _, columns, rows = read(
            write(tmp_path, f"{start}ph,b\n" + "1," * start.count(",") + "7,8\n")
        )
        assert columns[-2:] == ["ph", "b"]
        assert [cells[-2:] for _, cells, _ in rows] == [["7", "8"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.csv", r"empty\.csv: is empty\."),
        ("header_only.csv", r"header_only\.csv: has a header and no rows\."),
        ("duplicate_names.csv", "line 1: two columns 'ph', at positions 1 and 3"),
        ("open_quote.csv", "line 3: a quoted cell opens here and is never closed"),
        ("open_quote_in_header.csv", "line 1: a quoted cell opens here and is never closed"),
        ("encoding_changes.csv", "line 4: byte 0xE2 is not UTF-8"),
        ("encoding_changes_to_utf8.csv", "line 2: byte 0xE2 is not UTF-8"),
        ("no_encoding.csv", "line 3: byte 0x81 is neither UTF-8 nor cp1252"),
        ("utf16_cut_short.csv", "line 2: byte 0x0A is not utf-16-le"),
        ("two_separators.csv", "line 1: two separators fit: ',' and '|'"),
        ("two_members.zip", "2 members"),
        ("encrypted.zip", "is encrypted"),
        ("damaged.csv.gz", "the gzip data is damaged or cut short"),
        ("damaged.parquet", "the Parquet file is damaged or cut short"),
        ("no_such_file.csv", "no such file"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 16, 1 << 20])
def test_faulty_file_is_refused(name: str, message: str, block_bytes: int) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(FAULTY / name, block_bytes)
    assert str(caught.value).startswith(str(FAULTY / name))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a,b", "a,b\n", "a,b\r\n\r\n", "a,b\n  \n\t\n\n", "a,b\n\u00a0\n"]
)
@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 20])
def test_header_alone_is_refused(text: str, block_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a header and no rows"):
        read(write(tmp_path, text), block_bytes)


def test_semicolons_separate_cells_that_hold_decimal_commas() -> None:
    _, columns, rows = read(FAULTY / "decimal_comma.csv")
    assert columns == ["ph", "Hardness", "Turbidity"]
    assert rows == [(2, ["7,1", "180", "2,5"], None)]


@pytest.mark.parametrize("block_bytes", [1, 16, 1 << 20])
@pytest.mark.parametrize(
    ("name", "encoding", "cell"),
    [("not_utf8.csv", "cp1252", "Château"), ("utf16.csv", "utf-16-le", "7.1")],
)
def test_other_encodings_than_utf_8_are_read(
    name: str, encoding: str, cell: str, block_bytes: int
) -> None:
    dialect, _, rows = read(FAULTY / name, block_bytes)
    assert dialect.encoding == encoding
    assert cell in [cells[0] for _, cells, _ in rows]


def test_compressed_file_reads_as_the_plain_one(tmp_path: Path) -> None:
    text = b"a,b\n" + b'"x\ny",5" p\n,\n' * 500
    plain = read(write(tmp_path, text), 100)
    assert read(write(tmp_path, gzip.compress(text), "river.csv.gz"), 100) == plain


def test_batches_can_be_parsed_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "".join(f'"{i}\n",{i}\n' for i in range(200)))
    with open_table(str(path), block_bytes=64) as table:
        tasks = list(table.tasks())
    assert len(tasks) > 20
    batches = [task() for task in reversed(tasks)][::-1]
    lines = np.concatenate([batch.lines for batch in batches])
    assert lines.tolist() == list(range(2, 402, 2))


def test_batches_come_before_the_error_that_follows_them(tmp_path: Path) -> None:
    # The last 4 KiB wait for what follows: they may hold the notes below a table.
    path = write(tmp_path, "a,b\n" + "1,2\n" * 2000 + '3,"4\n')
    with open_table(str(path), block_bytes=12) as table:
        batches = table.batches()
        assert next(batches).lines.tolist() == [2, 3, 4]
        with pytest.raises(InputError, match="line 2002"):
            list(batches)


def write_parquet(
    folder: Path, columns: dict[str, object], names: Sequence[str] | None = None
) -> Path:
    path = folder / "river.parquet"
    table = pa.table(columns)
    pq.write_table(table.rename_columns(list(names)) if names else table, path)
    return path


def test_parquet_keeps_its_own_types_and_numbers_rows_from_two(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, {"ph": [7.1, None], "n": [1, 2], "site": ["x", None]})
    dialect, columns, rows = read(path)
    assert (str(dialect), columns) == ("parquet", ["ph", "n", "site"])
    assert rows == [(2, [7.1, 1, "x"], None), (3, [None, 2, None], None)]


@pytest.mark.parametrize(
    "site",
    [
        pa.array(["x", None, "x"]).dictionary_encode(),
        pa.array(["x", None, "x"], pa.string_view()),
        pa.array(["x", None, "x"], pa.large_string()),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_parquet_text_is_plain_text_however_it_was_stored(site: pa.Array, tmp_path: Path) -> None:
    with open_table(str(write_parquet(tmp_path, {"site": site}))) as table:
        (batch,) = table.batches()
    column = batch.columns["site"]
    assert pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    assert column.to_pylist() == ["x", None, "x"]


def test_parquet_rows_are_numbered_through_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PARQUET_ROWS", 7)
    path = write_parquet(tmp_path, {"a": list(range(50))})
    assert [(line, cells) for line, cells, _ in read(path)[2]] == [
        (number + 2, [number]) for number in range(50)
    ]


def test_parquet_rows_have_a_text_too(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, {"ph": [7.5, None], "site": ["x", "y"]})
    with open_table(str(path)) as table:
        (batch,) = table.batches()
    assert batch.raw_rows(np.array([1, 0])) == [",y", "7.5,x"]


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, {"ph": pa.array([], pa.float64())})
    with pytest.raises(InputError, match="has a header and no rows"):
        read(path)


def test_parquet_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, {"ph": [1], "b": [2]}, names=["ph", "ph"])
    with pytest.raises(InputError, match="line 1: two columns 'ph', at positions 1 and 2"):
        read(path)


def test_parquet_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    offsets = np.array([0, 1, 2], dtype=np.int32).tobytes()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"1\xff")]
    broken = pa.Array.from_buffers(pa.string(), 2, buffers)
    with pytest.raises(InputError, match="line 2: the Parquet file is damaged"):
        read(write_parquet(tmp_path, {"ph": broken}))


def test_damage_within_a_parquet_file_is_named_by_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet"
    table = pa.table({"a": np.random.default_rng(1).random(3000)})
    pq.write_table(table, path, row_group_size=1000, use_dictionary=False, compression="zstd")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 3000 : middle + 3000] = bytes(6000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"line \d+: the Parquet file is damaged"):
        read(path)


def test_batch_knows_its_length() -> None:
    assert len(Batch(columns={"a": pa.array(["1"])}, lines=np.array([2]))) == 1


# --- going on from where a batch ended ------------------------------------------------------------


def rows_of(batches: Iterable[Batch]) -> list[tuple[object, ...]]:
    """Give each row's line, cells, raw text and finding."""
    rows: list[tuple[object, ...]] = []
    for batch in batches:
        cells = zip(*(column.to_pylist() for column in batch.columns.values()), strict=True)
        raws = batch.raw_rows(np.arange(len(batch)))
        for row, values in enumerate(cells):
            rows.append((int(batch.lines[row]), values, raws[row], batch.findings.get(row)))
    return rows


def check_going_on(path: Path, sizes: Sequence[dict[str, int]]) -> int:
    """Go on from the end of each batch, in batches of any size; return how many there were."""
    n_batches = 0
    for size in sizes:
        with open_table(str(path), **size) as table:
            batches = list(table.batches())
        n_batches = max(n_batches, len(batches))
        for number, batch in enumerate(batches):
            rest = rows_of(batches[number + 1 :])
            for other in sizes:
                with open_table(str(path), **other) as table:
                    assert rows_of(task() for task in table.tasks(batch.end)) == rest
    return n_batches


RECORDS = [f'"two{end}lines",{number}' for number, end in enumerate(["\n", "\r\n", "\r", "\n\n"])]
RECORDS += ["plain,4", "", "", "  ", '"a ""quote""",5', "é水,6", "ragged", "nul\0,7", "last,8"]
TEXTS = {
    "plain": "name,n\n" + "\n".join(RECORDS) + "\n",
    "crlf": "name,n\r\n" + "\r\n".join(RECORDS) + "\r\n",
    "cr": "name,n\r" + "\r".join(RECORDS) + "\r",
    "bom": "\ufeffname,n\r\n" + "\n".join(RECORDS),
    "no_last_line_end": "name,n\n" + "\n".join(RECORDS),
    "leading_blank_lines": "\n \r\n\nname,n\n\n\n" + "\n".join(RECORDS) + "\n\n \n",
    "header_of_two_lines": '\ufeff"na\nme",n\r\n' + "\r\n".join(RECORDS),
    "stray_quotes": 'name,n\n5" p,1\nx"y"z,2\n"q" r,3\n' + "\n".join(RECORDS) + "\n",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", TEXTS)
def test_reading_goes_on_where_any_batch_ended(kind: str, packed: bool, tmp_path: Path) -> None:
    data = TEXTS[kind].encode()
    path = write(tmp_path, gzip.compress(data) if packed else data)
    sizes = [{"block_bytes": size} for size in (1, 13, 40, 1 << 20)]
    assert check_going_on(path, sizes) > 5


@pytest.mark.slow
def test_reading_goes_on_beyond_what_was_read_ahead(tmp_path: Path) -> None:
    text = "name,n\r\n" + "".join(f'"row\r\n{number}",{number}\r\n' for number in range(9000))
    path = write(tmp_path, gzip.compress(text.encode()))
    assert path.stat().st_size > 20_000
    assert check_going_on(path, [{"block_bytes": 50_000}, {"batch_rows": 1500}]) >= 4


@given(
    body=st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    head=st.sampled_from(["a,b\n", "\ufeffa,b\r\n", "\n \na,b\r", '"a\n1",b\n']),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@tried_on(200)
def test_reading_goes_on_in_any_text_that_can_be_read(
    body: str, head: str, sizes: tuple[int, int], shared_path: Path
) -> None:
    shared_path.write_bytes((head + body).encode())
    if isinstance(outcome(shared_path, 1 << 20)[0], Dialect):
        check_going_on(shared_path, [{"block_bytes": size} for size in sizes])


def test_reading_goes_on_within_and_between_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet"
    table = pa.table({"n": list(range(50)), "site": [f"s{number}" for number in range(50)]})
    pq.write_table(table, path, row_group_size=20)
    sizes = [{"batch_rows": size} for size in (1, 7, 20, 1000)]
    assert check_going_on(path, sizes) == 50


def test_nothing_is_left_after_the_last_batch(tmp_path: Path) -> None:
    for path in (write(tmp_path, "a,b\n1,2"), write_parquet(tmp_path, {"a": [1], "b": [2]})):
        with open_table(str(path)) as table:
            (batch,) = table.batches()
        with open_table(str(path)) as table:
            assert list(table.tasks(batch.end)) == []


# --- files that change ----------------------------------------------------------------------------


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"7,8\n")


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_over(path: Path) -> None:
    """Keep the size, and change what is there, some time later."""
    later = path.stat().st_mtime_ns + 10**9
    with path.open("r+b") as file:
        file.write(b"z")
    os.utime(path, ns=(later, later))


@pytest.mark.parametrize("change", [grow, cut_short, write_over])
@pytest.mark.parametrize("when", ["before the rows", "among the rows", "after the rows"])
def test_file_that_changes_while_it_is_read_is_refused(
    change: Callable[[Path], None], when: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "a,b\n" + "1,2\n" * 1000)

    def read_and_change() -> None:
        with open_table(str(path), block_bytes=400) as table:
            if when == "before the rows":
                change(path)
            for number, _ in enumerate(table.batches()):
                if number == 1 and when == "among the rows":
                    change(path)
            if when == "after the rows":
                change(path)

    with pytest.raises(InputError, match=r"river\.csv: was changed while it was read\.$") as caught:
        read_and_change()
    assert caught.value.exit_code == 3
    assert "nothing writes to it" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["river.csv.gz", "river.parquet"])
def test_packed_file_that_grows_while_it_is_read_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 1000), "river.csv.gz")
    if name.endswith(".parquet"):
        path = write_parquet(tmp_path, {"a": list(range(1000))})

    def read_and_grow() -> None:
        with open_table(str(path), batch_rows=100) as table:
            list(table.batches())
            grow(path)

    with pytest.raises(InputError, match=rf"{name}: was changed while it was read\.$"):
        read_and_grow()


def test_file_that_is_only_looked_at_by_others_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n")
    with open_table(str(path)) as table:
        path.read_bytes()
        path.chmod(0o600)
        assert len(list(table.batches())) == 1


# --- rows in a batch ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("batch_rows", [1, 10, 1000])
@pytest.mark.parametrize("n_rows", [300, 20_000])
def test_batch_of_text_holds_about_as_many_rows_as_asked_for(
    batch_rows: int, n_rows: int, tmp_path: Path
) -> None:
    path = write(tmp_path, "a,b\n" + "".join(f"{i:06},x\n" for i in range(n_rows)))
    with open_table(str(path), batch_rows=batch_rows) as table:
        sizes = [len(batch) for batch in table.batches()]
    assert sum(sizes) == n_rows
    assert max(sizes) <= 2 * batch_rows
    assert len(sizes) <= 2 * n_rows / batch_rows + 1


@pytest.mark.slow
@pytest.mark.parametrize("batch_rows", [1, 10, 1000])
def test_batch_of_text_beyond_the_sample_holds_about_as_many_rows_as_asked_for(
    batch_rows: int, tmp_path: Path
) -> None:
    path = write(tmp_path, "a,b\n" + "".join(f"{i:06},x\n" for i in range(10_000)))
    with open_table(str(path), batch_rows=batch_rows) as table:
        sizes = [len(batch) for batch in table.batches()][1:-1]
    sizes.remove(min(sizes))  # where the sample ends
    assert 0.5 * batch_rows <= min(sizes) <= max(sizes) <= 2 * batch_rows


@pytest.mark.parametrize(
    ("batch_rows", "sizes"), [(1, [1] * 50), (7, [7] * 7 + [1]), (20, [20, 20, 10]), (99, [50])]
)
def test_batch_of_parquet_holds_the_rows_asked_for(
    batch_rows: int, sizes: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "river.parquet"
    pq.write_table(pa.table({"n": list(range(50))}), path, row_group_size=15)
    with open_table(str(path), batch_rows=batch_rows) as table:
        assert [len(batch) for batch in table.batches()] == sizes


# --- how much was read ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_share_read_goes_from_zero_to_one(kind: str, tmp_path: Path) -> None:
    # Random digits, so that the packed file is not read in one go.
    numbers = np.random.default_rng(0).random(200_000)
    text = ("a,b\n" + "".join(f"{number},x\n" for number in numbers)).encode()
    path = write(tmp_path, gzip.compress(text) if kind == "csv.gz" else text, f"river.{kind}")
    if kind == "parquet":
        pq.write_table(pa.table({"a": numbers}), path)
    with open_table(str(path), batch_rows=20_000) as table:
        shares = [table.share_read()]
        shares += [table.share_read() for _ in table.batches()]
        shares.append(table.share_read())
    assert None not in shares
    assert shares[0] < 0.5
    assert shares == sorted(shares)
    assert len(set(shares)) >= 4
    assert shares[-1] == 1


def test_share_read_of_a_pipe_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(b"a,b\n" + b"1,2\n" * 100,))
    writer.start()
    with open_table(str(path)) as table:
        assert table.share_read() is None
        assert [len(batch) for batch in table.batches()] == [100]
        assert table.share_read() is None
    writer.join()


# --- rows as they stand in the file ---------------------------------------------------------------


def plain_rows(tmp_path: Path, content: str, name: str = "river.csv") -> list[str] | None:
    with open_table(str(write(tmp_path, content, name))) as table:
        (batch,) = table.batches()
        rows = batch.plain_rows()
    return None if rows is None else rows.to_pylist()


def test_plain_rows_are_the_lines_of_the_file(tmp_path: Path) -> None:
    assert plain_rows(tmp_path, "a,b\n1,2\n é ,\n") == ["1,2\n", " é ,\n"]
    assert plain_rows(tmp_path, "a,b\n1,2") == ["1,2\n"]


@pytest.mark.parametrize(
    "body", ['"1",2\n', "1,2\r\n", "1,2\n\n3,4\n", "1,2,3\n", "\n1,2\n", "1,2\n3\n"]
)
def test_rows_that_a_writer_would_write_otherwise_are_not_plain(body: str, tmp_path: Path) -> None:
    assert plain_rows(tmp_path, f"a,b\n{body}") is None
