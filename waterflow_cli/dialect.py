"""How a text file is written: encoding, separator, header line."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath

from waterflow_cli.csv_blocks import open_quote_error
from waterflow_cli.errors import InputError
from waterflow_cli.headers import check_header

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Dialect:
    """How a table is written, and where its rows start.

    Attributes
    ----------
    encoding : str
        ``utf-8`` or ``utf-8 with BOM``; ``parquet`` for a Parquet file.
    sep : str
        One character; empty for Parquet.
    header_line : int
        Physical line of the header.
    first_line : int
        Physical line on which the first row may start.
    """

    encoding: str
    sep: str
    header_line: int
    first_line: int

    def __str__(self) -> str:
        if not self.sep:
            return self.encoding
        return f"{self.encoding}, separator {'tab' if self.sep == chr(9) else repr(self.sep)}"


def separator_for(path: str) -> str:
    """Choose the separator by the file's name: tab for ``.tsv``, else a comma."""
    return "\t" if ".tsv" in PurePath(path.lower()).suffixes else ","


def holds_header(start: bytes, path: str) -> bool:
    """Say whether the header ends within the first bytes of a file, and something follows it."""
    lines = start.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    texts = (line.decode("utf-8", errors="surrogateescape") for line in lines)
    reader = csv.reader(texts, delimiter=separator_for(path))
    return any("".join(cells).strip() for cells in reader) and reader.line_num < len(lines)


def read_header(start: bytes, path: str) -> tuple[Dialect, list[str], bytes]:
    """Read the header from the first bytes of a file.

    Parameters
    ----------
    start : bytes
        The first block of the file.
    path : str
        The file, for messages and for its suffix.

    Returns
    -------
    dialect : Dialect
        How the file is written.
    columns : list of str
        The header as written.
    rest : bytes
        What follows the header in ``start``.

    Raises
    ------
    InputError
        If there is no header, it is not text in UTF-8, it names a column twice, or a quoted
        name is never closed.
    """
    if start.startswith(_UTF16):
        raise InputError(path, "is UTF-16.", hint="Save the file as UTF-8 and try again.")
    encoding = "utf-8 with BOM" if start.startswith(codecs.BOM_UTF8) else "utf-8"
    body = start.removeprefix(codecs.BOM_UTF8)
    sep = separator_for(path)
    lines = body.splitlines(keepends=True)
    header, header_line, used = _first_row(lines, sep, path)
    check_header(header, path, header_line)
    rest = body[sum(map(len, lines[:used])) :]
    return Dialect(encoding, sep, header_line, used + 1), header, rest


def _first_row(lines: list[bytes], sep: str, path: str) -> tuple[list[str], int, int]:
    """Read the first row that is not blank: its cells, its line, and the lines used up."""
    # Bytes that are not UTF-8 become surrogates here, so that the message can show their place.
    texts = (line.decode("utf-8", errors="surrogateescape") for line in lines)
    # The line added at the end is a row of its own, or is swallowed by an open quote.
    reader = csv.reader(chain(texts, ["end"]), delimiter=sep)
    start = 0
    while start < len(lines):
        cells = next(reader)
        if reader.line_num > len(lines):
            raise open_quote_error(path, cells, start + 1)
        if "".join(cells).strip():
            _check_text(cells, path, start + 1)
            return cells, start + 1, reader.line_num
        start = reader.line_num
    raise InputError(path, "is empty.", hint="A header and at least one row are expected.")


def _check_text(cells: list[str], path: str, line: int) -> None:
    text = "".join(cells)
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise InputError(
            path,
            "the header is not text in UTF-8.",
            line=line,
            hint="If it is a table, save it as UTF-8 CSV; binary files cannot be read.",
        )
