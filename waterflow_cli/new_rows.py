"""Set new labelled rows apart: those that a challenger learns from, and those that judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from waterflow_cli.arrays import BoolArray, IntArray
from waterflow_cli.errors import DataRefusedError
from waterflow_cli.messages import tr
from waterflow_cli.row_matching import Matching, OnConflict, match_rows, measurement_bits
from waterflow_cli.training_data import TrainingData

DEFAULT_HOLDOUT = 0.5
# Fewer rows of a class, or groups, tell two models apart by luck alone.
MIN_GATE_ROWS_PER_CLASS = 20
MIN_GATE_GROUPS = 5


@dataclass(frozen=True)
class NewRows:
    """New rows, by what they serve.

    Attributes
    ----------
    learned : ndarray of int
        Positions of those that the challenger learns from.
    judging : TrainingData
        Those that neither model learned from.
    measuring : TrainingData
        Those of the learned ones that the champion has not seen.
    unseen : TrainingData
        Both of these together.
    n_copies : int
        Rows that judge nothing, for their measurements were learned from.
    """

    matching: Matching
    learned: IntArray
    judging: TrainingData
    measuring: TrainingData
    unseen: TrainingData
    n_copies: int

    def summary(self) -> dict[str, Any]:
        """Put the counts into a JSON object."""
        return {
            **self.matching.summary(),
            "rows_learned": len(self.learned),
            "rows_judging": len(self.judging.y),
            "rows_copied": self.n_copies,
        }


def sort_new_rows(
    recorded: TrainingData,
    new: TrainingData,
    *,
    on_conflict: OnConflict = "drop",
    holdout: float = DEFAULT_HOLDOUT,
    seed: int = 0,
    warn: Callable[[str], None] = lambda _text: None,
) -> NewRows:
    """Find out what is new, and set rows apart for the gate before anything is learned.

    Parameters
    ----------
    on_conflict : str
        See `match_rows`.
    holdout : float
        Share of the new samples that judge.

    Raises
    ------
    DataRefusedError
        If nothing is new, rows contradict each other and that is refused, or too few would judge.
    """
    matching = match_rows(recorded, new, on_conflict)
    if matching.conflicts:
        warn(_describe_conflicts(matching, on_conflict))
    fresh = matching.fresh
    if not len(fresh):
        raise DataRefusedError(
            tr("{file}: no row is of a new and undisputed sample.", file=new.path),
            tr("Bring samples that the champion has not learned from."),
        )
    judging, learned = (fresh[rows] for rows in set_apart(new.take(fresh), holdout, seed))
    # An id can be new though the sample is not.
    known = find_copies(new, recorded)
    copied = known | find_copies(new, new.take(learned))
    judges, measures = judging[~copied[judging]], learned[~known[learned]]
    gate = new.take(judges)
    _refuse_few(gate)
    return NewRows(
        matching,
        np.sort(np.concatenate([learned, matching.corrected])),
        gate,
        new.take(measures),
        new.take(np.sort(np.concatenate([judges, measures]))),
        len(judging) - len(judges),
    )


def set_apart(new: TrainingData, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Split rows into those that judge and those that are learned from, at random.

    Each class is split by the share; where rows belong to groups, each group stays whole.

    Returns
    -------
    tuple of ndarray of int
        Positions of the rows that judge, and of the others.

    Raises
    ------
    DataRefusedError
        If too few rows or groups would judge.
    """
    _refuse_few(new)  # fewer could not be split
    if new.groups is None:
        learned, judging = train_test_split(
            np.arange(len(new.y)), test_size=share, stratify=new.y, random_state=seed
        )
    else:
        learned, judging = _split_groups(new, share, seed)
    _refuse_few(new.take(judging))
    return np.sort(judging), np.sort(learned)


def find_copies(rows: TrainingData, learned: TrainingData) -> BoolArray:
    """Say which rows have the measurements of a row that was learned from, whatever their ids."""
    known = set(measurement_bits(learned))
    return np.array([bits in known for bits in measurement_bits(rows)], dtype=bool)


def _refuse_few(rows: TrainingData) -> None:
    """Refuse to judge models by too few rows."""
    hint = tr("Gather more labelled samples, or set a larger share apart: --holdout")
    negatives, positives = rows.class_counts
    if min(negatives, positives) < MIN_GATE_ROWS_PER_CLASS:
        raise DataRefusedError(
            tr(
                "{file}: {negatives} not potable and {positives} potable new samples would "
                "judge the models; at least {needed} of each are needed.",
                file=rows.path,
                negatives=negatives,
                positives=positives,
                needed=MIN_GATE_ROWS_PER_CLASS,
            ),
            hint,
        )
    n_groups = MIN_GATE_GROUPS if rows.groups is None else len(np.unique(rows.groups))
    if n_groups < MIN_GATE_GROUPS:
        raise DataRefusedError(
            tr(
                "{file}: new samples of {n_groups} groups would judge the models; at least "
                "{needed} groups are needed.",
                file=rows.path,
                n_groups=n_groups,
                needed=MIN_GATE_GROUPS,
            ),
            hint,
        )


def _split_groups(new: TrainingData, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Give the rows of some groups, and those of the others: about the share of all."""
    is_small = share <= 0.5
    n_folds = round(1 / (share if is_small else 1 - share))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    larger, smaller = next(folds.split(np.zeros(len(new.y)), new.y, new.groups))
    return (larger, smaller) if is_small else (smaller, larger)


def _describe_conflicts(matching: Matching, on_conflict: OnConflict) -> str:
    outcomes = {
        "drop": tr("neither row is used"),
        "new": tr("the new row is learned from"),
        "old": tr("the earlier row is learned from"),
    }
    return tr(
        "{n} new rows contradict an earlier row of the same sample; {outcome} (--on-conflict). "
        "{conflicts}",
        n=len(matching.conflicts),
        outcome=outcomes[on_conflict],
        conflicts="; ".join(map(str, matching.conflicts[:3])),
    )
