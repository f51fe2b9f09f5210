"""Compare two judgements of the same rows: what flipped, the most dangerous first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.models.decision import LIKELY_NOT_POTABLE, LIKELY_POTABLE, SEND_TO_LAB
from waterflow_cli.scoring.past_results import STATES, Judged
from waterflow_cli.scoring.scorer import INVALID, SCORED

_BAD, _LAB, _GOOD = (
    STATES.index(each) for each in (LIKELY_NOT_POTABLE, SEND_TO_LAB, LIKELY_POTABLE)
)


class RowJudgement(NamedTuple):
    """What one row was judged to be, in the words of the result columns."""

    status: str
    probability: float | None
    prediction: int | None
    verdict: str
    model_version: str


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A row that is judged otherwise now.

    Attributes
    ----------
    key : tuple
        Sorts the most dangerous first: called potable that was not, then by how far the
        probability moved, then by line.
    ids : dict of str to str
        The columns that are neither measurement nor label nor result.
    kind : str
        For example ``likely_not_potable to likely_potable``.
    """

    key: tuple[int, float, int]
    line: int
    ids: dict[str, str]
    kind: str
    old: RowJudgement
    new: RowJudgement

    def content(self) -> dict[str, Any]:
        """JSON of it."""
        return {
            "line": self.line,
            "ids": self.ids,
            "flip": self.kind,
            "old": self.old._asdict(),
            "new": self.new._asdict(),
        }


class Comparison:
    """Two judgements of some rows.

    Attributes
    ----------
    both_scored : ndarray of bool, shape (n_rows,)
        Rows that have two probabilities.
    flipped : ndarray of bool, shape (n_rows,)
        Those with another verdict or prediction, or that became invalid or scored.
    change : ndarray of float64, shape (n_rows,)
        By how much each probability moved; 0 where there are not two.

    Parameters
    ----------
    lost : ndarray of bool, shape (n_rows,)
        Rows whose cells do not show why they were invalid; they count as invalid again.
    """

    def __init__(self, old: Judged, new: Judged, lost: BoolArray) -> None:
        self.old, self.lost = old, lost
        self.new = Judged(
            np.where(lost, old.state, new.state),
            np.where(lost, np.nan, new.probability),
            np.where(lost, -1, new.prediction),
            new.model,
        )
        self.both_scored = old.scored & self.new.scored
        other = self.both_scored & (old.prediction != self.new.prediction)
        self.flipped = (old.state != self.new.state) | other
        moved = np.abs(self.new.probability - old.probability)
        self.change: FloatArray = np.where(self.both_scored, moved, 0.0)

    def danger(self) -> IntArray:
        """Rank each row: 0 where water that was called not potable is called potable now."""
        old, new = self.old.state, self.new.state
        is_up = self.new.prediction > self.old.prediction
        ranks = (
            (old == _BAD) & (new == _GOOD),
            (old != _GOOD) & (new == _GOOD),
            self.both_scored & is_up,
            (old == _BAD) & (new == _LAB),
            new > 0,
        )
        return np.select(ranks, range(len(ranks)), default=len(ranks)).astype(np.int64)

    def kinds(self, rows: IntArray) -> list[str]:
        """Name the flip of each of some rows."""
        old, new = self.old, self.new
        return [
            f"{STATES[old.state[row]]} to {STATES[new.state[row]]}"
            if old.state[row] != new.state[row]
            else f"prediction {old.prediction[row]} to {new.prediction[row]}"
            for row in rows
        ]

    def worst(self, limit: int, lines: IntArray, ids: dict[str, pa.Array]) -> list[Flip]:
        """Give the most dangerous flips, at most ``limit`` of them."""
        rows = np.flatnonzero(self.flipped)
        danger, change = self.danger()[rows], self.change[rows]
        order = np.lexsort((lines[rows], -change, danger))[:limit]
        return [
            Flip(
                key=(int(danger[place]), -float(change[place]), int(lines[row])),
                line=int(lines[row]),
                ids={name: _cell_text(column[int(row)]) for name, column in ids.items()},
                kind=kind,
                old=_judgement(self.old, int(row)),
                new=_judgement(self.new, int(row)),
            )
            for place, row, kind in zip(order, rows[order], self.kinds(rows[order]), strict=True)
        ]


def _judgement(judged: Judged, row: int) -> RowJudgement:
    state, model = STATES[judged.state[row]], judged.model[row].as_py()
    if state == INVALID:
        return RowJudgement(INVALID, None, None, SEND_TO_LAB, model)
    probability, prediction = float(judged.probability[row]), int(judged.prediction[row])
    return RowJudgement(SCORED, probability, prediction, state, model)


def _cell_text(cell: pa.Scalar) -> str:
    return str(cell) if cell.is_valid else ""


@dataclass(kw_only=True)
class FlipCounts:
    """Counts of compared rows.

    Attributes
    ----------
    matrix : ndarray of int64, shape (4, 4)
        Rows by old and new state, see `STATES`.
    n_up, n_down : int
        Predictions from 0 to 1, and from 1 to 0.
    n_lost : int
        Invalid rows that could not be judged again.
    n_changed : int
        Rows of both judgements with another probability.
    total_change, largest_change : float
        Of these probabilities.
    n_unsteady : int
        Rows that changed though the same version of the model judged them.
    old_models : Counter of str
        Rows by the model that judged them first.
    """

    matrix: IntArray = field(default_factory=lambda: np.zeros((len(STATES),) * 2, dtype=np.int64))
    n_flips: int = 0
    n_up: int = 0
    n_down: int = 0
    n_lost: int = 0
    n_changed: int = 0
    total_change: float = 0.0
    largest_change: float = 0.0
    n_unsteady: int = 0
    old_models: Counter[str] = field(default_factory=Counter)

    @property
    def n_rows(self) -> int:
        """All rows."""
        return int(self.matrix.sum())

    @property
    def n_both_scored(self) -> int:
        """Rows with two probabilities."""
        return int(self.matrix[1:, 1:].sum())

    @property
    def n_to_potable(self) -> int:
        """Rows that were called likely not potable, and now the opposite."""
        return int(self.matrix[_BAD, _GOOD])

    def add(self, compared: Comparison) -> None:
        """Count some rows."""
        old, new = compared.old, compared.new
        n_states = len(STATES)
        pairs = np.bincount(old.state * n_states + new.state, minlength=n_states**2)
        self.matrix += pairs.reshape(n_states, n_states)
        self.n_flips += int(compared.flipped.sum())
        self.n_up += int((compared.both_scored & (new.prediction > old.prediction)).sum())
        self.n_down += int((compared.both_scored & (new.prediction < old.prediction)).sum())
        self.n_lost += int(compared.lost.sum())
        change = compared.change
        changed = change > 0
        self.n_changed += int(changed.sum())
        self.total_change += float(change.sum())
        self.largest_change = max(self.largest_change, float(change.max(initial=0.0)))
        same_model = np.asarray(pc.equal(old.model, new.model))
        self.n_unsteady += int((same_model & (changed | compared.flipped)).sum())
        for each in pc.value_counts(old.model):
            self.old_models[each["values"].as_py()] += each["counts"].as_py()

    def content(self) -> dict[str, Any]:
        """JSON of them."""
        return {
            "rows": self.n_rows,
            "flips": self.n_flips,
            "not_potable_to_potable": self.n_to_potable,
            "predictions": {"0_to_1": self.n_up, "1_to_0": self.n_down},
            "verdicts_changed": self.n_both_scored - int(np.trace(self.matrix[1:, 1:])),
            "became_invalid": int(self.matrix[1:, 0].sum()),
            "became_scored": int(self.matrix[0, 1:].sum()),
            "not_replayed": self.n_lost,
            "probabilities": {
                "compared": self.n_both_scored,
                "changed": self.n_changed,
                "mean_change": self.mean_change,
                "largest_change": self.largest_change,
            },
            "verdicts": {
                old: {new: int(self.matrix[row, column]) for column, new in enumerate(STATES)}
                for row, old in enumerate(STATES)
            },
            "changed_by_same_model": self.n_unsteady,
        }

    @property
    def mean_change(self) -> float:
        """By how much a probability moved on average."""
        return self.total_change / self.n_both_scored if self.n_both_scored else 0.0


def merge_worst(known: Sequence[Flip], more: Iterable[Flip], limit: int) -> list[Flip]:
    """Keep the most dangerous flips of two lots."""
    return nsmallest(limit, [*known, *more], key=lambda flip: flip.key)
