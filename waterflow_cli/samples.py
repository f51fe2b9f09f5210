"""Open a file as a table with one row for each sample, however its laboratory wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from waterflow_cli.reading import Table, open_table
from waterflow_cli.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.table_schema import TableSchema


@contextmanager
def open_samples(
    path: str,
    schema: TableSchema,
    reading: ReadingOptions = AS_FOUND,
    *,
    batch_rows: int | None = None,
) -> Iterator[Table]:
    """Open an input.

    Parameters
    ----------
    schema : TableSchema
        Its names and aliases tell which line is the header.
    """
    with open_table(path, batch_rows=batch_rows) as table:
        yield table
