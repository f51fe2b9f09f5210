"""Packed trees: what a walk gives, when it is compiled, and what is refused as no tree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from waterflow_cli.models.portable import compiled, trees
from waterflow_cli.models.portable.packing import Tree, pack
from waterflow_cli.models.portable.tree_structure import UnsoundError
from waterflow_cli.models.portable.trees import CHILD_SHIFT, LEAF_RANK, RANK_SHIFT, Trees

MOST = float(np.finfo(np.float64).max)


def stump(threshold: float, left: float, right: float, feature: int = 0, *, gap_left: bool) -> Tree:
    return Tree(
        is_leaf=np.array([False, True, True]),
        feature=np.array([feature, 0, 0]),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.array([0.0, left, right]),
        missing_left=np.array([gap_left, True, True]),
    )


def leaf(value: float) -> Tree:
    none, zero = np.array([0]), np.zeros(1)
    return Tree(np.array([True]), none, zero, none, none, np.array([value]), np.array([True]))


def packed(*members: Tree, filled: bool = False, **more: Any) -> Trees:
    about = {"link": "mean", "rounds": False, "start": 0.0, "slope": 1.0, **more}
    return pack(members, filled=filled, **about)


def sums(ensemble: Trees, *values: float) -> list[float]:
    """Give P(class 1) of values of the one measurement, by both walks."""
    X = np.array(values, dtype=float).reshape(-1, 1)
    ensemble.check(1)
    found = []
    for worth in (np.inf, -1):
        with patch.object(trees, "_WORTH_COMPILING", worth):
            found.append(ensemble.apply(X).tolist())
    assert found[0] == found[1]
    return found[0]


def test_a_value_at_the_threshold_goes_left() -> None:
    ensemble = packed(stump(2.5, 0.25, 0.75, gap_left=True))
    assert sums(ensemble, 2.5, np.nextafter(2.5, 3), -np.inf, np.inf) == [0.25, 0.75, 0.25, 0.75]


def test_what_is_missing_goes_the_way_of_each_node() -> None:
    ensemble = packed(stump(2.5, 0.0, 1.0, gap_left=False), stump(2.5, 0.5, 0.25, gap_left=True))
    assert sums(ensemble, np.nan, 0.0, 3.0) == [0.75, 0.25, 0.625]


def test_values_are_rounded_to_single_precision_where_a_library_does() -> None:
    just_above = np.nextafter(1.0, 2.0)
    for rounds, expected in ((False, 0.75), (True, 0.25)):
        assert sums(packed(stump(1.0, 0.25, 0.75, gap_left=True), rounds=rounds), just_above) == [
            expected
        ]


def test_leaves_are_added_in_the_order_of_the_trees() -> None:
    """In pairs, or from the end, the sum of these would have other bits."""
    values = np.random.default_rng(0).random(37)
    ensemble = packed(*map(leaf, values))
    total = 0.0
    for value in values:
        total += value
    assert sums(ensemble, 0.0) == [total / len(values)]


@pytest.mark.parametrize("link", ["logistic", "logistic_single"])
def test_sums_of_any_size_give_a_probability_between_0_and_1(link: str) -> None:
    ensemble = packed(
        stump(0.0, -1e30, 1e30, gap_left=True),
        stump(0.0, -1e30, 1e30, gap_left=True),
        link=link,
        slope=1e30,
    )
    assert sums(ensemble, -1.0, 1.0) == [pytest.approx(0, abs=1e-30), 1.0]


def test_no_rows_have_no_probabilities() -> None:
    assert sums(packed(leaf(0.5))) == []


def test_thresholds_at_both_ends_and_beside_each_other_are_told_apart() -> None:
    known = [-MOST, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, np.nextafter(1.0, 2), 1e300, MOST]
    ensemble = packed(*(stump(each, 0.0, 1.0, gap_left=True) for each in known))
    with np.errstate(over="ignore"):
        beside = [*known, *np.nextafter(known, -np.inf), *np.nextafter(known, np.inf), np.nan]
    expected = [np.mean(np.array(known) < value) for value in beside]
    assert sums(ensemble, *beside) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-306, 1e-35, 1e299])
def test_thresholds_of_any_scale_have_bins(scale: float) -> None:
    known = np.unique(np.arange(-3, 4) * scale)
    ensemble = packed(*(stump(each, 0.0, 1.0, gap_left=False) for each in known))
    expected = [np.mean(known < value) for value in known]
    assert sums(ensemble, *known, np.nan, np.inf) == pytest.approx([*expected, 1.0, 1.0])


# --- when the walk is compiled -------------------------------------------------------------------


def is_compiled(ensemble: Trees, n_rows: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    calls = []
    original = compiled.sums_of
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "sums_of", lambda *args: calls.append(args) or original(*args))
        ensemble.apply(np.zeros((n_rows, 1)))
    return bool(calls)


def test_the_walk_is_compiled_when_rows_times_trees_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trees, "_WORTH_COMPILING", 200)
    ensemble = packed(leaf(0.25), leaf(0.75))
    assert not is_compiled(ensemble, 100, monkeypatch)
    assert is_compiled(ensemble, 1, monkeypatch)  # and from then on
    told = packed(leaf(0.25), leaf(0.75))
    told.expect(101)
    assert is_compiled(told, 1, monkeypatch)


# --- what is no ensemble -------------------------------------------------------------------------

SOUND = packed(
    stump(1.0, 0.25, 0.75, gap_left=True),
    stump(2.0, 0.5, 1.0, feature=1, gap_left=False),
    stump(3.0, 0.0, 0.5, feature=1, gap_left=False),
)
INT_MOST, INT_LEAST = 2**63 - 1, -(2**63)


def node(child: int, rank: int, column: int) -> int:
    return (child << CHILD_SHIFT) | (rank << RANK_SHIFT) | column


def words(place: int, word: int) -> np.ndarray:
    changed = SOUND.words.copy()
    changed[place] = word
    return changed


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


CHANGES = [
    ("link", "sum", "link"),
    ("slope", 0.0, "slope"),
    ("slope", -1.0, "slope"),
    ("slope", 1e31, "slope"),
    ("start", 0.5, "start"),
    ("start", -1e31, "start"),
    ("values", np.full(9, 1.5), "values"),
    ("values", np.full(9, -0.5), "values"),
    ("values", np.full(8, 0.5), "words"),
    ("values", np.full(9, 1e31), "values"),
    ("ends", ints(), "ends"),
    ("ends", ints(1, 2), "ends"),
    ("ends", ints(1, 4), "ends"),
    ("ends", ints(-1, 3), "ends"),
    ("ends", ints(4, 3), "ends"),
    ("ends", ints(INT_MOST, 3), "ends"),
    ("ends", ints(INT_LEAST, 3), "ends"),
    ("ends", ints(0, 3), "rank"),
    ("ends", ints(0, 1, 3), "columns"),
    ("thresholds", np.array([1.0, 3.0, 2.0]), "thresholds"),
    ("thresholds", np.array([1.0, 2.0, 2.0]), "thresholds"),
    ("thresholds", np.array([1.0, MOST, -MOST]), "thresholds"),
    ("measurements", ints(0, 2), "measurements"),
    ("measurements", ints(0, -1), "measurements"),
    ("measurements", ints(0, INT_MOST), "measurements"),
    ("measurements", ints(0), "columns"),
    ("missing_right", np.array([True]), "columns"),
    ("roots", ints(), "roots"),
    ("roots", ints(3, 6), "roots"),
    ("roots", ints(0, 6, 3), "roots"),
    ("roots", ints(0, 3, 3), "roots"),
    ("roots", ints(0, 3, 9), "roots"),
    ("roots", ints(0, 3, INT_MOST), "roots"),
    ("roots", ints(0, INT_MOST, INT_LEAST), "roots"),
    ("roots", ints(0, 2, 6), "roots"),
    ("roots", ints(0, 3), "roots"),
    ("roots", ints(0, 1, 2, 3, 6), "roots"),
    ("words", words(0, node(0, 0, 0)), "child"),  # leads to itself
    ("words", words(3, node(1, 0, 1)), "child"),  # into the tree before
    ("words", words(0, node(4, 0, 0)), "child"),  # into the tree behind
    ("words", words(6, node(8, 0, 1)), "child"),  # its second child lies outside
    ("words", words(0, node(2**26, 0, 0)), "child"),
    ("words", words(0, -(2**63)), "child"),
    ("words", words(0, -1), "leaves"),
    ("words", words(1, node(2, LEAF_RANK, 0)), "leaves"),
    ("words", words(1, node(-1, LEAF_RANK, 0)), "leaves"),
    ("words", words(0, node(1, 0, 2)), "column"),
    ("words", words(1, node(1, LEAF_RANK, 4095)), "column"),
    ("words", words(0, node(1, 1, 0)), "rank"),
    ("words", words(3, node(4, 2, 1)), "rank"),
    ("words", words(0, node(1, LEAF_RANK - 1, 0)), "rank"),
    ("words", words(0, node(0, LEAF_RANK, 0)), "roots"),  # a leaf with children
    ("words", words(2, node(3, 0, 0)), "roots"),  # a leaf becomes a node
    ("words", SOUND.words[:-1], "words"),
    ("words", ints(), "words"),
]


def test_what_was_packed_is_sound() -> None:
    SOUND.check(2)
    assert [*SOUND.ends] == [1, 3]


@pytest.mark.parametrize(("name", "value", "field"), CHANGES)
def test_what_is_no_ensemble_is_refused(name: str, value: Any, field: str) -> None:
    with pytest.raises(UnsoundError) as refused:
        replace(SOUND, **{name: value}).check(2)
    assert refused.value.part == "trees"
    assert refused.value.field == field


def test_two_nodes_with_the_same_children_are_refused() -> None:
    """One would never be reached, and another twice."""
    deep = Tree(
        is_leaf=np.array([False, False, False, True, True, True, True]),
        feature=np.zeros(7, dtype=int),
        threshold=np.arange(7.0),
        left=np.array([1, 3, 5, 0, 0, 0, 0]),
        right=np.array([2, 4, 6, 0, 0, 0, 0]),
        value=np.full(7, 0.5),
        missing_left=np.ones(7, dtype=bool),
    )
    ensemble = packed(deep)
    ensemble.check(1)
    changed = ensemble.words.copy()
    changed[2] = (changed[1] >> CHILD_SHIFT << CHILD_SHIFT) | node(0, 2, 0)
    with pytest.raises(UnsoundError, match="child"):
        replace(ensemble, words=changed).check(1)


def chain(n_levels: int) -> Trees:
    """A tree of which each split has one leaf and one further split."""
    n = 2 * n_levels + 1
    number = np.arange(n)
    is_leaf = (number % 2 == 1) | (number == n - 1)
    tree = Tree(
        is_leaf=is_leaf,
        feature=np.zeros(n, dtype=np.int64),
        threshold=-number.astype(float),
        left=number + 2,
        right=number + 1,
        value=np.where(is_leaf, 0.5, 0.0),
        missing_left=np.ones(n, dtype=bool),
    )
    return pack([tree], filled=True, link="mean", rounds=False, start=0.0, slope=1.0)


def test_a_tree_that_would_take_long_to_walk_down_is_refused() -> None:
    chain(1000).check(1)
    assert chain(1000).apply(np.full((1, 1), -1e9)) == [0.5]
    with pytest.raises(UnsoundError, match="depth"):
        chain(1001).check(1)
