"""Rows of many kinds to grow forests on, and what equal trees are."""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS = ["normal", "tied", "constant", "nearly constant", "close", "chained", "wide", "zeros"]


def assert_same_trees(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert vars(one).keys() == vars(other).keys()
        assert one.random_state == other.random_state
        mine, known = one.tree_.__getstate__(), other.tree_.__getstate__()
        assert mine["max_depth"] == known["max_depth"]
        for name in known["nodes"].dtype.names:
            assert np.array_equal(mine["nodes"][name], known["nodes"][name]), name
        assert mine["nodes"].tobytes() == known["nodes"].tobytes()
        assert mine["values"].tobytes() == known["values"].tobytes()


def make_rows(seed: int, n_rows: int, kinds: list[str]) -> tuple[Any, Any]:
    """Make columns of many kinds: ties, constants, values closer than what counts as different."""
    random = np.random.default_rng(seed)
    column = {
        "normal": lambda: random.normal(size=n_rows),
        "tied": lambda: random.integers(-2, 3, n_rows) * 0.5,
        "constant": lambda: np.full(n_rows, random.normal()),
        "nearly constant": lambda: np.where(random.random(n_rows) < 0.1, 1.0, 3.0),
        "close": lambda: random.integers(0, 9, n_rows) * 3e-8,
        "chained": lambda: 1.0 + random.integers(0, 40, n_rows) * 6e-8,
        "wide": lambda: random.normal(size=n_rows) * 10.0 ** random.integers(-30, 30, n_rows),
        "zeros": lambda: random.choice([-0.0, 0.0, 1e-45, 1.0], n_rows),
    }
    X = np.column_stack([column[each]() for each in kinds])
    y = (X[:, 0] + random.normal(size=n_rows) * random.choice([0.1, 2.0]) > X[:, 0].mean()) * 1
    y[:2] = 0, 1
    if random.random() < 0.3:  # rows that stand twice, with both labels
        X[n_rows // 2 :] = X[: n_rows - n_rows // 2]
    return X, y
