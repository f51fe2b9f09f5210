"""Score a batch: check the rows, judge the good ones, say why for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    arrow_numbers,
    arrow_texts,
    joined,
    repeated,
    where_else,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.files import StoredModel
from waterflow_cli.scoring.refusals import refuse_without
from waterflow_cli.tables.reading import Opener
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.table import Table
from waterflow_cli.validation.batches import CheckedBatch, row_reasons, row_rules
from waterflow_cli.validation.pass_over import PLAIN, Pass, PassOptions, pass_over

RESULT_COLUMNS = (
    *("status", "probability", "prediction", "verdict"),
    *("rule", "reason", "model_version"),
)
SCORED, INVALID = "scored", "invalid"


@dataclass(frozen=True)
class ScoredBatch:
    """A batch with a verdict for each row.

    Attributes
    ----------
    checked : CheckedBatch
        The rows and what is wrong with them.
    results : dict of str to pyarrow.Array, each of shape (n_rows,)
        By name, see `RESULT_COLUMNS`. Probability and prediction are null where invalid.
    verdict_counts : dict of str to int
        Of the scored rows.
    """

    checked: CheckedBatch
    results: dict[str, pa.Array]
    verdict_counts: dict[str, int]


class Scorer:
    """Scores the batches of one table.

    Attributes
    ----------
    judged_columns : set of str
        The measurements and the label, as the header writes them.

    Parameters
    ----------
    file : Pass
        With the `pass_options` of the model.
    n_listed : int
        How many measurements each reason lists that moved the probability most.

    Raises
    ------
    InputError
        If the table lacks a column that the model needs.
    ModelError
        If the model is made for other tables; see `refuse_without`.
    """

    def __init__(self, model: StoredModel, file: Pass, *, n_listed: int = 0) -> None:
        self.file, self._model, self._n_listed = file, model, n_listed
        found = file.table.match.columns
        judged = (*model.decision.measurements, model.schema.label)
        self.judged_columns = {found[name] for name in judged if name in found}
        self._refuse_other_table()
        file.refuse_unfit()

    @classmethod
    def of_table(
        cls, model: StoredModel, table: Table, reading: ReadingOptions = AS_FOUND
    ) -> Scorer:
        """Make the scorer of an open table."""
        asked = pass_options(model, PassOptions(reading=reading))
        return cls(model, Pass(table, model.schema, asked))

    def judge(self, checked: CheckedBatch) -> ScoredBatch:
        """Judge the good rows of a batch that was checked."""
        decision = self._model.decision
        invalid = checked.invalid
        valid = np.flatnonzero(~invalid)
        X = np.array([checked.numbers[name][valid] for name in decision.measurements]).T
        probability = self._model.probability(X)
        verdict = np.zeros(len(checked.batch), dtype=np.int64)
        verdict[valid] = decision.verdict(probability)
        counts = np.bincount(verdict[valid], minlength=len(VERDICTS))
        movers = []
        if self._n_listed:
            texts = list_movers(self._model, X, probability, self._n_listed)
            movers = [texts.take(_spread(np.arange(len(X)), invalid))]
        results = {
            "status": _named((SCORED, INVALID), invalid.astype(np.int64)),
            "probability": _spread(probability, invalid),
            "prediction": _spread(decision.predict(probability), invalid),
            "verdict": _named(VERDICTS, verdict),
            "rule": _with_faults(repeated("", len(verdict)), checked, row_rules),
            "reason": self._reasons(checked, verdict, movers),
            "model_version": repeated(self._model.label, len(verdict)),
        }
        return ScoredBatch(checked, results, dict(zip(VERDICTS, map(int, counts), strict=True)))

    def _reasons(
        self, checked: CheckedBatch, verdict: IntArray, movers: Sequence[pa.Array]
    ) -> pa.Array:
        parts = [_named(list(map(tr, self._model.decision.policy.reasons)), verdict)]
        measured = self._model.decision.measurements
        parts += _naming(tr("; imputed:"), [(name, checked.missing[name]) for name in measured])
        bounds = [(name, each.below | each.above) for name, each in checked.censored.items()]
        parts += _naming(tr("; read from a bound:"), bounds)
        parts += movers
        reasons = joined(*parts) if len(parts) > 1 else parts[0]
        return _with_faults(reasons, checked, row_reasons)

    def _refuse_other_table(self) -> None:
        wanted = self._model.decision.measurements
        absent = [name for name in wanted if name not in self.file.table.match.columns]
        refuse_without(self._model, absent, self.file.table.path)


def check_n_listed(model: StoredModel, n_listed: int) -> None:
    """Refuse to list more measurements for a row than the model has.

    Raises
    ------
    UsageError
        Naming both numbers.
    """
    n_measurements = len(model.decision.measurements)
    if n_listed > n_measurements:
        raise UsageError(
            trn(
                "--explain {n_listed}: model {model} has {n} measurement.",
                "--explain {n_listed}: model {model} has {n} measurements.",
                n_measurements,
                n_listed=n_listed,
                model=model.label,
            )
        )


def list_movers(
    model: StoredModel, X: FloatArray, probability: FloatArray, n_listed: int
) -> pa.StringArray:
    """End each row's reason: ``; moved most by: Sulfate +0.062, ph -0.031``, for example.

    Shares are ranked as they are shown, in thousandths: equal ones keep the order of the
    measurements, and those that would show as 0.000 are left out. At most ``n_listed`` stand for a
    row; the text, of shape (n_samples,), is empty where nothing moved the probability.
    """
    shares = measure_contributions(model, X, probability)
    thousandths = np.rint(1000 * shares).astype(np.int64)
    ranked = np.argsort(-np.abs(thousandths), axis=1, kind="stable")[:, :n_listed]
    names = arrow_texts(model.decision.measurements)
    parts = []
    for place, columns in enumerate(ranked.T):
        moved = thousandths[np.arange(len(X)), columns]
        values, codes = np.unique(moved, return_inverse=True)
        figures = arrow_texts([f" {value / 1000:+.3f}" for value in values])
        lead = ", " if place else tr("; moved most by: ")
        which, by = names.take(arrow_numbers(columns)), figures.take(arrow_numbers(codes))
        part = joined(lead, which, by)
        parts.append(where_else(arrow_numbers(moved == 0), "", part))
    return joined(*parts)


def measure_contributions(model: StoredModel, X: FloatArray, probability: FloatArray) -> FloatArray:
    """Measure what each measurement does to the calibrated probability of each row.

    It is the probability less that of the same row with this measurement at its typical value, the
    median of the training rows: one at a time, as in the individual conditional expectations of
    Goldstein, Kapelner, Bleich and Pitkin (2015, "Peeking inside the black box"). That is exact
    for any model, and takes one more scoring for each measurement. It is not additive: what two
    measurements do together is counted for both, or for neither, and never shared out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_measurements)
        The model's measurements. A missing one is compared as the model sees it: one that is
        imputed by the median did nothing.
    probability : ndarray of shape (n_samples,)
        What the model gives for it.

    Returns
    -------
    ndarray of shape (n_samples, n_measurements)
        Each in [-1, 1].
    """
    shares = np.empty(X.shape)
    for column, value in enumerate(model.decision.typical):
        changed = X.copy()
        changed[:, column] = value
        shares[:, column] = probability - model.probability(changed)
    return shares


def pass_options(model: StoredModel, options: PassOptions = PLAIN) -> PassOptions:
    """Give the options of a pass over rows that a model is to judge."""
    measurements = tuple(model.decision.measurements)
    return replace(options, without_label=True, measurements=measurements, may_lack=True)


@contextmanager
def open_scorer(
    model: StoredModel, path: str, options: PassOptions, opener: Opener
) -> Iterator[Scorer]:
    """Open what an opener gives for a path, to be scored batch by batch."""
    with pass_over(path, model.schema, pass_options(model, options), opener=opener) as file:
        yield Scorer(model, file)


def _naming(words: str, masks: Sequence[tuple[str, BoolArray]]) -> list[pa.Array]:
    """Give the parts of a text that names, in each row, the columns that a mask chooses."""
    marked = [(name, mask) for name, mask in masks if mask.any()]
    if not marked:
        return []
    some = np.logical_or.reduce([mask for _, mask in marked])
    parts = [(words, some), *((f" {name}", mask) for name, mask in marked)]
    return [_named(("", text), mask.astype(np.int64)) for text, mask in parts]


def _with_faults(
    texts: pa.Array, checked: CheckedBatch, tell: Callable[[CheckedBatch], Sequence[str]]
) -> pa.Array:
    """Put what is told of the invalid rows in the place of their texts."""
    if not checked.invalid.any():
        return texts
    told = arrow_texts([*tell(checked)])
    return pc.replace_with_mask(texts, arrow_numbers(checked.invalid), told)


def _named(names: Sequence[str], codes: IntArray) -> pa.Array:
    return arrow_texts(names).take(arrow_numbers(codes))


def _spread(values: np.ndarray, invalid: BoolArray) -> pa.Array:
    """Put the values of the valid rows in their places among all, null elsewhere."""
    if not invalid.any():
        return arrow_numbers(values)
    spread = np.zeros(len(invalid), dtype=values.dtype)
    spread[~invalid] = values
    return arrow_numbers(spread, ~invalid)
