"""What an exploration says of a file, section by section, from its rows as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import BoolArray, FloatArray
from waterflow_cli.common.charts import Histogram
from waterflow_cli.common.messages import Message
from waterflow_cli.exploration.samples import Samples
from waterflow_cli.training.designs import draw_rows

N_BINS = 40
# Of the values; what lies beyond is counted in the outermost bars.
_SHOWN_QUANTILES = (0.002, 0.998)
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
RANKED_ROWS = 100_000
_FEWEST_PAIRS = 3
# Iglewicz and Hoaglin: 0.6745 makes the median absolute deviation a normal's standard deviation.
MODIFIED_Z, _NORMAL_MAD = 3.5, 0.6745
_N_EXTREMES = 3
SOLIDS_RATIO = (0.55, 0.75)


@dataclass(frozen=True)
class Absent:
    """A section that the file gives nothing for."""

    reason: Message


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How the values of one measurement lie.

    Attributes
    ----------
    n_known, n_missing, n_left_out : int
        Values; cells that hold none; cells that break the schema.
    n_below, n_above : int
        Values known only to lie below or above a bound; they count as ``--nondetect`` says.
    quantiles : tuple of float
        Least, 5 %, 25 %, 50 %, 75 %, 95 % and greatest; empty without values.
    histogram : Histogram or None
        None without two different values.
    """

    name: str
    n_known: int
    n_missing: int
    n_left_out: int
    n_below: int
    n_above: int
    mean: float
    quantiles: tuple[float, ...]
    histogram: Histogram | None

    @property
    def is_constant(self) -> bool:
        """Whether no two values differ, or there is none."""
        return not self.quantiles or self.quantiles[0] == self.quantiles[-1]

    @property
    def missing_share(self) -> float:
        """Share of rows in which it is missing; NaN without rows."""
        rows = self.n_known + self.n_missing + self.n_left_out
        return self.n_missing / rows if rows else np.nan


@dataclass(frozen=True)
class Correlations:
    """How measurements go together, pair by pair on the rows that hold both.

    Attributes
    ----------
    pearson, spearman : tuple of tuple of float, shape (n_names, n_names)
        NaN where undefined.
    n_ranked : int
        Rows that Spearman's was computed on.
    """

    names: tuple[str, ...]
    pearson: tuple[tuple[float, ...], ...]
    spearman: tuple[tuple[float, ...], ...]
    n_ranked: int


@dataclass(frozen=True)
class Duplicates:
    """Rows whose measurements all stand in another row too.

    Attributes
    ----------
    n_repeats : int
        Rows that repeat an earlier one.
    n_groups : int
        Different rows that are repeated.
    n_contradictory : int
        Of those groups, the ones with both labels.
    first_lines : tuple of tuple of int
        The lines of the first few groups.
    """

    n_repeats: int
    n_groups: int
    n_contradictory: int
    first_lines: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """Values of one measurement that lie far from its middle.

    Attributes
    ----------
    low, high : float
        Values outside are outliers; NaN where the rule cannot be applied.
    extremes : tuple of (int, float, float)
        Line, value and modified z-score of the farthest.
    """

    name: str
    n_outliers: int = 0
    share: float = np.nan
    low: float = np.nan
    high: float = np.nan
    extremes: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImplausiblePair:
    """Two measurements that do not fit each other.

    Attributes
    ----------
    n_rows, n_outside : int
        Rows that hold both, and those in which they do not fit.
    median : float
        Of the ratio of the first to the second.
    histogram : Histogram or None
        Of the ratio's decimal logarithm.
    """

    names: tuple[str, str]
    rule: str
    source: str
    n_rows: int
    n_outside: int
    median: float
    usual: tuple[float, float]
    histogram: Histogram | None

    @property
    def share_outside(self) -> float:
        """Share of the rows in which the two do not fit."""
        return self.n_outside / self.n_rows


@dataclass(frozen=True)
class LabelBalance:
    """How many rows bear which label."""

    n_negative: int
    n_positive: int
    n_unlabelled: int

    @property
    def share_positive(self) -> float:
        """Of the labelled rows; NaN without any."""
        labelled = self.n_negative + self.n_positive
        return self.n_positive / labelled if labelled else np.nan


def shown_ranges(several: Sequence[Samples]) -> dict[str, tuple[float, float]]:
    """Give the range that the bars of each measurement cover, the same for all files."""
    ranges: dict[str, tuple[float, float]] = {}
    for samples in several:
        for name, values in samples.X.items():
            known = values[np.isfinite(values)]
            if len(known):
                low, high = np.quantile(known, _SHOWN_QUANTILES)
                if low == high:  # nearly all values are equal: show the few that are not
                    low, high = known.min(), known.max()
                other = ranges.get(name, (low, high))
                ranges[name] = (float(min(low, other[0])), float(max(high, other[1])))
    return ranges


def describe_values(
    samples: Samples, ranges: Mapping[str, tuple[float, float]]
) -> Iterator[Distribution]:
    """Describe each measurement of the schema that the file has."""
    for name, values in samples.X.items():
        known = values[np.isfinite(values)]
        n_below, n_above = samples.censored[name]
        yield Distribution(
            name=name,
            n_known=len(known),
            n_missing=int(samples.missing[name].sum()),
            n_left_out=samples.left_out[name],
            n_below=n_below,
            n_above=n_above,
            mean=float(known.mean()) if len(known) else np.nan,
            quantiles=tuple(map(float, np.quantile(known, _QUANTILES))) if len(known) else (),
            histogram=_count_bars(values, ranges[name], samples.label) if len(known) else None,
        )


def _count_bars(
    values: FloatArray, shown: tuple[float, float], label: FloatArray | None = None
) -> Histogram | None:
    low, high = shown
    if not low < high:
        return None
    edges = np.linspace(low, high, N_BINS + 1)

    def count(rows: BoolArray) -> tuple[int, ...]:
        kept = np.clip(values[rows], low, high)
        return tuple(np.histogram(kept, bins=edges)[0].tolist())

    known = np.isfinite(values)
    classes = None
    if label is not None and all((known & (label == each)).any() for each in (0, 1)):
        classes = (count(known & (label == 0)), count(known & (label == 1)))
    return Histogram(tuple(edges.tolist()), count(known), classes)


def correlate(samples: Samples, seed: int) -> Correlations | Absent:
    """Correlate the measurements that vary: Pearson on all rows, Spearman on a sample."""
    varied = {name: values for name, values in samples.X.items() if _varies(values)}
    if len(varied) < 2:
        return Absent(Message("fewer than two measurements vary."))
    frame = pd.DataFrame(varied)
    ranked = frame.iloc[draw_rows(len(frame), RANKED_ROWS, seed)]
    tables = (
        frame.corr(min_periods=_FEWEST_PAIRS),
        ranked.corr("spearman", min_periods=_FEWEST_PAIRS),
    )
    pearson, spearman = (tuple(tuple(row) for row in table.to_numpy().tolist()) for table in tables)
    return Correlations(tuple(varied), pearson, spearman, len(ranked))


def _varies(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(np.ptp(known) > 0)


def find_duplicates(samples: Samples) -> Duplicates | Absent:
    """Find rows that repeat another's measurements; missing ones count as equal."""
    if not samples.X:
        return Absent(Message("the file has no measurement."))
    frame = pd.DataFrame(dict(samples.X))
    held = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
    if len(held) < 2:
        return Absent(Message("fewer than two rows hold a measurement."))
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()[held]
    _, group, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    n_contradictory = 0
    if samples.label is not None:
        label = samples.label[held]
        borne = [np.bincount(group[label == each], minlength=len(counts)) > 0 for each in (0, 1)]
        n_contradictory = int((borne[0] & borne[1]).sum())
    return Duplicates(
        n_repeats=int((counts[repeated] - 1).sum()),
        n_groups=len(repeated),
        n_contradictory=n_contradictory,
        first_lines=_first_lines(samples.lines[held], group, counts),
    )


def _first_lines(
    lines: np.ndarray, group: np.ndarray, counts: np.ndarray
) -> tuple[tuple[int, ...], ...]:
    rows = np.flatnonzero(counts[group] > 1)
    first = list(dict.fromkeys(group[rows].tolist()))[:_N_EXTREMES]
    return tuple(tuple(lines[group == each][:_N_EXTREMES].tolist()) for each in first)


def find_outliers(samples: Samples) -> list[Outliers]:
    """Find values with a modified z-score above 3.5, for each measurement.

    The score is 0.6745 (x - median) / MAD, MAD being the median absolute deviation from the median
    (Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers", ASQC Quality Press). Where more
    than half of the values are equal the MAD is 0, and there is no score.
    """
    return [_outliers_of(name, values, samples.lines) for name, values in samples.X.items()]


def _outliers_of(name: str, values: FloatArray, lines: np.ndarray) -> Outliers:
    rows = np.flatnonzero(np.isfinite(values))
    known = values[rows]
    middle = np.median(known) if len(known) else np.nan
    deviation = np.median(np.abs(known - middle)) if len(known) else np.nan
    if not deviation > 0:
        return Outliers(name=name)
    scores = _NORMAL_MAD * (known - middle) / deviation
    outside = np.abs(scores) > MODIFIED_Z
    reach = MODIFIED_Z * deviation / _NORMAL_MAD
    farthest = np.argsort(-np.abs(scores), kind="stable")[:_N_EXTREMES]
    extremes = tuple(
        (int(lines[rows[each]]), float(known[each]), float(scores[each]))
        for each in farthest
        if outside[each]
    )
    n_outside = int(outside.sum())
    return Outliers(
        name=name,
        n_outliers=n_outside,
        share=n_outside / len(known),
        low=float(middle - reach),
        high=float(middle + reach),
        extremes=extremes,
    )


def find_implausible_pairs(samples: Samples) -> list[ImplausiblePair] | Absent:
    """Hold dissolved solids against conductivity, and sulfate against dissolved solids."""
    rules = (
        (
            ("Solids", "Conductivity"),
            SOLIDS_RATIO,
            Message(
                "Dissolved solids (mg/L) are usually some 0.55 to 0.75 times the conductivity "
                "(µS/cm) of natural waters."
            ),
            "Hem 1985, Study and Interpretation of the Chemical Characteristics of Natural Water, "
            "USGS Water-Supply Paper 2254 (check)",
        ),
        (
            ("Sulfate", "Solids"),
            (0.0, 1.0),
            Message(
                "Sulfate is a part of the dissolved solids, and cannot be more than all of them."
            ),
            Message("conservation of mass"),
        ),
    )
    pairs = [pair for rule in rules if (pair := _hold_pair(samples, *rule))]
    return pairs or Absent(
        Message("it takes rows that hold Solids with Conductivity, or Sulfate with Solids.")
    )


def _hold_pair(
    samples: Samples, names: tuple[str, str], usual: tuple[float, float], rule: str, source: str
) -> ImplausiblePair | None:
    if not all(name in samples.X for name in names):
        return None
    first, second = (samples.X[name] for name in names)
    # A negated comparison keeps out NaN too.
    rows = np.flatnonzero(np.isfinite(first) & (second > 0))
    if not len(rows):
        return None
    ratio = first[rows] / second[rows]
    outside = (ratio < usual[0]) | (ratio > usual[1])
    positive = np.log10(ratio[ratio > 0])
    histogram = None
    if len(positive):
        low, high = np.quantile(positive, _SHOWN_QUANTILES)
        bounds = [np.log10(bound) for bound in usual if bound > 0]
        histogram = _count_bars(positive, (min(low, *bounds, -1.0), max(high, *bounds, 0.5)))
    return ImplausiblePair(
        names=names,
        rule=rule,
        source=source,
        n_rows=len(rows),
        n_outside=int(outside.sum()),
        median=float(np.median(ratio)),
        usual=usual,
        histogram=histogram,
    )


def balance_labels(samples: Samples) -> LabelBalance | Absent:
    """Count the labels."""
    if samples.label is None:
        return Absent(Message("the file has no label column."))
    negatives, positives = (int((samples.label == value).sum()) for value in (0, 1))
    return LabelBalance(negatives, positives, len(samples) - negatives - positives)
