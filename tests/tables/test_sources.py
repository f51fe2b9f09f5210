"""Opening files: by what they hold and not by their names, and never with a foreign exception."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import re
import struct
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import FAULTY

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import expand_inputs
from waterflow_cli.tables import sources
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.sources import open_source, open_to_seek

TEXT = b"ph,Solids\n" + b"".join(b"%d.%d,%d\n" % (i % 14, i % 7, 37 * i) for i in range(400))


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def zipped(data: bytes, name: str = "river.csv", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), data, method)
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    table = pa.table(
        {"ph": [7.0 + i % 3 for i in range(400)], "site": [f"s{i}" for i in range(400)]}
    )
    pq.write_table(table, sink)
    return sink.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": zipped,
}


def read_source(path: Path | str) -> bytes:
    with open_source(str(path)) as stream:
        return stream.read()


def count_rows(path: Path | str) -> int:
    with open_table(str(path)) as table:
        return sum(len(batch) for batch in table.batches())


@contextmanager
def stdin_from(write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a thread write into a real pipe that stands in for standard input."""
    reading, writing = os.pipe()

    def fill() -> None:
        try:
            write(writing)
        finally:
            os.close(writing)

    thread = threading.Thread(target=fill)
    with open(reading, encoding="utf-8") as stdin:  # noqa: PTH123 (a descriptor has no path)
        monkeypatch.setattr(sys, "stdin", stdin)
        thread.start()
        yield
    thread.join()


def write_all(data: bytes) -> Callable[[int], None]:
    def write(descriptor: int) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write


def write_slowly(data: bytes) -> Callable[[int], None]:
    """Write the first bytes one by one, so that no early read sees all of them."""

    def write(descriptor: int) -> None:
        for byte in data[:6]:
            os.write(descriptor, bytes([byte]))
            time.sleep(0.005)
        write_all(data[6:])(descriptor)

    return write


def test_plain_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(TEXT)
    assert read_source(path) == TEXT
    with open_source(str(path)) as stream:
        assert stream.seekable()
        assert stream.peek(2).startswith(b"ph")


@pytest.mark.parametrize("name", ["river.csv.{}", "river.csv", "river", "river.zip", "river.gz"])
@pytest.mark.parametrize("kind", PACKERS)
def test_compression_is_told_by_the_content_not_the_name(
    kind: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name.format(kind)
    path.write_bytes(PACKERS[kind](TEXT))
    assert read_source(path) == TEXT


@pytest.mark.parametrize("kind", PACKERS)
def test_plain_text_under_a_compressed_name_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"river.csv.{kind}"
    path.write_bytes(TEXT)
    assert read_source(path) == TEXT


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_members_one_after_the_other_are_read_as_one(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    pack = PACKERS[kind]
    path.write_bytes(pack(TEXT[:1]) + pack(b"") + pack(TEXT[1:500]) + pack(TEXT[500:]))
    assert read_source(path) == TEXT


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_zip_of_one_member_is_read_with_a_folder_beside_it(method: int, tmp_path: Path) -> None:
    path = tmp_path / "river.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("2024/", b"")
        archive.writestr("2024/river.csv", TEXT)
    assert read_source(path) == TEXT


def test_zip_of_two_members_is_refused_with_their_names() -> None:
    with pytest.raises(InputError, match=r"2 members \(north\.csv, south\.csv\)") as caught:
        read_source(FAULTY / "two_members.zip")
    assert "Unpack it" in str(caught.value.hint)


def test_zip_of_many_members_names_five_and_their_number(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(9):
            archive.writestr(f"{number}.csv", TEXT)
    with pytest.raises(InputError, match=r"9 members \(0.csv, 1.csv, 2.csv, .*, … 9 in all\)"):
        read_source(path)


def test_empty_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "folder.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/", b"")
    with pytest.raises(InputError, match="is an empty zip archive"):
        read_source(path)


def test_encrypted_zip_is_refused_as_such() -> None:
    with pytest.raises(InputError, match="is encrypted") as caught:
        read_source(FAULTY / "encrypted.zip")
    assert caught.value.hint == "Unpack it first."


def test_zip_by_an_unknown_method_is_not_called_encrypted(tmp_path: Path) -> None:
    data = bytearray(zipped(TEXT))
    directory = data.rindex(b"PK\x01\x02")
    for at in (8, directory + 10):  # deflate64, which zipfile does not know
        data[at : at + 2] = struct.pack("<H", 9)
    path = tmp_path / "river.zip"
    path.write_bytes(data)
    with pytest.raises(InputError, match="the zip archive cannot be read") as caught:
        read_source(path)
    assert "encrypted" not in str(caught.value)


def test_zip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(TEXT, method=zipfile.ZIP_STORED))
    data[200] ^= 1
    path = tmp_path / "river.zip"
    path.write_bytes(data)
    with pytest.raises(InputError, match="zip data is damaged or cut short"):
        read_source(path)


def lengths_of(data: bytes) -> list[int]:
    """Choose lengths at which to cut: all near both ends, some between."""
    between = random.Random(len(data)).sample(range(len(data)), 40)
    return sorted({*range(30), *range(len(data) - 30, len(data)), *between})


@pytest.mark.parametrize("kind", PACKERS)
def test_cut_short_is_an_input_error_at_any_length(kind: str, tmp_path: Path) -> None:
    data = PACKERS[kind](TEXT)
    path = tmp_path / "river.csv"
    path.write_bytes(data)
    assert count_rows(path) == 400
    for length in lengths_of(data):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"river\.csv") as caught:
            count_rows(path)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_damage_is_named_by_file_and_codec(kind: str, tmp_path: Path) -> None:
    data = bytearray(PACKERS[kind](TEXT))
    path = tmp_path / "river.csv"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"river\.csv: the \w+ data is damaged or cut short"):
        read_source(path)


def test_rows_before_the_damage_are_still_given(tmp_path: Path) -> None:
    path = tmp_path / "river.csv.gz"
    rng = random.Random(1)
    data = gzip.compress(b"a\n" + b"".join(b"%d\n" % rng.randrange(10**9) for _ in range(600_000)))
    path.write_bytes(data[: len(data) // 2])
    with open_table(str(path), block_bytes=1 << 16) as table:
        batches = table.batches()
        assert len(next(batches)) > 1000
        with pytest.raises(InputError, match="gzip data is damaged"):
            list(batches)


@pytest.mark.parametrize("kind", [*PACKERS, "parquet"])
def test_flipped_bytes_never_raise_a_foreign_exception(kind: str, tmp_path: Path) -> None:
    data = parquet() if kind == "parquet" else PACKERS[kind](TEXT[:400])
    rng = random.Random(7)
    path = tmp_path / "river.csv"
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            low = rng.choice([0, max(0, len(data) - 120)])
            damaged[rng.randrange(low, len(data))] = rng.choice([0, 1, 99, 255, rng.randrange(256)])
        path.write_bytes(damaged)
        try:
            count_rows(path)
        except InputError as exc:
            error: InputError | None = exc
        else:
            error = None
        assert error is None or error.exit_code == 3


def directory_at(data: bytes) -> int:
    return data.rindex(b"PK\x01\x02")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda at: (at + 42, b"\xff\xff\xff\x00"), id="member far beyond the end"),
        pytest.param(lambda at: (at + 46, b"\xff\xfe"), id="name that is no UTF-8"),
        pytest.param(lambda at: (at, b"PK\x01\x03"), id="no directory"),
    ],
)
def test_damaged_zip_directory_is_an_input_error(
    damage: Callable[[int], tuple[int, bytes]], tmp_path: Path
) -> None:
    data = bytearray(zipped(TEXT, name="rivière.csv"))
    at, patch = damage(directory_at(data))
    data[at : at + len(patch)] = patch
    path = tmp_path / "river.zip"
    path.write_bytes(data)
    with pytest.raises(InputError, match="the zip archive is damaged or cut short"):
        read_source(path)


def test_parquet_cut_short_is_an_input_error_at_any_length(tmp_path: Path) -> None:
    data = parquet()
    path = tmp_path / "river.parquet"
    path.write_bytes(data)
    assert count_rows(path) == 400
    for length in lengths_of(data):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"river\.parquet"):
            count_rows(path)


def test_file_of_no_byte_is_read_as_nothing() -> None:
    assert read_source(FAULTY / "empty.csv") == b""


def test_missing_file_is_named_as_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\./none\.csv: no such file\.$") as caught:
        read_source("./none.csv")
    assert (caught.value.exit_code, caught.value.line) == (3, None)


@pytest.mark.parametrize("name", ["{}", "{}/", "."])
def test_folder_is_refused_as_such(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, not a file"):
        read_source(name.format(tmp_path))


def test_name_below_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT)
    with pytest.raises(InputError, match=r"cannot be opened \(Not a directory\)"):
        read_source(path / "b.csv")


def test_name_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be opened \(embedded null byte\)"):
        read_source("a\0b.csv")


def test_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be opened \(File name too long\)"):
        read_source("x" * 5000)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder with a file that may not be opened and a folder that may not be entered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret.csv").touch(mode=0)
        (folder / "closed").mkdir(mode=0)
        user = os.geteuid()
        if user == 0:  # root may read everything
            os.seteuid(65534)
        yield folder
        os.seteuid(user)
        (folder / "closed").chmod(0o700)


@pytest.mark.parametrize("name", ["secret.csv", "closed/a.csv", "closed"])
def test_file_without_permission_is_refused(name: str, closed_folder: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be opened \(Permission denied\)"):
        read_source(closed_folder / name)


def test_pattern_without_permission_is_refused(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be followed \(Permission denied\)"):
        expand_inputs((f"{closed_folder}/closed/*.csv",))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_file_that_opens_but_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"/proc/self/mem: cannot be read \(Input/output error\)"):
        read_source("/proc/self/mem")


@pytest.mark.parametrize("kind", ["plain", *PACKERS])
def test_standard_input_is_read_from_a_pipe(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TEXT if kind == "plain" else PACKERS[kind](TEXT)
    with stdin_from(write_all(data), monkeypatch):
        assert read_source("-") == TEXT


@pytest.mark.parametrize("kind", ["plain", *PACKERS])
def test_slow_writer_does_not_hide_what_the_pipe_holds(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = TEXT if kind == "plain" else PACKERS[kind](TEXT)
    with stdin_from(write_slowly(data), monkeypatch):
        assert count_rows("-") == 400


@pytest.mark.parametrize("write", [write_all, write_slowly])
def test_parquet_is_read_from_a_pipe(
    write: Callable[[bytes], Callable[[int], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stdin_from(write(parquet()), monkeypatch):
        assert count_rows("-") == 400


@pytest.mark.parametrize("kind", PACKERS)
def test_parquet_is_read_from_within_a_compressed_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "river"
    path.write_bytes(PACKERS[kind](parquet()))
    assert count_rows(path) == 400


def test_damage_around_a_parquet_file_is_named_as_damage_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet.gz"
    path.write_bytes(gzip.compress(parquet())[:-20])
    with pytest.raises(InputError, match="the gzip data is damaged"):
        count_rows(path)


@pytest.mark.parametrize("data", [b"", b"a", b"a,b\n"], ids=repr)
def test_pipe_of_a_few_bytes_is_read(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with stdin_from(write_all(data), monkeypatch):
        assert read_source("-") == data


def test_standard_input_from_a_file_starts_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(b"skipped\n" + TEXT)
    with path.open(encoding="utf-8") as stdin:
        stdin.buffer.seek(8)
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read_source("-") == TEXT
        assert not stdin.closed


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="-: standard input is closed"):
        read_source("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(gzip.compress(TEXT),))
    thread.start()
    assert read_source(path) == TEXT
    thread.join()


def test_copy_of_what_can_seek_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(TEXT)
    with open_source(str(path)) as stream, open_to_seek(stream) as copy:
        assert copy is stream


@pytest.mark.parametrize("spool_bytes", [10, 1 << 20])
def test_copy_of_a_pipe_starts_at_its_start_in_memory_or_on_disk(
    spool_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SPOOL_BYTES", spool_bytes)
    with (
        stdin_from(write_all(TEXT), monkeypatch),
        open_source("-") as stream,
        open_to_seek(stream) as copy,
    ):
        assert copy.seekable()
        assert copy.read() == TEXT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.csv", "a.csv", "c.txt", "[x].csv", "sub/d.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
class TestPatterns:
    @pytest.mark.parametrize(
        ("typed", "expanded"),
        [
            (("*.csv",), ["[x].csv", "a.csv", "b.csv"]),
            (("?.csv",), ["a.csv", "b.csv"]),
            (("[ab].csv",), ["a.csv", "b.csv"]),
            (("sub/*",), ["sub/d.csv"]),
            (("**/d.csv",), ["sub/d.csv"]),
            (("c.txt", "a*"), ["c.txt", "a.csv"]),
            (("a.csv", "a.csv"), ["a.csv", "a.csv"]),
            (("-",), ["-"]),
            (("none.csv",), ["none.csv"]),
            ((), []),
        ],
    )
    def test_pattern_expands_in_order_of_names(
        self, typed: tuple[str, ...], expanded: list[str]
    ) -> None:
        assert expand_inputs(typed) == expanded

    def test_name_that_exists_is_no_pattern(self) -> None:
        assert expand_inputs(("[x].csv",)) == ["[x].csv"]

    def test_absolute_pattern_gives_absolute_names(self, folder: Path) -> None:
        assert expand_inputs((f"{folder}/?.csv",)) == [f"{folder}/a.csv", f"{folder}/b.csv"]

    @pytest.mark.parametrize("pattern", ["*.tsv", "none/*.csv", "/none/*.csv", "a.csv/*", "["])
    def test_pattern_without_a_match_is_refused(self, pattern: str) -> None:
        with pytest.raises(UsageError, match="No file matches") as caught:
            expand_inputs(("a.csv", pattern))
        assert f"'{pattern}'" in str(caught.value)
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("pattern", ["**a.csv", "*" + "x" * 5000], ids=["stars", "long"])
    def test_pattern_that_is_none_is_refused(self, pattern: str) -> None:
        with pytest.raises(UsageError, match="cannot be followed"):
            expand_inputs((pattern,))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an Excel workbook (.xls)"),
        (b"7z\xbc\xaf\x27\x1c\0\4" + b"\0" * 30, "a 7z archive"),
        (b"Rar!\x1a\x07\1\0" + b"\0" * 30, "a rar archive"),
        (b"a.csv".ljust(257, b"\0") + b"ustar\0" + b"\0" * 300, "a tar archive"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"SQLite format 3\0" + b"\0" * 90, "an SQLite database"),
        (b"ARROW1\0\0" + b"\0" * 30, "an Arrow file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "a picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<html><body><table>\n<tr><td>ph</td></tr>\n", "an HTML page"),
        (b"\n<!DOCTYPE HTML>\n<html>\n", "an HTML page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<a>\n", "XML"),
        ("<?xml version='1.0'?>\n<a>\n".encode("utf-16"), "XML"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_csv_is_named(
    data: bytes, name: str, wrap: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(wrap(data))
    with pytest.raises(InputError, match=re.escape(name)), open_table(str(path)):
        pass


@pytest.mark.parametrize(
    ("members", "name"),
    [
        (["xl/workbook.bin", "a.xml"], r"binary Excel workbook \(.xlsb\)"),
        (["word/document.xml"], "a Word document"),
        ([], "an empty zip archive"),
        (["__MACOSX/._a.csv", ".DS_Store"], "an empty zip archive"),
    ],
)
def test_archive_is_named_by_its_members(members: list[str], name: str, tmp_path: Path) -> None:
    path = tmp_path / "river.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, "ph\n7\n")
    with pytest.raises(InputError, match=name), open_table(str(path)):
        pass


def test_zip_of_a_mac_or_of_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "river.zip"
    added = ("__MACOSX/a/._river.csv", "a/.DS_Store", "a/._river.csv", "desktop.ini", "Thumbs.db")
    with zipfile.ZipFile(path, "w") as archive:
        for member in ("a/river.csv", *added):
            archive.writestr(member, "ph,x\n7,1\n")
    with open_table(str(path)) as table:
        assert table.columns == ["ph", "x"]


@pytest.mark.parametrize("inner", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_packed_twice_is_named_so(inner: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "river.csv.gz"
    path.write_bytes(gzip.compress(inner(b"ph,x\n7,1\n")))
    with pytest.raises(InputError, match="is packed twice"), open_table(str(path)):
        pass


@pytest.mark.parametrize("head", ["<,ph", "<LQ,ph", "[ph],x", "[1],x", "{a},x", "(ph),x"])
def test_header_that_begins_with_a_bracket_is_read(head: str, tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text(f"{head}\n7,1\n")
    with open_table(str(path)) as table:
        assert table.columns == head.split(",")
