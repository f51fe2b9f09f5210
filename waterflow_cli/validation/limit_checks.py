"""Hold the measurements of a batch against limits: information beside a verdict, never in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts, joined, repeated
from waterflow_cli.common.messages import marked
from waterflow_cli.validation.limits import Limit, LimitProfile, plain, unmeasured

if TYPE_CHECKING:
    import pandas as pd

    from waterflow_cli.common.arrays import BoolArray, FloatArray
    from waterflow_cli.samples.nondetects import Censored
    from waterflow_cli.validation.batches import CheckedBatch

LIMITS = "limits"
_BETWEEN = "; "
Codes = npt.NDArray[np.int8]


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
class LimitFlags:
    """How the rows of a batch stand to each limit.

    Attributes
    ----------
    codes : tuple of ndarray of int8, each of shape (n_rows,)
        For each limit, a `LimitStatus` for each row.
    measured : dict of str to int
        By measurement, how many rows hold a result.
    """

    limits: tuple[Limit, ...]
    codes: tuple[Codes, ...]
    measured: dict[str, int]
    n_rows: int

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
    checked: CheckedBatch, profiles: Sequence[LimitProfile], measurements: Sequence[str]
) -> LimitFlags:
    """Compare each measurement with each limit of its column.

    A cell that is missing or no number, and each cell of a row that was not read whole, counts as
    not measured. What ``--nondetect`` made of a cell is never compared.

    Parameters
    ----------
    profiles : sequence of LimitProfile
        The limits, in the order in which rows name them.
    measurements : sequence of str
        Those of which the results are counted.
    """
    limits = tuple(limit for profile in profiles for limit in profile.limits)
    nowhere = np.full(len(checked.batch), np.nan)
    names = dict.fromkeys([*measurements, *(limit.column for limit in limits)])
    measured = {name: checked.whole & _has_result(checked, name, nowhere) for name in names}
    codes = tuple(
        compare_with_limit(
            limit,
            checked.numbers.get(limit.column, nowhere),
            measured[limit.column],
            checked.censored.get(limit.column),
        )
        for limit in limits
    )
    sums = {name: int(measured[name].sum()) for name in measurements}
    return LimitFlags(limits, codes, sums, len(checked.batch))


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
    for limit in limits:
        if limit.column in values:
            results = values[limit.column].to_numpy(dtype=np.float64)
            above |= compare_with_limit(limit, results, ~np.isnan(results)) == LimitStatus.ABOVE
    return above


@dataclass
class LimitCounts:
    """Counts of rows by limit, over batches; see `LimitFlags` for what is counted."""

    profiles: Sequence[LimitProfile]
    measurements: Sequence[str]
    measured: Counter[str] = field(init=False)
    by_limit: list[list[int]] = field(init=False)

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
        """What potability depends on and no measurement of the schema covers."""
        return unmeasured(self.measurements)

    def add(self, other: LimitFlags | LimitCounts) -> None:
        """Add a batch, or the counts of other batches."""
        for sums, more in zip(self.by_limit, other.by_limit, strict=True):
            sums[:] = map(add, sums, more)
        self.measured.update(other.measured)

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
        }

    def take_up(self, content: Mapping[str, Any]) -> None:
        """Go on from the counts of an earlier run with the same profiles."""
        rows = [value["rows"] for value in content["values"]]
        self.by_limit = [[sums[each.name.lower()] for each in LimitStatus] for sums in rows]
        self.measured.update(content["rows_measured"])


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


def _has_result(checked: CheckedBatch, name: str, nowhere: FloatArray) -> BoolArray:
    """Say which cells of a column hold a result: a number, or a bound."""
    held = ~np.isnan(checked.numbers.get(name, nowhere))
    censored = checked.censored.get(name)
    return held if censored is None else held | censored.below | censored.above
