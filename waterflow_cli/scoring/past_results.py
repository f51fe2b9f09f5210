"""Read what an earlier scoring wrote beside each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, as_bools
from waterflow_cli.common.errors import InputError, UsageError, shorten
from waterflow_cli.common.messages import tr
from waterflow_cli.models.decision import LIKELY_NOT_POTABLE, LIKELY_POTABLE, SEND_TO_LAB
from waterflow_cli.scoring.scorer import INVALID, RESULT_COLUMNS, SCORED
from waterflow_cli.tables.table import Batch
from waterflow_cli.tables.writing import text_of
from waterflow_cli.validation.limit_checks import LIMITS
from waterflow_cli.validation.rules import IN_SOURCE_ONLY

# What became of a row: invalid, or its verdict, from the strictest to the most lenient.
STATES = (INVALID, LIKELY_NOT_POTABLE, SEND_TO_LAB, LIKELY_POTABLE)
_LAST = RESULT_COLUMNS[-1]
_KINDS = {"probability": pa.float64(), "prediction": pa.int64()}
_PROBABILITY = r"^(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)?$"
# Codes of what only the scored file showed, one among others in a cell.
_IN_SOURCE_ONLY = "|".join(rf"\b{code}\b" for code in IN_SOURCE_ONLY)
# waterflow 0.1.0 wrote no such column.
_LATER = {"rule"}


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

    Attributes
    ----------
    names : dict of str to str
        Those of `RESULT_COLUMNS` that it has, as the table calls them.

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
            if name.endswith(_LAST) and not _lacking(name.removesuffix(_LAST), columns)
        ]
        if prefix is None and len(found) > 1:
            raise UsageError(
                "{path}: holds the results of several scorings, with the prefixes {prefixes}.",
                tr("Say which are meant: --prefix"),
                path=path,
                prefixes=shorten(map(repr, found)),
            )
        if not found or prefix not in (None, *found):
            names = shorten(_lacking(prefix or "", columns))
            raise InputError(
                path,
                "is no output of waterflow score: it lacks {names}.",
                names=names,
                hint=tr("Name a file that it wrote, and its --prefix if it had one."),
            )
        own = found[0] if prefix is None else prefix
        self.names = {name: own + name for name in _written(own, columns)}
        # Those of any other scoring too: they tell nothing of a sample.
        self.all_names = {
            each + name for each in found for name in (*_written(each, columns), LIMITS)
        }

    @property
    def has_rules(self) -> bool:
        """Whether the table says which rules its invalid rows broke."""
        return "rule" in self.names

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
        numbers = {
            name: pc.if_else(pc.equal(texts[name], ""), None, texts[name]).cast(kind)
            for name, kind in _KINDS.items()
        }
        beyond = as_bools(pc.fill_null(pc.greater(numbers["probability"], 1.0), True))
        self._refuse(batch, texts, {"probability": is_invalid | ~beyond})
        return Judged.of({**texts, **numbers})

    def lost(self, batch: Batch, old: Judged, new: Judged) -> BoolArray:
        """Say which rows were invalid for what their cells in the output do not show.

        Where the table names no rules, that may be said of all whose cells are sound.
        """
        if not self.has_rules:
            return ~old.scored & new.scored
        rules = text_of(batch.columns[self.names["rule"]])
        return ~old.scored & as_bools(pc.match_substring_regex(rules, _IN_SOURCE_ONLY))

    def _refuse(
        self, batch: Batch, texts: Mapping[str, pa.Array], sound: Mapping[str, BoolArray]
    ) -> None:
        for name, good in sound.items():
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                raise InputError(
                    self._path,
                    "column {column}: {value!r} is nothing that waterflow score writes.",
                    column=self.names[name],
                    value=texts[name][row].as_py(),
                    line=int(batch.lines[row]),
                    hint=tr("Replay the file as it was written."),
                )


def _written(prefix: str, columns: Sequence[str]) -> list[str]:
    """Give the results that a scoring wrote, among the columns of a table."""
    # A column of that name in front of the results was one of the samples' own.
    later = columns[columns.index(prefix + RESULT_COLUMNS[0]) :]
    return [name for name in RESULT_COLUMNS if name not in _LATER or prefix + name in later]


def _lacking(prefix: str, columns: Sequence[str]) -> list[str]:
    """Name the columns that every version of `score` wrote, and that are not there."""
    names = [prefix + name for name in RESULT_COLUMNS if name not in _LATER]
    return [name for name in names if name not in columns]


def _positions(texts: pa.Array, names: Iterable[str]) -> IntArray:
    """Give the position of each text among some names; -1 for any other text."""
    found = pc.index_in(texts, value_set=pa.array(list(names), pa.string()))
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)
