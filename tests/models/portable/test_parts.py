"""What each part computes, and what is refused as none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.special

from waterflow_cli.models.portable.parts import (
    Fill,
    Linear,
    Mean,
    Network,
    Part,
    Scale,
    Steps,
    SupportVectors,
)
from waterflow_cli.models.portable.tree_structure import UnsoundError

random = np.random.default_rng(0)
X = random.normal(size=(600, 3))
FILL, SCALE = Fill(np.array([1.0, 2.0, 3.0])), Scale(np.ones(3), np.array([1.0, -2.0, 4.0]))
LINE = Linear(0.25, np.array([1.0, -2.0, 0.5]))
MACHINE = SupportVectors(
    gamma=0.5,
    intercept=0.1,
    slope=-1.5,
    offset=0.2,
    vectors=random.normal(size=12),
    weights=random.normal(size=4),
)
NETWORK = Network(
    activation="relu",
    widths=np.array([3, 4, 2, 1]),
    weights=random.normal(size=12 + 8 + 2),
    biases=random.normal(size=4 + 2 + 1),
)


def test_a_gap_is_filled_with_its_columns_value() -> None:
    rows = np.array([[np.nan, 0.5, np.nan], [-1.0, np.nan, 0.0]])
    assert FILL.apply(rows).tolist() == [[1.0, 0.5, 3.0], [-1.0, 2.0, 0.0]]
    assert np.isnan(rows).sum() == 3  # the caller's rows stay as they are


def test_columns_are_centred_and_scaled() -> None:
    assert SCALE.apply(np.array([[2.0, 2.0, 2.0]])).tolist() == [[1.0, -0.5, 0.25]]


def test_a_line_is_the_logistic_function_of_a_weighted_sum() -> None:
    assert LINE.apply(X) == pytest.approx(scipy.special.expit(X @ LINE.weights + 0.25), abs=1e-14)


def test_support_vectors_add_up_their_kernels() -> None:
    distances = np.square(X[:, None] - MACHINE.vectors.reshape(4, 3)).sum(axis=2)
    decision = np.exp(-0.5 * distances) @ MACHINE.weights + 0.1
    assert MACHINE.apply(X) == pytest.approx(1 / (1 + np.exp(-1.5 * decision + 0.2)), abs=1e-14)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_a_network_goes_through_its_layers(activation: str) -> None:
    function = {
        "identity": lambda values: values,
        "logistic": scipy.special.expit,
        "tanh": np.tanh,
        "relu": lambda values: np.where(values > 0, values, 0),
    }[activation]
    first, second, last = np.split(NETWORK.weights, [12, 20])
    rows = function(X @ first.reshape(3, 4) + NETWORK.biases[:4])
    rows = function(rows @ second.reshape(4, 2) + NETWORK.biases[4:6])
    expected = scipy.special.expit(rows @ last + NETWORK.biases[6])
    assert replace(NETWORK, activation=activation).apply(X) == pytest.approx(expected, abs=1e-14)


def test_the_mean_is_of_what_the_parts_give() -> None:
    expected = (LINE.apply(X) + MACHINE.apply(X) + NETWORK.apply(X)) / 3
    assert np.array_equal(Mean([LINE, MACHINE, NETWORK]).apply(X), expected)


@pytest.mark.parametrize("part", [LINE, MACHINE, NETWORK, Mean([LINE, MACHINE])])
def test_a_row_has_the_same_bits_alone_and_among_others(part: Part) -> None:
    together = part.apply(X)
    assert len(part.apply(X[:0])) == 0
    for n in (1, 2, 255, 256, 257):
        assert np.array_equal(part.apply(X[:n]), together[:n])
        assert np.array_equal(part.apply(X[-n:]), together[-n:])


@pytest.mark.parametrize("part", [FILL, SCALE, LINE, MACHINE, NETWORK, Mean([LINE])])
def test_parts_of_the_right_width_are_sound(part: Part) -> None:
    part.check(3)
    for width in (2, 4):
        with pytest.raises(UnsoundError):
            part.check(width)


WIDE = np.array([3, 4, 2**16, 1])


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (replace(SCALE, scale=np.array([1.0, 0.0, 1.0])), "scale"),
        (replace(SCALE, scale=np.array([1.0, -0.0, 1.0])), "scale"),
        (replace(SCALE, scale=np.ones(2)), "scale"),
        (replace(MACHINE, gamma=-0.1), "gamma"),
        (replace(MACHINE, weights=np.ones(3)), "vectors"),
        (replace(MACHINE, vectors=np.ones(11)), "vectors"),
        (replace(NETWORK, activation="softmax"), "activation"),
        (replace(NETWORK, widths=np.array([3])), "widths"),
        (replace(NETWORK, widths=np.array([], dtype=np.int64)), "widths"),
        (replace(NETWORK, widths=np.array([3, 4, 2])), "widths"),
        (replace(NETWORK, widths=np.array([3, 0, 1])), "widths"),
        (replace(NETWORK, widths=np.array([3, -4, 1])), "widths"),
        (replace(NETWORK, widths=WIDE), "widths"),
        (replace(NETWORK, widths=np.array([3, 2**62, 2**62, 1])), "widths"),
        (replace(NETWORK, widths=np.array([3, 4, 3, 1])), "weights"),
        (replace(NETWORK, biases=np.ones(8)), "biases"),
        (Steps([]), "parts"),
        (Steps([FILL]), "parts"),
        (Steps([LINE, LINE]), "parts"),
        (Steps([FILL, Mean([LINE, SCALE])]), "parts"),
        (Mean([]), "parts"),
        (Mean([LINE, FILL]), "parts"),
        (Steps([replace(SCALE, centre=np.ones(4)), LINE]), "centre"),
    ],
)
def test_what_is_no_part_is_refused(part: Any, field: str) -> None:
    with pytest.raises(UnsoundError) as refused:
        part.check(3)
    assert refused.value.field == field
