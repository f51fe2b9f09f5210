"""The one catalogue of rules: what can be wrong with a cell or a row, and how it is said.

Whoever finds something names the rule and the values that its sentence needs; the words are made
here, when a finding is shown. docs/schemas.md says of each rule what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import marked, marked_forms
from waterflow_cli.tables.table import ROW_RULES, Rule

_NOT_ABOVE = marked("{text} is not above {bound}.")
_NOT_BELOW = marked("{text} is not below {bound}.")
_ONE_SIDED = {"greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to"}
_BELOW, _ABOVE = marked("{text} is below {bound}."), marked("{text} is above {bound}.")

_ALL = (
    Rule(
        "not_a_number",
        marked("{text!r} is not a number."),
        variants={
            "mark": marked("{text!r} is not a number (decimal mark '{mark}')."),
            "character": marked("{text!r} is not a number ({character} is no character of one)."),
            "flag": marked(
                "{text!r} is not a number; what a mark means is said by --flag '{flag}=…'"
            ),
            "word": marked(
                "{text!r} is neither 1 nor 0; what a word means is said by "
                "--label-value '{word}=0' or '{word}=1'"
            ),
        },
    ),
    Rule("not_whole", marked("{text!r} is not a whole number.")),
    Rule("not_a_date", marked("{text!r} is not a date (YYYY-MM-DD).")),
    Rule("not_text", marked("{text!r} is not text.")),
    Rule("below_minimum", _BELOW, variants={"excluded": _NOT_ABOVE}),
    Rule("above_maximum", _ABOVE, variants={"excluded": _NOT_BELOW}),
    Rule("greater_than", _NOT_ABOVE),
    Rule("greater_than_or_equal_to", _BELOW),
    Rule("less_than", _NOT_BELOW),
    Rule("less_than_or_equal_to", _ABOVE),
    Rule("not_allowed", marked("{text!r} is not one of {allowed}.")),
    Rule("missing_value", marked("the value is missing.")),
    Rule("missing_label", marked("the label is missing.")),
    Rule("nondetect", marked("{text!r} is a non-detect, and --nondetect error is set.")),
    Rule("no_limit", marked("{text!r} gives no detection limit: --loq {name}=VALUE")),
    Rule("no_bound", marked("{text!r} is above the range, and names no number.")),
    Rule("cell_unit", marked("{text!r} is in a unit that does not convert to that of {name}.")),
    Rule("summary_row", marked("{text!r} looks like a summary row, not a sample.")),
    Rule("duplicate", marked("the value stood in an earlier row and must be unique.")),
    Rule(
        "too_few_measurements",
        marked_forms(
            "{n} measurement; at least {needed} needed.",
            "{n} measurements; at least {needed} needed.",
        ),
    ),
    Rule("all_zero", marked("all its measurements are 0, and no water is that.")),
    *ROW_RULES.values(),
    Rule("partial_key", marked("line {line} does not say of which sample: {column} is empty")),
    Rule(
        "conflicting_results",
        marked("{name} is {one} in line {first} and {other} in line {second}"),
    ),
    Rule(
        "unknown_unit",
        marked("{name} in line {line}: '{unit}' is no known unit"),
        variants={
            "wanted": marked("{name} in line {line}: '{unit}' does not convert to {wanted}"),
            "open": marked(
                "{name} in line {line}: '{unit}' does not say as what: {open}, or another"
            ),
        },
    ),
    Rule("missing_unit", marked("{name} in line {line}: no unit is named, and it decides")),
    Rule(
        "unknown_qualifier",
        marked("{name} in line {line}: {column} says '{said}', which the profile does not know"),
    ),
)
RULES: Mapping[str, Rule] = {rule.code: rule for rule in _ALL}
# The file alone shows these: once the row is in an output, its cells seem sound.
IN_SOURCE_ONLY = (
    *ROW_RULES,
    *("partial_key", "conflicting_results"),
    *("unknown_unit", "missing_unit", "unknown_qualifier"),
)
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
    values, failed : array of shape (n_rows,)
        The column, and where the check failed.
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
        allowed = shorten(map(str, statistics["allowed_values"]))
        yield RULES["not_allowed"], failed, {"allowed": allowed}
    elif name in _ONE_SIDED:
        yield RULES[name], failed, {"bound": next(iter(statistics.values()))}
    else:
        yield Rule(name, marked("{text!r} fails {check}.")), failed, {"check": error or name}


def _beyond(code: str, failed: BoolArray, bound: Any, is_included: bool) -> Broken:
    return RULES[code], failed, {"bound": bound, **({} if is_included else {"excluded": True})}
