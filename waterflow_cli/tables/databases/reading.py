"""Tables and queries of databases as inputs, by batches, over connections that cannot write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_texts
from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.databases.addresses import (
    BATCH_ROWS,
    TITLES,
    Address,
    database_errors,
    find_table,
    parse_address,
    quoted,
    reading,
)
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.headers import Header, check_header
from waterflow_cli.tables.numbers import NumberMarks
from waterflow_cli.tables.table import Batch, Table, plain_column

if TYPE_CHECKING:
    import sqlite3

_FLOATS = (700, 701, 1700)  # of PostgreSQL: real, double precision, numeric


class Opened(NamedTuple):
    """A query that is being read.

    Attributes
    ----------
    batches : iterator of pyarrow.RecordBatch
        Its rows: text, or the database's own types.
    has_fractions : frozenset of str
        Columns that hold numbers as such, which have a decimal point when they are written.
    """

    columns: list[str]
    batches: Iterator[pa.RecordBatch]
    has_fractions: frozenset[str]


@contextmanager
def open_database(path: str, names: Header, batch_rows: int | None = None) -> Iterator[Table]:
    """Open a table or the result of a query; see `open_table`.

    Raises
    ------
    InputError
        If the database cannot be opened, or has no such table.
    UsageError
        If the address names no table, or what reads such a database is not installed.
    """
    address = parse_address(path)
    with database_errors(address, _read_error(address)), reading(address) as connection:
        asked = address.asked
        if not address.is_query:
            asked = f"SELECT * FROM {quoted(find_table(address, connection))}"
        opened = _OPEN[address.kind](connection, asked, batch_rows or BATCH_ROWS)
        check_header(opened.columns, path, 1)
        yield _table(address, opened, names)


def _table(address: Address, opened: Opened, names: Header) -> Table:
    first = next(opened.batches, None)
    n_read = 0

    def tasks(position: Position | None) -> Iterator[Callable[[], Batch]]:
        nonlocal n_read
        with database_errors(address, _read_error(address)):
            waiting = first
            while waiting is not None:
                records, waiting = waiting, next(opened.batches, None)
                start, n_read = n_read, n_read + len(records)
                skip = max(0, (position.offset if position else 0) - start)
                if skip < len(records):
                    yield partial(_batch, opened.columns, records.slice(skip), start + skip)

    def sample() -> Batch | None:
        if first is None or not any(pa.types.is_string(each) for each in first.schema.types):
            return None
        return _batch(opened.columns, first, 0)

    has_fractions = any(names.column_of(name) for name in opened.has_fractions)
    form = marked("{name} query") if address.is_query else marked("{name} table")
    told = Message(form, name=TITLES[address.kind])
    return Table(
        path=address.path,
        columns=opened.columns,
        _dialect=lambda: Dialect(encoding=told, sep="", header_line=1, first_line=2),
        _blocks=tasks,
        sample=sample,
        names=names,
        marks=NumberMarks() if has_fractions else None,
    )


def _batch(columns: Sequence[str], records: pa.RecordBatch, first: int) -> Batch:
    """Present rows; the first row of a table is line 2, as in Parquet."""
    named = dict(zip(columns, map(plain_column, records.columns), strict=True))
    last = first + len(records)
    lines = np.arange(first + 2, last + 2, dtype=np.int64)
    return Batch(columns=named, lines=lines, end=Position(last, last + 2))


def _open_sqlite(connection: sqlite3.Connection, asked: str, n_rows: int) -> Opened:
    cursor = connection.execute(asked)
    columns = [each[0] for each in cursor.description]
    first = cursor.fetchmany(n_rows)
    floats = {
        name for at, name in enumerate(columns) if any(isinstance(row[at], float) for row in first)
    }
    return Opened(
        columns, _text_batches(columns, first, partial(cursor.fetchmany, n_rows)), frozenset(floats)
    )


def _text_batches(
    columns: Sequence[str], first: list[Any], more: Callable[[], list[Any]]
) -> Iterator[pa.RecordBatch]:
    """Put rows of Python's values into columns of text."""
    while first:
        cells = [
            arrow_texts([_text(value) for value in column]) for column in zip(*first, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(cells, list(columns))
        first = more()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _open_duckdb(connection: Any, asked: str, n_rows: int) -> Opened:
    reader = connection.sql(asked).to_arrow_reader(n_rows)
    return Opened(reader.schema.names, iter(reader), frozenset())


def _open_postgres(connection: Any, asked: str, n_rows: int) -> Opened:
    """Let the server write each value as text, in which numbers have all their digits."""
    inner = asked.strip().rstrip(";")
    # Prepared, for what is prepared is one statement.
    probe = connection.execute(f"SELECT * FROM ({inner}) AS asked LIMIT 0", prepare=True)
    columns = [each.name for each in probe.description]
    floats = frozenset(each.name for each in probe.description if each.type_code in _FLOATS)
    texts = ", ".join(f"{quoted([name])}::text" for name in columns)
    cursor = connection.cursor("waterflow")
    cursor.execute(f"SELECT {texts} FROM ({inner}) AS asked")
    more = partial(cursor.fetchmany, n_rows)
    return Opened(columns, _text_batches(columns, more(), more), floats)


_OPEN: dict[str, Callable[[Any, str, int], Opened]] = {
    "sqlite": _open_sqlite,
    "duckdb": _open_duckdb,
    "postgresql": _open_postgres,
}


def _read_error(address: Address) -> Callable[[str], Exception]:
    hint = marked("Check the address, the query, and the right to read it.")
    return lambda cause: InputError(
        address.path, "cannot be read from the database ({cause}).", cause=cause, hint=tr(hint)
    )
