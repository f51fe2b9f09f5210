"""Compressed bytes: whole where they are honest, and bounded in memory and size where not."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables import reading, sources
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.sources import XzReader, open_source

TEXT = b"ph,Turbidity\n7.1,0.4\n"


def test_padding_between_and_after_streams_of_xz_is_passed_over() -> None:
    packed = lzma.compress(b"a") + bytes(8) + lzma.compress(b"b") + bytes(20_000)
    reader = XzReader(io.BytesIO(packed))
    assert reader.read(10) + reader.read(10) + reader.read(10) == b"ab"


@pytest.mark.parametrize("rest", [b"x", b"\0\0\0\0x", lzma.compress(b"b")[:-1]])
def test_what_follows_a_stream_of_xz_and_is_none_is_damage(rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "river.csv.xz"
    path.write_bytes(lzma.compress(TEXT) + rest)
    with (
        pytest.raises(InputError, match="the xz data is damaged or cut short"),
        open_source(str(path)) as stream,
    ):
        stream.read()


def with_dictionary(size: int) -> Iterator[bytes]:
    """Give a text in three formats whose decoders would hold so many bytes: 2 to a power."""
    power = size.bit_length() - 1
    packed = bytearray(lzma.compress(TEXT, check=lzma.CHECK_CRC32))
    length = (packed[12] + 1) * 4 - 4
    packed[packed.index(b"\x21\x01", 12) + 2] = (power - 12) * 2
    packed[12 + length : 16 + length] = struct.pack("<I", zlib.crc32(packed[12 : 12 + length]))
    yield bytes(packed)
    yield b"\x28\xb5\x2f\xfd\0" + bytes([(power - 10) << 3]) + b"\xa9\0\0" + TEXT
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("river.csv", TEXT)
    data = sink.getvalue()
    at = 30 + len("river.csv") + 5
    yield data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("number", range(3))
def test_data_that_need_much_memory_are_refused_by_how_much(number: int, tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(list(with_dictionary(1 << 26))[number])
    with open_source(str(path)) as stream:
        assert stream.read() == TEXT
    path.write_bytes(list(with_dictionary(1 << 30))[number])
    with (
        pytest.raises(
            InputError, match="needs more than 128 MiB of memory to be unpacked"
        ) as caught,
        open_source(str(path)) as stream,
    ):
        stream.read()
    assert caught.value.exit_code == 3


def test_text_that_unpacks_to_many_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.check_unpacked, "__defaults__", (1 << 20, 500))
    path = tmp_path / "river.csv.gz"
    path.write_bytes(gzip.compress(TEXT + b"7.1,0.4\n" * 1_000_000))
    with pytest.raises(InputError, match="unpacks to more than 500 times its size"):
        count_rows(path)
    path.write_bytes(path.read_bytes()[:20] + bytes(20_000))
    with pytest.raises(InputError, match="damaged"):
        count_rows(path)
    path.write_bytes(gzip.compress(TEXT + b"7.1,0.4\n" * 1_000_000, 0))
    assert count_rows(path) == 1_000_001


def count_rows(path: Path) -> int:
    with open_table(str(path)) as table:
        assert table.sample() is not None
        return sum(len(batch) for batch in table.batches())


def write_parquet(path: Path, text: str, n_rows: int, **options: object) -> None:
    numbers = pa.array([7.0] * n_rows)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), pa.array([text]))
    pq.write_table(pa.table({"ph": numbers, "site": texts.cast(pa.string())}), path, **options)


def test_long_text_of_many_rows_in_parquet_is_given_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "river.parquet"
    write_parquet(path, "x" * 10_000, 2000)
    monkeypatch.setattr(reading, "_LARGEST_BLOCK", 1 << 20)
    with open_table(str(path)) as table:
        sizes = [batch.columns["site"].nbytes for batch in table.batches()]
    assert max(sizes) < 1.1 * (1 << 20)
    assert sum(sizes) > 20_000_000
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 5000)
    with pytest.raises(InputError, match="the row is longer than"):
        count_rows(path)


def test_parquet_that_unpacks_to_many_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "river.parquet"
    write_parquet(path, "x" * 10_000, 20_000)
    assert count_rows(path) == 20_000
    monkeypatch.setattr(sources.check_unpacked, "__defaults__", (1 << 20, 500))
    with pytest.raises(InputError, match="unpacks to more than 500 times its size"):
        count_rows(path)
    write_parquet(path, "x" * 10_000, 20_000, use_dictionary=False, compression="zstd")
    monkeypatch.setattr(reading, "_MOST_PAGE_BYTES", 1 << 20)
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        count_rows(path)
