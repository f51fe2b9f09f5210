"""How a text file is written: separator, header line, units row; found in its first bytes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import PurePath
from typing import NamedTuple

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import Message, joined, tr
from waterflow_cli.tables.csv_blocks import SEPARATORS
from waterflow_cli.tables.headers import ENOUGH_OF_LAYOUT, Header, check_header
from waterflow_cli.tables.numbers import is_missing_text
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.row_ends import check_header_quotes, open_quote_error
from waterflow_cli.tables.units import is_unit_of_amount, parse_unit

# How far down a header may stand, and how many rows say whether a separator fits.
_HEADER_ROWS = 50
# A row with so many known names is the header; fewer are weighed against the rows below.
_ENOUGH_NAMES = 5
_FITTING_SHARE = 0.8
_SEP_LINE = re.compile(rb'^"?sep=([,;|\t])"?[,;]*\s*$', re.IGNORECASE)
_BLANKS = " \t\r\n,;|"
_NUMBER = re.compile(r"[<>+-]?\s*\d[\d\s]*([.,]\d*)?")
# "1,000", "ND < 0,5": cells that a comma parts may also be one number.
_WITH_COMMAS = re.compile(r"[^\d,]{0,8}\d[\d\s.'\u2019]*(,\d[\d\s.'\u2019]*)+")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a table is written, and where its rows start.

    Attributes
    ----------
    encoding : str
        ``utf-8``, ``utf-8 with BOM`` or a name that Python knows; ``parquet``, ``xlsx`` or ``ods``
        for what holds no text.
    sep : str
        One character; empty where nothing separates cells, as in Parquet and JSON.
    header_line : int
        Physical line of the header.
    first_line : int
        Physical line on which the first row may start.
    units_line : int, optional
        Physical line of the row of units.
    n_above : int
        Lines above the header that hold something.
    unread_units_line : int, optional
        Physical line of one that names a unit, and says not of which column.
    doubtful : str
        A text that is of no language as it was decoded; empty where none was found.
    ends_in_separator : bool
        Whether each row ends in one separator more than the header has.
    layout : str
        What holds the rows where it is no text of cells: ``JSON lines``.
    sheet : str
        The sheet of a workbook; empty for any other file.
    """

    encoding: str
    sep: str
    header_line: int
    first_line: int
    units_line: int | None = None
    n_above: int = 0
    unread_units_line: int | None = None
    ends_in_separator: bool = False
    doubtful: str = ""
    layout: str = ""
    sheet: str = ""

    def __str__(self) -> str:
        parts: list[str] = [self.encoding]
        if self.doubtful:
            parts[0] = Message(
                "{encoding} (IN DOUBT for '{text}': --encoding names another)",
                encoding=self.encoding,
                text=self.doubtful,
            )
        if self.layout:
            parts.insert(0, Message(self.layout))
        if self.sheet:
            parts.append(Message("sheet {sheet}", sheet=repr(self.sheet)))
        if self.sep:
            sep = Message("tab") if self.sep == "\t" else repr(self.sep)
            parts.append(Message("separator {sep}", sep=sep))
        if self.n_above:
            parts.append(Message("header in line {line}", line=self.header_line))
        if self.units_line:
            parts.append(Message("units in line {line}, in no output", line=self.units_line))
        if self.unread_units_line:
            parts.append(Message("units in line {line} NOT READ", line=self.unread_units_line))
        if self.ends_in_separator:
            parts.append(Message("each row with one empty cell more than the header"))
        return joined(parts)


PARQUET = Dialect(encoding="parquet", sep="", header_line=1, first_line=2)


class Row(NamedTuple):
    """A row of text: its cells, the index of its first line, and of the one after its last."""

    cells: list[str]
    start: int
    end: int


@dataclass(frozen=True)
class Start:
    """What the first bytes of a file tell.

    Attributes
    ----------
    columns : list of str
        The header as written.
    rest : bytes
        What follows the header and the units.
    units : dict of str to str
        By column of the file: what the row of units says.
    """

    dialect: Dialect
    columns: list[str]
    rest: bytes
    units: dict[str, str] = field(default_factory=dict)


class StartReader:
    """Reads the first bytes of a text file.

    Parameters
    ----------
    names : Header
        Names by which a header is recognised; any first row is one where none is known.
    """

    def __init__(self, path: str, names: Header, options: ReadingOptions) -> None:
        self._path, self._names, self._options = path, names, options

    def holds_rows(self, start: bytes) -> bool:
        """Say whether the header ends within some bytes, and something follows it."""
        text = start.strip()
        if b"\n" not in text and b"\r" not in text:  # a closer look costs much more
            return False
        lines = start.splitlines(keepends=True)
        try:
            _, row = self._find_header(lines)
        except InputError:
            return False
        return row.end < len(lines)

    def read(self, start: bytes, encoding: str) -> Start:
        """Find the header in text that is UTF-8 now, whatever encoding it was written in.

        Raises
        ------
        InputError
            If there is no header, it is no text, it names a column twice, a quoted name is never
            closed, a unit is unknown, or two separators fit.
        """
        lines = start.splitlines(keepends=True)
        sep, row = self._find_header(lines)
        self._check_text(row)
        text = b"".join(lines[row.start : row.end])
        check_header_quotes(row.cells, text, sep, self._path, row.start + 1)
        columns = _name_empty(row.cells)
        check_header(columns, self._path, row.start + 1)
        above = [each for each in _rows(lines[: row.start], sep, 0) if each.end <= row.start]
        units, end, units_line = {}, row.end, None
        below = next((each for each in _rows(lines, sep, row.end) if each.end <= len(lines)), None)
        if below is not None and (units := self._units_in(below, columns, must_be=True)):
            end, units_line = below.end, below.start + 1
        if not units and above and (units := self._units_in(above[-1], columns, must_be=False)):
            units_line = above.pop().start + 1
        dialect = Dialect(
            encoding=encoding,
            sep=sep,
            header_line=row.start + 1,
            first_line=end + 1,
            units_line=units_line,
            n_above=sum(bool(line.strip()) for line in lines[: row.start]),
            unread_units_line=next((each.start + 1 for each in above if _names_unit(each)), None),
            ends_in_separator=_end_in_separator(_rows(lines, sep, end), len(columns)),
        )
        return Start(dialect, columns, b"".join(lines[end:]), units)

    def _find_header(self, lines: Sequence[bytes]) -> tuple[str, Row]:
        first = 0
        separators = self._separators()
        while first < len(lines) and not lines[first].strip():
            first += 1  # each separator would pass over them again
        if first < len(lines) and (match := _SEP_LINE.match(lines[first])):
            first += 1
            separators = [self._options.sep or match[1].decode()]
        if self._options.header_line is not None:
            first = self._options.header_line - 1
            if first >= len(lines):
                raise InputError(
                    self._path, tr("--header-line {line}: there is no such line.", line=first + 1)
                )
        named = self._by_names(lines, separators, first, self._names)
        n_known = self._names.count_known(named[1].cells) if named else 0
        laid_out = self._by_layouts(lines, separators, first, self._names.candidates(n_known))
        return laid_out or named or self._by_shape(lines, separators, first)

    def _by_layouts(
        self,
        lines: Sequence[bytes],
        separators: Sequence[str],
        first: int,
        layouts: Sequence[Header],
    ) -> tuple[str, Row] | None:
        """Find the header of another layout: the row with the most names of one."""
        best, most = None, ENOUGH_OF_LAYOUT - 1
        for names in layouts:
            found = self._by_names(lines, separators, first, names)
            if found and (n_known := names.count_known(found[1].cells)) > most:
                best, most = found, n_known
        return best

    def _separators(self) -> list[str]:
        if self._options.sep is not None:
            return [self._options.sep]
        is_tsv = ".tsv" in PurePath(self._path.lower()).suffixes
        return sorted(SEPARATORS, key=lambda sep: sep != "\t") if is_tsv else list(SEPARATORS)

    def _by_names(
        self, lines: Sequence[bytes], separators: Sequence[str], first: int, names: Header
    ) -> tuple[str, Row] | None:
        """Find the row with the most known names; None where two separators give as many."""
        n_rows = _HEADER_ROWS if self._options.header_line is None else 1
        best, most, is_tied = None, 0, False
        # Row by row, with each separator: most files have their header in the first one.
        rows = [
            [(sep, row) for row in islice(_rows(lines, sep, first), n_rows)] for sep in separators
        ]
        for sep, row in filter(None, chain.from_iterable(zip_longest(*rows))):
            is_below = best is not None and sep == best[0] and row.start > best[1].start
            if is_below and any(map(_is_number, row.cells)):  # the rows have begun
                break
            n_known = names.count_known(row.cells) if row.end <= len(lines) else 0
            if best is not None and n_known == most and row.start == best[1].start:
                is_tied = True
            if n_known > most and (n_known > 1 or _may_be_header(row.cells)):
                best, most, is_tied = (sep, row), n_known, False
            if most >= _ENOUGH_NAMES:
                return best
        return None if is_tied else best

    def _by_shape(
        self, lines: Sequence[bytes], separators: Sequence[str], first: int
    ) -> tuple[str, Row]:
        """Take the first row that is no comment, with the separator that the rows below share."""
        is_told = self._options.header_line is not None
        found: dict[str, Row] = {}
        fitting = []
        for sep in separators:
            rows = list(islice(_rows(lines, sep, first), _HEADER_ROWS))
            header = next((row for row in rows if is_told or not _is_comment(row)), None)
            if header is None:
                continue
            found[sep] = header
            below = [len(row.cells) for row in rows if row.start >= header.end]
            n_fitting = below.count(len(header.cells))
            # In a table of one column they are whole; what the comma marks is to be found out.
            is_number = sep == "," and len(header.cells) == 1 and any(map(_is_parted_number, rows))
            if n_fitting >= _FITTING_SHARE * len(below) and not is_number:
                fitting.append(sep)
        # A header of one cell counts only where no separator parts it.
        widest = max((len(row.cells) for row in found.values()), default=0)
        fitting = [sep for sep in fitting if len(found[sep].cells) > 1] or fitting[: widest == 1]
        if not found:
            hint = tr("A header and at least one row are expected.")
            raise InputError(self._path, "is empty.", hint=hint)
        if separators[0] == "\t" and "\t" in fitting:  # as the file's name says
            fitting = ["\t"]
        if len(fitting) > 1:
            raise InputError(
                self._path,
                "two separators fit: {first} and {second}.",
                first=repr(fitting[0]),
                second=repr(fitting[1]),
                line=found[fitting[0]].start + 1,
                hint=tr("Say which one separates the cells: --sep"),
            )
        chosen = fitting[0] if fitting else max(found, key=lambda sep: len(found[sep].cells))
        header = found[chosen]
        if header.end > len(lines):
            raise open_quote_error(self._path, header.cells, header.start + 1)
        return chosen, header

    def _units_in(self, row: Row, columns: Sequence[str], *, must_be: bool) -> dict[str, str]:
        """Read a row beside the header as one of units; empty if it is none.

        What is no unit beside others that are is refused if it must be one: a title may say
        what it likes.
        """
        cells = {
            column: cell.strip()
            for column, cell in zip(columns, row.cells, strict=False)
            if self._names.column_of(column) and not is_missing_text(cell)
        }
        if not self._names.has_units or any(map(_is_number, cells.values())):
            return {}
        unknown = {
            column: cell for column, cell in cells.items() if not parse_unit(self._names.unit(cell))
        }
        if len(unknown) == len(cells) or (unknown and not must_be):
            return {}
        for column, unit in unknown.items():
            raise InputError(
                self._path,
                "column {column}: '{unit}' is no known unit.",
                column=column,
                unit=unit,
                line=row.start + 1,
                hint=tr("Write it as in docs/reading.md, or pass over the line: --header-line"),
            )
        return cells

    def _check_text(self, row: Row) -> None:
        text = "".join(row.cells)
        if any("\udc80" <= character <= "\udcff" for character in text):
            raise InputError(
                self._path,
                "the header is not text in UTF-8.",
                line=row.start + 1,
                hint=tr("If it is a table, name its encoding: --encoding"),
            )


def _rows(lines: Sequence[bytes], sep: str, first: int) -> Iterator[Row]:
    """Yield the rows that hold something; one whose quoted cell is open ends beyond the lines."""
    # Bytes that are not UTF-8 become surrogates here, so that a message can show their place.
    texts = (line.decode("utf-8", errors="surrogateescape") for line in islice(lines, first, None))
    # The line added at the end is a row of its own, or is swallowed by an open quote.
    reader = csv.reader(chain(texts, ["end"]), delimiter=sep)
    start = first
    for cells in reader:
        end = first + reader.line_num
        if start < len(lines) and "".join(cells).strip(_BLANKS):
            yield Row(cells, start, end)
        start = end


def _end_in_separator(rows: Iterator[Row], n_columns: int) -> bool:
    """Say whether the first rows all have one empty cell more than the header."""
    last = [row.cells[n_columns:] for row in islice(rows, _HEADER_ROWS)]
    return bool(last) and all(cells == [""] for cells in last)


def _names_unit(row: Row) -> bool:
    """Say whether a unit of an amount stands anywhere in a row of text."""
    words = (word for cell in row.cells for word in re.split(r"[\s,;:()\[\]]+", cell))
    return any(is_unit_of_amount(word) for word in words)


def _is_parted_number(row: Row) -> bool:
    return len(row.cells) > 1 and _WITH_COMMAS.fullmatch(",".join(row.cells)) is not None


def _is_comment(row: Row) -> bool:
    return row.cells[0].lstrip().startswith("#")


def _name_empty(cells: Sequence[str]) -> list[str]:
    """Give the second empty name of a header, and those after it, names of their own."""
    # Spreadsheets write such columns where cells beside the table were once used.
    first = next((place for place, cell in enumerate(cells) if not cell.strip()), -1)
    return [
        cell if cell.strip() or place == first else f"unnamed_{place + 1}"
        for place, cell in enumerate(cells)
    ]


def _is_number(cell: str) -> bool:
    # Blanks that the pattern might share out among its parts would cost the square of their number.
    return _NUMBER.fullmatch(cell.strip()) is not None


def _may_be_header(cells: Sequence[str]) -> bool:
    """Tell a header of one known name from a row of a table with such names among its cells."""
    return len(cells) > 1 and not any(map(_is_number, cells))
