"""Open a file, a compressed file or standard input as one stream of bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import marked, tr, trn

STDIN = "-"
PARQUET_MAGIC = b"PAR1"
ZIP_MAGIC = b"PK\x03\x04"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PEEK = 8
_BUFFER_BYTES = 1 << 18
_SPOOL_BYTES = 64 << 20
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    ZIP_MAGIC: "zip",
    b"PK\x05\x06": "zip",  # an empty one
}
_EXPORT = marked("Save or export the table as CSV.")
_UNPACK = marked("Unpack it and name the file that holds the table.")
# A decoder may hold so much of what it has unpacked: twice what `xz -9` asks for, and what zstd
# allows by itself. A file can ask for 4 GiB.
_DECODER_BYTES = 128 << 20
# No table of measurements repeats itself so often: what unpacks to more than both is none.
_MOST_BYTES, _MOST_TIMES = 1 << 30, 500
# What the decompressors raise on damaged or shortened data; pyarrow raises OSError for zstd.
_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)
# What a file is whose first bytes, or whose text, start so, and what to do with it.
_BY_BYTES = (
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        marked("is an Excel workbook (.xls), or one with a password."),
        marked("Save it as .xlsx, without a password."),
    ),
    (rb"7z\xbc\xaf\x27\x1c", marked("is a 7z archive."), _UNPACK),
    (rb"Rar!\x1a\x07", marked("is a rar archive."), _UNPACK),
    (rb"%PDF-", marked("is a PDF document."), _EXPORT),
    (rb"SQLite f", marked("is an SQLite database."), _EXPORT),
    (rb"ARROW1", marked("is an Arrow file (Feather)."), _EXPORT),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", marked("is a picture."), _EXPORT),
    (
        rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|PK\x05\x06",
        marked("is packed twice."),
        _UNPACK,
    ),
)
_BY_TEXT = (
    (rb"(?s).{257}ustar", marked("is a tar archive."), _UNPACK),
    (rb"\{\\rtf", marked("is a text document (.rtf)."), _EXPORT),
    (
        rb"version https://git-lfs\.",
        marked("is a pointer of Git LFS, and not the file."),
        marked("Fetch the file itself: git lfs pull"),
    ),
    (rb"(?i)\s*<(!doctype html|html|head|body|table|meta)\b", marked("is an HTML page."), _EXPORT),
    (rb"(?i)\s*<(\?xml|!doctype|!--|[a-z][\w:.-]*(\s[^<>]*)?>\s*<)", marked("is XML."), _EXPORT),
)
# A zip archive that has such a member is a workbook, which stays packed.
_OF_WORKBOOK = {"xl/workbook.xml", "content.xml"}
# What one is that has such a member.
_BY_MEMBER = {
    "xl/workbook.bin": marked("is a binary Excel workbook (.xlsb)."),
    "word/document.xml": marked("is a Word document."),
    "Index/Document.iwa": marked("is a Numbers document."),
}
_CODECS: dict[str, Callable[[io.BufferedReader], Any]] = {
    "gzip": lambda raw: gzip.GzipFile(fileobj=raw),
    "bzip2": bz2.BZ2File,
    "xz": lambda raw: XzReader(raw),
    "zstd": lambda raw: pa.CompressedInputStream(raw, "zstd"),
}
# Where in the header of a zip's member the lengths of its name and of its extra field stand.
_ZIP_LENGTHS_AT = 26
# And what zipfile lets through when an archive's directory is damaged.
_DAMAGED_ZIP = (*_DAMAGED, IndexError, ValueError, struct.error)


class FilledStream(io.RawIOBase, ABC):
    """A stream whose bytes come from elsewhere."""

    @abstractmethod
    def next_bytes(self, n_bytes: int) -> bytes | memoryview:
        """Give at most so many of the next bytes; none at the end."""

    def readable(self) -> bool:
        """Say that this stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes."""
        view = memoryview(buffer).cast("B")
        data = self.next_bytes(len(view))
        view[: len(data)] = data
        return len(data)


class XzReader:
    """The content of xz data, by a decoder with a bound to its memory; `LZMAFile` has none."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decoder = self._new_decoder()

    @staticmethod
    def _new_decoder() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER_BYTES)

    def read(self, n_bytes: int) -> bytes:
        """Decompress at most so many bytes; none at the end.

        Raises
        ------
        EOFError, lzma.LZMAError
            If the data is cut short, damaged, or needs more memory.
        """
        content = b""
        while not content:
            packed = b""
            if self._decoder.eof:  # another stream may follow, after zeros
                packed = self._decoder.unused_data.lstrip(b"\0")
                while not packed:
                    if not (more := self._raw.read(io.DEFAULT_BUFFER_SIZE)):
                        return b""
                    packed = more.lstrip(b"\0")
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input:
                packed = self._raw.read(io.DEFAULT_BUFFER_SIZE)
                if not packed:
                    raise EOFError("Compressed file ended before the end of a stream")
            content = self._decoder.decompress(packed, n_bytes)
        return content


class DecompressedStream(FilledStream):
    """A decompressing stream whose failures name the file instead of the codec's internals."""

    def __init__(self, inner: IO[bytes], file: io.BufferedReader, name: str, codec: str) -> None:
        super().__init__()
        self._inner, self._name, self._codec = inner, name, codec
        self.file = file
        self._n_bytes, self._size = 0, size_of(file)

    def next_bytes(self, n_bytes: int) -> bytes:
        """Decompress some bytes."""
        pipe = self.file.raw
        n_packed = pipe.n_read if isinstance(pipe, RejoinedStream) else self._size
        check_unpacked(self._n_bytes, n_packed, self._name)
        try:
            data = self._inner.read(n_bytes)
        except _DAMAGED as exc:
            if "memory" in str(exc).lower():  # of lzma and of zstd, which have no type for it
                raise _needs_memory(self._name) from exc
            raise InputError(
                self._name,
                "the {codec} data is damaged or cut short ({cause})",
                codec=self._codec,
                cause=exc,
                hint=tr("Fetch or compress the file again; nothing after this point can be read."),
            ) from exc
        self._n_bytes += len(data)
        return data


class RejoinedStream(FilledStream):
    """A pipe with the bytes that were read of it put back in front."""

    def __init__(self, start: bytes, rest: io.BufferedReader) -> None:
        super().__init__()
        self._start, self._rest = start, rest
        self.n_read = len(start)

    def next_bytes(self, n_bytes: int) -> bytes:
        """Give the bytes put back, and once they are used up some of the pipe."""
        if data := self._start[:n_bytes]:
            self._start = self._start[n_bytes:]
        else:
            data = self._rest.read1(n_bytes)
            self.n_read += len(data)
        return data


def check_unpacked(
    n_bytes: int, n_packed: int, path: str, most: int = _MOST_BYTES, times: int = _MOST_TIMES
) -> None:
    """Refuse a file that has given more than so many bytes, and so many times its size.

    Raises
    ------
    InputError
        If it is made to fill a memory or a disk.
    """
    if n_bytes > max(most, times * n_packed):
        raise InputError(
            path,
            "unpacks to more than {times} times its size.",
            times=times,
            hint=tr("No table repeats itself so often. If it is one, unpack it first."),
        )


def size_of(file: IO[bytes]) -> int:
    """Give the size of a file that can seek; 0 for a pipe."""
    if not file.seekable():
        return 0
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size


def _needs_memory(path: str) -> InputError:
    """Build the error for a file whose decoder would hold too much."""
    return InputError(
        path,
        "needs more than {limit} MiB of memory to be unpacked.",
        limit=_DECODER_BYTES >> 20,
        hint=tr("Unpack it first, or compress it with less memory: xz -9"),
    )


def is_uri(path: str) -> bool:
    """Tell ``s3a://bucket/a.csv`` from a path of this machine.

    >>> is_uri("hdfs:///a.csv"), is_uri("a.csv"), is_uri("12:30.csv")
    (True, False, False)
    """
    return _SCHEME.match(path) is not None


@contextmanager
def open_source(path: str) -> Iterator[io.BufferedReader]:
    """Open a file or standard input, decompressing it by its first bytes, whatever its name.

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable, an archive of several members, damaged, or
        changed while it was read.
    """
    with _open_raw(path) as opened, decompressed(opened, path) as stream:
        yield stream


@contextmanager
def decompressed(opened: io.BufferedReader, path: str) -> Iterator[io.BufferedReader]:
    """Give the plain bytes of an input that is open at its start; see `open_source`."""
    start, raw = _read_ahead(opened, path)
    codec = compression(start)
    if not codec:
        yield raw
        return
    with ExitStack() as stack:
        if codec == "zip":
            inner = _open_zip_member(stack.enter_context(open_to_seek(raw)), path)
        else:
            inner = _CODECS[codec](raw)
        stream = io.BufferedReader(DecompressedStream(inner, raw, path, codec), _BUFFER_BYTES)
        yield cast("io.BufferedReader", stack.enter_context(stream))


def compression(start: bytes) -> str:
    """Tell how a file is compressed by its first bytes; empty where it is not."""
    return next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), "")


def refuse_other_kind(start: bytes, path: str, *, is_text: bool) -> None:
    """Refuse what is no CSV by how it starts, whatever its name; the error says what it is.

    Parameters
    ----------
    is_text : bool
        Whether these are some KiB of text, or the first 8 bytes of anything.

    Raises
    ------
    InputError
        Also for text in which a table may stand, such as HTML.
    """
    for pattern, name, hint in _BY_TEXT if is_text else _BY_BYTES:
        if re.match(pattern, start):
            raise InputError(path, name, hint=tr(hint))


def share_read(stream: io.BufferedReader) -> float | None:
    """Tell how much of its file a stream from `open_source` has read, if it has one."""
    raw = stream.raw
    file = raw.file if isinstance(raw, DecompressedStream) else stream
    if not file.seekable():
        return None
    try:
        size = os.fstat(file.fileno()).st_size
    except io.UnsupportedOperation:  # bytes in memory
        return None
    return min(1.0, file.tell() / size) if size else None


@contextmanager
def open_to_seek(stream: io.BufferedReader) -> Iterator[IO[bytes]]:
    """Give a stream that can seek: the same one, or until the end a copy of what it holds."""
    if stream.seekable():
        yield stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        shutil.copyfileobj(stream, spool)
        spool.seek(0)
        yield cast("IO[bytes]", spool)


@contextmanager
def _open_raw(path: str) -> Iterator[io.BufferedReader]:
    if path == STDIN:
        if sys.stdin is None:
            raise InputError(path, "standard input is closed.")
        yield cast("io.BufferedReader", sys.stdin.buffer)
        return
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 (closed below, after the errors are told apart)
    except IsADirectoryError as exc:
        raise InputError(
            path, "is a folder, not a file.", hint=tr("Name the files in it.")
        ) from exc
    except FileNotFoundError as exc:
        raise InputError(path, "no such file.", hint=tr("Check the name and the folder.")) from exc
    except (OSError, ValueError) as exc:
        raise InputError(
            path, "cannot be opened ({cause}).", cause=getattr(exc, "strerror", exc)
        ) from exc
    with raw:
        before = _version(raw)
        yield raw
        # What was read may then be half of a row, or half of what the file should hold.
        if _version(raw) != before:
            raise changed(path)


def changed(path: str) -> InputError:
    """Build the error for a file that is no more what it was."""
    return InputError(
        path,
        "was changed while it was read.",
        hint=tr("Run the command again when nothing writes to it."),
    )


def _version(raw: io.BufferedReader) -> tuple[int, int] | None:
    """Tell one state of an open file from another: size and time of change; None for a pipe."""
    status = os.fstat(raw.fileno())
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _read_ahead(raw: io.BufferedReader, path: str) -> tuple[bytes, io.BufferedReader]:
    """Read the first bytes of a stream, and give them back to it."""
    try:
        # Not peek: it is content with the one byte that a slow writer has put into a pipe.
        start = raw.read(_PEEK)
        if not raw.seekable():
            return start, io.BufferedReader(RejoinedStream(start, raw), _BUFFER_BYTES)
        raw.seek(-len(start), io.SEEK_CUR)
    except OSError as exc:
        raise InputError(path, "cannot be read ({strerror}).", strerror=exc.strerror) from exc
    return start, raw


def _open_zip_member(file: IO[bytes], path: str) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(file)
        members = [info for info in archive.infolist() if not _is_no_file(info)]
        for name in {info.filename for info in members} & _BY_MEMBER.keys():
            raise InputError(path, _BY_MEMBER[name], hint=tr(_EXPORT))
        if not members:
            raise InputError(path, "is an empty zip archive.")
        if _OF_WORKBOOK & {info.filename for info in members}:
            file.seek(0)
            return file
        if len(members) != 1:
            names = shorten((info.filename for info in members), 5)
            raise InputError(
                path,
                trn(
                    "the archive has {n} member ({names}); one is expected.",
                    "the archive has {n} members ({names}); one is expected.",
                    len(members),
                    names=names,
                ),
                hint=tr(_UNPACK),
            )
        if members[0].compress_type == zipfile.ZIP_LZMA:
            _check_lzma_memory(file, members[0], path)
        return archive.open(members[0])
    except _DAMAGED_ZIP as exc:
        raise InputError(
            path, "the zip archive is damaged or cut short ({cause}).", cause=exc
        ) from exc
    except NotImplementedError as exc:  # its word for a compression that it does not know
        raise InputError(
            path,
            "the zip archive cannot be read ({cause}).",
            cause=exc,
            hint=tr("Unpack it first."),
        ) from exc
    except RuntimeError as exc:  # zipfile's word for an encrypted member
        raise InputError(
            path, "the zip archive is encrypted.", hint=tr("Unpack it first.")
        ) from exc


def _check_lzma_memory(file: IO[bytes], member: zipfile.ZipInfo, path: str) -> None:
    """Refuse a member whose decoder, to which `zipfile` sets no bound, would hold too much."""
    file.seek(member.header_offset + _ZIP_LENGTHS_AT)
    file.seek(sum(struct.unpack("<HH", file.read(4))), io.SEEK_CUR)
    # A version, the length of what follows, a byte of settings, and how much the decoder holds.
    if struct.unpack("<4xxI", file.read(9))[0] > _DECODER_BYTES:
        raise _needs_memory(path)


def _is_no_file(member: zipfile.ZipInfo) -> bool:
    """Say whether a member is a folder, or what a Mac or Windows adds about the others."""
    *folders, name = PurePosixPath(member.filename).parts
    is_added = name in (".DS_Store", "Thumbs.db", "desktop.ini") or name.startswith("._")
    return member.is_dir() or is_added or "__MACOSX" in folders
