"""Marks for some values of a parameter."""

from __future__ import annotations

import pytest


def slow(*values: object) -> list[object]:
    """Leave the tests of these values to CI, where others like them run by default."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
