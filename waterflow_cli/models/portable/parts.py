"""The parts of a portable form, and what each computes.

Every part is arrays and a few numbers. A part that prepares rows gives rows, the last one gives
P(class 1). Nothing here adds up in an order that depends on how many rows there are: a row's result
has the same bits alone and among a million.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.models.portable.logistic import expit
from waterflow_cli.models.portable.tree_structure import need

# Rows at a time where a row needs much room.
_ROWS_AT_ONCE = 256
_MOST_WIDTH = 1 << 16


class Part(Protocol):
    """What all parts have; they are dataclasses of arrays, numbers, texts and other parts.

    Attributes
    ----------
    kind : str
        What the part is called in a file.
    arrays : mapping of str to str
        The fields that are arrays, of one dimension, and their types by NumPy's letters.
    """

    kind: ClassVar[str]
    arrays: ClassVar[Mapping[str, str]]

    def check(self, n_columns: int) -> None:
        """Raise an `UnsoundError` where a part could not be computed with rows of so many columns.

        Types and the finiteness of numbers were checked by `waterflow_cli.models.portable.form`.
        """
        ...

    def apply(self, X: FloatArray) -> FloatArray:
        """Compute the part; X has shape (n_samples, n_columns)."""
        ...


@dataclass(frozen=True)
class Steps:
    """Parts one after the other; the last one gives the probability."""

    kind: ClassVar[str] = "steps"
    arrays: ClassVar[Mapping[str, str]] = {}
    parts: Sequence[Part]

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(len(self.parts), self.kind, "parts")
        need(all(isinstance(part, Fill | Scale) for part in self.parts[:-1]), self.kind, "parts")
        need(not isinstance(self.parts[-1], Fill | Scale), self.kind, "parts")
        for part in self.parts:
            part.check(n_columns)

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        for part in self.parts:
            X = part.apply(X)
        return X


@dataclass(frozen=True)
class Fill:
    """A value of its own for each column stands for what is missing."""

    kind: ClassVar[str] = "fill"
    arrays: ClassVar[Mapping[str, str]] = {"values": "f8"}
    values: FloatArray

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(len(self.values) == n_columns, self.kind, "values")

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        return np.where(np.isnan(X), self.values, X)


@dataclass(frozen=True)
class Scale:
    """Each column less its centre, divided by its scale."""

    kind: ClassVar[str] = "scale"
    arrays: ClassVar[Mapping[str, str]] = {"centre": "f8", "scale": "f8"}
    centre: FloatArray
    scale: FloatArray

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(len(self.centre) == n_columns, self.kind, "centre")
        need(len(self.scale) == n_columns and self.scale.all(), self.kind, "scale")

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        return (X - self.centre) / self.scale


@dataclass(frozen=True)
class Linear:
    """Logistic regression."""

    kind: ClassVar[str] = "linear"
    arrays: ClassVar[Mapping[str, str]] = {"weights": "f8"}
    intercept: float
    weights: FloatArray

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(len(self.weights) == n_columns, self.kind, "weights")

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        return expit(_products(X, self.weights[:, np.newaxis])[:, 0] + self.intercept)


@dataclass(frozen=True, kw_only=True)
class SupportVectors:
    """A support vector machine with an RBF kernel, behind Platt's sigmoid of its decision.

    The decision is the sum of weight x exp(-gamma |x - vector|²), plus the intercept; the
    probability is 1 / (1 + exp(slope x decision + offset)).

    Attributes
    ----------
    vectors : ndarray of float64
        The columns of each vector, vector after vector.
    """

    kind: ClassVar[str] = "support_vectors"
    arrays: ClassVar[Mapping[str, str]] = {"vectors": "f8", "weights": "f8"}
    gamma: float
    intercept: float
    slope: float
    offset: float
    vectors: FloatArray
    weights: FloatArray

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(self.gamma >= 0, self.kind, "gamma")
        need(len(self.vectors) == len(self.weights) * n_columns, self.kind, "vectors")

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        decision, vectors = np.empty(len(X)), self.vectors.reshape(-1, X.shape[1])
        for first in range(0, len(X), _ROWS_AT_ONCE):
            rows = X[first : first + _ROWS_AT_ONCE]
            distance = np.zeros((len(rows), len(self.weights)))
            for column, others in zip(rows.T, vectors.T, strict=True):
                distance += np.square(column[:, np.newaxis] - others)
            distance *= -self.gamma
            weighted = np.exp(distance, out=distance) * self.weights
            decision[first : first + len(rows)] = weighted.sum(axis=1)
        return expit(-(self.slope * (decision + self.intercept) + self.offset))


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron with one logistic output.

    Attributes
    ----------
    widths : ndarray of int64, shape (n_layers + 1,)
        Columns, units of each hidden layer, and 1.
    weights : ndarray of float64
        Of each layer one after the other, those of an input side by side.
    """

    kind: ClassVar[str] = "network"
    arrays: ClassVar[Mapping[str, str]] = {"widths": "i8", "weights": "f8", "biases": "f8"}
    activation: str
    widths: IntArray
    weights: FloatArray
    biases: FloatArray

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        widths = self.widths
        need(self.activation in _ACTIVATIONS, self.kind, "activation")
        need(len(widths) >= 2 and widths[0] == n_columns and widths[-1] == 1, self.kind, "widths")
        need(((widths > 0) & (widths < _MOST_WIDTH)).all(), self.kind, "widths")
        need(len(self.weights) == int(widths[:-1] @ widths[1:]), self.kind, "weights")
        need(len(self.biases) == int(widths[1:].sum()), self.kind, "biases")

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        rows = range(0, len(X), _ROWS_AT_ONCE)
        outputs = [self._output(X[first : first + _ROWS_AT_ONCE]) for first in rows]
        return expit(np.concatenate([np.empty(0), *outputs]))

    def _output(self, rows: FloatArray) -> FloatArray:
        weights, biases, activate = self.weights, self.biases, _ACTIVATIONS[self.activation]
        widths = self.widths.tolist()
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            here, weights = np.split(weights, [n_in * n_out])
            bias, biases = np.split(biases, [n_out])
            rows = _products(rows, here.reshape(n_in, n_out)) + bias
            if layer < len(widths) - 2:
                rows = activate(rows)
        return rows[:, 0]


@dataclass(frozen=True)
class Mean:
    """The mean of what several parts give."""

    kind: ClassVar[str] = "mean"
    arrays: ClassVar[Mapping[str, str]] = {}
    parts: Sequence[Part]

    def check(self, n_columns: int) -> None:
        """See `Part`."""
        need(len(self.parts), self.kind, "parts")
        need(not any(isinstance(part, Fill | Scale) for part in self.parts), self.kind, "parts")
        for part in self.parts:
            part.check(n_columns)

    def apply(self, X: FloatArray) -> FloatArray:
        """See `Part`."""
        total = self.parts[0].apply(X)
        for part in self.parts[1:]:
            total = total + part.apply(X)
        return total / len(self.parts)


def _logistic(values: FloatArray) -> FloatArray:
    return expit(values.ravel()).reshape(values.shape)


_ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda values: values,
    "logistic": _logistic,
    "tanh": np.tanh,
    "relu": lambda values: np.maximum(values, 0.0),
}


def _products(X: FloatArray, weights: FloatArray) -> FloatArray:
    """Multiply as matrices, adding up column by column: BLAS adds in an order of its own."""
    total = np.zeros((len(X), weights.shape[1]))
    for column, row in zip(X.T, weights, strict=True):
        total += column[:, np.newaxis] * row
    return total
