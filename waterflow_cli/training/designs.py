"""Split rows for an honest evaluation, and score each by models that did not see it.

Rows are put into blocks. For each block that is tested, a pipeline is fitted on the blocks that may
be trained on for it. Calibration and threshold are fitted to scores of those training blocks alone:
block j is scored by a pipeline that saw neither block j nor the tested block k. That pipeline is
the same when j is tested and k is scored, so in K-fold cross-validation K (K + 1) / 2 fits serve
everything, where plain nesting needs K * K.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from joblib import Parallel, delayed
from scipy import stats
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import Message, counted, tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.metrics import LEVEL
from waterflow_cli.training.copies import relative_sources

Blocks = frozenset[int]

_NAME = re.compile(r"cv-(\d+)x(\d+)(-grouped)?|holdout-(0\.\d+)|time-(\d+)|quick-(.+)")
_COPIES = "-copies"
# SMOTE looks for five neighbours of the same class.
MIN_PER_CLASS = 6
# Blocks of a hold-out's training rows, for calibration and threshold.
_N_TUNING_BLOCKS = 5


class Learner(Protocol):
    """Fits on some rows, and scores others; rows go by number."""

    def fit(self, rows: IntArray) -> Any:
        """Fit on rows."""
        ...

    def score(self, fitted: Any, rows: IntArray) -> FloatArray:
        """Score rows that `fitted` did not see, shape (n_rows,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Design:
    """How rows are split for an evaluation.

    Attributes
    ----------
    name : str
        Identifies the way to split: ``cv-5x3``, ``cv-5x3-grouped``, ``holdout-0.2``, ``time-3``, or
        ``quick-cv-5x1``, after what made its blocks; and ``cv-5x3-copies`` where rows that are
        copies of one another are kept together.
    repeats : tuple of ndarray of int, each of shape (n_samples,)
        By repeat: the block of each row.
    trains : mapping of int to frozenset of int
        By block: the blocks that may be trained on to score it; none for a block never scored.
    tested : tuple of int
        The blocks that are measured.
    tuning : frozenset of int
        Blocks that are not trained on, and calibrate for all that are tested.
    """

    name: str
    repeats: tuple[IntArray, ...]
    trains: Mapping[int, Blocks]
    tested: tuple[int, ...]
    tuning: Blocks = frozenset()

    def calibrating(self, block: int) -> dict[int, Blocks]:
        """Give the blocks whose scores calibrate for a tested block, and what each is scored by."""
        candidates = sorted(self.trains[block] | self.tuning)
        pairs = {j: self.trains[block] & self.trains[j] for j in candidates}
        return {j: blocks for j, blocks in pairs.items() if blocks}

    def fits(self) -> dict[Blocks, set[int]]:
        """List the pipelines of a repeat: the blocks each is fitted on, and those it scores."""
        needed: dict[Blocks, set[int]] = {}
        for k in self.tested:
            needed.setdefault(self.trains[k], set()).add(k)
            for j, blocks in self.calibrating(k).items():
                needed.setdefault(blocks, set()).add(j)
        return needed

    @property
    def n_fits(self) -> int:
        """How many pipelines the evaluation fits."""
        return len(self.fits()) * len(self.repeats)

    @property
    def digest(self) -> str:
        """Sha256 of the splits: evaluations on equal splits of equal rows can be compared."""
        used = [(int(k), sorted(map(int, self.trains[k]))) for k in sorted(self.trains)]
        blocks = [block.astype("<i8").tobytes() for block in self.repeats]
        return sha256_of(b"".join([f"{used} {[int(k) for k in self.tested]}".encode(), *blocks]))

    def summary(self) -> dict[str, str]:
        """Put it into a JSON object."""
        return {"name": self.name, "text": describe_design(self.name), "sha256": self.digest}

    def check(self, y: IntArray) -> Design:
        """Refuse a design that would fit or test a pipeline on too few rows of a class."""
        for block in self.repeats:
            counts = {k: np.bincount(y[block == k], minlength=2) for k in self.trains}
            for blocks in self.fits():
                fewest = int(np.sum([counts[k] for k in blocks], axis=0).min())
                if fewest < MIN_PER_CLASS:
                    raise DataRefusedError(
                        counted(
                            "{text}: a model would be fitted on {n} row of one class; at least "
                            "{min_per_class} are needed.",
                            "{text}: a model would be fitted on {n} rows of one class; at least "
                            "{min_per_class} are needed.",
                            fewest,
                            text=describe_design(self.name),
                            min_per_class=MIN_PER_CLASS,
                        ),
                        tr("Use more rows, fewer folds, or another way to split."),
                    )
            parts = [[k] for k in self.tested] + [[*self.calibrating(k)] for k in self.tested]
            if any(np.sum([counts[k] for k in part], axis=0).min() == 0 for part in parts):
                raise DataRefusedError(
                    "{text}: a part that is tested or tuned on holds one class alone, so nothing "
                    "can be measured on it.",
                    tr("Use fewer folds, or another way to split."),
                    text=describe_design(self.name),
                )
        return self


def describe_design(name: str) -> Message:
    """Put the identifier of a design into words.

    >>> describe_design("cv-5x1-grouped")
    '5-fold cross-validation, once, groups kept together'
    """
    if name.endswith(_COPIES):
        return Message(
            "{design}, copies kept together", design=describe_design(name.removesuffix(_COPIES))
        )
    match = _NAME.fullmatch(name)
    if match is None:
        return Message(name)
    n_folds, n_repeats, grouped, share, n_spans, quick = match.groups()
    if quick:
        newest = quick.startswith("time")
        return Message(
            "one quick hold-out of {fifth}{kept}",
            fifth=Message("the newest fifth") if newest else Message("a fifth"),
            kept=Message(", groups kept together") if quick.endswith("-grouped") else "",
        )
    if share:
        return Message("one hold-out of {test_size:.0%}", test_size=float(share))
    if n_spans:
        return Message("{n_folds} spans of time, each tested with what is older", n_folds=n_spans)
    return Message(
        "{n_folds}-fold cross-validation, {times}{kept}",
        n_folds=n_folds,
        times=counted("once", "{n} times", int(n_repeats)),
        kept=Message(", groups kept together") if grouped else "",
    )


def cross_validation(
    y: IntArray,
    *,
    n_folds: int,
    n_repeats: int,
    seed: int,
    groups: Any | None = None,
    sources: IntArray | None = None,
) -> Design:
    """Repeat stratified cross-validation; rows of one group, or of one source, stay in one fold.

    Fewer groups, or rows of a class, than folds are refused.
    """
    if groups is not None and len(np.unique(groups)) < n_folds:
        raise DataRefusedError(
            counted(
                "--group: {n} group cannot be put into {n_folds} folds.",
                "--group: {n} different groups cannot be put into {n_folds} folds.",
                len(np.unique(groups)),
                n_folds=n_folds,
            ),
            tr("At least as many groups as folds are needed, and at least 3: see --cv."),
        )
    own = y if sources is None else y[np.unique(sources)]
    fewest = int(np.bincount(own, minlength=2).min())
    if fewest < n_folds:
        raise DataRefusedError(
            counted(
                "{n} row of one class cannot be put into {n_folds} folds.",
                "{n} rows of one class cannot be put into {n_folds} folds.",
                fewest,
                n_folds=n_folds,
            ),
            tr("Use more rows, or fewer folds: --cv 3x1"),
        )
    seeds = np.random.SeedSequence(seed).generate_state(n_repeats)
    every = frozenset(range(n_folds))
    return Design(
        name=f"cv-{n_folds}x{n_repeats}"
        + ("" if groups is None else "-grouped")
        + ("" if sources is None else _COPIES),
        repeats=tuple(_number_folds(y, n_folds, int(state), groups, sources) for state in seeds),
        trains={k: every - {k} for k in every},
        tested=tuple(range(n_folds)),
    )


def stratified_folds(
    y: IntArray,
    n_folds: int,
    seed: int,
    groups: Any | None = None,
    sources: IntArray | None = None,
) -> Iterator[tuple[IntArray, IntArray]]:
    """Give the rows outside and inside of each fold; rows of one group stay together.

    Copies go where the row goes that they are copies of: `sources` are the positions of those.
    """
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(n_folds, shuffle=True, random_state=seed)
    if sources is None:
        yield from folds.split(np.zeros(len(y)), y, groups)
        return
    own = np.unique(sources)
    some = None if groups is None else groups[own]
    for _, inside in folds.split(np.zeros(len(own)), y[own], some):
        tested = np.isin(sources, own[inside])
        yield np.flatnonzero(~tested), np.flatnonzero(tested)


def draw_rows(n_rows: int, at_most: int, seed: int) -> IntArray:
    """Draw rows without replacement, in their order; all of them where they are few."""
    if n_rows <= at_most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, at_most, replace=False))


def _number_folds(
    y: IntArray,
    n_folds: int,
    seed: int,
    groups: Any | None = None,
    sources: IntArray | None = None,
) -> IntArray:
    block = np.empty(len(y), dtype=np.int64)
    for number, (_, rows) in enumerate(stratified_folds(y, n_folds, seed, groups, sources)):
        block[rows] = number
    return block


def hold_out(
    y: IntArray, *, test_size: float, seed: int, sources: IntArray | None = None
) -> Design:
    """Test one share of the rows with the others, once; copies go with what they are copies of."""
    own = np.arange(len(y)) if sources is None else np.unique(sources)
    train, _ = train_test_split(own, test_size=test_size, stratify=y[own], random_state=seed)
    block = np.full(len(y), _N_TUNING_BLOCKS, dtype=np.int64)
    known = train if sources is None else np.flatnonzero(np.isin(sources, train))
    among = None if sources is None else relative_sources(sources[known])
    block[known] = _number_folds(y[known], _N_TUNING_BLOCKS, seed, sources=among)
    every = frozenset(range(_N_TUNING_BLOCKS))
    return Design(
        name=f"holdout-{test_size:g}" + ("" if sources is None else _COPIES),
        repeats=(block,),
        trains={**{k: every - {k} for k in every}, _N_TUNING_BLOCKS: every},
        tested=(_N_TUNING_BLOCKS,),
    )


def quick_hold_out(design: Design) -> Design:
    """Make of five blocks a hold-out that takes one fit.

    Three are learned from, the fourth is calibrated and tuned on, and the last one tested; of spans
    of time, that is the newest.
    """
    *learned, tuning, tested = sorted(design.trains)
    known = frozenset(learned)
    return Design(
        name=f"quick-{design.name}",
        repeats=design.repeats,
        trains={**dict.fromkeys(learned, Blocks()), tuning: known, tested: known},
        tested=(tested,),
        tuning=Blocks({tuning}),
    )


def forward_chaining(when: FloatArray, *, n_folds: int) -> Design:
    """Test each of `n_folds` spans of time with what is older; equal times stay together.

    The two oldest spans are only learned from. Too few distinct times are refused.
    """
    n_spans = n_folds + 2
    ranks = stats.rankdata(when, method="min") - 1
    edges = np.unique(np.quantile(ranks, np.linspace(0, 1, n_spans + 1)[1:-1], method="higher"))
    block = np.searchsorted(edges, ranks, side="right")
    if len(np.unique(block)) < n_spans:
        raise DataRefusedError(
            counted(
                "--time: {n} time cannot make {n_spans} spans of about as many rows each: "
                "{n_folds} are tested, and two older ones learned from at first.",
                "--time: {n} different times cannot make {n_spans} spans of about as many rows "
                "each: {n_folds} are tested, and two older ones learned from at first.",
                len(np.unique(when)),
                n_spans=n_spans,
                n_folds=n_folds,
            ),
            tr("With 3 folds (--cv 3x1) five times are enough; or leave --time out."),
        )
    return Design(
        name=f"time-{n_folds}",
        repeats=(block,),
        trains={k: frozenset(range(k)) for k in range(n_spans)},
        tested=tuple(range(2, n_spans)),
    )


class FoldScores(NamedTuple):
    """A tested block, and what its model may be calibrated and tuned on.

    Attributes
    ----------
    rows, scores : ndarray
        Of the tested block: positions, and scores by a pipeline that did not see them.
    tuning_rows, tuning_scores : ndarray
        Of its training blocks, scored by pipelines that saw neither them nor the tested block.
    n_trained : int
        Rows that the pipeline was fitted on.
    fitted : object
        What scored the tested block, in the first repeat; else None.
    """

    rows: IntArray
    scores: FloatArray
    tuning_rows: IntArray
    tuning_scores: FloatArray
    n_trained: int
    fitted: Any = None


def score_folds(design: Design, learner: Learner, *, jobs: int = 1) -> list[list[FoldScores]]:
    """Fit the pipelines of a design, and sort their scores by repeat and tested block."""
    fits = design.fits()
    kept = {(0, design.trains[k]) for k in design.tested}
    keys = [(r, blocks) for r in range(len(design.repeats)) for blocks in fits]

    def fit(repeat: int, blocks: Blocks) -> tuple[FloatArray, Any]:
        block = design.repeats[repeat]
        fitted = learner.fit(_rows_in(block, blocks))
        rows = _rows_in(block, fits[blocks])
        scores = np.full(len(block), np.nan)
        scores[rows] = learner.score(fitted, rows)
        return scores, fitted if (repeat, blocks) in kept else None

    done = Parallel(n_jobs=jobs)(delayed(fit)(*key) for key in keys)
    scored_by = dict(zip(keys, done, strict=True))

    def gather(repeat: int, k: int) -> FoldScores:
        block, trained = design.repeats[repeat], design.trains[k]
        rows = np.flatnonzero(block == k)
        tuning = [
            (np.flatnonzero(block == j), scored_by[repeat, blocks][0])
            for j, blocks in design.calibrating(k).items()
        ]
        scores, fitted = scored_by[repeat, trained]
        return FoldScores(
            rows,
            scores[rows],
            np.concatenate([each for each, _ in tuning]),
            np.concatenate([found[each] for each, found in tuning]),
            len(_rows_in(block, trained)),
            fitted,
        )

    return [[gather(repeat, k) for k in design.tested] for repeat in range(len(design.repeats))]


def score_tested(design: Design, learner: Learner, *, jobs: int = 1) -> FloatArray:
    """Score the tested rows of the first repeat; NaN elsewhere, shape (n_samples,)."""
    block = design.repeats[0]

    def fit(k: int) -> FloatArray:
        return learner.score(
            learner.fit(_rows_in(block, design.trains[k])), np.flatnonzero(block == k)
        )

    scores = np.full(len(block), np.nan)
    done = Parallel(n_jobs=jobs)(delayed(fit)(k) for k in design.tested)
    for k, each in zip(design.tested, done, strict=True):
        scores[block == k] = each
    return scores


def all_scores(folds: Sequence[Sequence[FoldScores]]) -> tuple[IntArray, FloatArray]:
    """Give every row that some pipeline scored unseen, and its score, repeat after repeat.

    Where a row was tested, that score is taken: its pipeline saw the most rows.
    """
    rows, scores = [], []
    for repeat in folds:
        every = [fold.rows for fold in repeat] + [fold.tuning_rows for fold in repeat]
        known = [fold.scores for fold in repeat] + [fold.tuning_scores for fold in repeat]
        distinct, first = np.unique(np.concatenate(every), return_index=True)
        rows.append(distinct)
        scores.append(np.concatenate(known)[first])
    return np.concatenate(rows), np.concatenate(scores)


def _rows_in(block: IntArray, blocks: Collection[int]) -> IntArray:
    return np.flatnonzero(np.isin(block, list(blocks)))


def corrected_interval(values: FloatArray, test_share: float, *, n_repeats: int = 1) -> Estimate:
    """Give the mean over folds with an interval that respects their overlap.

    Parameters
    ----------
    values : ndarray of shape (n_folds,)
        A metric by tested block, of all repeats; NaN where it is undefined.
    test_share : float
        Rows tested over rows trained on, in a fold.
    n_repeats : int
        How often the same rows were tested.

    Notes
    -----
    The corrected resampled t interval (Nadeau and Bengio 2003, "Inference for the generalization
    error"): folds share training rows, so the variance of their mean is not that of independent
    values over their number, but larger by what one test set's share of the training rows tells.
    The degrees of freedom are those of one repeat, for another one brings no new row: with those
    of all folds the intervals came out a little short.
    """
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else np.nan
    freedom = len(values) / n_repeats - 1
    if freedom <= 0:
        return Estimate(mean, np.nan, np.nan)
    spread = np.sqrt((1 / len(values) + test_share) * values.var(ddof=1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * spread)
    return Estimate(mean, mean - reach, mean + reach)
