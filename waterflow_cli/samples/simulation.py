"""Simulated water samples with a label whose best possible AUC is known.

How far a scored measurement lies from its mean decides the label; site, season and the other
measurements decide only on which side of the mean it lies. So the label depends on the scored
distances alone, whatever else is correlated, and a model that is linear in the measurements
learns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.optimize import brentq
from scipy.special import erf, expit, logit, ndtri

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.outputs import open_output
from waterflow_cli.tables.writing import open_table_writer, output_format

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import FloatArray, IntArray

DEFAULT_SIGNAL = 0.75
LOWEST_SIGNAL, HIGHEST_SIGNAL = 0.5, 0.99
BASE_RATE = 0.39
LABEL = "Potability"
TRUTH = "true_probability"

# Rows are drawn in chunks of this size, whatever is asked for: changing it changes every row.
_CHUNK_ROWS = 1 << 14
BATCH_ROWS = 4 * _CHUNK_ROWS
# Values further out than this many standard deviations are moved here: a normal spread would put
# some trihalomethanes below zero.
_FARTHEST_SD = 4.1
_NEAREST_SD = 1e-9
_FIRST_DAY, _N_DAYS, _WARMEST_DAY, _YEAR = "2022-01-01", 1096, 212, 365.25


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How one measurement is drawn.

    Attributes
    ----------
    name : str
        As in the schema ``water``, in whose units the mean and the standard deviation are.
    mean, sd : float
        Over all rows.
    decimals : int
        As a laboratory reports it; at least one, so that pandas reads the column as floats, which
        is what a model's MLflow signature asks for.
    missing : float
        Share of rows without it, at random and independent of everything else.
    scored : float
        Share of the score's variance that its distance from the mean makes up.
    site, season : float
        Share of the variance that lies between sites, and that follows the time of year; of a
        scored measurement, these act on its side of the mean only.
    follows : tuple of (str, float), optional
        A measurement named earlier and the correlation with it, before the effects of site and
        season.
    skewed : bool
        Long tail to the right, about that of a gamma distribution.
    """

    name: str
    mean: float
    sd: float
    decimals: int
    missing: float = 0.0
    scored: float = 0.0
    site: float = 0.05
    season: float = 0.0
    follows: tuple[str, float] | None = None
    skewed: bool = False


# Means, spreads and missing shares are near those of the public Water Potability table (Kaggle,
# A. Kadiwal); which measurements are scored, the correlations and the effects are invented.
MEASUREMENTS = (
    Measurement(name="ph", mean=7.1, sd=1.5, decimals=2, missing=0.15, scored=0.35),
    Measurement(name="Hardness", mean=196.4, sd=33.0, decimals=1, scored=0.20, site=0.10),
    Measurement(name="Solids", mean=22000.0, sd=8700.0, decimals=1, site=0.10, skewed=True),
    Measurement(name="Chloramines", mean=7.1, sd=1.6, decimals=2, scored=0.15, season=0.03),
    Measurement(
        name="Sulfate",
        mean=334.0,
        sd=40.0,
        decimals=1,
        missing=0.24,
        scored=0.30,
        follows=("Hardness", 0.6),
    ),
    Measurement(
        name="Conductivity", mean=426.0, sd=80.0, decimals=1, site=0.10, follows=("Solids", 0.5)
    ),
    Measurement(name="Organic_carbon", mean=14.3, sd=3.3, decimals=2, season=0.08),
    Measurement(
        name="Trihalomethanes",
        mean=66.4,
        sd=16.0,
        decimals=1,
        missing=0.05,
        season=0.08,
        follows=("Organic_carbon", 0.4),
    ),
    Measurement(name="Turbidity", mean=4.0, sd=0.8, decimals=2, season=0.05),
)

SITES = tuple(
    f"{place} {kind}"
    for kind, places in {
        "Reservoir": "Alderholt Brackmere Cressing Dunmarsh Eskwater Fallowdale Garrowby Hexmoor",
        "Spring": "Ivelbeck Juniper Kestrel Larkfield Mossgill Netherwell Oxcombe Penhallow",
        "Borehole": "Quarndale Redlynch Saltersby Thornwick Ulverscar Vinehall Wexcombe Yarrow",
        "Intake": "Ashbourne Birkwater Colnebrook Drayford Elmstead Fennick Glenrowan Harrowby",
        "Waterworks": "Inglewell Kirkmere Longstrand Marlow Northgate Orchard Pinebeck Ravensby",
    }.items()
    for place in places.split()
)


@dataclass(frozen=True)
class LabelModel:
    """P(Potability = 1) as a logistic function of the score.

    The score of a row is standard normal: each scored distance from the mean is mapped to the
    standard normal value of the same rank, and these are summed with weights whose squares are
    the shares `Measurement.scored`.
    """

    intercept: float
    slope: float

    def probability(self, score: FloatArray) -> FloatArray:
        """Give P(Potability = 1) for scores of any shape."""
        probability: FloatArray = expit(self.intercept + self.slope * score)
        return probability


def simulate_batches(
    n_rows: int, *, seed: int = 0, signal: float = DEFAULT_SIGNAL
) -> Iterator[pa.RecordBatch]:
    """Simulate labelled water samples in flat memory.

    A row depends on the seed, the signal and its own number only: `n_rows` does not change it. The
    signal moves the labels alone, so two signals with one seed give the same measurements. The
    numbers hold for one version of NumPy and SciPy; another may change them.

    Parameters
    ----------
    n_rows, seed : int
        At least 1 and 0.
    signal : float
        The best possible ROC AUC given complete measurements, from 0.5 (pure noise) to 0.99.
        Missing values lower what can be reached: see `best_auc_with_missing`.

    Returns
    -------
    iterator of pyarrow.RecordBatch
        Columns ``sample_id``, ``site``, ``date``, the nine measurements and ``Potability``;
        `BATCH_ROWS` rows in each but the last.

    Raises
    ------
    UsageError
        If an argument is out of its range; at the call, not at the first batch.
    """
    for name, value, lowest in ((tr("number of rows"), n_rows, 1), (tr("seed"), seed, 0)):
        if value < lowest:
            raise UsageError(
                "The {name} is {value}; it must be at least {lowest}.",
                name=name,
                value=value,
                lowest=lowest,
            )
    drawn = draw_rows(n_rows, seed, label_model(signal))
    return (batch.drop_columns([TRUTH]) for batch in drawn)


def write_simulation(
    output: str, n_rows: int, *, seed: int = 0, signal: float = DEFAULT_SIGNAL, force: bool = False
) -> None:
    """Write simulated samples to a file, or to standard output; its suffix names the format.

    Raises
    ------
    UsageError
        If an argument is out of range, or the output cannot be written.
    """
    batches = simulate_batches(n_rows, seed=seed, signal=signal)
    output_format(output)
    with open_output(output, force=force) as sink, open_table_writer(output, sink) as writer:
        for batch in batches:
            writer.write(dict(zip(batch.schema.names, batch.columns, strict=True)))


def best_auc(signal: float) -> float:
    """Give the best possible ROC AUC given complete measurements, by numerical integration.

    It equals `signal`, up to the error of the integration (below 1e-5): no model of any of the
    columns does better in expectation.
    """
    score, mass = _scores()
    return _auc(label_model(signal).probability(score), mass)


@lru_cache
def best_auc_with_missing(signal: float) -> float:
    """Give the best possible ROC AUC given the rows as written, with their missing values.

    The best prediction for such a row is its true probability averaged over the missing
    distances. These are independent of all else in the row, so nothing can be imputed; the
    figure is exact up to the integration and to the rounding of the measurements.
    """
    model, (grid, mass) = label_model(signal), _scores()
    predicted, masses = [], []
    for share_of_rows, known in _missing_patterns():
        blurred = np.sqrt(known) * grid[:, None] + np.sqrt(1 - known) * grid
        predicted.append(model.probability(blurred) @ mass)
        masses.append(share_of_rows * mass)
    probability = np.concatenate(predicted)
    order = np.argsort(probability)
    return _auc(probability[order], np.concatenate(masses)[order])


@lru_cache
def label_model(signal: float) -> LabelModel:
    """Find the model with base rate 0.39 whose best possible AUC is the signal.

    Raises
    ------
    UsageError
        If the signal is not from 0.5 to 0.99.
    """
    if not LOWEST_SIGNAL <= signal <= HIGHEST_SIGNAL:
        raise UsageError(
            "The signal is {signal}; it must lie between {lowest_signal} and {highest_signal}.",
            tr("It is the best possible ROC AUC: 0.5 is pure noise."),
            signal=signal,
            lowest_signal=LOWEST_SIGNAL,
            highest_signal=HIGHEST_SIGNAL,
        )
    if signal == LOWEST_SIGNAL:
        return LabelModel(float(logit(BASE_RATE)), 0.0)
    score, mass = _scores()

    def excess(slope: float) -> float:
        return _auc(_model_of_slope(slope).probability(score), mass) - signal

    # From just below zero: rounding may put the AUC of slope zero above a signal close to 0.5.
    return _model_of_slope(brentq(excess, -0.01, 100.0, xtol=1e-10))


def _model_of_slope(slope: float) -> LabelModel:
    """Choose the intercept that gives the base rate."""
    score, mass = _scores()

    def excess(intercept: float) -> float:
        return float(mass @ LabelModel(intercept, slope).probability(score)) - BASE_RATE

    reach = 10 + 10 * abs(slope)
    return LabelModel(brentq(excess, -reach, reach, xtol=1e-10), slope)


def _scores() -> tuple[FloatArray, FloatArray]:
    """Give a grid of scores, and how likely each is: they are standard normal."""
    grid = np.linspace(-8, 8, 1601)
    density = np.exp(-(grid**2) / 2)
    return grid, density / density.sum()


def _auc(probability: FloatArray, mass: FloatArray) -> float:
    """Integrate the ROC curve of a probability that rises along points of the given mass."""
    positive, negative = probability * mass, (1 - probability) * mass
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))


def _missing_patterns() -> Iterator[tuple[float, float]]:
    """Yield the share of rows of each pattern, and the share of the score known in it."""
    scored = [measurement for measurement in MEASUREMENTS if measurement.scored]
    for held in product((True, False), repeat=len(scored)):
        pairs = list(zip(scored, held, strict=True))
        share = np.prod([1 - each.missing if here else each.missing for each, here in pairs])
        if share:
            yield float(share), min(1.0, sum(each.scored for each, here in pairs if here))


def draw_rows(n_rows: int, seed: int, model: LabelModel) -> Iterator[pa.RecordBatch]:
    """Draw rows as `simulate_batches` gives them, with the true probability of each.

    That is P(Potability = 1) given the measurements before rounding and before any went missing.
    """
    for first in range(0, n_rows, BATCH_ROWS):
        last = min(first + BATCH_ROWS, n_rows)
        chunks = range(first // _CHUNK_ROWS, -(-last // _CHUNK_ROWS))
        drawn = pa.concat_batches([_draw_chunk(seed, chunk, model) for chunk in chunks])
        yield drawn.slice(0, last - first)


def _draw_chunk(seed: int, chunk: int, model: LabelModel) -> pa.RecordBatch:
    stream = np.random.SeedSequence(seed, spawn_key=(chunk,))
    rng = np.random.Generator(np.random.PCG64(stream))
    sites = rng.integers(len(SITES), size=_CHUNK_ROWS)
    days = rng.integers(_N_DAYS, size=_CHUNK_ROWS)
    deviations = _draw_deviations(rng, sites, days)
    probability = model.probability(_score(deviations))
    label = rng.random(_CHUNK_ROWS) < probability
    numbers = np.arange(chunk * _CHUNK_ROWS, (chunk + 1) * _CHUNK_ROWS) + 1
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=7, padding="0")
    columns = {
        "sample_id": pc.binary_join_element_wise("S", digits, ""),
        "site": pa.array(SITES).take(pa.array(sites)),
        "date": _dates().take(pa.array(days)),
        **{each.name: _report(each, deviations[each.name], rng) for each in MEASUREMENTS},
        LABEL: pa.array(label.astype(np.int8)),
        TRUTH: pa.array(probability),
    }
    return pa.RecordBatch.from_pydict(columns)


def _draw_deviations(
    rng: np.random.Generator, sites: IntArray, days: IntArray
) -> dict[str, FloatArray]:
    """Draw each measurement's distance from its mean, in standard deviations and with its sign."""
    own = {each.name: rng.standard_normal(len(sites)) for each in MEASUREMENTS}
    season = np.sqrt(2) * np.cos(2 * np.pi * (days - _WARMEST_DAY) / _YEAR)
    deviations = {}
    for each, offsets in zip(MEASUREMENTS, _site_offsets(), strict=True):
        noise = own[each.name]
        if each.follows:
            leader, correlation = each.follows
            noise = correlation * own[leader] + np.sqrt(1 - correlation**2) * noise
        deviation = np.sqrt(1 - each.site - each.season) * noise
        deviation += np.sqrt(each.site) * offsets[sites] + np.sqrt(each.season) * season
        if each.scored:
            # An independent distance, to keep the score's distribution known.
            distance = np.abs(rng.standard_normal(len(sites)))
            deviation = np.copysign(np.maximum(distance, _NEAREST_SD), deviation)
        deviations[each.name] = np.clip(deviation, -_FARTHEST_SD, _FARTHEST_SD)
    return deviations


def _score(deviations: dict[str, FloatArray]) -> FloatArray:
    """Sum the scored distances, each as the standard normal value of its rank; near is high."""
    score = np.zeros(_CHUNK_ROWS)
    for each in MEASUREMENTS:
        if each.scored:
            rank = erf(np.abs(deviations[each.name]) / np.sqrt(2))
            score -= np.sqrt(each.scored) * ndtri(rank)
    return score


def _report(each: Measurement, deviation: FloatArray, rng: np.random.Generator) -> pa.Array:
    if each.skewed:
        # Wilson and Hilferty (1931): the cube root of a gamma variable is nearly normal.
        ninth = (each.sd / each.mean) ** 2 / 9
        values = each.mean * (1 - ninth + np.sqrt(ninth) * deviation) ** 3
    else:
        values = each.mean + each.sd * deviation
    mask = rng.random(len(values)) < each.missing if each.missing else None
    return pa.array(np.round(values, each.decimals), mask=mask)


@lru_cache
def _dates() -> pa.Array:
    first = np.datetime64(_FIRST_DAY)
    return pa.array(np.arange(first, first + _N_DAYS).astype(str))


@lru_cache
def _site_offsets() -> FloatArray:
    """Give the sites' offsets in standard deviations, shape (n_measurements, n_sites).

    They are the same for every seed: a model trained on one simulation meets the same places in
    the next.
    """
    offsets = np.random.Generator(np.random.PCG64(40)).standard_normal(
        (len(MEASUREMENTS), len(SITES))
    )
    offsets -= offsets.mean(axis=1, keepdims=True)
    standardised: FloatArray = offsets / offsets.std(axis=1, keepdims=True)
    return standardised
