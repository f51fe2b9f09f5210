"""Open any input as a table: a workbook, a database, and all else as `tables.reading` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from waterflow_cli.tables.csv_blocks import SEPARATORS
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.reading import PARQUET_ROWS, Opener, open_table
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.sources import ZIP_MAGIC, open_source, open_to_seek
from waterflow_cli.tables.table import NO_NAMES, Table


@contextmanager
def open_file(
    path: str,
    names: Header = NO_NAMES,
    options: ReadingOptions = AS_FOUND,
    *,
    batch_rows: int | None = None,
    opener: Opener = open_source,
) -> Iterator[Table]:
    """Open a workbook, a database, or any file that `open_table` opens; see there for the rest.

    Raises
    ------
    InputError
        If it cannot be read; a workbook also if several of its sheets hold a table.
    UsageError
        If a workbook has no sheet of the name that the user said.
    """
    if is_database(path):
        from waterflow_cli.tables.databases.reading import open_database

        with open_database(path, names, batch_rows) as table:
            yield table
        return
    with opener(path) as stream:
        if stream.peek(len(ZIP_MAGIC)).startswith(ZIP_MAGIC):
            from waterflow_cli.tables.sheets.sheet_table import open_workbook

            with open_to_seek(stream) as file:
                yield open_workbook(file, path, names, options, batch_rows or PARQUET_ROWS)
            return
        opened = nullcontext(stream)
        with open_table(
            path, names, options, batch_rows=batch_rows, opener=lambda _: opened
        ) as table:
            yield replace(table, turned=partial(_turned, table))


def _turned(table: Table) -> Table | None:
    """Turn a text file that lies on its side; such a one is small, and no stream of rows."""
    if table.whole_text is None:
        return None
    from waterflow_cli.tables.sheets.transposed import grid_of_text, turn

    grids = (grid_of_text(table.whole_text, sep) for sep in SEPARATORS)
    return turn(grids, table.path, table.names, table.dialect)
