"""The catalogue of rules, against what is found and what the documents say."""

from __future__ import annotations

import re
import string

import numpy as np
import pytest
from pandera.pandas import Check
from paths import ROOT

from waterflow_cli.common.messages import LANGUAGES, use_language
from waterflow_cli.validation.diagnosis import check_rows
from waterflow_cli.validation.rules import (
    IN_SOURCE_ONLY,
    RULES,
    break_column_check,
)

PACKAGE = ROOT / "waterflow_cli"
TABLE = ROOT / "docs" / "schemas.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\w ]+) \| .+ \|$", re.MULTILINE)
# Where each rule lies, as the documents say.
PLACES = dict(ROW.findall(TABLE.read_text("utf-8")))

BOTH = [[True, True, False]]


def sentences(rule):
    first = rule.sentence if isinstance(rule.sentence, str) else rule.sentence[1]
    return [first, *rule.variants.values()]


def names_in(sentence):
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_the_documented_rules_are_those_of_the_catalogue():
    assert list(PLACES) == list(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_rule_can_be_described_in_each_language(rule):
    for sentence, key in zip(sentences(rule), [None, *rule.variants], strict=True):
        values = dict.fromkeys(names_in(sentence), 7) | ({key: 7} if key else {})
        for language in reversed(LANGUAGES):
            use_language(language)
            said = rule.describe(values)
            assert said
            assert "{" not in said
        assert said == sentence.format(**values)
        more = dict.fromkeys(rule.additions, 7)
        added = "".join(rule.additions.values()).format(**more)
        assert rule.describe({**values, **more}) == said + added


@pytest.mark.parametrize("code", RULES)
def test_each_code_is_used(code):
    checks = ("greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to")
    uses = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("rules.py", "table.py") and f'"{code}"' in path.read_text("utf-8")
    ]
    used_here = f'_beyond("{code}"' in (PACKAGE / "validation" / "rules.py").read_text("utf-8")
    assert uses or used_here or code in (*checks, "not_allowed")


def test_what_lies_in_a_cell_says_so():
    assert set(PLACES.values()) == {"cell", "row", "cell or row"}
    for rule in RULES.values():
        if any("{text" in sentence for sentence in sentences(rule)):
            assert PLACES[rule.code] == "cell"


def test_what_only_the_source_shows_is_never_in_a_cell():
    assert set(IN_SOURCE_ONLY) == {
        *("ragged_row", "other_separator", "nul_byte", "stray_quote"),
        *("not_json", "unknown_key", "repeated_key"),
        *("partial_key", "conflicting_results"),
        *("unknown_unit", "missing_unit", "unknown_qualifier"),
    }
    assert {PLACES[code] for code in IN_SOURCE_ONLY} == {"row"}


@pytest.mark.parametrize(
    ("name", "statistics", "codes", "rows_of", "said"),
    [
        (
            "in_range",
            {"min_value": 2, "max_value": 4, "include_min": True, "include_max": False},
            ["below_minimum", "above_maximum"],
            [[True, False, False], [False, True, False]],
            ["1 is below 2.", "4 is not below 4."],
        ),
        ("isin", {"allowed_values": [2, 3]}, ["not_allowed"], BOTH, ["'1' is not one of 2, 3."]),
        ("greater_than", {"min_value": 2}, ["greater_than"], BOTH, ["1 is not above 2."]),
        ("str_length", {}, ["str_length"], BOTH, ["'1' fails str_length."]),
    ],
)
def test_a_check_breaks_rules_of_the_catalogue_or_its_own(name, statistics, codes, rows_of, said):
    values = np.array([1.0, 4.0, 3.0])
    broken = list(break_column_check(name, statistics, values, np.array([True, True, False]), None))
    assert [rule.code for rule, _, _ in broken] == codes
    assert [rows.tolist() for _, rows, _ in broken] == rows_of
    texts = zip(broken, ("1", "4"), strict=False)
    assert [rule.describe({"text": text, **known}) for (rule, _, known), text in texts] == said


def test_a_check_of_rows_is_named_and_may_say_more():
    cells = {"ph": (np.array([7.0]), np.array([True]))}
    plain = Check(lambda frame: frame["ph"] > 8, name="adds_up")
    explained = Check(lambda frame: frame["ph"] > 8, name="adds_up", error="the sum of all")
    (rule, failed, known), (_, _, more) = check_rows([plain, explained], cells)
    assert (rule.code, failed.tolist()) == ("adds_up", [True])
    assert rule.describe(known) == "the row fails adds_up."
    assert rule.describe(more) == "the row fails the sum of all."
