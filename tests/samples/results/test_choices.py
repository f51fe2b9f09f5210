"""Several results of one parameter for one sample: which of them counts."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.samples.results.choices import (
    WAYS,
    Choice,
    Results,
    add_differences,
    choose,
    parse_choice,
)
from waterflow_cli.tables.numbers import NumberMarks

POINT, COMMA = NumberMarks("."), NumberMarks(",")


def chosen(texts: list[str], choice: Choice, marks: NumberMarks = POINT) -> list[str] | None:
    """Give the text that counts, in a list, of results of one place; None for a finding."""
    preferred = np.array([text.startswith("!") for text in texts])
    array = pa.array([text.removeprefix("!") for text in texts])
    results = Results(np.zeros(len(texts), int), array, np.arange(len(texts)) + 2, preferred)
    found = choose(results, 1, choice, marks)
    assert found.counts.total() == len(texts) - 1
    return None if found.conflicts else [found.text[int(found.row[0])].as_py()]


@pytest.mark.parametrize(
    ("way", "texts", "counts"),
    [
        ("finding", ["7", "7.0"], "7"),
        ("finding", ["7", "8"], None),
        ("first", ["7", "8", "6"], "7"),
        ("last", ["7", "8", "6"], "6"),
        ("mean", ["7", "8", "9"], "8.0"),
        ("mean", ["7", "7", "8.5", "8.5", "8.50"], "7.75"),
        ("mean", ["<7", "8"], None),
        ("mean", ["<7", "<7"], "<7"),
        ("max", ["7", "8.10", "6"], "8.10"),
        ("max", ["<5", "8"], "8"),
        ("max", ["<5", "3"], None),
        ("max", ["<5", "<3"], "<5"),
        ("max", [">200", "150"], ">200"),
        ("max", [">200", "300"], None),
        ("max", [">200", "200"], ">200"),
        ("max", ["n.q.", "3"], None),
        ("prefer", ["7", "!8"], "8"),
        ("prefer", ["7", "!8", "!8.0"], "8"),
        ("prefer", ["7", "!8", "!9"], None),
        ("prefer", ["7", "8"], None),
        ("prefer", ["7", "7"], "7"),
    ],
)
def test_result_that_counts_is_the_chosen_one(way, texts, counts):
    assert chosen(texts, Choice(way)) == (None if counts is None else [counts])


def test_mean_is_written_with_the_marks_of_the_file():
    assert chosen(["7,5", "8"], Choice("mean"), COMMA) == ["7,75"]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        *((way, Choice(way)) for way in WAYS),
        ("prefer=a:b:L", Choice("prefer", "a:b", "L")),
        ("prefer=:L", None),
        ("prefer=a", None),
        ("prefer", None),
        ("median", None),
        ("", None),
    ],
)
def test_choice_is_read_or_refused(text, choice):
    assert parse_choice(text) == choice
    assert choice is None or choice.text == text


@tried_on(300)
@given(
    results=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["1", "2", "3.0", "<2", ">2", "3"])),
        min_size=1,
        max_size=12,
    ),
    way=st.sampled_from(WAYS),
)
def test_each_result_counts_repeats_is_set_aside_or_conflicts(results, way):
    place, texts = zip(*results, strict=True)
    n = len(results)
    given_ = Results(np.array(place), pa.array(texts), np.arange(n), np.zeros(n, dtype=bool))
    found = choose(given_, 5, Choice(way), POINT)
    held = {place for place in range(5) if found.row[place] >= 0}
    assert held == set(place)
    assert all(place[row] == number for number, row in enumerate(found.row) if row >= 0)
    clashing = {place[one] for one, _ in found.conflicts}
    assert all(place[one] == place[other] for one, other in found.conflicts)
    for number in held - clashing:
        own = [text for at, text in results if at == number]
        kept = found.text[int(found.row[number])].as_py()
        plain = {Decimal(text) for text in own if text[0] not in "<>"}
        if len(plain) > 1 and way == "mean":
            assert float(kept) == pytest.approx(float(sum(plain) / len(plain)))
        elif way == "last" and kept not in ("3", "3.0"):
            assert kept == own[-1] or len({text.replace(".0", "") for text in own}) == 1
        else:
            assert kept in own
        if way == "max" and plain:
            assert float(kept.strip("<>")) >= float(max(plain))
    if way in ("first", "last"):
        assert not clashing


@pytest.mark.parametrize(
    ("whole", "part", "rest"),
    [
        ("0.5", "0.2", "0.3"),
        ("0.5", "0.5", "0.0"),
        ("0.5", "0.6", ""),
        ("0.5", "<0.1", ""),
        ("<0.5", "0.1", ""),
        ("0.5", "", ""),
    ],
)
def test_difference_is_taken_of_plain_numbers_alone(whole, part, rest):
    cells = {"1399": pa.array([whole]), "1398": pa.array([part])}
    lines = {"1399": np.array([7]), "1398": np.array([8])}
    add_differences(cells, lines, {"Chloramines": ["1399", "1398"]}, POINT)
    assert cells["Chloramines"].to_pylist() == [rest]
