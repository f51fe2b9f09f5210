"""How good a model may be expected to be on rows without labels, and when that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.common.number_formats import Estimate, format_estimate, format_share
from waterflow_cli.models.decision import DecisionModel
from waterflow_cli.models.metrics import (
    EXPECTED,
    Backtest,
    Called,
    expect_performance,
    observed_performance,
)
from waterflow_cli.models.reference import Reference
from waterflow_cli.monitoring.checks import LEAST_ROWS


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What labels of the file would show.

    Attributes
    ----------
    n_rows : int
        Rows that it is said of: valid, and new to the model.
    estimates : dict of str to Estimate
        By figure; see `waterflow_cli.models.metrics.EXPECTED`.
    in_training : dict of str to float
        What the labels of the training rows show, of models that had not seen the row.
    backtest : Backtest, optional
        How near to the truth such estimates came on the training's folds.
    is_void : bool
        Whether an alarm says that the rows are not like those of the training: then a probability
        may come true more or less often than there.
    """

    n_rows: int
    estimates: Mapping[str, Estimate]
    in_training: Mapping[str, float]
    backtest: Backtest | None
    is_void: bool

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "rows": self.n_rows,
            "void": self.is_void,
            "figures": {name: asdict(each) for name, each in self.estimates.items()},
            "in_training": dict(self.in_training),
            "backtest": None if self.backtest is None else self.backtest._asdict(),
        }


def expect(
    decision: DecisionModel,
    reference: Reference,
    probability: FloatArray,
    *,
    is_void: bool,
    seed: int,
) -> Expected | None:
    """Estimate how a model fares on rows, by its probabilities; None where too few are known."""
    is_known = reference.probability == reference.probability
    tested = reference.probability[is_known]
    if min(len(tested), len(probability)) < LEAST_ROWS:
        return None
    label = reference.label[is_known].astype("int64")
    known = Called(label, tested, decision.predict(tested) == 1)
    called = decision.predict(probability) == 1
    return Expected(
        n_rows=len(probability),
        estimates=expect_performance(probability, called, known, seed=seed),
        in_training=observed_performance(known),
        backtest=reference.backtest,
        is_void=is_void,
    )


def expected_rows(expected: Expected | None) -> tuple[list[str], list[tuple[str, ...]]]:
    """Put what labels of the file would show into a table; no rows where that is not known."""
    columns = ["", ">" + tr("in training, on rows not seen"), ">" + tr("expected in the file")]
    if expected is None or expected.is_void:
        return columns, []
    test = expected.backtest
    if test is not None:
        columns += [f">{name}" for name in (tr("off by"), tr("at most"), tr("truth inside"))]
    rows = []
    for name, estimate in expected.estimates.items():
        row = [tr(EXPECTED[name]), format_share(expected.in_training[name])]
        row.append(format_estimate(estimate))
        if test is not None:
            row += [format_share(test.off[name]), format_share(test.most_off[name])]
            row.append(tr("{n} of {total}", n=test.within[name], total=test.n_folds))
        rows.append(tuple(row))
    return columns, rows


def describe_expected(expected: Expected | None) -> list[str]:
    """Say what the figures without labels rest on, or why there are none."""
    if expected is None:
        return []
    if expected.is_void:
        return [
            tr(
                "How often the model is right here is not known without labels: the rows are not "
                "like those in training, so its probabilities may come true more or less often."
            )
        ]
    said = [
        trn(
            "Expected without labels, by the probabilities of {n:,} row: true only while the same "
            "measurements are potable as often as in training.",
            "Expected without labels, by the probabilities of {n:,} rows: true only while the same "
            "measurements are potable as often as in training.",
            expected.n_rows,
        )
    ]
    if test := expected.backtest:
        said.append(
            trn(
                "Off by, at most and truth inside: of {n} fold of {rows:,} rows in training, "
                "estimated in this way and held against its labels.",
                "Off by, at most and truth inside: of {n} folds of {rows:,} rows in training, "
                "estimated in this way and held against their labels.",
                test.n_folds,
                rows=test.n_rows,
            )
        )
    return said
