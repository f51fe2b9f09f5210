"""What a user chooses about a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.contract import Balance, Calibration, Certifying
from waterflow_cli.models.guarantees import Guarantee
from waterflow_cli.models.thresholds import ThresholdRule, parse_threshold

OnLeak = Literal["warn", "fail", "ignore"]
# What a false "potable" and a missed potable sample cost, unless the user says it.
DEFAULT_COSTS = (10.0, 1.0)
DEFAULT_RULE = parse_threshold("balanced-accuracy")


class CrossValidation(NamedTuple):
    """How many folds, and how often."""

    n_folds: int = 5
    n_repeats: int = 2

    def __str__(self) -> str:
        return f"{self.n_folds}x{self.n_repeats}"


DEFAULT_CV = CrossValidation()
# Of whose blocks a quick evaluation is made.
QUICK_CV = CrossValidation(5, 1)
# From so many rows on: by then intervals are narrower than any difference that matters, and a
# second repeat or more folds hardly narrow them (benchmarks/bench_train_rows.py).
_CV_OF_MANY = {200_000: CrossValidation(3, 1), 20_000: CrossValidation(5, 1)}


def usual_cv(n_rows: int) -> CrossValidation:
    """Choose the folds for so many rows, where the user chose none.

    >>> [str(usual_cv(n_rows)) for n_rows in (3_000, 20_000, 1_000_000)]
    ['5x2', '5x1', '3x1']
    """
    return next((cv for least, cv in _CV_OF_MANY.items() if n_rows >= least), DEFAULT_CV)


def parse_cv(text: str) -> CrossValidation:
    """Read the value of ``--cv``; with two folds none is left to calibrate and tune on.

    >>> parse_cv("5x2")
    CrossValidation(n_folds=5, n_repeats=2)
    """
    folds, _, repeats = text.strip().lower().partition("x")
    if not (folds.isdecimal() and repeats.isdecimal()):
        raise UsageError("--cv {text}: it is written FOLDSxREPEATS, such as 5x2.", text=text)
    cv = CrossValidation(int(folds), int(repeats))
    if not (3 <= cv.n_folds <= 20 and 1 <= cv.n_repeats <= 100):
        raise UsageError("--cv {text}: 3 to 20 folds, 1 to 100 repeats.", text=text)
    return cv


def check_journal(path: str) -> None:
    """Refuse a file that is no journal of trials, before anything is added to it."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            line = file.readline()
        known = not line or "op_code" in json.loads(line)
    except FileNotFoundError:
        known = Path(path).absolute().parent.is_dir()
    except (OSError, ValueError, TypeError):
        known = False
    if not known:
        raise UsageError(
            "--journal {path}: is no journal of trials.", tr("Name a new file."), path=path
        )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What the user chose.

    Attributes
    ----------
    cv : CrossValidation, optional
        None: `usual_cv` for the number of rows.
    test_size : float, optional
        Share of the rows held out once, instead of cross-validation.
    quick : bool
        Measure by one fit, on a fifth of the rows, and leave out what needs more fits or scores.
    verdict_ceiling : float, optional
        Share of the not potable samples that may be called likely_potable at most; where the usual
        policy calls more of them so, it is raised. A certified cut-off stays where it is.
    certify : str
        Guarantees by rows that nothing else sees (``split``), or by out-of-fold predictions of all
        (``cross``).
    require_guarantee : bool
        Refuse a model for which a guarantee cannot be given.
    n_trials : int
        Parameters that are tried in each fit; 0: the plugin's defaults are taken.
    time_limit : float, optional
        Seconds after which a search begins no further trial.
    journal : str, optional
        Where trials are kept, so that a stopped training goes on from them.
    jobs : int
        How many pipelines are fitted at once; it changes no result.
    on_leak : str
        What a leak in the file is answered by; where it is ignored, copies may be split too.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    balance: Balance = "smote"
    threshold: ThresholdRule = DEFAULT_RULE
    calibration: Calibration = "sigmoid"
    cv: CrossValidation | None = None
    test_size: float | None = None
    quick: bool = False
    verdict_ceiling: float | None = None
    guarantees: tuple[Guarantee, ...] = ()
    certify: Certifying = "split"
    require_guarantee: bool = False
    n_trials: int = 0
    time_limit: float | None = None
    journal: str | None = None
    seed: int = 0
    jobs: int = 1
    on_leak: OnLeak = "warn"

    @property
    def costs(self) -> tuple[float, float]:
        """Of a false "potable" and of a missed potable sample."""
        if self.threshold.name == "cost":
            return self.threshold.arguments[0], self.threshold.arguments[1]
        return DEFAULT_COSTS
