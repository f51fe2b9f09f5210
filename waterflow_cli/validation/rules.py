"""The one catalogue of rules: what can be wrong with a cell or a row, and how it is said.

Whoever finds something names the rule and the values that its sentence needs; the words are made
here, when a finding is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import marked, marked_forms
from waterflow_cli.tables.row_rules import ROW_RULES, Rule

_NOT_ABOVE = marked("{text} is not above {bound}.")
_NOT_BELOW = marked("{text} is not below {bound}.")
_ONE_SIDED = {"greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to"}
_BELOW, _ABOVE = marked("{text} is below {bound}."), marked("{text} is above {bound}.")

_ALL = (
    Rule(
        code="not_a_number",
        place="cell",
        title="no number, in a column of numbers",
        sentence=marked("{text!r} is not a number."),
        variants={"mark": marked("{text!r} is not a number (decimal mark '{mark}').")},
    ),
    Rule(
        code="not_whole",
        place="cell",
        title="no whole number, in a column of those",
        sentence=marked("{text!r} is not a whole number."),
    ),
    Rule(
        code="not_a_date",
        place="cell",
        title="no date, in a column of dates",
        sentence=marked("{text!r} is not a date (YYYY-MM-DD)."),
    ),
    Rule(
        code="not_text",
        place="cell",
        title="no text (bytes, a list), in a column of text",
        sentence=marked("{text!r} is not text."),
    ),
    Rule(
        code="below_minimum",
        place="cell",
        title="below the range of `in_range`, which includes its ends",
        sentence=_BELOW,
        variants={"excluded": _NOT_ABOVE},
    ),
    Rule(
        code="above_maximum",
        place="cell",
        title="above the range of `in_range`",
        sentence=_ABOVE,
        variants={"excluded": _NOT_BELOW},
    ),
    Rule(
        code="greater_than",
        place="cell",
        title="at or below the bound of `greater_than`",
        sentence=_NOT_ABOVE,
    ),
    Rule(
        code="greater_than_or_equal_to",
        place="cell",
        title="below the bound of `greater_than_or_equal_to`",
        sentence=_BELOW,
    ),
    Rule(
        code="less_than",
        place="cell",
        title="at or above the bound of `less_than`",
        sentence=_NOT_BELOW,
    ),
    Rule(
        code="less_than_or_equal_to",
        place="cell",
        title="above the bound of `less_than_or_equal_to`",
        sentence=_ABOVE,
    ),
    Rule(
        code="not_allowed",
        place="cell",
        title="none of the values of `isin`",
        sentence=marked("{text!r} is not one of {allowed}."),
    ),
    Rule(
        code="missing_value",
        place="cell",
        title="missing where the column is not nullable",
        sentence=marked("the value is missing."),
    ),
    Rule(
        code="missing_label",
        place="cell",
        title="the row has no label, and is to be learned from or measured with",
        sentence=marked("the label is missing."),
    ),
    Rule(
        code="nondetect",
        place="cell",
        title="a non-detect, where `--nondetect error` is set",
        sentence=marked("{text!r} is a non-detect, and --nondetect error is set."),
    ),
    Rule(
        code="no_limit",
        place="cell",
        title="a non-detect that names no limit, and no `--loq` does",
        sentence=marked("{text!r} names no limit of quantification: --loq {name}=VALUE"),
    ),
    Rule(
        code="summary_row",
        place="cell",
        title="the label of a line of totals or means, and no sample",
        sentence=marked("{text!r} labels a summary or a limit, and no sample."),
    ),
    Rule(
        code="duplicate",
        place="cell or row",
        title="the value, or the values together, stood in an earlier row",
        sentence=marked("the value stood in an earlier row and must be unique."),
    ),
    Rule(
        code="too_few_measurements",
        place="row",
        title="fewer measurements than `min_measurements`",
        sentence=marked_forms(
            "{n} measurement; at least {needed} needed.",
            "{n} measurements; at least {needed} needed.",
        ),
    ),
    *ROW_RULES.values(),
    Rule(
        code="conflicting_results",
        place="row",
        title="in a table of results: a sample has two different ones of one quantity",
        sentence=marked("{name} is {one} in line {first} and {other} in line {second}"),
        is_in_source_only=True,
    ),
    Rule(
        code="unknown_unit",
        place="row",
        title="in a table of results: a unit that is unknown or does not fit",
        sentence=marked("{name} in line {line}: '{unit}' is no known unit"),
        variants={"wanted": marked("{name} in line {line}: '{unit}' does not convert to {wanted}")},
        is_in_source_only=True,
    ),
)
RULES: Mapping[str, Rule] = {rule.code: rule for rule in _ALL}
# A rule, the rows that break it, and the values that its sentence needs.
Broken = tuple[Rule, BoolArray, Mapping[str, Any]]


def break_column_check(
    name: str, statistics: Mapping[str, Any], values: Any, failed: BoolArray, error: str | None
) -> Iterator[Broken]:
    """Tell which rules the failures of a check of a column break.

    Parameters
    ----------
    name, statistics : str, mapping
        The check, as pandera calls it, and what it compares with.
    values : array of shape (n_rows,)
        The column.
    failed : ndarray of bool, shape (n_rows,)
        Where the check failed.
    error : str, optional
        What the schema says of a check that is none of pandera's common ones.
    """
    if name == "in_range":
        low, high = statistics["min_value"], statistics["max_value"]
        below = np.asarray(values <= low)
        yield _beyond("below_minimum", failed & below, low, statistics["include_min"])
        above = np.asarray(values >= high)
        yield _beyond("above_maximum", failed & above, high, statistics["include_max"])
    elif name == "isin":
        allowed = shorten([str(value) for value in statistics["allowed_values"]])
        yield RULES["not_allowed"], failed, {"allowed": allowed}
    elif name in _ONE_SIDED:
        yield RULES[name], failed, {"bound": next(iter(statistics.values()))}
    else:
        rule = Rule(
            code=name,
            place="cell",
            title="that check fails",
            sentence=marked("{text!r} fails {check}."),
        )
        yield rule, failed, {"check": error or name}


def break_row_check(name: str, failed: BoolArray, error: str | None) -> Broken:
    """Name the rule that the failures of a check of whole rows break; see `break_column_check`."""
    rule = Rule(
        code=name, place="row", title="that check fails", sentence=marked("the row fails {check}.")
    )
    return rule, failed, {"check": error or name}


def _beyond(code: str, failed: BoolArray, bound: Any, is_included: bool) -> Broken:
    return RULES[code], failed, {"bound": bound, **({} if is_included else {"excluded": True})}
