"""What a user chooses about a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OnConflict = Literal["drop", "new", "old", "fail"]


@dataclass(frozen=True, kw_only=True)
class RetrainingOptions:
    """What the user chose.

    Attributes
    ----------
    plugin : str, optional
        Another plugin than the champion's.
    holdout : float
        Share of the new samples that judge.
    margin : float
        By how much ROC AUC and balanced accuracy may be worse.
    on_conflict : str
        See `waterflow_cli.training.retraining.row_matching.match_rows`.
    promote : bool
        Whether a challenger that passes becomes the champion.
    seed : int
        Of the split of the new rows and of the gate's resampling.
    """

    plugin: str | None = None
    holdout: float = 0.5
    margin: float = 0.03
    on_conflict: OnConflict = "drop"
    promote: bool = False
    seed: int = 0
    jobs: int = 1


USUAL_OPTIONS = RetrainingOptions()
