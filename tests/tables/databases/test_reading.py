"""Rows of databases: text as it is, numbers with their digits, and nothing written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.cells import marks_of
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.databases.reading import open_database
from waterflow_cli.tables.reading_options import AS_FOUND

SCHEMA = load_schema()


def make(path: Path, statement: str, rows: list[tuple[object, ...]] = []) -> None:  # noqa: B006
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        if rows:
            marks = ", ".join("?" for _ in rows[0])
            connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)
        connection.commit()


def read(address: str, batch_rows: int | None = None) -> tuple[dict[str, list[object]], list[int]]:
    lines: list[int] = []
    with open_database(address, SCHEMA.header, batch_rows) as table:
        cells: dict[str, list[object]] = {name: [] for name in table.columns}
        for batch in table.batches():
            lines += batch.lines.tolist()
            for name, column in batch.columns.items():
                cells[name] += column.to_pylist()
    return cells, lines


@pytest.mark.parametrize("batch_rows", [None, 1, 2])
def test_sqlite_gives_text_as_it_is_and_numbers_as_text(tmp_path, batch_rows):
    path = tmp_path / "a.db"
    rows = [("A é", 7.1, "7.10", 3), (None, None, "<0,5", None), ("=1", 1e-7, "", 2**60)]
    make(path, "CREATE TABLE t (id TEXT, ph REAL, THM, n INTEGER)", rows)
    cells, lines = read(f"sqlite:{path}?t", batch_rows)
    assert cells == {
        "id": ["A é", "", "=1"],
        "ph": ["7.1", "", "1e-07"],
        "THM": ["7.10", "<0,5", ""],
        "n": ["3", "", str(2**60)],
    }
    assert lines == [2, 3, 4]


def test_numbers_as_such_have_a_decimal_point_whatever_texts_look_like(tmp_path):
    path = tmp_path / "a.db"
    make(path, "CREATE TABLE t (Solids REAL, ph TEXT)", [(20.791, "7,1")] * 3)
    with open_database(f"sqlite:{path}?t", SCHEMA.header) as table:
        assert marks_of(SCHEMA, table, AS_FOUND).decimal == "."
    with open_database(f"sqlite:{path}?SELECT ph FROM t", SCHEMA.header) as table:
        assert marks_of(SCHEMA, table, AS_FOUND).decimal == ","


def test_a_query_cannot_write(tmp_path):
    path = tmp_path / "a.db"
    make(path, "CREATE TABLE t (ph REAL)", [(7.1,)])
    before = path.read_bytes()
    for query in ("SELECT 1; DROP TABLE t", "WITH x AS (SELECT 1) DELETE FROM t"):
        with pytest.raises(InputError, match="cannot be read from the database"):
            read(f"sqlite:{path}?{query}")
    assert path.read_bytes() == before


def test_bytes_that_are_no_text_are_refused(tmp_path):
    make(tmp_path / "a.db", "CREATE TABLE t (ph)", [(b"\xff",)])
    with pytest.raises(InputError, match="cannot be read from the database"):
        read(f"sqlite:{tmp_path / 'a.db'}?t")


def test_an_empty_table_and_two_columns_of_one_name_are_refused(tmp_path):
    make(tmp_path / "a.db", "CREATE TABLE t (ph)")
    with pytest.raises(InputError, match="has a header and no rows"):
        read(f"sqlite:{tmp_path / 'a.db'}?t")
    with pytest.raises(InputError, match="two columns 'ph'"):
        read(f"sqlite:{tmp_path / 'a.db'}?SELECT ph, ph FROM t")


def test_duckdb_gives_its_own_types_and_reads_no_other_file(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA lab")
        values = "7.10::DECIMAL(5, 2) AS ph, 'é' AS id, 2.5::DOUBLE AS THM"
        connection.execute(f"CREATE TABLE lab.t AS SELECT {values} FROM range(3)")
    for asked in ("t", "lab.t", "SELECT * FROM lab.t"):
        cells, lines = read(f"duckdb:{path}?{asked}", 2)
        assert [str(each) for each in cells["ph"]] == ["7.10"] * 3
        assert (cells["id"], cells["THM"], lines) == (["é"] * 3, [2.5] * 3, [2, 3, 4])
    (tmp_path / "b.csv").write_text("ph\n7\n", "utf-8")
    with pytest.raises(InputError, match="cannot be read from the database"):
        read(f"duckdb:{path}?SELECT * FROM read_csv('{tmp_path / 'b.csv'}')")


def test_reading_goes_on_where_a_batch_ended(tmp_path):
    make(tmp_path / "a.db", "CREATE TABLE t (ph)", [(number,) for number in range(10)])
    address = f"sqlite:{tmp_path / 'a.db'}?t"
    with open_database(address, SCHEMA.header, 3) as table:
        ends = [batch.end for batch in table.batches()]
    with open_database(address, SCHEMA.header, 4) as table:
        rest = [cell for task in table.tasks(ends[1]) for cell in task().columns["ph"].to_pylist()]
    assert rest == ["6", "7", "8", "9"]


VALUES = st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False)
VALUES |= st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@tried_on(100)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), st.integers(1, 4))
def test_any_value_is_its_text(tmp_path_factory, rows, batch_rows):
    path = tmp_path_factory.mktemp("law") / "a.db"
    make(path, "CREATE TABLE t (a, b)", rows)
    cells, _ = read(f"sqlite:{path}?t", batch_rows)
    for name, values in zip("ab", zip(*rows, strict=True), strict=True):
        assert cells[name] == ["" if value is None else str(value) for value in values]
