"""What a sheet holds besides the values that a library gives: errors, formulas, hidden rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree import ElementTree as ET
from xml.parsers import expat
from xml.sax.saxutils import escape, unescape

import numpy as np
from numpy.typing import NDArray

from waterflow_cli.common.arrays import IntArray
from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.headers import MOST_COLUMNS
from waterflow_cli.tables.sheets.archives import WorkbookArchive
from waterflow_cli.tables.units import is_unit_of_amount

# A sheet is held as a rectangle: one of more cells must not be nearly empty.
_MOST_CELLS, _MOST_SPARSE = 1 << 24, 20
_CELL = rb"<c\b"
_END = rb"</c>"
_ERROR = re.compile(_CELL + rb'([^>]*\bt="e"[^>]*)>(.*?)' + _END, re.DOTALL)
_VALUE = re.compile(rb"<v\b[^>]*>([^<]*)<")
# A formula that was never computed. One that gives an empty text has the type "str".
_UNCOMPUTED = re.compile(
    _CELL + rb"([^>]*)>\s*<f\b[^>]*?(?:/>|>([^<]*)</f>)\s*"
    rb"(?:<v\b[^>]*/>|<v\b[^>]*></v>)?\s*" + _END
)
_STYLED = re.compile(_CELL + rb'([^>]*\bs="([0-9]+)"[^>]*)>')
_PREFIX = re.compile(rb"<(\w+):worksheet\b")
_PLACE = re.compile(rb'\br="([A-Z]+)([0-9]+)"')
_MERGED = re.compile(rb'<mergeCell\b[^>]*\bref="([A-Z]+)([0-9]+):([A-Z]+)([0-9]+)"')
_HIDDEN = re.compile(rb'<(row|col)\b([^>]*\bhidden="(?:1|true)"[^>]*)>')
_CELL_NAME = re.compile(r"([A-Z]+)([0-9]+)")
_NUMBER_OF = re.compile(rb'\b(r|min|max)="([0-9]+)"')
_CONDITION = re.compile(r"\[[^\]]*\]|\\(?=[<>])")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)')
# What a format shows beside a number: not blanks, brackets or the dash of a sign.
_TELLING = re.compile(r"[^\W\d_]|[*~≈±†‡#!?]")
_OF_DATES = re.compile(r"(?i)[ymdhs]")
_PERCENT: dict[str | None, str] = {"9": "0%", "10": "0.00%"}
_THOUSANDTHS = re.compile(r"[0#?],+(?![0#?,])")
_DIGIT = re.compile(r"[0#?]|(?i:general|standard)")
_MOST_DIGITS = 7


class Range(NamedTuple):
    """Cells of a sheet: rows and columns from 0, the last ones included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(kw_only=True)
class SheetFacts:
    """What the text of a sheet tells.

    Attributes
    ----------
    n_rows, n_columns, n_cells : int
        How far its cells reach from the first one, and how many there are.
    n_unplaced, n_rows_told : int
        Cells that do not say where they stand, and rows.
    texts : dict of (int, int) to str
        By row and column, from 0: what stands in a cell of which a library says that it is empty.
    n_uncomputed : int
        Formulas without a value among these.
    signs : dict of (int, int) to str
        Where the format of a number shows it as a bound.
    shown : list of str
        What else formats of numbers show: units, marks, percent; in an .ods file signs of bounds.
    comments : dict of (int, int) to str
        By row and column, from 0: comments on cells.
    hidden_rows, hidden_columns : list of int
        From 1.
    """

    n_rows: int = 0
    n_columns: int = 0
    n_cells: int = 0
    n_unplaced: int = 0
    n_rows_told: int = 0
    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    n_uncomputed: int = 0
    signs: dict[tuple[int, int], str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    comments: dict[tuple[int, int], str] = field(default_factory=dict)
    merged: list[Range] = field(default_factory=list)
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[int] = field(default_factory=list)

    def check_size(self, path: str) -> None:
        """Refuse cells that lie so far apart that what lies between them fills a memory."""
        n_rows = max(self.n_rows, self.n_rows_told)
        n_columns = max(self.n_columns, self.n_unplaced)
        if n_rows * n_columns > max(_MOST_CELLS, _MOST_SPARSE * self.n_cells):
            raise InputError(
                path,
                "its cells lie far apart: rows {n_rows}, columns {n_columns}.",
                n_rows=n_rows,
                n_columns=n_columns,
                hint=tr("Delete what stands far from the table."),
            )


def letters_of(column: int) -> str:
    """Name a column, from 0, as spreadsheets do.

    >>> letters_of(0), letters_of(25), letters_of(26)
    ('A', 'Z', 'AA')
    """
    letters = ""
    number = column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def column_of(letters: str) -> int:
    """Give the number of a column, from 0, by its name.

    >>> column_of("AA")
    26
    """
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def read_facts(archive: WorkbookArchive, sheet: str) -> SheetFacts:
    """Read what the text of a sheet tells.

    Raises
    ------
    InputError
        If it is damaged, or its cells lie too far apart.
    """
    if archive.is_ods:
        facts = _OdsReader(archive, sheet).facts
    else:
        facts = SheetFacts()
        formats = _Formats(archive)
        for rows in _whole_rows(archive.pieces(archive.sheet_parts.get(sheet, ""))):
            _look_through(rows, archive, facts, formats)
        facts.comments = dict(_comments(archive, sheet))
    facts.check_size(archive.path)
    return facts


def _comments(archive: WorkbookArchive, sheet: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Read the comments on the cells of a sheet."""
    for part in archive.comment_parts(sheet):
        root = archive.parse(part)
        for each in _named([] if root is None else root.iter(), "comment"):
            if match := _CELL_NAME.fullmatch(each.get("ref", "")):
                place = int(match[2]) - 1, column_of(match[1])
                yield place, "".join(each.itertext()).strip()


def _whole_rows(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut the text of a sheet between rows, and leave out the prefix of its names."""
    carry, prefix = b"", b""
    for number, piece in enumerate(pieces):
        if number == 0 and (match := _PREFIX.search(piece)):
            prefix = match[1] + b":"
        text = carry + piece
        cut = max(0, text.rfind(b"<" + prefix + b"row"))
        text, carry = text[:cut], text[cut:]
        yield _without(prefix, text)
    yield _without(prefix, carry)


def _without(prefix: bytes, text: bytes) -> bytes:
    if prefix:
        text = text.replace(b"<" + prefix, b"<").replace(b"</" + prefix, b"</")
    return text.replace(b"'", b'"') if b"'" in text else text


def _look_through(
    text: bytes, archive: WorkbookArchive, facts: SheetFacts, formats: _Formats
) -> None:
    """Look through some rows of a sheet, or what stands before and after them."""
    signs = _Signs.of(text)
    if signs.are_spaced:  # as no usual writer puts it
        signs = _Signs.of(text := re.sub(rb'\s*=\s*"', b'="', text))
    _extend(facts, signs)
    for cell in _ERROR.finditer(text) if signs.hold_errors else ():
        found = _VALUE.search(cell[2])
        facts.texts[_place(cell[1], archive)] = _decoded(found[1]) if found else "#?"
    for cell in _UNCOMPUTED.finditer(text) if signs.count_elements("f") else ():
        if b't="str"' not in cell[1]:
            facts.texts[_place(cell[1], archive)] = f"={_decoded(cell[2] or b'')}"
            facts.n_uncomputed += 1
    if signs.count_elements("m"):
        facts.merged += [_range(*match.groups()) for match in _MERGED.finditer(text)]
    for kind, attributes in _HIDDEN.findall(text) if len(signs.attributes_in("n")) else ():
        told = {name: int(number) for name, number in _NUMBER_OF.findall(attributes)}
        if kind == b"row":
            facts.hidden_rows.append(told.get(b"r", 0))
        else:
            last = min(told.get(b"max", 0), MOST_COLUMNS)
            facts.hidden_columns += range(told.get(b"min", 1), last + 1)
    formats.find(text, facts)


class _Signs(NamedTuple):
    """A text of a sheet by its equals signs and its brackets.

    A text holds millions of them, and little of what is looked for: arrays tell in a few
    milliseconds whether a pattern need be sought.
    """

    view: NDArray[np.uint8]
    equals: IntArray
    opens: NDArray[np.bool_]

    @classmethod
    def of(cls, text: bytes) -> _Signs:
        view = np.frombuffer(text + b"\0" * 16, dtype=np.uint8)
        return cls(view, np.flatnonzero(view == ord("=")), view[:-1] == ord("<"))

    def count_elements(self, first: str) -> int:
        """Count the elements whose names begin with a letter."""
        return int(np.count_nonzero(self.opens & (self.view[1:] == ord(first))))

    def attributes_in(self, last: str) -> IntArray:
        """Give the equals signs of attributes whose names end in a letter."""
        found: IntArray = self.equals[self.view[self.equals - 1] == ord(last)]
        return found

    @property
    def hold_errors(self) -> bool:
        """Whether an attribute such as ``t="e"`` stands anywhere."""
        values = self.attributes_in("t") + 2
        return bool(((self.view[values] == ord("e")) & (self.view[values + 1] == ord('"'))).any())

    @property
    def are_spaced(self) -> bool:
        """Whether a blank stands beside any of them."""
        beside = (self.view[self.equals + step] <= ord(" ") for step in (-1, 1))
        return any(blank.any() for blank in beside)


def _extend(facts: SheetFacts, signs: _Signs) -> None:
    """Count in how many rows and columns cells name, and how many cells there are.

    A library makes room for all cells up to the last one that is named, so each is looked at.
    """
    view, place = signs.view, signs.attributes_in("r") + 2
    columns, rows = np.zeros((2, len(place)), dtype=np.int64)
    for first, base, counted in ((ord("A"), 26, columns), (ord("0"), 10, rows)):
        for _ in range(_MOST_DIGITS):
            digit = view[place] - np.uint8(first)
            is_digit = digit < base
            if not is_digit.any():
                break
            np.copyto(counted, counted * base + digit + (base == 26), where=is_digit)
            place += is_digit
    # Cells need not say where they stand: they then follow one another.
    n_placed, n_cells = int(np.count_nonzero(columns)), signs.count_elements("c")
    facts.n_rows = max(facts.n_rows, int(rows.max(initial=0)))
    facts.n_unplaced += max(0, n_cells - n_placed)
    facts.n_rows_told += signs.count_elements("r")
    facts.n_columns = max(facts.n_columns, int(columns.max(initial=0)))
    facts.n_cells += n_cells


def _place(attributes: bytes, archive: WorkbookArchive) -> tuple[int, int]:
    if (match := _PLACE.search(attributes)) is None:
        raise InputError(
            archive.path,
            "an error value or a formula does not say in which cell it stands.",
            hint=tr("Open the workbook in a spreadsheet program and save it again."),
        )
    return int(match[2]) - 1, column_of(match[1].decode())


def _range(left: bytes, top: bytes, right: bytes, bottom: bytes) -> Range:
    return Range(int(top) - 1, column_of(left.decode()), int(bottom) - 1, column_of(right.decode()))


def _decoded(text: bytes) -> str:
    return unescape(text.decode("utf-8", "replace"), {"&quot;": '"', "&apos;": "'"})


class _Formats:
    """The formats of a workbook by which numbers are shown as bounds, or as other than they are."""

    def __init__(self, archive: WorkbookArchive) -> None:
        self._archive = archive
        styles = archive.parse("xl/styles.xml")
        parts = [] if styles is None else list(styles.iter())
        told = (
            (each.get("numFmtId"), each.get("formatCode", "")) for each in _named(parts, "numFmt")
        )
        codes: dict[str | None, str] = {**_PERCENT, **dict(told)}
        used = [each.get("numFmtId") for group in _named(parts, "cellXfs") for each in group]
        self._signs: dict[int, str] = {}
        self._shown: dict[int, str] = {}
        for style, key in enumerate(used):
            code = _CONDITION.sub("", codes.get(key, ""))
            if "<" in code or ">" in code:
                self._signs[style] = "<" if "<" in code else ">"
            elif shown := _shown_beside(code):
                self._shown[style] = shown

    def find(self, text: bytes, facts: SheetFacts) -> None:
        """Note the cells of some rows that have such a format."""
        if not self._signs and not self._shown:
            return
        for attributes, number in _STYLED.findall(text):
            style = int(number)
            if style in self._signs:
                facts.signs[_place(attributes, self._archive)] = self._signs[style]
            is_number = not attributes.endswith(b"/") and (
                b' t="' not in attributes or b' t="n"' in attributes
            )
            if is_number and self._shown.get(style, "") not in ("", *facts.shown):
                facts.shown.append(self._shown[style])


def _shown_beside(code: str) -> str:
    """Tell what a format makes of a number: a unit, a mark, another size, or nothing at all.

    >>> [_shown_beside(code) for code in ('0.0" mg/L"', "0.0%", "0.00_-", ";;;")]
    ['mg/L', '%', '', ';;;']
    """
    bare = _LITERAL.sub("", code)
    literals = ["".join(each).strip() for each in _LITERAL.findall(code)]
    if unit := next(filter(is_unit_of_amount, literals), ""):
        return unit
    if not code or _OF_DATES.search(re.sub("(?i)general|standard", "", bare)):
        return ""
    if "%" in bare:
        return "%"
    if _THOUSANDTHS.search(bare) or not _DIGIT.search(bare.partition(";")[0]):
        return code if not literals else " ".join(literals)
    return next(filter(_TELLING.search, literals), "")


def _named(parts: Iterable[ET.Element], name: str) -> Iterable[ET.Element]:
    return (each for each in parts if each.tag.rpartition("}")[2] == name)


def _ods_format(sign: str) -> re.Pattern[bytes]:
    return re.compile(rb"<number:text>[^<]*" + escape(sign).encode())


class _OdsReader:
    """Goes over the elements of an .ods file for one of its sheets."""

    def __init__(self, archive: WorkbookArchive, sheet: str) -> None:
        self.facts = SheetFacts()
        self._sheet, self._is_inside = sheet, False
        self._row = self._column = self._n_columns_told = 0
        self._n_alike = self._width = self._last = 0
        self._missing: tuple[int, int] | None = None
        self._said = ""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text := archive.read("content.xml"), True)
        except expat.ExpatError as exc:
            raise InputError(
                archive.path, "the workbook is damaged or cut short ({cause}).", cause=exc
            ) from exc
        self.facts.shown += [sign for sign in "<>" if _ods_format(sign).search(text)]

    def _start(self, name: str, told: dict[str, str]) -> None:
        if name == "table:table":
            self._is_inside = told.get("table:name") == self._sheet
        elif not self._is_inside:
            return
        elif name == "table:table-row":
            self._column = self._width = 0
            self._n_alike = int(told.get("table:number-rows-repeated", 1))
            if told.get("table:visibility", "visible") != "visible":
                self.facts.hidden_rows += range(
                    self._row + 1, self._row + min(self._n_alike, 1000) + 1
                )
        elif name == "table:table-column":
            n = int(told.get("table:number-columns-repeated", 1))
            if told.get("table:visibility", "visible") != "visible":
                first = self._n_columns_told + 1
                self.facts.hidden_columns += range(first, first + min(n, 1000))
            self._n_columns_told += n
        elif name in ("table:table-cell", "table:covered-table-cell"):
            self._start_cell(told)
        elif name == "office:annotation":
            self.facts.comments[self._row, self._last] = ""

    def _start_cell(self, told: dict[str, str]) -> None:
        n = int(told.get("table:number-columns-repeated", 1))
        self._last = self._column
        is_error = told.get("calcext:value-type") == "error"
        if is_error or ("table:formula" in told and "office:value-type" not in told):
            self._missing = self._row, self._column
            self._said = "" if is_error else "=" + told.get("table:formula", "").partition("=")[2]
            self.facts.n_uncomputed += not is_error
        if "office:value-type" in told or self._missing:
            self._width = self._column + n
            self.facts.n_cells += 1
        down = int(told.get("table:number-rows-spanned", 1))
        across = int(told.get("table:number-columns-spanned", 1))
        if down * across > 1:
            self.facts.merged.append(
                Range(self._row, self._column, self._row + down - 1, self._column + across - 1)
            )
        self._column += n

    def _text(self, text: str) -> None:
        if self._missing is not None:
            self._said += text

    def _end(self, name: str) -> None:
        if not self._is_inside:
            return
        if name in ("table:table-cell", "table:covered-table-cell"):
            if self._missing is not None:
                self.facts.texts[self._missing] = self._said or "#?"
            self._missing = None
        elif name == "table:table-row":
            self._row += self._n_alike
            if self._width:
                self.facts.n_rows = self._row
                self.facts.n_columns = max(self.facts.n_columns, self._width)
