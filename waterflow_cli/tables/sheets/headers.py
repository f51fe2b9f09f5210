"""Headers over two rows: names under the titles of groups, or in cells that are merged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.numbers import is_missing_text
from waterflow_cli.tables.sheets.facts import Range
from waterflow_cli.tables.sheets.grid import Grid, is_empty, text_of_cell

if TYPE_CHECKING:
    from waterflow_cli.tables.headers import Header

_HEADER_ROWS = 50
# Under the name of a measurement, what is that measurement itself; as `fold_name` leaves it.
_VALUE = re.compile(r"val(?:ue|eur)?s?|res(?:ult(?:at)?s?)?|mesures?|measure(?:d|ment)?s?|conc")
_AS_NUMBER = re.compile(r"\s*[<>≤≥~+-]*\s*[.,]?[0-9]")


def join_header(grid: Grid, names: Header) -> int | None:
    """Write the names of a header over several rows into the last of them.

    Returns
    -------
    int or None
        The row, from 0; None where the header stands in one row.
    """
    rows = grid.rows
    merged = [each for each in grid.merged if each.top < min(len(rows), _HEADER_ROWS)]
    plain = max(
        (names.count_known(map(text_of_cell, cells)) for cells in rows[:_HEADER_ROWS]), default=0
    )
    best, most = None, plain
    for row in sorted({row for each in merged for row in (each.bottom, each.bottom + 1)}):
        if not 0 < row < len(rows) or any(isinstance(cell, float) for cell in rows[row]):
            continue
        cells = _joined(rows, row, merged, names)
        n_known = names.count_known(cells)
        splits_name = _names_group(rows, row, merged, names)
        if n_known > most or (best is None and splits_name):
            best, most = (row, cells), n_known
    if best is None:
        return None
    rows[best[0]] = best[1]
    return best[0]


def _joined(
    rows: Sequence[Sequence[Any]], row: int, merged: Sequence[Range], names: Header
) -> list[str]:
    """Give a row with the texts of merged cells that reach it, or stand as titles above it."""
    cells = [text_of_cell(cell).strip() for cell in rows[row]]
    grouped = {column for each in merged for column in range(each.left, each.right + 1)}
    for column, above in enumerate(rows[row - 1] if row else ()):
        if isinstance(above, str) and column not in grouped:
            cells[column] = cells[column] or above.strip()
    for each in merged:
        title = text_of_cell(rows[each.top][each.left]).strip() if each.left < len(cells) else ""
        if not title or each.top > row:
            continue
        for column in range(each.left, min(each.right + 1, len(cells))):
            if each.bottom >= row and each.top < row:
                cells[column] = cells[column] or title
            elif _is_above(each, row) and cells[column] and not names.column_of(cells[column]):
                is_value = _VALUE.fullmatch(fold_name(cells[column]))
                cells[column] = title if is_value else f"{title} {cells[column]}"
    return cells


def _is_above(group: Range, row: int) -> bool:
    """Say whether merged cells are the title of several columns right above a row."""
    return group.bottom == row - 1 and group.right > group.left


def _names_group(
    rows: Sequence[Sequence[Any]], row: int, merged: Sequence[Range], names: Header
) -> bool:
    """Say whether the title of a group right above a row is itself a known name.

    It then stands for none of the columns under it alone, where these have names and no values.
    """
    groups = [each for each in merged if _is_above(each, row)]
    below = [rows[row][each.left : each.right + 1] for each in groups]
    if any(_AS_NUMBER.match(text_of_cell(cell)) for cells in below for cell in cells):
        return False
    return any(
        names.column_of(text_of_cell(rows[each.top][each.left])) and not any(map(is_empty, cells))
        for each, cells in zip(groups, below, strict=True)
    )


def fill_merged(grid: Grid, first: int) -> list[Range]:
    """Give each row below the header the text of the merged cell that it is part of.

    A site or a date over several rows is that of each; a number is not given away.

    Returns
    -------
    list of Range
        Merged cells that hold a number, which stands in their first row alone.
    """
    unshared = []
    for each in grid.merged:
        if each.top < first or each.bottom == each.top or each.bottom >= len(grid.rows):
            continue
        value = grid.rows[each.top][each.left]
        if isinstance(value, str) and is_missing_text(value):
            continue
        if isinstance(value, float) or (isinstance(value, str) and _AS_NUMBER.match(value)):
            unshared.append(each)
            continue
        for row in range(each.top + 1, each.bottom + 1):
            grid.rows[row][each.left] = value
    return unshared
