"""Read the sheet of a workbook that holds the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from waterflow_cli.common.errors import InputError, UsageError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, clipped, tr
from waterflow_cli.tables.sheets.archives import WorkbookArchive
from waterflow_cli.tables.sheets.facts import SheetFacts, letters_of, read_facts
from waterflow_cli.tables.sheets.grid import Grid, is_empty, text_of_cell
from waterflow_cli.tables.sheets.transposed import count_names

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

    from waterflow_cli.tables.headers import Header

# As far down as a header is looked for.
_HEADER_ROWS = 50
_LEAST_NAMES = 2


def read_sheet(file: IO[bytes], path: str, names: Header, sheet: str | None) -> Grid:
    """Read the sheet that is named, else the one that holds a table of the names.

    Raises
    ------
    InputError
        If the workbook is damaged, holds no table, or holds several.
    UsageError
        If it has no sheet of that name.
    """
    archive = WorkbookArchive(file, path)
    return _Workbook(archive, path).read(names, sheet)


class _Workbook:
    def __init__(self, archive: WorkbookArchive, path: str) -> None:
        from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum, load_workbook

        self._archive, self._path, self._errors = archive, path, CalamineError
        archive.check_shared()
        archive.file.seek(0)
        try:
            self._book: CalamineWorkbook = load_workbook(archive.file)
            told = self._book.sheets_metadata
        except CalamineError as exc:
            raise self._damaged(exc) from exc
        sheets = [each for each in told if each.typ is SheetTypeEnum.WorkSheet]
        self._names = [each.name for each in sheets]
        self._hidden = [
            each.name for each in sheets if each.visible is not SheetVisibleEnum.Visible
        ]

    def read(self, names: Header, sheet: str | None) -> Grid:
        if sheet is not None:
            return self._read(self._named(sheet))
        shown = [name for name in self._names if name not in self._hidden]
        if len(shown) == 1:
            return self._read(shown[0])
        grids = [grid for grid in map(self._read, shown) if any(map(any, grid.rows))]
        found = [grid for grid in grids if _count_names(grid, names) >= _LEAST_NAMES] or grids
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(
                self._path, "is empty.", hint=tr("A header and at least one row are expected.")
            )
        raise InputError(
            self._path,
            "several sheets hold a table: {names}.",
            names=shorten(f"'{grid.sheet}'" for grid in found),
            hint=tr("Say which one is to be read: --sheet {name}", name=repr(found[0].sheet)),
        )

    def _named(self, sheet: str) -> str:
        by_fold = {name.casefold(): name for name in self._names}
        if sheet in self._names or sheet.casefold() in by_fold:
            return sheet if sheet in self._names else by_fold[sheet.casefold()]
        raise UsageError(
            tr("--sheet {sheet}: {path} has no such sheet.", sheet=sheet, path=self._path)
            + did_you_mean(sheet, self._names),
            tr("It has: {names}", names=shorten(f"'{name}'" for name in self._names)),
        )

    def _read(self, name: str) -> Grid:
        facts = read_facts(self._archive, name)
        try:
            rows = self._book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        except self._errors as exc:
            raise self._damaged(exc) from exc
        _put_in(rows, facts)
        form = "ods" if self._archive.is_ods else "xlsx"
        remarks = [*_remarks_on(facts, rows), *self._remarks_on_others(name)]
        return Grid(rows=rows, sheet=name, form=form, merged=facts.merged, remarks=remarks)

    def _remarks_on_others(self, name: str) -> Iterator[Message]:
        others = [each for each in self._names if each != name]
        if hidden := [each for each in others if each in self._hidden]:
            yield Message("hidden sheets not read: {names}", names=shorten(hidden))
        if shown := [each for each in others if each not in self._hidden]:
            yield Message("other sheets not read: {names}", names=shorten(shown))

    def _damaged(self, cause: Exception) -> InputError:
        return InputError(
            self._path, "the workbook is damaged or cut short ({cause}).", cause=cause
        )


def _put_in(rows: list[list[Any]], facts: SheetFacts) -> None:
    """Put in what the library left empty, and the signs of bounds."""
    places = [*facts.texts, *facts.signs]
    n_columns = max([len(rows[0]) if rows else 0, *(column + 1 for _, column in places)])
    n_rows = max([len(rows), *(row + 1 for row, _ in places)])
    if n_rows > len(rows) or (rows and n_columns > len(rows[0])):
        for cells in rows:
            cells += [""] * (n_columns - len(cells))
        rows += ([""] * n_columns for _ in range(n_rows - len(rows)))
    for (row, column), text in facts.texts.items():
        rows[row][column] = text
    for (row, column), sign in facts.signs.items():
        if isinstance(rows[row][column], float):
            rows[row][column] = sign + text_of_cell(rows[row][column])


def _remarks_on(facts: SheetFacts, cells: Sequence[Sequence[Any]]) -> Iterator[Message]:
    if rows := [row for row in facts.hidden_rows if 0 < row <= len(cells)]:
        yield Message("hidden rows read: {rows}", rows=shorten(_runs(rows)))
    width = max(map(len, cells), default=0)
    if columns := [column for column in facts.hidden_columns if 0 < column <= width]:
        names = (letters_of(column - 1) for column in columns)
        yield Message("hidden columns read: {columns}", columns=shorten(names))
    if facts.n_uncomputed:
        yield Message("formulas WITHOUT A VALUE: {n}", n=facts.n_uncomputed)
    if facts.shown:
        shown = shorten(map(repr, facts.shown))
        yield Message("shown by formats of numbers, and NOT READ: {shown}", shown=shown)
    if facts.comments:
        told = (
            f"{letters_of(column)}{row + 1}" + (f" {clipped(text)!r}" if text else "")
            for (row, column), text in facts.comments.items()
        )
        yield Message("comments on cells NOT READ: {cells}", cells=shorten(told))
    if facts.signs:
        yield Message("numbers shown as bounds by their format: {n}", n=len(facts.signs))


def _runs(numbers: Sequence[int]) -> Iterator[str]:
    """Write numbers, those that follow one another as a run.

    >>> list(_runs([2, 5, 6, 7]))
    ['2', '5-7']
    """
    rest = iter(sorted(set(numbers)))
    first = last = next(rest)
    for number in rest:
        if number != last + 1:
            yield f"{first}-{last}" if last > first else f"{first}"
            first = number
        last = number
    yield f"{first}-{last}" if last > first else f"{first}"


def _count_names(grid: Grid, names: Header) -> int:
    """Count the known names in a row of the top, or down one of the first columns."""
    filled = islice((cells for cells in grid.rows if any(cells)), _HEADER_ROWS)
    top = [[text_of_cell(cell) for cell in cells if not is_empty(cell)] for cells in filled]

    def across(header: Header) -> int:
        return max(map(header.count_known, top), default=0)

    n_known = max(across(names), count_names(grid.rows, names))
    return max(n_known, *map(across, names.candidates(n_known)), 0)
