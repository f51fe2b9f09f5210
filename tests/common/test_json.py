"""The JSON that waterflow writes can be read by anyone, in any locale."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.common.json import json_text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_number_that_is_none_is_null_at_any_depth(value):
    content = json.loads(json_text({"a": value, "b": [1.5, {"c": [value]}]}))
    assert content == {"version": 1, "a": None, "b": [1.5, {"c": [None]}]}


def test_text_is_one_object_that_ends_in_a_line_end():
    assert json_text({"rows": 2}) == '{\n  "version": 1,\n  "rows": 2\n}\n'


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "version"), VALUES, max_size=4))
def test_any_text_is_ascii_and_comes_back(content):
    text = json_text(content)
    assert text.isascii()
    assert json.loads(text) == {"version": 1, **content}
