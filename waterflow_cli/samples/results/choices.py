"""What results make together: the one of several that counts, and differences of two quantities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    arrow_texts,
    as_bools,
    joined,
)
from waterflow_cli.samples.nondetects import split_signs
from waterflow_cli.samples.results.values import same_results
from waterflow_cli.tables.numbers import NUMBER_PATTERN, NumberMarks, parse_numbers

FINDING, PREFER = "finding", "prefer"
WAYS = (FINDING, "first", "last", "mean", "max")
_NUMBER = re.compile(NUMBER_PATTERN)
_BETWEEN = "\x1f"
_PREFER = re.compile(r"prefer=(?P<column>.+):(?P<value>[^:]+)")


class Choice(NamedTuple):
    """Which of several different results counts; `column` and `value` mark those preferred."""

    way: str
    column: str = ""
    value: str = ""

    @property
    def text(self) -> str:
        """As a user writes it."""
        return f"{self.way}={self.column}:{self.value}" if self.column else self.way


def parse_choice(text: str) -> Choice | None:
    """Read what a user says of several results; None if it is none of the known ways.

    >>> parse_choice("prefer=USGSPCode:00403")
    Choice(way='prefer', column='USGSPCode', value='00403')
    >>> parse_choice("median") is None
    True
    """
    if match := _PREFER.fullmatch(text):
        return Choice(PREFER, match["column"].strip(), match["value"].strip())
    return Choice(text) if text in WAYS else None


class Results(NamedTuple):
    """Results that count: place (sample and quantity), text in the schema's unit, line."""

    place: IntArray
    text: pa.Array
    line: IntArray
    preferred: BoolArray


class Conflict(NamedTuple):
    """Two results of one place that differ, by their rows."""

    one: int
    other: int


class Chosen(NamedTuple):
    """What counts for each place.

    Attributes
    ----------
    row : ndarray of int64, shape (n_places,)
        The place's result; -1 where there is none.
    text : pyarrow.Array of string, shape (n_results,)
        As they were, or the mean of several.
    counts : Counter of str
        ``repeated``: results that say again what another one does; ``set aside``: others than
        the chosen ones; ``conflicting``: those that differ where nothing chooses.
    """

    row: IntArray
    text: pa.Array
    conflicts: list[Conflict]
    counts: Counter[str]


def choose(results: Results, n_places: int, choice: Choice, marks: NumberMarks) -> Chosen:
    """Choose among the results of each place."""
    rows, counts = _of_preference(results, choice)
    place = results.place[rows]
    held, first = np.unique(place, return_index=True)
    at = np.full(n_places, -1)
    at[held] = rows[first]
    repeated = rows[at[place] != rows]
    ones = at[results.place[repeated]]
    one, other = (results.text.take(pa.array(some)) for some in (ones, repeated))
    same = same_results(one, other, marks)
    counts["repeated"] = int(same.sum())
    found = Chosen(at, results.text, [], counts)
    if same.all():
        return found
    if choice.way in (FINDING, PREFER):
        pairs = zip(ones[~same].tolist(), repeated[~same].tolist(), strict=True)
        found.conflicts.extend(Conflict(*pair) for pair in pairs)
        counts["conflicting"] = len(found.conflicts)
        return found
    places, repeats = np.unique(results.place[ones[~same]]), repeated[same]
    return _chosen_by(_WAYS[choice.way], results, places, rows, repeats, found, marks)


def _of_preference(results: Results, choice: Choice) -> tuple[IntArray, Counter[str]]:
    """Give the rows that are preferred, and all of places that have none."""
    rows = np.arange(len(results.place))
    if choice.way != PREFER:
        return rows, Counter()
    has_one = np.isin(results.place, results.place[results.preferred])
    kept = rows[results.preferred | ~has_one]
    return kept, Counter({"set aside": len(rows) - len(kept)})


def _chosen_by(
    way: Way,
    results: Results,
    places: IntArray,
    rows: IntArray,
    repeats: IntArray,
    found: Chosen,
    marks: NumberMarks,
) -> Chosen:
    """Choose among the rows of some places; `repeats` are counted already."""
    rows = rows[np.isin(results.place[rows], places)]
    rows = rows[np.argsort(results.place[rows], kind="stable")]
    ends = np.searchsorted(results.place[rows], places, side="right")
    n_repeats = Counter(results.place[repeats].tolist())
    signs, bare = split_signs(results.text.take(pa.array(rows)))
    values, written = parse_numbers(bare, marks).values, signs.to_pylist()
    means: dict[int, str] = {}
    chosen = found.row
    start = 0
    for end in ends.tolist():
        own = way(written[start:end], values[start:end])
        place = int(results.place[rows[start]])
        if own is None:
            found.conflicts.extend(_conflicts(results, rows[start:end], marks))
        else:
            index, mean = own
            chosen[place] = rows[start + index]
            if mean is not None:
                means[int(chosen[place])] = repr(mean).replace(".", marks.decimal)
            found.counts["set aside"] += end - start - 1 - n_repeats[place]
        start = end
    found.counts["conflicting"] = len(found.conflicts)
    texts = results.text.to_pylist() if means else []
    for row, text in means.items():
        texts[row] = text
    return found._replace(text=pa.array(texts, pa.string()) if means else results.text)


def _conflicts(results: Results, rows: IntArray, marks: NumberMarks) -> list[Conflict]:
    """Name the results of one place that differ from its first."""
    texts = results.text.take(pa.array(rows))
    first = pa.repeat(texts[0], len(rows))
    same = same_results(first, texts, marks)
    return [Conflict(int(rows[0]), int(row)) for row in rows[~same]]


# A way is told the signs and values of the results of one place, in the order of the file. It gives
# the place of the one that counts, and a number in its stead; None where it cannot choose.
Way = Callable[[Sequence[str], FloatArray], tuple[int, float | None] | None]


def _mean(signs: Sequence[str], values: FloatArray) -> tuple[int, float | None] | None:
    """Take the mean of the different numbers; that of a bound and a number is not known."""
    if any(signs) or not np.isfinite(values).all():
        return None
    return 0, float(np.unique(values).mean())


def _max(signs: Sequence[str], values: FloatArray) -> tuple[int, float | None] | None:
    """Take the largest, unless another one may be larger: less than 5 beside 3, more than 2."""
    kind = np.array([0 if not sign else 1 if sign[:1] in (">", "≥") else -1 for sign in signs])
    largest = int(np.lexsort((kind, values))[-1])
    is_known = {0: not (kind > 0).any(), 1: True, -1: bool((kind < 0).all())}
    return (largest, None) if np.isfinite(values).all() and is_known[int(kind[largest])] else None


_WAYS: dict[str, Way] = {
    "first": lambda signs, _values: (0, None),
    "last": lambda signs, _values: (len(signs) - 1, None),
    "mean": _mean,
    "max": _max,
}


def add_differences(
    cells: dict[str, pa.Array],
    lines: dict[str, IntArray],
    differences: Mapping[str, Sequence[str]],
    marks: NumberMarks,
) -> dict[str, BoolArray]:
    """Compute the quantities that are one parameter less another, where both are numbers.

    Parameters
    ----------
    cells, lines : dict of str to array, each of shape (n_samples,)
        By quantity: the results, empty where there is none, and their lines; both are added to.

    Returns
    -------
    dict of str to ndarray of bool, each of shape (n_samples,)
        By parameter: whether it stands in a difference of its sample.
    """
    used: dict[str, BoolArray] = {}
    for name, pair in differences.items():
        if not cells.keys() >= set(pair):
            continue
        empty = pa.repeat("", len(cells[pair[0]]))
        own, one, other = cells.get(name, empty), *(cells[each] for each in pair)
        is_wanted = pc.and_(pc.equal(own, ""), pc.not_equal(one, ""))
        rows = pc.and_(is_wanted, pc.not_equal(other, ""))
        # The same pairs of results come again and again.
        pairs = joined(one.filter(rows), other.filter(rows), separator=_BETWEEN).dictionary_encode()
        each = (text.split(_BETWEEN) for text in pairs.dictionary.to_pylist())
        found = [_difference(whole, part, marks) for whole, part in each]
        rests = arrow_texts(found).take(pairs.indices)
        cells[name] = pc.replace_with_mask(own, rows, rests)
        of_whole = lines[pair[0]]
        lines[name] = np.where(as_bools(rows), of_whole, lines.get(name, of_whole))
        is_made = as_bools(rows) & as_bools(pc.not_equal(cells[name], ""))
        used |= {part: used.get(part, False) | is_made for part in pair}
    return used


def _difference(one: str, other: str, marks: NumberMarks) -> str:
    """Subtract two results, exactly; empty where one is no plain number, or the part is larger."""
    whole, part = (
        text.replace(",", ".") if marks.decimal == "," else text for text in (one, other)
    )
    if not _NUMBER.match(whole) or not _NUMBER.match(part):
        return ""
    rest = Decimal(whole) - Decimal(part)
    return str(rest).replace(".", marks.decimal) if rest >= 0 else ""
