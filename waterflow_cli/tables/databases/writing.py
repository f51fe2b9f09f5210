"""Tables of databases as outputs: all rows in one transaction, once they are in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.databases.addresses import (
    BATCH_ROWS,
    Address,
    connect_duckdb,
    connect_postgres,
    database_errors,
    is_database,
    look_up,
    parse_address,
    quoted,
    reading,
)

Rows = Iterator[tuple[Any, ...]]


def check_target(path: str, *, force: bool, inputs: Sequence[str] = ()) -> None:
    """Refuse an output before any work is done for it.

    Raises
    ------
    UsageError
        If it is a query, an input, there already and not to be replaced, or out of reach.
    """
    address = parse_address(path)
    if address.is_query:
        raise UsageError("{path}: rows are written into a table, not into a query.", path=path)
    if any(is_database(each) and parse_address(each).target == address.target for each in inputs):
        raise UsageError(
            "{path}: is an input; the output must be another table.",
            tr("Nothing was written. Choose another name."),
            path=path,
        )
    folder = Path(address.place).parent
    if address.kind != "postgresql" and not folder.is_dir():
        raise UsageError(
            "{path}: cannot be written, there is no folder {folder}.", path=path, folder=folder
        )
    if address.kind != "postgresql" and not Path(address.place).exists():
        return
    with database_errors(address, _write_error(address)), reading(address) as connection:
        if not force and look_up(address, connection) is not None:
            raise _exists(path)


def _exists(path: str) -> UsageError:
    return UsageError("{path}: exists already.", tr("To replace it: --force"), path=path)


def write_table(part: Path, path: str, *, force: bool) -> None:
    """Put the rows of a Parquet file into a table, in one transaction.

    Raises
    ------
    UsageError
        If the table is there and not to be replaced, or it cannot be written.
    """
    address = parse_address(path)
    rows = pq.ParquetFile(part)
    names = [name.lower() for name in rows.schema_arrow.names]
    if address.kind != "postgresql" and len(set(names)) < len(names):
        raise UsageError(
            "{path}: two columns have names that differ by their case alone.", path=path
        )
    is_new = address.kind != "postgresql" and not Path(address.place).exists()
    try:
        with database_errors(address, _write_error(address)):
            _WRITE[address.kind](address, rows, force)
    except BaseException:
        if is_new:
            Path(address.place).unlink(missing_ok=True)
        raise


def _begin(address: Address, connection: Any, force: bool) -> str:
    """Make room for a table; give its name as it is to be written."""
    found = look_up(address, connection)
    if found is None:
        parts = address.asked.split(".") if address.kind == "postgresql" else [address.asked]
        return quoted(parts)
    if not force:
        raise _exists(address.path)
    connection.execute(f"DROP TABLE {quoted(found)}")
    return quoted(found)


def _write_sqlite(address: Address, rows: pq.ParquetFile, force: bool) -> None:
    import sqlite3

    with closing(sqlite3.connect(address.place, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        table = _begin(address, connection, force)
        connection.execute(f"CREATE TABLE {table} ({_columns(rows, 'TEXT', 'REAL', 'INTEGER')})")
        marks = ", ".join("?" for _ in rows.schema_arrow)
        for batch in rows.iter_batches(BATCH_ROWS):
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", _rows(batch))
        connection.execute("COMMIT")


def _write_duckdb(address: Address, rows: pq.ParquetFile, force: bool) -> None:
    with connect_duckdb(address, read_only=False) as connection:
        connection.execute("BEGIN TRANSACTION")
        table = _begin(address, connection, force)
        reader = pa.RecordBatchReader.from_batches(rows.schema_arrow, rows.iter_batches(BATCH_ROWS))
        connection.register("waterflow_rows", reader)
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM waterflow_rows")
        connection.unregister("waterflow_rows")
        connection.execute("COMMIT")


def _write_postgres(address: Address, rows: pq.ParquetFile, force: bool) -> None:
    with connect_postgres(address) as connection:  # commits at its end, or takes all back
        table = _begin(address, connection, force)
        columns = _columns(rows, "text", "double precision", "bigint")
        connection.execute(f"CREATE TABLE {table} ({columns})")
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for batch in rows.iter_batches(BATCH_ROWS):
                for row in _rows(batch):
                    copy.write_row(row)


_WRITE: dict[str, Callable[[Address, pq.ParquetFile, bool], None]] = {
    "sqlite": _write_sqlite,
    "duckdb": _write_duckdb,
    "postgresql": _write_postgres,
}


def _columns(rows: pq.ParquetFile, text: str, number: str, whole: str) -> str:
    """Declare the columns of a table: text, numbers, and whole numbers."""

    def declared(kind: pa.DataType) -> str:
        if pa.types.is_integer(kind):
            return whole
        return number if pa.types.is_floating(kind) else text

    return ", ".join(f"{quoted([each.name])} {declared(each.type)}" for each in rows.schema_arrow)


def _rows(batch: pa.RecordBatch) -> Rows:
    """Give rows of Python's values; what is neither text nor a number as its text."""
    columns = [
        column
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        else column.cast(pa.string())
        for column in batch.columns
    ]
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _write_error(address: Address) -> Callable[[str], Exception]:
    return lambda cause: UsageError(
        "{path}: cannot be written into the database ({cause}).",
        tr("Nothing was changed there by this command."),
        path=address.path,
        cause=cause,
    )
