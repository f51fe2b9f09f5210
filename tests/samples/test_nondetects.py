"""Cells that give a bound and no value."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.samples.nondetects import find_nondetects, substitute
from waterflow_cli.tables.numbers import NumberMarks

UNNAMED = ["<LQ", "< LQ", "<lq", "<L.Q.", "<LD", "<LOQ", "< loq", "<MDL", "< seuil", "LQ", "LOD"]
UNNAMED += ["BDL", "traces", "Trace", "TR", "ND", "n.d.", "nq", "not detected", "non-detect"]
UNNAMED += ["non détecté", "Non détectée", "non quantifié", " traces "]
NO_BOUNDS = ["", "0.5", "x", "<", ">", "<x", "<-1", "<0.5 mg/L", "0.5<", "<0.5<", "<<0.5", "><1"]
NO_BOUNDS += ["> LQ", "<inf", "<nan", "<nd", "<1e999", "tracer", "LQ 0.5", "~0.5", "±0.5", "<1,5"]
NO_BOUNDS += ["NA", "-", "trop"]
POINT, COMMA = NumberMarks(), NumberMarks(",")


def find(text: str, marks: NumberMarks = POINT) -> tuple[bool, bool, float]:
    found = find_nondetects(pa.array([text]), marks)
    return bool(found.below[0]), bool(found.above[0]), float(found.bound[0])


@pytest.mark.parametrize(
    ("text", "marks", "bound"),
    [
        ("<0.5", POINT, 0.5),
        ("< 0.5", POINT, 0.5),
        (" <0.5 ", POINT, 0.5),
        ("<\u00a00.5", POINT, 0.5),
        ("<\u202f0,5", COMMA, 0.5),
        ("<0,5", COMMA, 0.5),
        ("<=0.5", POINT, 0.5),
        ("≤ 0.5", POINT, 0.5),
        ("ND<0.5", POINT, 0.5),
        ("nd < 0.5", POINT, 0.5),
        ("N.D.<0.5", POINT, 0.5),
        ("BDL <0.5", POINT, 0.5),
        ("<1 500", POINT, 1500),
        ("<1\u202f500,5", COMMA, 1500.5),
        ("<1.234,5", NumberMarks(",", "."), 1234.5),
        ("<1e-3", POINT, 1e-3),
        ("<.5", POINT, 0.5),
        ("<0", POINT, 0.0),
    ],
)
def test_bound_above_a_value_is_read(text: str, marks: NumberMarks, bound: float) -> None:
    assert find(text, marks) == (True, False, bound)


@pytest.mark.parametrize("text", [">200", "> 200", ">=200", "≥200", " ≥ 200.0 "])
def test_bound_below_a_value_is_read(text: str) -> None:
    assert find(text) == (False, True, 200.0)


@pytest.mark.parametrize(
    "text",
    [
        "<LQ",
        "< LQ",
        "<lq",
        "<L.Q.",
        "<LD",
        "<LOQ",
        "< loq",
        "<MDL",
        "< seuil",
        "LQ",
        "LOD",
        "BDL",
        "traces",
        "Trace",
        "TR",
        "ND",
        "n.d.",
        "nq",
        "not detected",
        "non détecté",
        "non-detect",
        "Non détectée",
        "non quantifié",
        " traces ",
    ],
)
def test_limit_without_a_number_is_one_below_no_known_bound(text: str) -> None:
    below, above, bound = find(text)
    assert (below, above) == (True, False)
    assert math.isnan(bound)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.5",
        "x",
        "<",
        ">",
        "<x",
        "<-1",
        "<0.5 mg/L",
        "0.5<",
        "<0.5<",
        "<<0.5",
        "><1",
        "> LQ",
        "<inf",
        "<nan",
        "<nd",
        "<1e999",
        "tracer",
        "LQ 0.5",
        "~0.5",
        "±0.5",
        "<1,5",
        "NA",
        "-",
        "trop",
    ],
)
def test_anything_else_is_no_bound(text: str) -> None:
    below, above, bound = find(text)
    assert (below, above) == (False, False)
    assert math.isnan(bound)


def test_null_is_no_bound() -> None:
    found = find_nondetects(pa.array([None, "<1"]), POINT)
    assert found.below.tolist() == [False, True]


@given(
    st.lists(
        st.sampled_from(["<0.5", ">2", "<LQ", "ND", "x", "", "7", "< 1 500", None]), max_size=8
    )
)
def test_cell_is_read_alike_whatever_stands_beside_it(cells: list[str | None]) -> None:
    found = find_nondetects(pa.array(cells, pa.string()), POINT)
    for row, cell in enumerate(cells):
        alone = find(cell or "")
        assert (found.below[row], found.above[row]) == alone[:2]
        np.testing.assert_equal(found.bound[row], alone[2])


@pytest.mark.parametrize(
    ("way", "numbers"),
    [
        ("half", [0.25, math.nan, 200.0, math.nan]),
        ("loq", [0.5, math.nan, 200.0, math.nan]),
        ("zero", [0.0, 0.0, 200.0, math.nan]),
        ("missing", [math.nan] * 4),
        ("error", [math.nan] * 4),
    ],
)
def test_each_way_puts_its_number_in_place_of_a_bound(way: str, numbers: list[float]) -> None:
    below, above = np.array([True, True, False, False]), np.array([False, False, True, False])
    bound = np.array([0.5, math.nan, 200.0, math.nan])
    got = substitute(below, above, bound, way)  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, numbers)


@given(bound=st.floats(1e-300, 1e38), way=st.sampled_from(["half", "loq", "missing", "error"]))
def test_value_below_a_bound_is_never_zero_unless_asked_for(bound: float, way: str) -> None:
    (got,) = substitute(np.array([True]), np.array([False]), np.array([bound]), way)  # type: ignore[arg-type]
    assert got != 0
