"""The compiled walk gives the bits of NumPy's, whatever the values and however many the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.models.portable.compiled import rank_table, sums_of
from waterflow_cli.models.portable.packing import Tree, pack
from waterflow_cli.models.portable.trees import Trees

MOST = float(np.finfo(np.float64).max)
values = st.floats(allow_nan=True, allow_infinity=True)


def random_tree(random: np.random.Generator, thresholds: np.ndarray, n_features: int) -> Tree:
    """Grow a tree of random shape whose leaves have values of very different sizes."""
    left, right = [0], [0]
    while len(left) < 2 * int(random.integers(1, 12)):
        place = int(random.choice([k for k in range(len(left)) if not left[k]]))
        left[place], right[place] = len(left), len(left) + 1
        left += [0, 0]
        right += [0, 0]
    n = len(left)
    return Tree(
        is_leaf=np.array(left) == 0,
        feature=random.integers(0, n_features, n),
        threshold=random.choice(thresholds, n),
        left=np.array(left),
        right=np.array(right),
        value=random.normal(size=n) * 10.0 ** random.integers(-8, 8, n),
        missing_left=random.random(n) < 0.5,
    )


@tried_on(100)
@given(
    seed=st.integers(0, 2**32 - 1),
    known=st.lists(st.floats(allow_nan=False), min_size=1, max_size=12),
    others=st.lists(values, max_size=8),
    n_features=st.integers(1, 4),
    n_rows=st.integers(0, 40),
    link=st.sampled_from(["mean", "logistic", "logistic_single"]),
    rounds=st.booleans(),
)
def test_both_walks_add_up_the_same_leaves(
    seed: int,
    known: list[float],
    others: list[float],
    n_features: int,
    n_rows: int,
    link: str,
    rounds: bool,
) -> None:
    random = np.random.default_rng(seed)
    members = [random_tree(random, np.array(known), n_features) for _ in range(5)]
    ensemble: Trees = pack(members, filled=False, link=link, rounds=rounds, start=0.5, slope=1.0)
    pool = np.clip([*known, 0.0, -0.0], -MOST, MOST)
    with np.errstate(all="ignore"):
        pool = np.concatenate(
            [
                pool,
                np.nextafter(pool, np.inf),
                np.nextafter(pool, -np.inf),
                np.float32(pool).astype(float),
                others,
            ]
        )
    X = random.choice(pool, (n_rows, n_features))
    X[random.random(X.shape) < 0.1] = np.nan
    assert np.array_equal(sums_of(ensemble, X), ensemble._sums(X))


@pytest.mark.parametrize("n_rows", [0, 1, 7, 8, 9, 12, 8191, 8192, 8193, 8200])
def test_every_row_of_any_number_is_summed(n_rows: int) -> None:
    random = np.random.default_rng(n_rows)
    members = [random_tree(random, random.normal(size=9), 3) for _ in range(3)]
    ensemble = pack(members, filled=True, link="mean", rounds=False, start=0.0, slope=1.0)
    X = random.normal(size=(n_rows, 3))
    assert np.array_equal(sums_of(ensemble, X), ensemble._sums(X))


def test_bins_count_the_thresholds_before_them() -> None:
    known = np.linspace(-2, 2, 50)
    member = random_tree(np.random.default_rng(0), known, 1)
    ensemble = pack([member], filled=True, link="mean", rounds=False, start=0.0, slope=1.0)
    table = rank_table(ensemble)
    assert (np.diff(table.bins) >= 0).all()
    assert table.bins[0, 0] == 0
    assert table.bins[0, -1] == len(ensemble.thresholds)
