"""Hold the measurements of a batch against limits: information beside a verdict, never in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from fractions import Fraction
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts, joined, repeated
from waterflow_cli.common.messages import marked
from waterflow_cli.tables.units import convert, counts_things
from waterflow_cli.validation.limits import Limit, LimitProfile, plain, unmeasured

if TYPE_CHECKING:
    import pandas as pd

    from waterflow_cli.common.arrays import BoolArray, FloatArray
    from waterflow_cli.samples.nondetects import Censored
    from waterflow_cli.validation.batches import CheckedBatch

LIMITS = "limits"
_BETWEEN = "; "
Codes = npt.NDArray[np.int8]
NOTHING: Mapping[str, Results] = {}
NO_REASONS: Mapping[str, str] = {}


class LimitStatus(IntEnum):
    """How a measurement stands to a limit; a value equal to the limit is within."""

    NOT_MEASURED = 0
    WITHIN = 1
    ABOVE = 2
    BELOW = 3
    INDETERMINATE = 4

    @property
    def words(self) -> str:
        """What people read; one sample cannot break a rule on averages, so no word says so."""
        return {
            LimitStatus.NOT_MEASURED: marked("not measured"),
            LimitStatus.WITHIN: marked("within"),
            LimitStatus.ABOVE: marked("above the value (single sample)"),
            LimitStatus.BELOW: marked("below the value (single sample)"),
            LimitStatus.INDETERMINATE: marked("indeterminate"),
        }[self]


@dataclass(frozen=True)
class Results:
    """The results of a column, each of shape (n_rows,).

    Attributes
    ----------
    values : ndarray of float64
        In the unit of the column.
    measured : ndarray of bool
        Where there is a result: a number, or a bound.
    censored : Censored, optional
        The results of which only a bound is known.
    unread : ndarray of bool, optional
        Where a cell is neither empty nor a result.
    """

    values: FloatArray
    measured: BoolArray
    censored: Censored | None = None
    unread: BoolArray | None = None

    def times(self, factor: Fraction) -> Results:
        """Multiply the results, and settle what rounding leaves in the last digits."""
        if factor == 1:
            return self
        bounds = self.censored
        if bounds is not None:
            bounds = replace(bounds, bound=_settled(convert(bounds.bound, factor)))
        return replace(self, values=_settled(convert(self.values, factor)), censored=bounds)

    @property
    def range(self) -> tuple[FloatArray, FloatArray]:
        """Between which values each result lies, the lower one 0 where there is only an upper."""
        if (bounds := self.censored) is None:
            return self.values, self.values
        low = np.where(bounds.below, 0.0, np.where(bounds.above, bounds.bound, self.values))
        high = np.where(bounds.below, bounds.bound, np.where(bounds.above, np.inf, self.values))
        return low, np.where(np.isnan(high), np.inf, high)


@dataclass(frozen=True, kw_only=True)
class LimitFlags:
    """How the rows of a batch stand to each limit.

    Attributes
    ----------
    codes : tuple of ndarray of int8, each of shape (n_rows,)
        For each limit, a `LimitStatus` for each row.
    measured : dict of str to int
        By measurement, how many rows hold a result.
    unread : mapping of str to str
        Columns that no result could be read from, each with the reason.
    """

    limits: tuple[Limit, ...]
    codes: tuple[Codes, ...]
    measured: dict[str, int]
    n_rows: int
    unread: Mapping[str, str] = field(default_factory=dict)

    def texts(self) -> pa.Array:
        """Name for each row the limits that it is above, below or indeterminate to, if any."""
        pairs = zip(self.limits, self.codes, strict=True)
        noted = [(limit, codes) for limit, codes in pairs if (codes > LimitStatus.WITHIN).any()]
        if not noted:
            return repeated("", self.n_rows)
        # Few of the possible combinations occur, so each is written once and then looked up.
        rows = pa.py_buffer(np.stack([codes for _, codes in noted], axis=1))
        cells = pa.Array.from_buffers(pa.binary(len(noted)), self.n_rows, [None, rows])
        encoded = cells.dictionary_encode()
        kinds = np.frombuffer(encoded.dictionary.buffers()[1], dtype=np.int8)
        parts = [
            arrow_texts(_phrases(limit)).take(arrow_numbers(kinds[place :: len(noted)]))
            for place, (limit, _) in enumerate(noted)
        ]
        # With null_handling="skip" and a separator, rows where all parts are null would be lost.
        texts = joined(*parts) if len(parts) > 1 else parts[0]
        return pc.utf8_slice_codeunits(texts, len(_BETWEEN)).take(encoded.indices)

    @property
    def by_limit(self) -> list[list[int]]:
        """For each limit, the rows by `LimitStatus`."""
        return [np.bincount(codes, minlength=len(LimitStatus)).tolist() for codes in self.codes]


def check_limits(
    checked: CheckedBatch,
    profiles: Sequence[LimitProfile],
    measurements: Sequence[str],
    beside: Mapping[str, Results] = NOTHING,
    unread: Mapping[str, str] = NO_REASONS,
) -> LimitFlags:
    """Compare what is measured with each limit.

    A cell that is missing or no number, and each cell of a row that was not read whole, counts as
    not measured. What ``--nondetect`` made of a cell is never compared.

    Parameters
    ----------
    profiles : sequence of LimitProfile
        The limits, in the order in which rows name them.
    measurements : sequence of str
        Those of which the results are counted.
    beside : mapping of str to Results
        Columns that the schema does not have, by the name of the quantity.
    unread : mapping of str to str
        See `LimitFlags`.
    """
    limits = tuple(limit for profile in profiles for limit in profile.limits)
    n_rows = len(checked.batch)
    results = {**results_of(checked), **beside}
    nothing = np.zeros(n_rows, dtype=np.int8)
    codes = tuple(_judge(limit, results, nothing) for limit in limits)
    sums = dict.fromkeys(measurements, 0)
    names = [*measurements, *beside]
    sums |= {name: int(results[name].measured.sum()) for name in names if name in results}
    return LimitFlags(limits=limits, codes=codes, measured=sums, n_rows=n_rows, unread=unread)


def _judge(limit: Limit, results: Mapping[str, Results], nothing: Codes) -> Codes:
    """Hold a quantity against its limit, in each row by the best way that has all its parts.

    Where no way has, and some part was measured, the quantity cannot be told.
    """
    codes = nothing
    for way in reversed(limit.ways):
        there = [term for term in way.terms if term.column in results]
        if not there:
            continue
        parts = [results[term.column].times(term.factor) for term in there]
        some = np.logical_or.reduce([each.measured for each in parts])
        unread = [each.unread for each in parts if each.unread is not None]
        whole = some if way.is_open else np.logical_and.reduce([each.measured for each in parts])
        if len(there) < len(way.terms) and not way.is_open:
            whole = np.zeros_like(some)
        known = np.where(whole, _compare(limit, parts, is_open=way.is_open), nothing)
        known[np.logical_or.reduce([some, *unread]) & ~whole] = LimitStatus.INDETERMINATE
        codes = np.where(whole | (codes == LimitStatus.NOT_MEASURED), known, codes)
    return codes


def _compare(limit: Limit, parts: Sequence[Results], *, is_open: bool) -> Codes:
    """Compare a result, or the sum of several, with a limit; rows without one count for nothing."""
    if len(parts) == 1 and not is_open:
        (part,) = parts
        return compare_with_limit(limit, part.values, part.measured, part.censored)
    most = np.inf if limit.maximum is None else limit.maximum
    least = -np.inf if limit.minimum is None else limit.minimum
    low, high = (
        _settled(np.sum([np.where(part.measured, part.range[end], 0.0) for part in parts], axis=0))
        for end in (0, 1)
    )
    beyond = [each.censored.above & each.measured for each in parts if each.censored is not None]
    is_beyond = np.logical_or.reduce(beyond) if beyond else False
    codes = np.full(len(low), LimitStatus.INDETERMINATE, dtype=np.int8)
    codes[(low > most) | ((low == most) & is_beyond)] = LimitStatus.ABOVE
    if not is_open:
        codes[(high <= most) & (low >= least)] = LimitStatus.WITHIN
        codes[high < least] = LimitStatus.BELOW
    return codes


def _settled(values: FloatArray) -> FloatArray:
    """Round to twelve digits, which no result has: 0.98 + 0.02 is 1, and no more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (11 - np.floor(np.log10(np.abs(values))))
        rounded = np.rint(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values)


def compare_with_limit(
    limit: Limit, values: FloatArray, measured: BoolArray, censored: Censored | None = None
) -> Codes:
    """Say how each result stands to a limit, as a `LimitStatus` for each row.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        In the limit's unit.
    measured : ndarray of bool, shape (n_rows,)
        Where there is a result.
    censored : Censored, optional
        The results of which only a bound is known. Such a result stands in a way only if each value
        that it can have does; else it is indeterminate.
    """
    low = -np.inf if limit.minimum is None else limit.minimum
    high = np.inf if limit.maximum is None else limit.maximum
    codes = np.full(len(values), LimitStatus.WITHIN, dtype=np.int8)
    codes[values > high] = LimitStatus.ABOVE
    codes[values < low] = LimitStatus.BELOW
    if censored is not None:
        # "<0.5" is less than 0.5, and with no minimum within up to there; ">200" likewise. A bound
        # that is not known (NaN) decides nothing.
        codes[censored.below | censored.above] = LimitStatus.INDETERMINATE
        bound = censored.bound
        if counts_things(limit.unit):  # of which less than 1 is none
            bound = np.where(censored.below, np.ceil(bound) - 1, bound)
        if limit.minimum is None:
            codes[censored.below & (bound <= high)] = LimitStatus.WITHIN
        if limit.maximum is None:
            codes[censored.above & (bound >= low)] = LimitStatus.WITHIN
        codes[censored.below & (bound <= low)] = LimitStatus.BELOW
        codes[censored.above & (bound >= high)] = LimitStatus.ABOVE
    codes[~measured] = LimitStatus.NOT_MEASURED
    return codes


def rows_above(limits: Iterable[Limit], values: pd.DataFrame) -> BoolArray:
    """Say which rows of a frame have a measurement above a limit, shape (n_rows,).

    A value that is missing, and a limit on a column that is not there, are passed over.
    """
    above = np.zeros(len(values), dtype=bool)
    for limit in (each.in_unit_of_column for each in limits):
        if limit.column in values:
            results = values[limit.column].to_numpy(dtype=np.float64)
            above |= compare_with_limit(limit, results, ~np.isnan(results)) == LimitStatus.ABOVE
    return above


@dataclass(frozen=True)
class ParameterCounts:
    """How the parameters of a profile stand to what was measured.

    Attributes
    ----------
    judged : list of str
        Those that some row could be held against.
    not_judged : list of str
        Those of which there is something, and nothing that decides.
    lacking : list of str
        Those of which no row has a result.
    """

    profile: str
    judged: list[str]
    not_judged: list[str]
    lacking: list[str]


@dataclass(kw_only=True)
class LimitCounts:
    """Counts of rows by limit, over batches; see `LimitFlags` for what is counted."""

    profiles: Sequence[LimitProfile]
    measurements: Sequence[str]
    measured: Counter[str] = field(init=False)
    by_limit: list[list[int]] = field(init=False)
    unread: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.measured = Counter(dict.fromkeys(self.measurements, 0))
        self.by_limit = [[0] * len(LimitStatus) for _ in self.limits]

    @property
    def limits(self) -> list[Limit]:
        """The limits of all profiles, in order."""
        return [limit for profile in self.profiles for limit in profile.limits]

    @property
    def not_measured(self) -> list[str]:
        """The measurements of which no row holds a result."""
        return [name for name in self.measurements if not self.measured[name]]

    @property
    def in_no_column(self) -> list[str]:
        """What potability depends on, and what no column holds."""
        return unmeasured(self.measured)

    @property
    def parameters(self) -> list[ParameterCounts]:
        """For each profile, which of its parameters could be judged, and which not."""
        totals: dict[str, dict[str, list[int]]] = {each.name: {} for each in self.profiles}
        untold: set[str] = set()
        for limit, sums in zip(self.limits, self.by_limit, strict=True):
            total = totals[limit.profile].setdefault(limit.column, [0] * len(LimitStatus))
            total[:] = map(add, total, sums)
            columns = {term.column for way in limit.ways for term in way.terms}
            if not columns or not columns.isdisjoint(self.unread):
                untold.add(limit.column)
        return [_sort_parameters(name, each, untold) for name, each in totals.items()]

    def add(self, other: LimitFlags | LimitCounts) -> None:
        """Add a batch, or the counts of other batches."""
        for sums, more in zip(self.by_limit, other.by_limit, strict=True):
            sums[:] = map(add, sums, more)
        self.measured.update(other.measured)
        self.unread |= other.unread

    def content(self) -> dict[str, Any]:
        """Put the counts into JSON; `take_up` takes them back."""
        rows = ({each.name.lower(): sums[each] for each in LimitStatus} for sums in self.by_limit)
        return {
            "profiles": [
                {"name": profile.name, "title": profile.title, "sha256": profile.sha256}
                for profile in self.profiles
            ],
            "values": [
                {**limit.content(), "rows": held}
                for limit, held in zip(self.limits, rows, strict=True)
            ],
            "rows_measured": dict(self.measured),
            "not_measured": self.not_measured,
            "in_no_column": self.in_no_column,
            "parameters": [asdict(each) for each in self.parameters],
            "not_read": self.unread,
        }

    def take_up(self, content: Mapping[str, Any]) -> None:
        """Go on from the counts of an earlier run with the same profiles."""
        rows = [value["rows"] for value in content["values"]]
        self.by_limit = [[sums[each.name.lower()] for each in LimitStatus] for sums in rows]
        self.measured.update(content["rows_measured"])
        self.unread |= content["not_read"]


def _sort_parameters(
    profile: str, totals: Mapping[str, Sequence[int]], untold: Collection[str]
) -> ParameterCounts:
    decided = (LimitStatus.WITHIN, LimitStatus.ABOVE, LimitStatus.BELOW)
    judged = [name for name, sums in totals.items() if any(sums[each] for each in decided)]
    rest = [name for name in totals if name not in judged]
    held = [name for name in rest if totals[name][LimitStatus.INDETERMINATE] or name in untold]
    return ParameterCounts(profile, judged, held, [name for name in rest if name not in held])


def _phrases(limit: Limit) -> list[str]:
    """Write what a row says of a limit for each `LimitStatus`; often nothing."""
    said: dict[LimitStatus, str] = {LimitStatus.INDETERMINATE: "indeterminate"}
    if limit.maximum is not None:
        said[LimitStatus.ABOVE] = f"above {plain(limit.maximum)}{limit.unit_after}"
    if limit.minimum is not None:
        said[LimitStatus.BELOW] = f"below {plain(limit.minimum)}{limit.unit_after}"
    return [
        f"{_BETWEEN}{limit.column} {said[each]} ({limit.origin})" if each in said else ""
        for each in LimitStatus
    ]


def results_of(checked: CheckedBatch) -> dict[str, Results]:
    """Give the results of the columns of the schema."""
    return {name: _results_of(checked, name) for name in checked.numbers}


def best_range(limit: Limit, results: Mapping[str, Results], row: int) -> tuple[float, float]:
    """Say between which values the quantity of a limit lies in a row, in the limit's unit.

    By the way that `check_limits` judges by; where none has all its parts, from 0 to infinity.
    """
    for way in limit.ways:
        there = [
            results[term.column].times(term.factor) for term in way.terms if term.column in results
        ]
        ends = [[each.range[end][row] for each in there if each.measured[row]] for end in (0, 1)]
        if ends[0] and (way.is_open or len(ends[0]) == len(way.terms)):
            low, high = (float(_settled(np.array([sum(each)]))[0]) for each in ends)
            return low, np.inf if way.is_open else high
    return 0.0, np.inf


def _results_of(checked: CheckedBatch, name: str) -> Results:
    """Give the results of a column of the schema."""
    values, censored = checked.numbers[name], checked.censored.get(name)
    held = ~np.isnan(values)
    if censored is not None:
        held = held | censored.below | censored.above
    return Results(values, checked.whole & held, censored)
