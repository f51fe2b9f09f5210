"""Find out what is wrong with a batch that is not clean, with pandas and pandera.

Clean batches are passed without either, so this module is imported only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from waterflow_cli.errors import UsageError, shorten
from waterflow_cli.numbers import missing_text
from waterflow_cli.table_schema import Kind

if TYPE_CHECKING:
    from pandera.api.checks import Check

    from waterflow_cli.arrays import BoolArray

# Bounds of pandera's checks: statistic -> the rule that a value beyond it breaks, the word for
# beyond, the option that lets the bound itself pass, and the word when it does not.
_BOUNDS = {
    "min_value": ("below_minimum", "below", "include_min", "not above"),
    "max_value": ("above_maximum", "above", "include_max", "not below"),
}
_ONE_SIDED = {
    "greater_than": "{} is not above {}",
    "greater_than_or_equal_to": "{} is below {}",
    "less_than": "{} is not below {}",
    "less_than_or_equal_to": "{} is above {}",
}


Failure = tuple[str, "BoolArray", "Callable[[str, int], str]"]


def check_column(
    checks: Sequence[Check], name: str, values: Any, good: BoolArray
) -> Iterator[Failure]:
    """Run pandera's checks of a column on its good cells.

    Yields
    ------
    (rule, mask, describe)
        What is broken, the rows that break it, and text of a cell to message.

    Raises
    ------
    UsageError
        If a check judges a column as a whole, or does not fit the column's kind.
    """
    cells = pd.Series(values, name=name)[good]
    for check in checks:
        yield from _run_check(check, cells, len(values))


def check_rows(
    checks: Sequence[Check], cells: Mapping[str, tuple[Any, BoolArray]]
) -> Iterator[Failure]:
    """Run pandera's checks of whole rows; see `check_column`."""
    frame = pd.DataFrame(
        {name: pd.Series(values).where(good) for name, (values, good) in cells.items()}
    )
    for check in checks:
        yield from _run_check(check, frame, len(frame))


def parse_text_cells(
    column: pa.Array, kind: Kind
) -> tuple[pd.Series, BoolArray, BoolArray, str, str]:
    """Read cells as text or dates: values, missing, bad, and the rule and noun for bad ones."""
    rule, noun = (
        ("not_text", "text") if kind is Kind.TEXT else ("not_a_date", "a date (YYYY-MM-DD)")
    )
    try:
        text = column.cast("string")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes; lists and structs
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return pd.Series(index=range(len(column)), dtype=object), missing, ~missing, rule, noun
    missing = missing_text(text)
    values = text.to_pandas()
    if kind is Kind.TEXT:
        return values, missing, np.zeros(len(values), dtype=bool), rule, noun
    dates = _parse_dates(values.where(~missing, ""))
    return dates, missing, dates.isna().to_numpy() & ~missing, rule, noun


def _parse_dates(text: pd.Series) -> pd.Series:
    """Read ISO 8601 dates; those with a time zone count in UTC, so that all compare."""
    trimmed = text.str.strip()
    # pandas also takes "now" and "today" for dates, and "-1" for a year.
    digits = trimmed.where(trimmed.str.match("[0-9]"), "")
    return pd.to_datetime(digits, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)


def _run_check(check: Check, values: pd.Series | pd.DataFrame, n_rows: int) -> list[Failure]:
    """Run a pandera check: the rules that it found broken, and the rows that break them."""
    if values.empty:
        return []
    try:
        output = check(values).check_output
    except (AttributeError, TypeError, ValueError) as exc:
        judged = "a row" if isinstance(values, pd.DataFrame) else f"column {values.name}"
        raise UsageError(
            f"The schema's check {check.name} cannot judge {judged} ({exc}).",
            "Choose a check that fits the column's dtype.",
        ) from exc
    if isinstance(output, pd.DataFrame):
        output = output.all(axis=1)
    if not isinstance(output, pd.Series) or not output.index.isin(values.index).all():
        raise UsageError(
            f"The schema's check {check.name} judges a column as a whole, and not row by row.",
            "Use checks that say of each value whether it is right.",
        )
    failed = np.zeros(n_rows, dtype=bool)
    failed[output.index[~output.to_numpy(dtype=bool)]] = True
    if isinstance(values, pd.DataFrame):
        return [(_rule_of(check), failed, lambda _text, _row: f"the row {_fails(check)}")]
    if check.name != "in_range":
        return [(_rule_of(check), failed, _describe(check))]
    return [_split_bound(check, statistic, values, failed) for statistic in _BOUNDS]


def _split_bound(check: Check, statistic: str, values: pd.Series, failed: BoolArray) -> Failure:
    rule, word, inclusive, word_at_bound = _BOUNDS[statistic]
    bound = _statistics(check)[statistic]
    shown = word if _statistics(check)[inclusive] else word_at_bound
    beyond = values.index[values <= bound] if word == "below" else values.index[values >= bound]
    mask = np.zeros(len(failed), dtype=bool)
    mask[beyond] = failed[beyond]
    return rule, mask, lambda text, _: f"{text} is {shown} {bound}."


def _statistics(check: Check) -> dict[str, Any]:
    return dict(check.statistics or {})


def _rule_of(check: Check) -> str:
    return "not_allowed" if check.name == "isin" else str(check.name)


def _describe(check: Check) -> Callable[[str, int], str]:
    if check.name == "isin":
        allowed = shorten([str(value) for value in _statistics(check)["allowed_values"]])
        return lambda text, _: f"{text!r} is not one of {allowed}."
    if check.name in _ONE_SIDED:
        bound = next(iter(_statistics(check).values()))
        sentence = _ONE_SIDED[check.name]
        return lambda text, _: sentence.format(text, bound) + "."
    return lambda text, _: f"{text!r} {_fails(check)}"


def _fails(check: Check) -> str:
    return f"fails {check.error or check.name}."
