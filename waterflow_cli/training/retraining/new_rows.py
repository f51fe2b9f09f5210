"""Set new labelled rows apart: those that a challenger learns from, and those that judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import Message, counted, joined, tr, trn
from waterflow_cli.models.reference import hash_rows
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import stratified_folds
from waterflow_cli.training.retraining.options import USUAL_OPTIONS, OnConflict, RetrainingOptions
from waterflow_cli.training.retraining.row_matching import Matching, match_rows

# Fewer rows of a class, or groups, tell two models apart by luck alone.
MIN_GATE_ROWS_PER_CLASS = 20
MIN_GATE_GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """New rows, by what they serve.

    Attributes
    ----------
    learned : ndarray of int
        Positions of those that the challenger learns from.
    judging : TrainingData
        Those that neither model learned from.
    unseen : TrainingData
        These, and those of the learned ones that the champion has not seen.
    n_copies : int
        Rows that judge nothing, for their measurements were learned from.
    """

    matching: Matching
    learned: IntArray
    judging: TrainingData
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
    options: RetrainingOptions = USUAL_OPTIONS,
    warn: Callable[[str], None] = lambda _text: None,
) -> NewRows:
    """Find out what is new, and set rows apart for the gate before anything is learned.

    Refused is that nothing is new, or too few rows would judge.
    """
    matching = match_rows(recorded, new, options.on_conflict)
    if matching.conflicts:
        warn(_describe_conflicts(matching, options.on_conflict))
    fresh = matching.fresh
    if not len(fresh):
        raise DataRefusedError(
            "{file}: no row is of a new and undisputed sample.",
            tr("Bring samples that the champion has not learned from."),
            file=new.path,
        )
    corrected = new.take(matching.corrected)
    met = in_groups_of(new, recorded)
    may_judge = fresh[~(met | in_groups_of(new, corrected))[fresh]]
    _refuse_few(new.take(may_judge), n_met=len(fresh) - len(may_judge))
    judging = may_judge[set_apart(new.take(may_judge), options.holdout, options.seed)]
    learned = np.union1d(np.setdiff1d(fresh, judging), matching.corrected)
    # An id can be new though the sample is not.
    known = find_copies(new, recorded)
    copied = known | find_copies(new, new.take(learned))
    judges = judging[~copied[judging]]
    measures = np.setdiff1d(learned[~(known | met)[learned]], matching.corrected)
    gate = new.take(judges)
    _refuse_few(gate)
    return NewRows(
        matching=matching,
        learned=learned,
        judging=gate,
        unseen=new.take(np.sort(np.concatenate([judges, measures]))),
        n_copies=len(judging) - len(judges),
    )


def set_apart(new: TrainingData, share: float, seed: int) -> IntArray:
    """Give the positions of the rows that judge; the others are learned from.

    Each class is split by the share, at random; where rows belong to groups, each group stays
    whole, and the share is about that; where rows have times, the latest ones judge. Too few rows
    or groups to judge by are refused.
    """
    _refuse_few(new)  # fewer could not be split
    if new.when is not None:
        judging = _latest(new.path, new.when, share)
    elif new.groups is not None:
        is_small = share <= 0.5
        n_folds = round(1 / (share if is_small else 1 - share))
        larger, smaller = next(stratified_folds(new.y, n_folds, seed, new.groups))
        judging = smaller if is_small else larger
    else:
        every = np.arange(len(new.y))
        _, judging = train_test_split(every, test_size=share, stratify=new.y, random_state=seed)
    _refuse_few(new.take(judging))
    return np.sort(judging)


def find_copies(rows: TrainingData, learned: TrainingData) -> BoolArray:
    """Say which rows have the measurements of a row that was learned from, whatever their ids."""
    return np.isin(hash_rows(rows.X), hash_rows(learned.X))


def in_groups_of(rows: TrainingData, learned: TrainingData) -> BoolArray:
    """Say which rows belong to a group that was learned from; none where there are no groups."""
    if rows.groups is None or learned.groups is None:
        return np.zeros(len(rows.y), dtype=bool)
    return np.isin(rows.groups, learned.groups)


def _refuse_few(rows: TrainingData, n_met: int = 0) -> None:
    """Refuse to judge models by too few rows; the groups of `n_met` more were learned from."""
    hint = Message("Gather more labelled samples, or set a larger share apart: --holdout")
    if n_met:
        hint = counted(
            "{n} new sample cannot judge, for its group was learned from: gather samples of new "
            "ones.",
            "{n} new samples cannot judge, for their groups were learned from: gather samples of "
            "new ones.",
            n_met,
        )
    negatives, positives = rows.class_counts
    if min(negatives, positives) < MIN_GATE_ROWS_PER_CLASS:
        raise DataRefusedError(
            trn(
                "{file}: {negatives} not potable and {n} potable new sample would judge the "
                "models; at least {needed} of each are needed.",
                "{file}: {negatives} not potable and {n} potable new samples would judge the "
                "models; at least {needed} of each are needed.",
                positives,
                file=rows.path,
                negatives=negatives,
                needed=MIN_GATE_ROWS_PER_CLASS,
            ),
            hint,
        )
    n_groups = MIN_GATE_GROUPS if rows.groups is None else len(np.unique(rows.groups))
    if n_groups < MIN_GATE_GROUPS:
        raise DataRefusedError(
            trn(
                "{file}: new samples of {n} group would judge the models; at least {needed} "
                "groups are needed.",
                "{file}: new samples of {n} groups would judge the models; at least {needed} "
                "groups are needed.",
                n_groups,
                file=rows.path,
                needed=MIN_GATE_GROUPS,
            ),
            hint,
        )


def _latest(path: str, when: FloatArray, share: float) -> IntArray:
    """Give the rows that come last, about the share of all; no time is split."""
    times, counts = np.unique(when, return_counts=True)
    if len(times) < 2:
        raise DataRefusedError(
            "{file}: all new samples are of one time, so none are later to judge by.",
            tr("Bring samples of several times."),
            file=path,
        )
    later = np.cumsum(counts[::-1])[::-1][1:]
    return np.flatnonzero(when >= times[1:][np.argmin(np.abs(later - share * len(when)))])


def _describe_conflicts(matching: Matching, on_conflict: OnConflict) -> Message:
    outcomes = {
        "drop": Message("neither row is used"),
        "new": Message("the new row is learned from"),
        "old": Message("the earlier row is learned from"),
    }
    return Message(
        "{contradictions}; {outcome} (--on-conflict), and {removed}. {conflicts}",
        contradictions=counted(
            "{n} new row contradicts an earlier row of the same sample",
            "{n} new rows contradict an earlier row of the same sample",
            len(matching.conflicts),
        ),
        removed=counted(
            "{n} row of the training data is not learned from any more",
            "{n} rows of the training data are not learned from any more",
            matching.n_removed,
        ),
        outcome=outcomes[on_conflict],
        conflicts=joined((each.describe() for each in matching.conflicts[:3]), "; "),
    )
