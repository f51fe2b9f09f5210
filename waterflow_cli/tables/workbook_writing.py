"""Write rows for Excel: as a workbook, or as text that a French one opens as it is.

A cell holds the digits that the input has: no library rounds them on the way.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    arrow_numbers,
    arrow_texts,
    as_bools,
    empty_cells,
    filled,
    joined,
    text_bytes,
    where_else,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.writing import (
    BytesWriter,
    DelimitedWriter,
    EncodedRows,
    Sink,
    TableWriter,
    Unclosed,
    converted,
    text_of,
)

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 1 << 20, 1 << 14, 32767
ROWS, FINDINGS = "Rows", "Findings"
_SPOOL_BYTES = 16 << 20
# A number that a spreadsheet keeps as it is: names such as 007, 12E5 and 12.10, and whole numbers
# of more digits than it has, stay texts. In a column of numbers a last zero says nothing.
_NAME = r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{0,12}[1-9])?$"
_NUMBER = r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,20})?$"
_WITH_COMMA = _NUMBER.replace(r"\.", ",")
# A number or a bound, and one of which a comma would leave open whether it parts thousands.
_POINTED = (
    r"^([^0-9.,]{0,12}[0-9 '\x{a0}\x{202f}\x{2019}]*)"
    r"\.([0-9]+(?:[eE][+-]?[0-9]+)?(?:[^0-9.,].{0,20})?)$"
)
_UNCLEAR = r"^(\s*[<>≤≥=~]*\s*[+-]?[1-9][0-9]{0,2},[0-9]{3})$"
_GROUPS = r"[0-9]{1,3}(?:,[0-9]{3})+"
_BOM = b"\xef\xbb\xbf"
# What XML cannot hold, what a parser would change, and what reads as such an escape.
_SPECIAL = r"[&<>\x00-\x08\x0b-\x1f\x{fffe}\x{ffff}]|_x[0-9A-Fa-f]{4}_"
_WIDE = {"reason": 60, "message": 60, "model_version": 20, "verdict": 20}
_LEAST_WIDTH = 10
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_FORMAT = '<xf numFmtId="0" fontId="{font}" fillId="0" borderId="0" {more}/>'
_FONT = '<font>{bold}<sz val="11"/><name val="Calibri"/></font>'
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="2">{_FONT.format(bold="")}'
    f'{_FONT.format(bold="<b/>")}</fonts><fills count="2"><fill><patternFill patternType="none"/>'
    '</fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border>'
    "<left/><right/><top/><bottom/><diagonal/></border></borders>"
    f'<cellStyleXfs count="1">{_FORMAT.format(font=0, more="")}</cellStyleXfs><cellXfs count="2">'
    + _FORMAT.format(font=0, more='xfId="0"')
    + _FORMAT.format(font=1, more='xfId="0" applyFont="1"')
    + '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/>'
    "</cellStyles></styleSheet>"
)


class WorkbookWriter(TableWriter):
    """A workbook with a sheet of rows and, where any come, one of findings.

    As a context it ends the file; where an error ends it, the file stays without its end.
    """

    def __init__(self, sink: Sink) -> None:
        self._archive = zipfile.ZipFile(Unclosed(sink), "w", zipfile.ZIP_DEFLATED)
        self._rows = _Sheet(self._archive.open(_part("xl/worksheets/sheet1.xml"), "w"), ROWS)
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._findings = _Sheet(self._spool, FINDINGS)

    @property
    def findings(self) -> TableWriter:
        """What takes the findings of the rows."""
        return self._findings

    def encode(self, columns: Mapping[str, pa.Array]) -> Any:
        """Put some rows into cells; see `TableWriter.encode`."""
        self._rows.marks, self._rows.numeric = self.marks, self.numeric
        return self._rows.encode(columns)

    def append(self, encoded: Any) -> None:
        """Write rows.

        Raises
        ------
        UsageError
            If a sheet cannot hold so many.
        """
        self._rows.append(encoded)

    def __enter__(self) -> WorkbookWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # what is collected later must not write to the closed part file
            self._archive.fp = io.BytesIO()
        with self._spool, self._archive:
            self._rows.close()
            self._rows.file.close()
            if self._findings.n_rows > 1:
                self._findings.close()
                self._spool.seek(0)
                with self._archive.open(_part("xl/worksheets/sheet2.xml"), "w") as part:
                    shutil.copyfileobj(self._spool, part)
            sheets = [sheet for sheet in (self._rows, self._findings) if sheet.n_rows > 1]
            for name, text in _frame(sheets or [self._rows]).items():
                self._archive.writestr(_part(name), text)


class _Sheet(TableWriter):
    """One sheet: its rows as they are written to a file."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.n_rows = 0
        self._letters: list[str] = []

    def encode(self, columns: Mapping[str, pa.Array]) -> tuple[list[str], list[pa.Array]]:
        """Give the content of the cells, to be put into their places by `append`."""
        return list(columns), [self._cells(name, column) for name, column in columns.items()]

    def append(self, encoded: tuple[list[str], list[pa.Array]]) -> None:
        """Write rows."""
        names, cells = encoded
        if not self.n_rows:
            self._start(names)
        if not cells or not len(cells[0]):
            return
        first, self.n_rows = self.n_rows + 1, self.n_rows + len(cells[0])
        if self.n_rows > MOST_ROWS:
            raise UsageError(
                "A sheet holds {most} rows at most.",
                tr("Write to .csv or .parquet instead."),
                most=MOST_ROWS,
            )
        rows = arrow_texts([str(row) for row in range(first, self.n_rows + 1)])
        placed = [
            where_else(
                arrow_numbers(empty_cells(each)), "", joined(f'<c r="{letter}', rows, '"', each)
            )
            for letter, each in zip(self._letters, cells, strict=True)
        ]
        self.file.write(text_bytes(joined('<row r="', rows, '">', *placed, "</row>")))

    def close(self) -> None:
        """End the sheet."""
        if not self.n_rows:
            self._start([])
        area = f'<autoFilter ref="{self.area}"/>' if self._letters else ""
        self.file.write(f"</sheetData>{area}</worksheet>".encode())

    @property
    def area(self) -> str:
        """The cells that the filters are for."""
        return f"A1:{self._letters[-1]}{self.n_rows}" if self._letters else ""

    def _start(self, names: Sequence[str]) -> None:
        if len(names) > MOST_COLUMNS:
            raise UsageError(
                "A sheet holds {most} columns at most.",
                tr("Write to .csv or .parquet instead."),
                most=MOST_COLUMNS,
            )
        self._letters = [_letters(column) for column in range(len(names))]
        widths = "".join(
            f'<col min="{place}" max="{place}" width="{_width(name)}" customWidth="1"/>'
            for place, name in enumerate(names, 1)
        )
        heads = "".join(
            f'<c r="{letter}1" s="1" t="inlineStr"><is><t xml:space="preserve">{_escaped(name)}</t>'
            "</is></c>"
            for letter, name in zip(self._letters, names, strict=True)
        )
        self.file.write(
            f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0"><pane '
            'ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView>'
            f"</sheetViews>{widths and f'<cols>{widths}</cols>'}<sheetData>"
            f'<row r="1">{heads}</row>'.encode()
        )
        self.n_rows = 1

    def _cells(self, name: str, column: pa.Array) -> pa.Array:
        """Give what follows the place of each cell; nothing for an empty one."""
        kind = column.type
        if pa.types.is_boolean(kind):
            column = pc.cast(column, pa.int8())
            return filled(joined(' t="b"><v>', column.cast(pa.string()), "</v></c>"), "")
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            text = text_of(column)
            if pa.types.is_floating(kind):
                text = where_else(pc.fill_null(pc.is_finite(column), False), text, "")
            return _numbers(text)
        return self._texts(name, converted(text_of, name, column))

    def _texts(self, name: str, text: pa.Array) -> pa.Array:
        is_comma = name in self.numeric and self.marks.decimal == ","
        pattern = (_WITH_COMMA if is_comma else _NUMBER) if name in self.numeric else _NAME
        is_number = pc.match_substring_regex(text, pattern)
        if as_bools(is_number).all():
            return _numbers(pc.replace_substring(text, ",", ".") if is_comma else text)
        lengths = pc.utf8_length(text)
        if (pc.max(lengths).as_py() or 0) > MOST_CHARACTERS:
            raise UsageError(
                "The column '{name}' holds a text of more than {most} characters, and a cell of a "
                "sheet cannot.",
                tr("Write to .csv or .parquet instead."),
                name=name,
                most=MOST_CHARACTERS,
            )
        content = joined(
            ' t="inlineStr"><is><t xml:space="preserve">', _all_escaped(text), "</t></is></c>"
        )
        texts = where_else(arrow_numbers(empty_cells(text)), "", content)
        if not is_number.true_count:
            return texts
        digits = pc.replace_substring(text, ",", ".") if is_comma else text
        return where_else(is_number, _numbers(digits), texts)


class FrenchWriter(BytesWriter):
    """CSV that a French Excel opens: semicolons, decimal commas, UTF-8 with a byte order mark."""

    def __init__(self, sink: Sink, *, started: bool = False) -> None:
        super().__init__(sink, started=started)
        self._inner = DelimitedWriter(sink, ";")

    def encode(self, columns: Mapping[str, pa.Array]) -> EncodedRows:
        """Write rows as text."""
        rows = self._inner.encode(
            {name: self._french(name, column) for name, column in columns.items()}
        )
        return EncodedRows(_BOM + bytes(rows.head), rows.body)

    def _french(self, name: str, column: pa.Array) -> pa.Array:
        is_text = pa.types.is_string(column.type)
        if is_text and (name not in self.numeric or self.marks.decimal == ","):
            return column
        text = converted(text_of, name, column)
        if self.marks.thousands and is_text:
            grouped = pc.match_substring_regex(text, rf"^\s*[<>≤≥=~]*\s*[+-]?{_GROUPS}(?:\.|\s*$)")
            text = where_else(grouped, pc.replace_substring(text, ",", ""), text)
        text = pc.replace_substring_regex(text, _POINTED, r"\1,\2")
        return pc.replace_substring_regex(text, _UNCLEAR, r"\10")


def _numbers(text: pa.Array) -> pa.Array:
    content = joined("><v>", text, "</v></c>")
    return where_else(arrow_numbers(empty_cells(text)), "", content)


def _all_escaped(text: pa.Array) -> pa.Array:
    special = as_bools(pc.match_substring_regex(text, _SPECIAL))
    if not special.any():
        return text
    mask = arrow_numbers(special)
    cells = [_escaped(cell) for cell in text.filter(mask).to_pylist()]
    return pc.replace_with_mask(text, mask, arrow_texts(cells))


def _escaped(text: str) -> str:
    """Write a text as it stands in a sheet: what XML cannot hold as its number."""
    parts = []
    for place, character in enumerate(text):
        is_escape = character == "_" and text[place + 1 : place + 2] == "x"
        is_plain = character in "\t\n" or (character >= " " and character not in "\ufffe\uffff")
        parts.append(character if is_plain and not is_escape else f"_x{ord(character):04X}_")
    return escape("".join(parts))


def _letters(column: int) -> str:
    letters = ""
    while column >= 0:
        column, rest = divmod(column, 26)
        letters, column = chr(ord("A") + rest) + letters, column - 1
    return letters


def _width(name: str) -> int:
    return max(_LEAST_WIDTH, min(len(name) + 4, 40), _WIDE.get(name, 0))


def _part(name: str) -> zipfile.ZipInfo:
    """Name a part; without a time, equal rows give equal bytes."""
    part = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    part.compress_type = zipfile.ZIP_DEFLATED
    return part


def _frame(sheets: Sequence[_Sheet]) -> dict[str, str]:
    """Give the parts that say which sheets a workbook has."""
    places = [f"worksheets/sheet{1 + (sheet.name == FINDINGS)}.xml" for sheet in sheets]
    names = "".join(
        f'<sheet name={quoteattr(sheet.name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, sheet in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{_LINKS}/worksheet" Target="{place}"/>'
        for number, place in enumerate(places, 1)
    )
    filters = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{number}" hidden="1">'
        f"{sheet.name}!{_fixed(sheet.area)}</definedName>"
        for number, sheet in enumerate(sheets)
        if sheet.area
    )
    parts = "".join(
        f'<Override PartName="/xl/{place}" ContentType="{_KIND}.worksheet+xml"/>'
        for place in places
    )
    return {
        "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_LINKS}"><sheets>{names}'
        f"</sheets>{filters and f'<definedNames>{filters}</definedNames>'}</workbook>",
        "xl/_rels/workbook.xml.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'{links}<Relationship Id="rId9" Type="{_LINKS}/styles" Target="styles.xml"/>'
        "</Relationships>",
        "xl/styles.xml": _STYLES,
        "_rels/.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship '
        f'Id="rId1" Type="{_LINKS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"><Default '
        'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook'
        f'.xml" ContentType="{_KIND}.sheet.main+xml"/>{parts}<Override PartName="/xl/styles.xml" '
        f'ContentType="{_KIND}.styles+xml"/></Types>',
    }


def _fixed(area: str) -> str:
    """Write an area as one that does not move: ``$A$1:$C$9``."""
    corners = []
    for corner in area.split(":"):
        letters = corner.rstrip("0123456789")
        corners.append(f"${letters}${corner.removeprefix(letters)}")
    return ":".join(corners)
