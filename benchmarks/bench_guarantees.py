"""Whether guarantees hold, on drawn rows of which the truth is known, and what they decide.

    python benchmarks/bench_guarantees.py                 # how often is one issued and false?
    python benchmarks/bench_guarantees.py --data FILE     # what is decided on a real table?

The model is a least-squares fit on measurements and their squares, so that thousands of trainings
take minutes; whether a promise holds does not depend on how good the model is. Prints Markdown
tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from measure import print_check
from scipy.optimize import brentq
from scipy.special import expit

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.models.contract import CERTIFYING, Certifying
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.guarantees import Guarantee, certify, parse_guarantee
from waterflow_cli.models.thresholds import tune_threshold
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.designs import cross_validation, score_tested
from waterflow_cli.training.learners import choose_learner, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.trainer import CERTIFYING_SHARE, split_for_certifying

N_MEASUREMENTS, N_FOLDS, FRESH_ROWS = 6, 5, 10_000
DELTA = 0.1
SIZES, BASE_RATES = (60, 300, 1000, 5000), (0.05, 0.4, 0.9)
# The log-odds of the label, but for a constant: a straight line; a ring, which no line can tell;
# a signal that turns round, so that the highest scores are not the surest; and labels without any.
SIGNALS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "line": lambda X: 2 * X[:, 0] + X[:, 1],
    "ring": lambda X: 2 * (X[:, 0] ** 2 + X[:, 1] ** 2) - 4,
    "turning": lambda X: 4 * X[:, 0] * np.exp(-(X[:, 0] ** 2) / 2),
    "shuffled": lambda X: np.zeros(len(X)),
}


@dataclass(frozen=True)
class World:
    """Where rows come from, and a large fresh sample of it with the chance that each is potable."""

    signal: Callable[[FloatArray], FloatArray]
    intercept: float
    fresh: FloatArray
    chance: FloatArray

    @classmethod
    def of(cls, signal: Callable[[FloatArray], FloatArray], base_rate: float) -> World:
        """Make one with a share of potable rows."""
        fresh = np.random.default_rng(0).normal(size=(FRESH_ROWS, N_MEASUREMENTS))
        odds = signal(fresh)
        intercept = brentq(lambda a: expit(odds + a).mean() - base_rate, -30, 30)
        return cls(signal, intercept, _features(fresh), expit(odds + intercept))

    def draw(self, n_rows: int, random: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Draw the features and labels of rows, of both classes."""
        while True:
            X = random.normal(size=(n_rows, N_MEASUREMENTS))
            y = (random.random(n_rows) < expit(self.signal(X) + self.intercept)).astype(np.int64)
            if min(y.sum(), n_rows - y.sum()) >= 2:
                return _features(X), y

    def keeps(self, guarantee: Guarantee, decided: BoolArray) -> bool:
        """Say whether a promise about the upper side is true of the fresh sample."""
        if not decided.any():
            return True
        if guarantee.kind == "fpr":
            rate = (1 - self.chance[decided]).sum() / (1 - self.chance).sum()
            return bool(rate <= guarantee.level)
        return bool(self.chance[decided].mean() >= guarantee.level)


def _features(X: FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(X)), X, X**2])


def fit(X: FloatArray, y: IntArray) -> FloatArray:
    """Fit by ridge regression; the weights of the features."""
    return np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ (y - 0.5))


def predict(X: FloatArray, weights: FloatArray) -> FloatArray:
    """Give rising numbers in (0, 1)."""
    return expit(4 * (X @ weights))


def certifying_rows(
    X: FloatArray, y: IntArray, method: Certifying
) -> tuple[tuple[IntArray, FloatArray], tuple[IntArray, FloatArray], FloatArray]:
    """Give the rows that say where cut-offs are tried, those that test them, and the model."""
    folds = np.arange(len(y)) % N_FOLDS  # the rows are in no order
    known = np.ones(len(y), dtype=bool)
    if method == "split":
        known[: int(len(y) * CERTIFYING_SHARE)] = False
    out_of_fold = np.empty(len(y))
    for fold in range(N_FOLDS):
        tested = known & (folds == fold)
        others = known & (folds != fold)
        out_of_fold[tested] = predict(X[tested], fit(X[others], y[others]))
    weights = fit(X[known], y[known])
    learned = y[known], out_of_fold[known]
    kept = y[~known], predict(X[~known], weights)
    return learned, learned if method == "cross" else kept, weights


def tie(probability: FloatArray) -> FloatArray:
    """Leave eleven different values."""
    return np.round(probability, 1)


def promises(base_rate: float, *, shuffled: bool) -> tuple[Guarantee, Guarantee]:
    """Ask for what is just false of shuffled labels, and for what a good model can give."""
    level = base_rate + 0.005 if shuffled else (1 + base_rate) / 2
    return Guarantee("precision", level, 1 - DELTA), Guarantee("fpr", 0.1, 1 - DELTA)


def study_cell(
    signal: str, base_rate: float, n_rows: int, method: Certifying, n_sets: int
) -> Iterator[dict[str, object]]:
    """Count over drawn data sets how often each promise is issued, and is then false."""
    world = World.of(SIGNALS[signal], base_rate)
    asked = promises(base_rate, shuffled=signal == "shuffled")
    kinds = list(product(asked, (np.asarray, tie)))
    found = np.zeros((n_sets, len(kinds), 3))
    for seed in range(n_sets):
        X, y = world.draw(n_rows, np.random.default_rng([seed, n_rows]))
        *samples, weights = certifying_rows(X, y, method)
        fresh = predict(world.fresh, weights)
        for place, (guarantee, form) in enumerate(kinds):
            learned, tested = ((labels, form(each)) for labels, each in samples)
            each = certify(guarantee, learned, tested, threshold=0.0, method=method)
            if each.cut is not None:
                decided = form(fresh) >= each.cut
                found[seed, place] = 1, decided.mean(), not world.keeps(guarantee, decided)
    for (guarantee, form), (issued, decided, false) in zip(kinds, found.mean(0), strict=True):
        yield {
            **{"signal": signal, "potable": base_rate, "rows": n_rows, "method": method},
            **{"ties": form is tie, "promise": guarantee.kind},
            **{"issued": float(issued), "decided": float(decided), "false": float(false)},
        }


def study_draws(
    n_sets: int,
    sizes: Sequence[int] = SIZES,
    base_rates: Sequence[float] = BASE_RATES,
    methods: Sequence[Certifying] = CERTIFYING,
) -> list[dict[str, object]]:
    """Study all kinds of data."""
    kinds = product(SIGNALS, base_rates, sizes, methods)
    return [row for kind in kinds for row in study_cell(*kind, n_sets=n_sets)]


def print_draws(cells: list[dict[str, object]], n_sets: int) -> None:
    """Print a line for each signal, method and promise: all its cells, and the worst."""
    print(
        "| signal | method | promise | cells | issued | decided | false | false in the worst cell |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for signal, method, promise in product(SIGNALS, CERTIFYING, ("precision", "fpr")):
        asked = {"signal": signal, "method": method, "promise": promise}
        rows = [cell for cell in cells if asked.items() <= cell.items()]
        if not rows:
            continue
        issued, decided, false = (
            np.array([row[name] for row in rows]) for name in ("issued", "decided", "false")
        )
        print(
            f"| {signal} | {method} | {promise} | {len(rows)} | {issued.mean():.3f} "
            f"| {decided.mean():.3f} | {false.mean():.4f} | {false.max():.3f} |"
        )
    error = float(np.sqrt(DELTA * (1 - DELTA) / n_sets))
    print(f"\n{n_sets} data sets a cell; standard error of a rate of {DELTA}: {error:.3f}\n")
    for method in dict.fromkeys(cell["method"] for cell in cells):
        worst = max((cell for cell in cells if cell["method"] == method), key=lambda c: c["false"])
        print_check(f"false, worst cell of {method}: {worst}", worst["false"], DELTA + 2 * error)


def study_table(path: str, plugin: str, n_seeds: int) -> None:
    """Print what share of the tested rows of a real table a promise decides.

    Calibration is left out: it changes no order.
    """
    data = load_training_data(path, load_schema("water"))
    promise = parse_guarantee("precision=0.75@90%")
    print(f"| method | seed | called likely potable by {plugin} | observed |")
    print("| --- | ---: | ---: | ---: |")
    for method in CERTIFYING:
        shares = []
        for seed in range(n_seeds):
            options = TrainingOptions(
                balance="none", guarantees=(promise,), certify=method, seed=seed
            )
            samples = table_rows(data, plugin, options)
            threshold = tune_threshold(options.threshold, *samples[0])
            found = certify(promise, *samples, threshold=threshold, method=method)
            shares.append(found.n_decided / found.n_rows)
            print(f"| {method} | {seed} | {shares[-1]:.3f} | {found.observed:.3f} |", flush=True)
        error = np.std(shares, ddof=1) / np.sqrt(n_seeds) if n_seeds > 1 else np.nan
        print(f"| {method} | mean | {np.mean(shares):.3f} (standard error {error:.3f}) | |")


def table_rows(
    data: TrainingData, plugin: str, options: TrainingOptions
) -> list[tuple[IntArray, FloatArray]]:
    """Train as the command does, and give the rows that certify by."""
    used, kept = split_for_certifying(data, options)
    part, unseen = data.take(used), data.take(kept)
    learner = choose_learner(load_plugin(plugin), part, options)
    design = cross_validation(part.y, n_folds=N_FOLDS, n_repeats=1, seed=options.seed)
    with single_threaded_fits():
        learned = part.y, score_tested(design, learner)
        if options.certify == "cross":
            return [learned, learned]
        fitted = learner.fit(np.arange(len(used)))
        return [learned, (unseen.y, fitted.predict_proba(unseen.X)[:, 1])]


def main() -> None:
    """Study and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=500, help="data sets of each kind")
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--potable", type=float, nargs="+", default=BASE_RATES, help="shares")
    parser.add_argument("--method", nargs="+", choices=CERTIFYING, default=CERTIFYING)
    parser.add_argument("--data")
    parser.add_argument("--plugin", default="blend")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.data:
        study_table(options.data, options.plugin, options.seeds)
    else:
        kinds = options.rows, options.potable, options.method
        print_draws(study_draws(options.sets, *kinds), options.sets)


if __name__ == "__main__":
    main()
