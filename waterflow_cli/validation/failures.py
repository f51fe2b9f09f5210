"""The rules that a failed check stands for, and its failures in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import marked, tr

_ABOVE, _BELOW = marked("{text} is above {bound}."), marked("{text} is below {bound}.")
_NOT_ABOVE, _NOT_BELOW = (
    marked("{text} is not above {bound}."),
    marked("{text} is not below {bound}."),
)
# Bounds of pandera's checks: statistic -> the rule that a value beyond it breaks, the words for
# beyond, the option that lets the bound itself pass, and the words when it does not.
_BOUNDS = {
    "min_value": ("below_minimum", _BELOW, "include_min", _NOT_ABOVE),
    "max_value": ("above_maximum", _ABOVE, "include_max", _NOT_BELOW),
}
_ONE_SIDED = {
    "greater_than": _NOT_ABOVE,
    "greater_than_or_equal_to": _BELOW,
    "less_than": _NOT_BELOW,
    "less_than_or_equal_to": _ABOVE,
}


class Failure(NamedTuple):
    """A rule, the rows that break it, and the words for it.

    Attributes
    ----------
    describe : callable
        Text and row of a cell to message.
    """

    rule: str
    rows: BoolArray
    describe: Callable[[str, int], str]


def name_failures(
    name: str, statistics: Mapping[str, Any], values: Any, failed: BoolArray, *, otherwise: str
) -> list[Failure]:
    """Put the failures of a check of a column into rules and words.

    Parameters
    ----------
    name, statistics : str, mapping
        The check, as pandera calls it, and what it compares with.
    values : array of shape (n_rows,)
        The column.
    failed : ndarray of bool, shape (n_rows,)
        Where the check failed.
    otherwise : str
        What to say of a check that is none of pandera's common ones.
    """
    if name == "in_range":
        return [_beyond(statistics, bound, values, failed) for bound in _BOUNDS]
    if name == "isin":
        allowed = shorten([str(value) for value in statistics["allowed_values"]])
        return [
            Failure(
                "not_allowed",
                failed,
                lambda text, _: tr("{text!r} is not one of {allowed}.", text=text, allowed=allowed),
            )
        ]
    if name in _ONE_SIDED:
        bound, sentence = next(iter(statistics.values())), _ONE_SIDED[name]
        return [Failure(name, failed, lambda text, _: tr(sentence, text=text, bound=bound))]
    return [Failure(name, failed, lambda text, _: f"{text!r} {otherwise}")]


def _beyond(
    statistics: Mapping[str, Any], statistic: str, values: Any, failed: BoolArray
) -> Failure:
    rule, sentence, inclusive, sentence_at_bound = _BOUNDS[statistic]
    bound = statistics[statistic]
    shown = sentence if statistics[inclusive] else sentence_at_bound
    beyond = np.asarray(values <= bound if sentence is _BELOW else values >= bound)
    return Failure(rule, failed & beyond, lambda text, _: tr(shown, text=text, bound=bound))
