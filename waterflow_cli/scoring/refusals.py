"""When a table is refused: it lacks what a model needs, or too many of its rows are invalid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from waterflow_cli.common.errors import DataRefusedError, ModelError, shorten
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr, trn

if TYPE_CHECKING:
    from waterflow_cli.models.files import StoredModel
    from waterflow_cli.scoring.job import ScoringSummary

# A table that lacks more than this share of what the model learned from is not judged.
MOST_MISSING = 0.5


def refuse_without(model: StoredModel, absent: Sequence[str], path: str) -> None:
    """Refuse a table that lacks most of what a model was trained on.

    A measurement without a column, and one without a value in any row, count alike.

    Raises
    ------
    ModelError
        If what is absent holds more than `MOST_MISSING` of the training's information; see
        `DecisionModel.share_without`.
    """
    wanted = model.decision.measurements
    share = model.decision.share_without(absent)
    if share <= MOST_MISSING and len(absent) < len(wanted):
        return
    raise ModelError(
        trn(
            "Model {model} is not made for {path}: it lacks {absent}, all that the model was "
            "trained on.",
            "Model {model} is not made for {path}: it lacks {absent}, {share:.0%} of what the "
            "model learned from its {n} measurements; at most {most:.0%} may lack.",
            len(wanted),
            model=model.label,
            path=path,
            absent=shorten(absent),
            share=share,
            most=MOST_MISSING,
        ),
        tr("Name a model of such files (waterflow models list), or the columns: --rename"),
    )


def refuse_empty(model: StoredModel, summary: ScoringSummary, inputs: Sequence[str]) -> None:
    """Refuse inputs with no value of most of what a model learned from; see `refuse_without`."""
    if summary.n_scored:
        absent = summary.cells.absent(model.decision.measurements, summary.n_rows)
        refuse_without(model, absent, shorten(map(path_text, inputs)))


def refuse_too_many(summary: ScoringSummary, max_invalid: float) -> None:
    """Refuse a job of which too many rows are invalid.

    Raises
    ------
    DataRefusedError
        Naming the share.
    """
    share = 100 * summary.n_invalid / summary.n_rows
    if share > max_invalid:
        raise DataRefusedError(
            trn(
                "{n_invalid} of {n} row is invalid: {share:.3g} %, more than the "
                "{max_invalid:g} % of --max-invalid.",
                "{n_invalid} of {n} rows are invalid: {share:.3g} %, more than the "
                "{max_invalid:g} % of --max-invalid.",
                summary.n_rows,
                n_invalid=summary.n_invalid,
                share=share,
                max_invalid=max_invalid,
            ),
            tr("No file was written. See what is wrong with them: waterflow validate"),
        )
