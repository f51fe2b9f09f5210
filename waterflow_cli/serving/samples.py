"""Samples as JSON, or as CSV, in the body of a request -> an open table."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence, Set
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import marked, tr, trn
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.serving.problems import RequestError
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.numbers import PLAIN_MARKS
from waterflow_cli.tables.reading import Opener
from waterflow_cli.tables.sources import PARQUET_MAGIC, compression
from waterflow_cli.tables.table import Batch, Table, table_of

SAMPLES = "samples"
BODY = "body"
_NUMBERS = {float, type(None)}
_CELLS = {float, str, type(None)}

_NULLS = marked("A measurement that was not made is null; one that is not there is a slip.")

Sample = dict[str, Any]


def parse_samples(body: bytes, max_rows: int) -> list[Sample]:
    """Parse ``{"samples": [{"ph": 7.1, ...}, ...]}``; all numbers become floats.

    A RequestError is 400 if it is no JSON, 413 for too many samples, 422 if it is other JSON.
    """
    try:
        content = json.loads(
            body,
            object_pairs_hook=_without_repeats,
            parse_int=float,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as exc:
        cause = tr("it is nested too deeply") if isinstance(exc, RecursionError) else exc
        raise RequestError(
            400,
            "The body is no JSON: {cause}.",
            tr("Send {form}, or CSV as text/csv.", form='{"samples": [{...}, ...]}'),
            cause=cause,
        ) from exc
    samples = content.get(SAMPLES) if isinstance(content, dict) else None
    if not isinstance(samples, list) or not samples or len(content) > 1:
        form = '{"samples": [...]}'
        raise RequestError(422, "The body must be {form}, with a sample or more.", form=form)
    if len(samples) > max_rows:
        raise too_many(max_rows)
    for place, sample in enumerate(samples):
        if type(sample) is not dict:
            raise RequestError(422, "samples[{place}] is no object.", place=place)
    return samples


def too_many(max_rows: int) -> RequestError:
    """Build the error for a body with too many samples."""
    return RequestError(
        413,
        trn("A request may hold {n} sample.", "A request may hold {n} samples.", max_rows),
        tr("Send them in several requests, or score the file: waterflow score"),
    )


def field_names(samples: Sequence[Sample], schema: TableSchema) -> frozenset[str]:
    """Give the names of the fields that some sample has; those that count."""
    names = frozenset[str]().union(*samples)
    return names if schema.strict else names.intersection(schema.columns)


class SampleLayout:
    """Which columns of a schema some samples have; a field goes by its column's own name.

    Other names of a column are for the headers of files: in JSON, where any field may stand beside
    the measurements, one could be taken for a measurement that it is not.

    Fields that the schema does not know are not read. A RequestError is 422 if a column that the
    schema requires is not there, or another is and may not be.
    """

    def __init__(self, schema: TableSchema, names: Set[str]) -> None:
        known = [name for name in schema.columns if name != schema.label]
        self._required = [name for name in schema.required if name in known]
        if lacking := [name for name in self._required if name not in names]:
            raise RequestError(422, "The samples lack {names}.", tr(_NULLS), names=shorten(lacking))
        if schema.strict and (strange := sorted(names - {*known, schema.label})):
            raise RequestError(
                422,
                "The schema knows no {names}.",
                tr("Leave them out; its fields are listed at GET /model."),
                names=shorten(strange),
            )
        self._header = schema.header
        self._fields = {name: schema.kinds[name].is_numeric for name in known if name in names}

    def table(self, samples: Sequence[Sample]) -> Table:
        """Present samples as an open table of one batch; their lines count from 1.

        A RequestError is 422 if a sample lacks a field, or one is neither number, text nor null.
        """
        for name in self._required:
            lacking = (place for place, sample in enumerate(samples) if name not in sample)
            if (place := next(lacking, None)) is not None:
                gap = marked("samples[{place}] lacks '{name}'.")
                raise RequestError(422, gap, tr(_NULLS), place=place, name=name)
        cells = {
            field: _column(field, [sample.get(field) for sample in samples], is_numeric=numeric)
            for field, numeric in self._fields.items()
        }
        batch = Batch(columns=cells, lines=np.arange(1, len(samples) + 1, dtype=np.int64))
        return table_of(
            list(cells),
            lambda: batch,
            SAMPLES,
            Dialect(encoding="json", sep="", header_line=1, first_line=1),
            self._header,
            PLAIN_MARKS,
        )


def opener_of(body: bytes) -> Opener:
    """Give what opens the CSV in a body as a file is opened; but it is text, not compressed."""
    kind = "Parquet" if body.startswith(PARQUET_MAGIC) else compression(body)
    if kind:  # before anything is made of it: it may be a thousand times as large
        raise RequestError(415, "The body is {kind}, and no CSV.", kind=kind)
    return lambda _: io.BufferedReader(io.BytesIO(body))


def _column(name: str, cells: list[Any], *, is_numeric: bool) -> pa.Array:
    kinds = set(map(type, cells))
    if not kinds <= _CELLS:
        place = next(place for place, cell in enumerate(cells) if type(cell) not in _CELLS)
        raise RequestError(
            422,
            "samples[{place}], '{name}': neither a number, nor text, nor null.",
            place=place,
            name=name,
        )
    if is_numeric and kinds <= _NUMBERS:
        valid = np.array([cell is not None for cell in cells], dtype=bool)
        return arrow_numbers(np.array(cells, dtype=np.float64), valid)  # None is NaN
    return arrow_texts([_text(cell) for cell in cells])


def _text(cell: float | str | None) -> str | None:
    """Write a cell as it would stand in a file; half of a surrogate pair is no text."""
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode()
    return None if cell is None else repr(cell)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(tr("an object has the same name twice"))
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(tr("{name} is no number of JSON", name=name))
