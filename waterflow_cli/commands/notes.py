"""What the commands say alike of the files that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterflow_cli.console import Console
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.validation.cell_counts import CellCounts


def note_reading(
    files: Mapping[str, str],
    cells: CellCounts,
    schema: TableSchema,
    reading: ReadingOptions,
    console: Console,
) -> None:
    """Say on stderr how files were read, what is missing or a bound, and what looks wrong.

    Parameters
    ----------
    files : mapping of str to str
        Each file, and how it was read.
    """
    for path, how in files.items():
        console.note(tr("Read {path} as {how}.", path=path, how=how))
    absent = [f"{name} {count}" for name, count in cells.missing.items() if count]
    if absent:
        console.note(tr("Missing values: {counts}.", counts=", ".join(absent)))
    for text in cells.notes(reading.nondetect):
        console.note(text)
    for text in cells.alarms(schema):
        console.warn(text)
