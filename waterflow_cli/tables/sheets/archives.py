"""Workbooks as the zip archives that they are: what kind, how large, and which parts."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO
from xml.etree import ElementTree as ET

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.sources import check_unpacked, size_of

# A sheet is read whole, as some hundred bytes a cell.
_MOST_BYTES, _MOST_TIMES = 256 << 20, 100
# Small enough to be looked through where it lies, in a processor's cache.
_PIECE_BYTES = 1 << 19
_XLSX, _ODS = "xl/workbook.xml", "content.xml"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_DAMAGED = (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, ET.ParseError)


@dataclass
class WorkbookArchive:
    """An open workbook, .xlsx or .ods, as an archive.

    Each part that is read is unpacked here first, piece by piece: its size and its checksum are
    then what the archive says, so that no library can be made to unpack more.

    Raises
    ------
    InputError
        If it is damaged or no such workbook, or unpacks to far more than its size.
    """

    file: IO[bytes]
    path: str
    _archive: zipfile.ZipFile = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._archive = zipfile.ZipFile(self.file)
            names = set(self._archive.namelist())
        except (*_DAMAGED, ValueError, IndexError) as exc:
            raise self._damaged(exc) from exc
        if not names & {_XLSX, _ODS}:
            raise InputError(self.path, "is an archive within an archive, and no workbook.")
        self.is_ods = _XLSX not in names
        self._size = size_of(self.file)
        self._n_bytes = 0
        kind = self.read("mimetype") if self.is_ods else b""
        if kind and b"spreadsheet" not in kind:
            raise InputError(
                self.path, "is an OpenDocument file of another kind, and no spreadsheet."
            )

    def read(self, name: str) -> bytes:
        """Unpack a part of it; no bytes where it has no such part."""
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """Unpack a part of it piece by piece."""
        try:
            with self._archive.open(name) as part:
                while piece := part.read(_PIECE_BYTES):
                    self._n_bytes += len(piece)
                    check_unpacked(self._n_bytes, self._size, self.path, _MOST_BYTES, _MOST_TIMES)
                    yield piece
        except RuntimeError as exc:  # zipfile's word for an encrypted part
            raise InputError(
                self.path, "is a workbook with a password.", hint=tr("Save it without one.")
            ) from exc
        except (*_DAMAGED, NotImplementedError) as exc:
            if not isinstance(exc, KeyError):
                raise self._damaged(exc) from exc

    def parse(self, name: str) -> ET.Element | None:
        """Read a part that is small; None where it has no such part."""
        if not (text := self.read(name)):
            return None
        try:
            return ET.fromstring(text)
        except ET.ParseError as exc:
            raise self._damaged(exc) from exc

    @cached_property
    def sheet_parts(self) -> Mapping[str, str]:
        """The part of each sheet of an .xlsx, by the sheet's name."""
        book, links = self.parse(_XLSX), self.parse("xl/_rels/workbook.xml.rels")
        targets = {each.get("Id"): each.get("Target", "") for each in _children(links)}
        sheets = [each for each in _children(book, deep=True) if each.tag.endswith("}sheet")]
        return {
            each.get("name", ""): posixpath.normpath(
                posixpath.join("/xl", targets.get(each.get(_RELATION), ""))
            ).lstrip("/")
            for each in sheets
        }

    def comment_parts(self, sheet: str) -> Iterator[str]:
        """Give the parts of an .xlsx that hold the comments on the cells of a sheet."""
        folder, name = posixpath.split(self.sheet_parts.get(sheet, ""))
        for each in _children(self.parse(f"{folder}/_rels/{name}.rels")):
            if each.get("Type", "").endswith("/comments"):
                target = posixpath.join("/", folder, each.get("Target", ""))
                yield posixpath.normpath(target).lstrip("/")

    def check_shared(self) -> None:
        """Unpack what a library reads whichever sheet it is asked for."""
        names = (_ODS,) if self.is_ods else ("xl/sharedStrings.xml", "xl/styles.xml")
        for name in names:
            self.read(name)

    def _damaged(self, cause: Exception) -> InputError:
        return InputError(self.path, "the workbook is damaged or cut short ({cause}).", cause=cause)


def _children(element: ET.Element | None, *, deep: bool = False) -> Iterable[ET.Element]:
    if element is None:
        return ()
    return element.iter() if deep else element
