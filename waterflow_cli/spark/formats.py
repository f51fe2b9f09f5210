"""The formats in which executors hand rows on: as a file's bytes, or as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import pyarrow as pa

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.writing import (
    EncodedRows,
    ParquetTableWriter,
    Sink,
    TableWriter,
    check_types,
    kept_writer,
    text_of,
)

# Where rows come from: the number of their file, and of their part of it.
Origin = tuple[int, int]
# What a file system takes, less "NAME="; and what Spark calls the folder of empty values.
_LONGEST_NAME, _OF_EMPTY = 200, "__HIVE_DEFAULT_PARTITION__"
# Columns of `FileBytes`, beside which the user's keys stand: no table has such names.
FILE, PART, BATCH, ROWS = (f"waterflow: {name}" for name in ("file", "part", "batch", "rows"))
_SIGNED = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}
NOWHERE = cast("Sink", None)  # what executors encode is written elsewhere


@dataclass(kw_only=True)
class FileBytes:
    """Rows as the bytes of a file of their format.

    Attributes
    ----------
    path : str
        Its suffixes name the format.
    keys : tuple of str
        Columns whose values name the folders that rows go to; they are left out of the rows.
    is_text : bool
        Whether they go to Spark's writer of lines: each task's first with the header, all without
        the last line end.
    """

    path: str
    keys: tuple[str, ...] = ()
    is_text: bool = False
    _started: set[tuple[str, ...]] = field(default_factory=set)
    _n_given: int = 0

    @property
    def schema(self) -> pa.Schema:
        """Origin, number of the batch within its task, bytes, and the keys."""
        kinds = {FILE: pa.int32(), PART: pa.int32(), BATCH: pa.int64(), ROWS: pa.binary()}
        return pa.schema([*kinds.items(), *((name, pa.string()) for name in self.keys)])

    def writer(self) -> TableWriter:
        """Give what encodes rows, by folder where there are keys."""
        inner = kept_writer(self.path, NOWHERE, started=False)
        return _KeyedWriter(inner, self.keys) if self.keys else inner

    def batches(self, encoded: Any, origin: Origin) -> Iterator[pa.RecordBatch]:
        """Give one batch for each folder."""
        for values, rows in encoded if self.keys else [((), encoded)]:
            if not len(rows.body):
                continue
            data = bytes(rows.body)
            if self.is_text:
                head = b"" if values in self._started else bytes(rows.head)
                data = head + data[:-1]
                self._started.add(values)
            self._n_given += 1
            file, part = origin
            row = [file, part, self._n_given, data, *values]
            yield pa.record_batch(
                [
                    pa.array([value], kind)
                    for value, kind in zip(row, self.schema.types, strict=True)
                ],
                schema=self.schema,
            )


class _KeyedWriter(TableWriter):
    """Encodes rows by the values of some columns, which are left out."""

    def __init__(self, inner: TableWriter, keys: Sequence[str]) -> None:
        self._inner, self._keys = inner, keys

    def encode(self, columns: Mapping[str, pa.Array]) -> list[tuple[tuple[str, ...], EncodedRows]]:
        rest = {name: column for name, column in columns.items() if name not in self._keys}
        texts = [text_of(columns[name]).to_pylist() for name in self._keys]
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, values in enumerate(zip(*texts, strict=True)):
            rows_of.setdefault(values, []).append(row)
        for values in rows_of:
            for name, value in zip(self._keys, values, strict=True):
                _check_value(name, value)
        return [
            (
                values,
                self._inner.encode(
                    {name: each.take(pa.array(rows)) for name, each in rest.items()}
                ),
            )
            for values, rows in rows_of.items()
        ]

    def append(self, encoded: Any) -> None:
        self._inner.append(encoded)


def _check_value(name: str, value: str) -> None:
    """Refuse a value that makes no name of a folder."""
    if len(quote(value)) > _LONGEST_NAME or value == _OF_EMPTY:
        raise UsageError(
            "--partition-by: '{value}' in the column '{name}' makes no name of a folder.",
            tr("Choose another column."),
            value=value[:50],
            name=name,
        )


@dataclass(frozen=True)
class Columns:
    """Rows as columns, for Spark to write."""

    columns: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        """The rows' own, in the types that Spark knows."""
        kinds = map(_type_in_spark, self.columns.types)
        return pa.schema(zip(self.columns.names, kinds, strict=True))

    def writer(self) -> TableWriter:
        """Give what puts rows into tables."""
        return ParquetTableWriter(NOWHERE)

    def batches(self, encoded: pa.Table, origin: Origin) -> Iterator[pa.RecordBatch]:
        """Give the rows; a UsageError if a column does not hold what the first file's does."""
        check_types(encoded.schema, self.columns)
        yield from encoded.cast(self.schema).to_batches()


RowFormat = FileBytes | Columns
# Where rows are only counted, none is handed on: Spark wants a column all the same.
NO_ROWS = Columns(pa.schema([(ROWS, pa.binary())]))


def _type_in_spark(kind: pa.DataType) -> pa.DataType:
    """Give a wider type for numbers without a sign, and microseconds for nanoseconds."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return _SIGNED.get(kind, kind)


def check_keys(keys: Sequence[str], columns: Iterable[str]) -> None:
    """Refuse to part rows by columns that they lack: a UsageError names the column."""
    for name in keys:
        if keys.count(name) > 1:
            raise UsageError("--partition-by: '{name}' is named twice.", name=name)
        if name not in columns:
            raise UsageError(
                tr("--partition-by: the output has no column '{name}'.", name=name)
                + did_you_mean(name, columns)
            )


def quoted(name: str) -> str:
    """Write a column's name as Spark reads it in any expression."""
    return "`" + name.replace("`", "``") + "`"
