"""Which new labelled rows are of samples that were recorded already, and which contradict them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from waterflow_cli.arrays import IntArray
from waterflow_cli.errors import DataRefusedError
from waterflow_cli.messages import tr
from waterflow_cli.training_data import TrainingData

OnConflict = Literal["drop", "new", "old", "fail"]
_SHOWN = 20


@dataclass(frozen=True)
class Conflict:
    """A new row that says something else of a sample than an earlier row.

    Attributes
    ----------
    line : int
        Of the new row.
    sample : str
        Its id; empty where rows are told apart by their measurements.
    other : str
        Where the earlier row stands.
    differs : str
        In what they differ: here, and there.
    """

    file: str
    line: int
    sample: str
    other: str
    differs: str

    def __str__(self) -> str:
        return tr(
            "{file}, line {line}{sample}: {differs} in {other}",
            file=self.file,
            line=self.line,
            sample=f" ({self.sample})" if self.sample else "",
            differs=self.differs,
            other=self.other,
        )


@dataclass(frozen=True)
class Matching:
    """What new rows are to recorded ones.

    Attributes
    ----------
    by_id : bool
        Whether samples are told apart by ids in both; otherwise by their measurements.
    kept : ndarray of int
        Positions of the recorded rows that are still learned from.
    fresh : ndarray of int
        Positions of the new rows of samples that were not recorded.
    corrected : ndarray of int
        Positions of the new rows that take the place of recorded ones.
    n_repeated : int
        New rows that say again what an earlier row says.
    """

    by_id: bool
    kept: IntArray
    fresh: IntArray
    corrected: IntArray
    n_repeated: int
    conflicts: list[Conflict]

    def summary(self) -> dict[str, Any]:
        """Put the counts into a JSON object."""
        return {
            "compared_by": "sample id" if self.by_id else "measurements",
            "rows_recorded_kept": len(self.kept),
            "rows_fresh": len(self.fresh),
            "rows_corrected": len(self.corrected),
            "rows_repeated": self.n_repeated,
            "rows_in_conflict": len(self.conflicts),
            "conflicts": [asdict(conflict) for conflict in self.conflicts[:_SHOWN]],
        }


def match_rows(
    recorded: TrainingData, new: TrainingData, on_conflict: OnConflict = "drop"
) -> Matching:
    """Find the new rows of samples that were recorded already, or that stand in the file twice.

    Samples are told apart by their ids where both have them, else by their exact measurements.

    Parameters
    ----------
    on_conflict : str
        What becomes of a recorded and a new row that contradict each other: neither is learned
        from, only the new one, only the recorded one, or all is refused. Of new rows that
        contradict each other none is ever learned from.

    Raises
    ------
    DataRefusedError
        If rows contradict each other, and that is to be refused.
    """
    by_id = recorded.ids is not None and new.ids is not None
    within = _group_rows(_keys(new, by_id=new.ids is not None))
    earlier = _group_rows(_keys(recorded, by_id=by_id))
    across = _keys(new, by_id=by_id)
    said_before, said = _contents(recorded), _contents(new)
    fresh, corrected, contested, conflicts = [], [], [], []
    n_repeated = 0
    for rows in within.values():
        first, *others = rows
        odd = next((row for row in others if said[row] != said[first]), None)
        if odd is not None:
            conflicts += [_conflict(new, row, new, odd if row == first else first) for row in rows]
            continue
        n_repeated += len(others)
        found = earlier.get(across[first], [])
        if not found:
            fresh.append(first)
        elif any(said_before[row] == said[first] for row in found):
            n_repeated += 1
        else:
            conflicts.append(_conflict(new, first, recorded, found[0]))
            corrected.append(first)
            contested += found
    if conflicts and on_conflict == "fail":
        raise DataRefusedError(
            tr("{conflict} ({n} such rows).", conflict=conflicts[0], n=len(conflicts)),
            tr("Say which counts: --on-conflict drop, new or old."),
        )
    return Matching(
        by_id,
        np.setdiff1d(np.arange(len(recorded.y)), [] if on_conflict == "old" else contested),
        np.array(sorted(fresh), dtype=np.int64),
        np.array(sorted(corrected) if on_conflict == "new" else [], dtype=np.int64),
        n_repeated,
        sorted(conflicts, key=lambda each: each.line),
    )


def _group_rows(keys: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return groups


def _keys(data: TrainingData, *, by_id: bool) -> list[Hashable]:
    """Give what tells samples apart: an id, else the bits of the measurements."""
    values = measurement_bits(data)
    if not by_id:
        return list(values)
    return [known or value for known, value in zip(data.ids, values, strict=True)]


def measurement_bits(data: TrainingData) -> list[bytes]:
    """Give what two rows have in common where all their measurements are equal."""
    numbers = data.X.to_numpy(np.float64) + 0.0  # no -0
    numbers[np.isnan(numbers)] = np.nan  # one NaN of the many
    return [row.tobytes() for row in numbers]


def _contents(data: TrainingData) -> list[tuple[bytes, int]]:
    return list(zip(measurement_bits(data), data.y.tolist(), strict=True))


def _conflict(new: TrainingData, row: int, other: TrainingData, there: int) -> Conflict:
    known = None if new.ids is None else new.ids[row]
    if other.lines is None:
        place = tr("the training data")
    else:
        place = tr("{path}, line {line}", path=other.path, line=other.lines[there])
    line = 0 if new.lines is None else int(new.lines[row])
    return Conflict(new.path, line, known or "", place, _difference(new, row, other, there))


def _difference(new: TrainingData, row: int, other: TrainingData, there: int) -> str:
    """Name the first thing in which two rows differ."""
    for name in new.X:
        here, before = new.X[name].iloc[row], other.X[name].iloc[there]
        if here != before and not (np.isnan(here) and np.isnan(before)):
            return tr("{name} is {here:g} here and {before:g}", name=name, here=here, before=before)
    return tr("the label is {here} here and {before}", here=new.y[row], before=other.y[there])
