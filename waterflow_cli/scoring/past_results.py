"""Read what an earlier scoring wrote beside each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, as_bools
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import LANGUAGES, marked, read_catalogue, tr
from waterflow_cli.models.decision import LIKELY_NOT_POTABLE, LIKELY_POTABLE, SEND_TO_LAB
from waterflow_cli.scoring.scorer import INVALID, RESULT_COLUMNS, SCORED
from waterflow_cli.tables.reading import Batch
from waterflow_cli.tables.writing import text_of
from waterflow_cli.validation.limit_checks import LIMITS

# What became of a row: invalid, or its verdict, from the strictest to the most lenient.
STATES = (INVALID, LIKELY_NOT_POTABLE, SEND_TO_LAB, LIKELY_POTABLE)
_LAST = RESULT_COLUMNS[-1]
_KINDS = {"probability": pa.float64(), "prediction": pa.int64()}
_PROBABILITY = r"^(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)?$"
# Reasons that rest on what only the scored file showed: the cells in the output are sound.
_NOT_IN_CELLS = (
    marked("the row holds a NUL byte"),
    marked("{n_cells} fields where the header has {n_columns}"),
    marked("{name} in line {line}: {problem}"),
    marked("{name} is {one} in line {first} and {other} in line {second}"),
)


@dataclass(frozen=True)
class Judged:
    """What some rows were judged to be.

    Attributes
    ----------
    state : ndarray of int64, shape (n_rows,)
        Positions in `STATES`.
    probability : ndarray of float64, shape (n_rows,)
        NaN where invalid.
    prediction : ndarray of int64, shape (n_rows,)
        1 or 0; -1 where invalid.
    model : pyarrow.Array of string, shape (n_rows,)
        Which model judged.
    """

    state: IntArray
    probability: FloatArray
    prediction: IntArray
    model: pa.Array

    @classmethod
    def of(cls, results: Mapping[str, pa.Array]) -> Judged:
        """Take over the results of a scoring, as `RESULT_COLUMNS` of numbers and text."""
        state = _positions(results["verdict"], STATES)
        state[_positions(results["status"], (INVALID,)) == 0] = 0
        return cls(
            state,
            np.asarray(pc.fill_null(results["probability"], np.nan)),
            np.asarray(pc.fill_null(results["prediction"], -1)),
            results["model_version"],
        )

    @property
    def scored(self) -> BoolArray:
        """Say which rows were not invalid."""
        return self.state > 0


class PastResults:
    """The result columns of a table that `score` wrote.

    Parameters
    ----------
    columns : sequence of str
        The table's header.
    prefix : str, optional
        What the results' names start with; found where it is not given.

    Raises
    ------
    InputError
        If the table has no such columns.
    UsageError
        If it has them from several scorings, and no prefix is given.
    """

    def __init__(self, path: str, columns: Sequence[str], prefix: str | None = None) -> None:
        self._path = path
        found = [
            name.removesuffix(_LAST)
            for name in columns
            if name.endswith(_LAST) and set(_names(name.removesuffix(_LAST))) <= set(columns)
        ]
        if prefix is None and len(found) > 1:
            raise UsageError(
                tr(
                    "{path}: holds the results of several scorings, with the prefixes {prefixes}.",
                    path=path,
                    prefixes=", ".join(map(repr, found)),
                ),
                tr("Say which are meant: --prefix"),
            )
        if not found or prefix not in (None, *found):
            lacking = [name for name in _names(prefix or "") if name not in columns]
            raise InputError(
                path,
                tr("is no output of waterflow score: it lacks {names}.", names=", ".join(lacking)),
                hint=tr("Name a file that it wrote, and its --prefix if it had one."),
            )
        self.names = dict(
            zip(RESULT_COLUMNS, _names(found[0] if prefix is None else prefix), strict=True)
        )
        # Those of any other scoring too: they tell nothing of a sample.
        self.all_names = {name for each in found for name in (*_names(each), each + LIMITS)}

    def read(self, batch: Batch) -> Judged:
        """Read what some rows were judged to be.

        Raises
        ------
        InputError
            If a cell holds what `score` never writes there.
        """
        texts = {name: text_of(batch.columns[own]) for name, own in self.names.items()}
        is_invalid = _positions(texts["status"], (INVALID,)) == 0
        probability = as_bools(pc.match_substring_regex(texts["probability"], _PROBABILITY))
        sound = {
            "status": _positions(texts["status"], (SCORED, INVALID)) >= 0,
            "probability": probability,
            "verdict": is_invalid | (_positions(texts["verdict"], STATES) > 0),
            "prediction": is_invalid | (_positions(texts["prediction"], ("0", "1")) >= 0),
        }
        self._refuse(batch, texts, sound)
        numbers = {name: _numbers(texts[name], kind) for name, kind in _KINDS.items()}
        beyond = as_bools(pc.fill_null(pc.greater(numbers["probability"], 1.0), True))
        self._refuse(batch, texts, {"probability": is_invalid | ~beyond})
        return Judged.of({**texts, **numbers})

    def lost(self, batch: Batch) -> BoolArray:
        """Say which rows were invalid for what their cells in the output do not show."""
        status = text_of(batch.columns[self.names["status"]])
        lost: BoolArray = _positions(status, (INVALID,)) == 0
        reasons = text_of(batch.columns[self.names["reason"]]).filter(pa.array(lost))
        lost[lost] = as_bools(pc.match_substring_regex(reasons, _lost_pattern()))
        return lost

    def _refuse(
        self, batch: Batch, texts: Mapping[str, pa.Array], sound: Mapping[str, BoolArray]
    ) -> None:
        for name, good in sound.items():
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                raise InputError(
                    self._path,
                    tr(
                        "column {column}: {value!r} is nothing that waterflow score writes.",
                        column=self.names[name],
                        value=texts[name][row].as_py(),
                    ),
                    line=int(batch.lines[row]),
                    hint=tr("Replay the file as it was written."),
                )


def _names(prefix: str) -> list[str]:
    return [prefix + name for name in RESULT_COLUMNS]


def _positions(texts: pa.Array, names: Iterable[str]) -> IntArray:
    """Give the position of each text among some names; -1 for any other text."""
    found = pc.index_in(texts, value_set=pa.array(list(names), pa.string()))
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def _numbers(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), None, texts).cast(kind)


@cache
def _lost_pattern() -> str:
    """Make the pattern of reasons of `_NOT_IN_CELLS`, in any language that score may have used."""
    catalogues = [read_catalogue(code) for code in LANGUAGES]
    texts = [each.gettext(text) for text in _NOT_IN_CELLS for each in catalogues]
    escaped = [re.sub(r"\\\{.*?\\\}", ".*", re.escape(text)) for text in texts]
    return "|".join(escaped)
