"""Tables that lie on their side: a parameter in each row, a sample in each column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.headers import MOST_COLUMNS, check_header, fold_name
from waterflow_cli.tables.numbers import is_missing_text
from waterflow_cli.tables.sheets.facts import letters_of
from waterflow_cli.tables.sheets.grid import (
    Grid,
    arrow_columns,
    is_empty,
    text_of_cell,
)
from waterflow_cli.tables.table import Batch, CellNames, Table
from waterflow_cli.tables.units import parse_unit

if TYPE_CHECKING:
    from waterflow_cli.tables.headers import Header

SAMPLE = "sample_id"
# In how many first columns names are looked for, how far down, and how many tell.
_NAMING, _ROWS, _LEAST_NAMES = 3, 400, 3
# What stands at the head of a column that holds no sample, as `fold_name` leaves it.
_UNIT = re.compile(r"(unite|unit)s?(demesure)?|uom|measureunit|unitofmeasure")
_LIMIT = re.compile(
    r".*(limit|norme|standard|guideline|seuil|threshold|objecti[fv]|reference|permissible"
    r"|acceptable|admissible|allow(?:ed|able)|requirement|exigence|potabilite|critere|criteri"
    r"|grenzwert|target|specification).*|(valeur|value)s?(guide|parametrique|max|min)"
    r"|l[oiq]?[dq]|m[dcr]l|mrl|rl|pql|mac|mcl|smcl|pcv|cma|vma|spec"
    r"|oms|who|eu|ue|ce|epa|usepa|bis|is10500|fr|min|max|mini|maxi"
)
_OTHER = re.compile(
    r".*(method|technique|incertitude|uncertainty|accredit|remarque|remark|comment|observation"
    r"|conformite|compliance|interpretation|symbole|casnumber).*|cas|casno|norm|code|codesandre"
)
_NAMING_HEAD = re.compile(
    r"(parameter|parametre|measurement|analyte|determinand|element)s?|analyses?|designation"
)
_AS_VALUE = re.compile(r"[<>≤≥~]?\s*[+-]?[0-9][0-9\s\u00a0\u202f.,eE+-]*\W*.{0,12}")


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where what stands in such a table: rows and columns from 0."""

    naming: int
    head: int | None
    rows: Sequence[int]
    samples: Sequence[int]
    unit: int | None
    beside: Sequence[int] = field(default=())


def grid_of_text(text: bytes, sep: str) -> Grid:
    """Part all rows of a text file, one line for each row, by a separator."""
    lines = text.decode("utf-8", "replace").splitlines()
    rows = [next(csv.reader([line], delimiter=sep), []) for line in lines]
    return Grid(rows=rows, sep=sep)


def find_names(rows: Sequence[Sequence[Any]], names: Header) -> tuple[int, dict[int, str]]:
    """Find the column down which known names stand, each once.

    Returns
    -------
    tuple of int and dict of int to str
        The column, and the schema's name by row; empty where there is no such column.
    """
    best: tuple[int, dict[int, str]] = (0, {})
    for column in range(min(_NAMING, max(map(len, rows[:_ROWS]), default=0))):
        found = {}
        for row, cells in enumerate(islice(rows, _ROWS)):
            cell = cells[column] if column < len(cells) else ""
            if isinstance(cell, str) and cell.strip() and (name := names.column_of(cell.strip())):
                found[row] = name[0]
        # In a table of results they come again, sample by sample.
        is_plain = len(set(found.values())) == len(found) >= _LEAST_NAMES
        if is_plain and len(found) > len(best[1]):
            best = column, found
    return best


def count_names(rows: Sequence[Sequence[Any]], names: Header) -> int:
    """Count the names down a column, where samples stand beside it, and not limits alone."""
    naming, known = find_names(rows, names)
    has_samples = bool(known) and bool(_lay_out(rows, naming, list(known), names).samples)
    return len(known) if has_samples else 0


def turn(grids: Iterable[Grid], path: str, names: Header, dialect: Dialect) -> Table | None:
    """Present a table that lies on its side as one with a row for each sample.

    Parameters
    ----------
    grids : iterable of Grid
        The cells of the file, in each way in which they may be parted.

    Returns
    -------
    Table or None
        None where none of them lies on its side.

    Raises
    ------
    InputError
        If two rows have one name, there is no sample, or a unit is unknown.
    """
    found = [(grid, *find_names(grid.rows, names)) for grid in grids]
    grid, naming, known = max(found, key=lambda each: len(each[2]), default=(Grid(rows=[]), 0, {}))
    if not known:
        return None
    layout = _lay_out(grid.rows, naming, list(known), names)
    line = (layout.head or 0) + 1
    dialect = Dialect(
        encoding=dialect.encoding,
        doubtful=dialect.doubtful,
        sep=grid.sep,
        sheet=grid.sheet,
        header_line=line,
        first_line=line + 1,
    )
    if not layout.samples:
        raise InputError(
            path,
            "has a measurement in each row, and no column of a sample beside them.",
            line=next(iter(known)) + 1,
        )
    return _table(grid, layout, path, names, dialect)


def _lay_out(
    rows: Sequence[Sequence[Any]], naming: int, known: Sequence[int], names: Header
) -> _Layout:
    """Tell samples from units, limits and notes, by the head of their column and its cells."""
    head = _find_head(rows, naming, known[0])
    width = max(map(len, rows))
    samples, beside, unit = [], [], None
    for column in (each for each in range(width) if each != naming):
        cells = [_at(rows, row, column) for row in known]
        title = fold_name(text_of_cell(_at(rows, head, column))) if head is not None else ""
        filled = [cell for cell in cells if not is_empty(cell)]
        texts = [cell.strip() for cell in filled if isinstance(cell, str)]
        units = [text for text in texts if parse_unit(names.unit(text))]
        if unit is None and (_UNIT.fullmatch(title) or (units and 2 * len(units) > len(filled))):
            unit = column
        elif _LIMIT.fullmatch(title) or _OTHER.fullmatch(title):
            beside.append(column)
        elif filled and _holds_values(filled):
            samples.append(column)
        elif filled or (title and column > naming):
            beside.append(column)
    last = len(rows)
    taken = [row for row in range(last) if row != head and _has_sample(rows, row, naming, samples)]
    return _Layout(naming=naming, head=head, rows=taken, samples=samples, unit=unit, beside=beside)


def _find_head(rows: Sequence[Sequence[Any]], naming: int, first: int) -> int | None:
    """Find the row that names the columns, by the name of the parameters' or of the units' column.

    Else it is the one above the measurements, where it holds several texts.
    """
    for row in range(first - 1, -1, -1):
        texts = [cell for cell in rows[row] if not is_empty(cell)]
        label = fold_name(text_of_cell(_at(rows, row, naming)))
        if len(texts) > 1 and (_NAMING_HEAD.fullmatch(label) or _names_units(rows[row])):
            return row
    above = first - 1
    has_texts = above >= 0 and sum(not is_empty(cell) for cell in rows[above]) > 1
    return above if has_texts else None


def _names_units(cells: Sequence[Any]) -> bool:
    """Say whether a cell of a row is the title of a column of units."""
    return any(_UNIT.fullmatch(fold_name(cell)) for cell in cells if isinstance(cell, str))


def _has_sample(
    rows: Sequence[Sequence[Any]], row: int, naming: int, samples: Sequence[int]
) -> bool:
    """Say whether a row has a name, and may say something of each sample."""
    is_named = not is_empty(_at(rows, row, naming))
    return is_named and any(not is_empty(_at(rows, row, column)) for column in samples)


def _holds_values(cells: Sequence[Any]) -> bool:
    """Say whether most cells may be results: numbers, bounds, or words for none."""
    fitting = [
        not isinstance(cell, str)
        or is_missing_text(cell)
        or _AS_VALUE.fullmatch(cell.strip()) is not None
        for cell in cells
    ]
    return 2 * sum(fitting) >= len(cells)


def _at(rows: Sequence[Sequence[Any]], row: int, column: int) -> Any:
    cells = rows[row]
    return cells[column] if column < len(cells) else ""


def _table(grid: Grid, layout: _Layout, path: str, names: Header, dialect: Dialect) -> Table:
    rows, samples = grid.rows, layout.samples
    if len(samples) > MOST_COLUMNS:
        samples = samples[:MOST_COLUMNS]
    labels = [text_of_cell(_at(rows, row, layout.naming)).strip() for row in layout.rows]
    across = [letters_of(column) for column in samples]
    head = layout.head
    ids = [_sample_name(rows, head, column) for column in samples]
    own = SAMPLE if SAMPLE not in labels else f"{SAMPLE}_2"
    cells = [[_at(rows, row, column) for column in samples] for row in layout.rows]
    check_header([own, *labels], path, (head or 0) + 1)
    columns = dict(zip([own, *labels], arrow_columns([ids, *cells]), strict=True))
    lines = {label: row + 1 for label, row in zip(labels, layout.rows, strict=True)}
    n = len(samples)
    batch = Batch(
        columns=columns,
        lines=np.full(n, (head or 0) + 1, dtype=np.int64),
        cell_lines={label: np.full(n, line, dtype=np.int64) for label, line in lines.items()},
        cells=CellNames(grid.sheet, across=across),
        end=Position(n, 0),
    )
    units = _units(rows, layout, labels, path, names)
    return Table(
        path=path,
        columns=list(columns),
        _dialect=lambda: dialect,
        _blocks=lambda start: iter([] if start and start.offset else [lambda: batch]),
        sample=lambda: batch,
        names=names,
        units=units,
        remarks=lambda: [*grid.remarks, *_remarks(rows, layout, own)],
    )


def _sample_name(rows: Sequence[Sequence[Any]], head: int | None, column: int) -> str:
    named = "" if head is None else text_of_cell(_at(rows, head, column)).strip()
    return named or letters_of(column)


def _units(
    rows: Sequence[Sequence[Any]],
    layout: _Layout,
    labels: Sequence[str],
    path: str,
    names: Header,
) -> dict[str, str]:
    """Read the units of the measurements, where a column tells them."""
    units: dict[str, str] = {}
    if layout.unit is None:
        return units
    for row, label in zip(layout.rows, labels, strict=True):
        unit = text_of_cell(_at(rows, row, layout.unit)).strip()
        if is_missing_text(unit) or not names.column_of(label):
            continue
        if parse_unit(names.unit(unit)) is None:
            raise InputError(
                path,
                "row '{name}': '{unit}' is no known unit.",
                name=label,
                unit=unit,
                line=row + 1,
                hint=tr("Write it as in docs/reading.md."),
            )
        units[label] = unit
    return units


def _remarks(rows: Sequence[Sequence[Any]], layout: _Layout, own: str) -> list[Message]:
    """Say that the table was turned, and what stands beside the samples."""

    def shown(columns: Iterable[int]) -> str:
        titles = (_sample_name(rows, layout.head, column) for column in columns)
        return shorten(f"'{title}'" for title in titles)

    said = [
        Message(
            "turned: a measurement in each row, samples across ({names}) as {own}",
            names=shown(layout.samples),
            own=own,
        )
    ]
    if layout.unit is not None:
        said.append(Message("units in column {column}", column=shown([layout.unit])))
    if layout.beside:
        names = shown(layout.beside)
        said.append(Message("columns beside the samples NOT READ: {names}", names=names))
    return said
