"""Which new labelled rows are of samples that were recorded already, and which contradict them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import Message, tr, trn
from waterflow_cli.models.reference import hash_rows
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.retraining.options import OnConflict

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A new row that says something else of a sample than an earlier row.

    Attributes
    ----------
    sample : str
        Its id; empty where rows are told apart by their measurements.
    other, differs : Message
        Where the earlier row stands, and in what they differ: here, and there.
    """

    file: str
    line: int
    sample: str
    other: Message
    differs: Message

    def describe(self) -> Message:
        """Say where it stands, and what it contradicts."""
        sample = f" ({self.sample})" if self.sample else ""
        return Message(
            "{file}, line {line}{sample}: {differs} in {other}",
            file=self.file,
            line=self.line,
            sample=sample,
            differs=self.differs,
            other=self.other,
        )


@dataclass(frozen=True, kw_only=True)
class Matching:
    """What new rows are to recorded ones.

    Attributes
    ----------
    by_id : bool
        Whether samples are told apart by ids in both; otherwise by their measurements.
    kept, n_removed : ndarray of int, int
        Positions of the recorded rows that are still learned from, and the number of the others.
    fresh, corrected : ndarray of int
        Positions of the new rows of samples that were not recorded, and of those that take the
        place of recorded ones.
    n_repeated : int
        New rows that say again what an earlier row says.
    contested : list of TrainingData
        Rows of the samples that stay contested, to be known by.
    """

    by_id: bool
    kept: IntArray
    n_removed: int
    fresh: IntArray
    corrected: IntArray
    n_repeated: int
    conflicts: list[Conflict]
    contested: list[TrainingData]

    def summary(self) -> dict[str, Any]:
        """Put the counts into a JSON object."""
        return {
            "compared_by": "sample id" if self.by_id else "measurements",
            "rows_recorded_kept": len(self.kept),
            "rows_recorded_removed": self.n_removed,
            "rows_fresh": len(self.fresh),
            "rows_corrected": len(self.corrected),
            "rows_repeated": self.n_repeated,
            "rows_in_conflict": len(self.conflicts),
            "rows_contested": sum(len(each.y) for each in self.contested),
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
        contradict each other none is ever learned from. A sample of which neither is learned from
        stays contested: rows of it that come later are in conflict too, whatever they say.
    """
    known = _KnownRows(recorded)
    ids, said = _ids(new), _contents(new)
    fresh, contradicting, contradicted, disputed = [], [], [], []
    conflicts: list[Conflict] = []
    n_repeated = 0
    for rows in _group_rows([each or said[row][0] for row, each in enumerate(ids)]).values():
        first, *others = rows
        odd = next((row for row in others if said[row] != said[first]), None)
        if odd is not None:
            conflicts += [_conflict(new, row, new, odd if row == first else first) for row in rows]
            disputed += rows
            continue
        n_repeated += len(others)
        found = known.find(ids[first], said[first][0])
        if not found:
            fresh.append(first)
        elif any(known.says(row, said[first]) for row in found):
            n_repeated += 1
        else:
            conflicts.append(known.conflict(new, first, found[0]))
            contradicting.append(first)
            contradicted += found
    if conflicts and on_conflict == "fail":
        raise DataRefusedError(
            trn(
                "{conflict} ({n} such row).",
                "{conflict} ({n} such rows).",
                len(conflicts),
                conflict=conflicts[0].describe(),
            ),
            tr("Say which counts: --on-conflict drop, new or old."),
        )
    if on_conflict == "drop":
        disputed += contradicting
    gone = [] if on_conflict == "old" else contradicted
    kept = np.setdiff1d(np.arange(len(recorded.y)), gone)
    return Matching(
        by_id=recorded.ids is not None and new.ids is not None,
        kept=kept,
        n_removed=len(recorded.y) - len(kept),
        fresh=np.array(sorted(fresh), dtype=np.int64),
        corrected=np.array(sorted(contradicting) if on_conflict == "new" else [], dtype=np.int64),
        n_repeated=n_repeated,
        conflicts=sorted(conflicts, key=lambda each: each.line),
        contested=[
            *known.contested(contradicted, on_conflict),
            *known.not_yet_contested(new, sorted(disputed)),
        ],
    )


class _KnownRows:
    """Recorded rows, and after them those of contested samples, by what tells samples apart."""

    def __init__(self, recorded: TrainingData) -> None:
        self._recorded, self._contested = recorded, recorded.contested
        tables = [recorded] if self._contested is None else [recorded, self._contested]
        self._ids = [each for table in tables for each in _ids(table)]
        self._said = [each for table in tables for each in _contents(table)]
        self._by_id = _group_rows(self._ids)
        self._by_values = _group_rows([values for values, _ in self._said])

    def find(self, sample: str | None, values: int) -> list[int]:
        """Give the rows of a sample: by its id, and where one of the two has none, by values."""
        if sample is not None and sample in self._by_id:
            return self._by_id[sample]
        same = self._by_values.get(values, [])
        return [row for row in same if sample is None or self._ids[row] is None]

    def says(self, row: int, content: tuple[int, int]) -> bool:
        """Say whether a row says the same, and is learned from."""
        return row < len(self._recorded.y) and self._said[row] == content

    def conflict(self, new: TrainingData, row: int, there: int) -> Conflict:
        """Say what a new row contradicts."""
        return _conflict(new, row, self._recorded if there < len(self._recorded.y) else None, there)

    def contested(self, contradicted: list[int], on_conflict: OnConflict) -> list[TrainingData]:
        """Give the rows of samples that stay contested, and of those that become so."""
        n_recorded = len(self._recorded.y)
        tables = []
        if on_conflict == "drop":
            rows = sorted({row for row in contradicted if row < n_recorded})
            tables.append(self._recorded.take(np.array(rows, dtype=np.int64)))
        if self._contested is not None:
            still = np.arange(len(self._contested.y))
            if on_conflict == "new":
                still = np.setdiff1d(still, np.array(contradicted, dtype=np.int64) - n_recorded)
            tables.append(self._contested.take(still))
        return [table for table in tables if len(table.y)]

    def not_yet_contested(self, new: TrainingData, rows: list[int]) -> list[TrainingData]:
        """Give those of some new rows that are not known to be contested."""
        n_recorded = len(self._recorded.y)
        before = set(zip(self._ids[n_recorded:], self._said[n_recorded:], strict=True))
        said = list(zip(_ids(new), _contents(new), strict=True))
        unknown = [row for row in rows if said[row] not in before]
        return [new.take(np.array(unknown))] if unknown else []


def _group_rows(keys: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return groups


def _ids(data: TrainingData) -> list[str | None]:
    return [None] * len(data.y) if data.ids is None else data.ids.tolist()


def _contents(data: TrainingData) -> list[tuple[int, int]]:
    """Give what two rows have in common where all their measurements and labels are equal."""
    return list(zip(hash_rows(data.X).tolist(), data.y.tolist(), strict=True))


def _conflict(new: TrainingData, row: int, other: TrainingData | None, there: int) -> Conflict:
    """Say what a new row contradicts: a row of another table, or that its sample is contested."""
    place, differs = Message("the training data"), Message("the sample is contested")
    if other is not None:
        differs = _difference(new, row, other, there)
        if other.lines is not None:
            place = Message("{path}, line {line}", path=other.path, line=other.lines[there])
    sample = None if new.ids is None else new.ids[row]
    return Conflict(
        file=new.path,
        line=0 if new.lines is None else int(new.lines[row]),
        sample=sample or "",
        other=place,
        differs=differs,
    )


def _difference(new: TrainingData, row: int, other: TrainingData, there: int) -> Message:
    """Name the first thing in which two rows differ."""
    for name in new.X:
        here, before = new.X[name].iloc[row], other.X[name].iloc[there]
        if here != before and not (np.isnan(here) and np.isnan(before)):
            return Message(
                "{name} is {here:g} here and {before:g}", name=name, here=here, before=before
            )
    return Message("the label is {here} here and {before}", here=new.y[row], before=other.y[there])
