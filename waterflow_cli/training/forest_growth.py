"""Grow one tree as scikit-learn does, bit for bit, without sorting in its nodes.

scikit-learn sorts the rows of a node anew by each measurement that it tries. Here they are sorted
once for a forest; what a split divides keeps its order, and so is sorted already. (Cuts drawn at
random need no order, and one list of rows will do.) As each row
counts a whole number of times, sums are exact in whatever order they are added up, and all else
follows scikit-learn's ``_splitter.pyx``, ``_criterion.pyx`` and ``_tree.pyx`` step by step: its
draws of measurements and cuts, its Gini impurity in double precision, its order of nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from waterflow_cli.common.arrays import compiled

# Values no further apart than that are the same; it is added in single precision.
_SAME = np.float32(1e-7)
_EPSILON = float(np.finfo(np.float64).eps)
_WORD, _MOST_DRAWN = 0xFFFFFFFF, 0x7FFFFFFF


class Limits(NamedTuple):
    """What a tree may do, with scikit-learn's names."""

    max_features: int
    max_depth: int
    min_samples_split: int
    min_samples_leaf: int
    min_impurity_decrease: float
    random_splitter: bool


class Table(NamedTuple):
    """The rows of a forest.

    Attributes
    ----------
    columns : ndarray of float32, shape (n_features, n_rows)
        No value is missing.
    order : ndarray of uint32, shape (n_features, n_rows)
        The rows from the lowest value of a column on; one line of any order for random cuts.
    """

    columns: Any
    order: Any


class _Desk(NamedTuple):
    """Arrays to work with.

    The rows of a node lie at the same places of each list, in a column's order. Those columns
    that are constant in a node come first among its features, as in scikit-learn.
    """

    rows: Any
    counts: Any
    features: Any
    constants: Any
    values: Any
    totals: Any
    ones: Any
    gains: Any
    goes_left: Any
    spare: Any
    state: Any


class _Node(NamedTuple):
    """A node that waits.

    Its rows count in `total` as often as they were drawn; those of class 1 in `ones` too.
    """

    start: int
    end: int
    depth: int
    parent: int
    is_left: int
    n_constant: int
    impurity: float
    total: float
    ones: float


class _Split(NamedTuple):
    """Where to divide the rows of a node; at its end if nowhere."""

    place: int
    feature: int
    threshold: float
    total: float
    ones: float
    gain: float


_part = numba.njit(error_model="numpy", inline="always")


@compiled
def grow_tree(table, counts, limits, seed, nodes, shares):  # type: ignore[no-untyped-def]
    """Grow a tree; give its number of nodes and its depth.

    Parameters
    ----------
    table : Table
    counts : ndarray of uint32, shape (n_rows,)
        Twice how often a row was drawn, and 1 more if it is of class 1.
    limits : Limits
    seed : int
        Of the tree's draws, below 2**31.
    nodes : ndarray of scikit-learn's nodes, all zero
        Is filled; long enough for twice the rows that were drawn.
    shares : ndarray of float64, shape (n_nodes, 1, 2)
        Is filled with the classes' shares.
    """
    desk = _lay_out(table, counts, seed)
    n_rows = len(desk.values)
    waiting = np.empty((n_rows + 2, 6), np.int64), np.empty((n_rows + 2, 3), np.float64)
    root = _root(desk, n_rows)
    _push(waiting, 0, root)
    n_waiting, n_nodes, deepest = 1, 0, 0
    while n_waiting:
        n_waiting -= 1
        node = _pop(waiting, n_waiting)
        split, n_constant = _Split(node.end, 0, 0.0, 0.0, 0.0, 0.0), node.n_constant
        if not _is_leaf(node, limits):
            split, n_constant = _choose_split(table, desk, limits, node, root.total)
        _write(nodes, shares, n_nodes, node, split)
        deepest = max(deepest, node.depth)
        if split.place < node.end:
            left, right = _children(node, n_nodes, split, n_constant)
            if not (_is_leaf(left, limits) and _is_leaf(right, limits)):
                _divide(table, desk, node, split, n_constant)
            _push(waiting, n_waiting, right)
            _push(waiting, n_waiting + 1, left)
            n_waiting += 2
        n_nodes += 1
    return n_nodes, deepest


@_part
def _lay_out(table, counts, seed):  # type: ignore[no-untyped-def]
    """Take the rows that were drawn, in each column's order."""
    n_lists, n_all = table.order.shape
    n_features = len(table.columns)
    rows = np.empty((n_lists, n_all + 1), np.uint32)
    n_rows = 0
    for place in range(n_lists):
        n_rows = 0
        for row in table.order[place]:
            rows[place, n_rows] = row
            n_rows += counts[row] > 1
    state = np.empty(1, np.int64)
    state[0] = seed if seed else 1
    return _Desk(
        rows,
        counts,
        np.arange(n_features),
        np.empty(n_features, np.int64),
        np.empty(n_rows, np.float32),
        np.empty(n_rows, np.int32),
        np.empty(n_rows, np.int32),
        np.empty(n_rows, np.float64),
        np.empty(n_all, np.uint8),
        np.empty(n_rows + 1, np.uint32),
        state,
    )


@_part
def _root(desk, n_rows):  # type: ignore[no-untyped-def]
    total, ones = _count(desk.counts, desk.rows[0, :n_rows])
    return _Node(0, n_rows, 0, -1, 0, 0, _impurity(total, ones), total, ones)


@_part
def _children(node, name, split, n_constant):  # type: ignore[no-untyped-def]
    depth, total, ones = node.depth + 1, node.total - split.total, node.ones - split.ones
    here = _impurity(split.total, split.ones)
    there = _impurity(total, ones)
    return (
        _Node(node.start, split.place, depth, name, 1, n_constant, here, split.total, split.ones),
        _Node(split.place, node.end, depth, name, 0, n_constant, there, total, ones),
    )


@_part
def _push(waiting, at, node):  # type: ignore[no-untyped-def]
    whole, real = waiting[0][at], waiting[1][at]
    whole[0], whole[1], whole[2] = node.start, node.end, node.depth
    whole[3], whole[4], whole[5] = node.parent, node.is_left, node.n_constant
    real[0], real[1], real[2] = node.impurity, node.total, node.ones


@_part
def _pop(waiting, at):  # type: ignore[no-untyped-def]
    a, b = waiting[0][at], waiting[1][at]
    return _Node(a[0], a[1], a[2], a[3], a[4], a[5], b[0], b[1], b[2])


@_part
def _is_leaf(node, limits):  # type: ignore[no-untyped-def]
    n_rows = node.end - node.start
    return (
        node.depth >= limits.max_depth
        or n_rows < limits.min_samples_split
        or n_rows < 2 * limits.min_samples_leaf
        or node.impurity <= _EPSILON
    )


@_part
def _write(nodes, shares, at, node, split):  # type: ignore[no-untyped-def]
    """Note a node as scikit-learn does, and in its parent, where it lies."""
    if node.parent >= 0:
        if node.is_left:
            nodes[node.parent].left_child = at
        else:
            nodes[node.parent].right_child = at
    one, is_leaf = nodes[at], split.place == node.end
    one.left_child = one.right_child = -1
    one.feature = -2 if is_leaf else split.feature
    one.threshold = -2.0 if is_leaf else split.threshold
    one.impurity = node.impurity
    one.n_node_samples = node.end - node.start
    one.weighted_n_node_samples = node.total
    goes_left = split.place - node.start > node.end - split.place
    one.missing_go_to_left = goes_left and not is_leaf
    shares[at, 0, 0] = (node.total - node.ones) / node.total
    shares[at, 0, 1] = node.ones / node.total


@_part
def _choose_split(table, desk, limits, node, everything):  # type: ignore[no-untyped-def]
    """Draw features until enough that are not constant are tried; give the best split of them.

    Features are drawn by the shuffle of Fisher and Yates: those known to be constant above this
    node, then those found here, then those not yet drawn, then (from `last` on) those tried.
    """
    features, constants = desk.features, desk.constants
    n_known = n_constant = node.n_constant
    n_drawn = n_tried = 0
    last = len(features)
    best = _Split(node.end, 0, 0.0, 0.0, 0.0, -np.inf)
    while last > n_constant and (
        n_tried < limits.max_features or n_tried <= n_constant - n_known + n_drawn
    ):
        n_tried += 1
        n_found = n_constant - n_known
        at = n_drawn + _draw(desk.state) % (last - n_found - n_drawn)
        if at < n_known:
            _swap(features, at, n_drawn)
            n_drawn += 1
            continue
        at += n_found
        feature = features[at]
        rows, column = _rows_of(desk, node, feature), table.columns[feature]
        if limits.random_splitter:
            low, high = _span(rows, column, desk.values)
        else:
            low, high = column[rows[0]], column[rows[-1]]
        if high <= low + _SAME:
            _swap(features, at, n_constant)
            n_constant += 1
            continue
        last -= 1
        _swap(features, at, last)
        if limits.random_splitter:
            best = _random_cut(desk, limits, node, rows, low, high, feature, best)
        else:
            best = _best_cut(desk, limits, node, rows, column, feature, best)
    for at in range(n_known):
        features[at] = constants[at]
    for at in range(n_known, n_constant):
        constants[at] = features[at]
    if (
        best.place < node.end
        and _improvement(node, best, everything) < limits.min_impurity_decrease
    ):
        best = _Split(node.end, 0, 0.0, 0.0, 0.0, -np.inf)
    return best, n_constant


@_part
def _draw(state):  # type: ignore[no-untyped-def]
    """Draw a whole number below 2**31 (Marsaglia 2003, "Xorshift RNGs")."""
    seed = state[0]
    seed ^= (seed << 13) & _WORD
    seed ^= seed >> 17
    seed ^= (seed << 5) & _WORD
    state[0] = seed
    return seed & _MOST_DRAWN


@_part
def _swap(features, one, other):  # type: ignore[no-untyped-def]
    features[one], features[other] = features[other], features[one]


@_part
def _best_cut(desk, limits, node, rows, column, feature, best):  # type: ignore[no-untyped-def]
    """Try all cuts between different values; the first of equals is kept."""
    n_rows = len(rows)
    values, totals, ones, gains = desk.values, desk.totals, desk.ones, desk.gains
    _add_up(desk.counts, rows, column, values, totals, ones)
    for at in range(n_rows - 1):
        gains[at] = _gain(node, np.float64(totals[at]), np.float64(ones[at]))
    for at in range(limits.min_samples_leaf - 1, n_rows - limits.min_samples_leaf):
        if gains[at] > best.gain and values[at + 1] > values[at] + _SAME:
            middle = float(values[at]) / 2.0 + float(values[at + 1]) / 2.0
            place = node.start + at + 1
            best = _Split(place, feature, middle, float(totals[at]), float(ones[at]), gains[at])
    return best


@_part
def _random_cut(desk, limits, node, rows, low, high, feature, best):  # type: ignore[no-untyped-def]
    """Try one cut, drawn between the lowest value and the highest."""
    lowest, span = np.float64(low), np.float64(high) - np.float64(low)
    threshold = span * float(_draw(desk.state)) / float(_MOST_DRAWN) + lowest
    if threshold == high:
        threshold = lowest
    n_left = total = ones = np.int64(0)
    for at, row in enumerate(rows):
        goes = np.int64(desk.values[at] <= threshold)
        count = goes * np.int64(desk.counts[row] >> 1)
        n_left += goes
        total += count
        ones += count * np.int64(desk.counts[row] & 1)
    if min(n_left, len(rows) - n_left) < limits.min_samples_leaf:
        return best
    gain = _gain(node, float(total), float(ones))
    if gain > best.gain:
        return _Split(node.start + n_left, feature, threshold, float(total), float(ones), gain)
    return best


@_part
def _rows_of(desk, node, feature):  # type: ignore[no-untyped-def]
    """Give the rows of a node in a column's order, or in the only one."""
    return desk.rows[feature % len(desk.rows), node.start : node.end]


@_part
def _span(rows, column, values):  # type: ignore[no-untyped-def]
    """Find the lowest and the highest value, and keep all."""
    low = high = column[rows[0]]
    for at, row in enumerate(rows):
        value = column[row]
        values[at] = value
        low, high = min(low, value), max(high, value)
    return low, high


@_part
def _add_up(counts, rows, column, values, totals, ones):  # type: ignore[no-untyped-def]
    """Add up the counts from the lowest value on."""
    total = one = np.int64(0)
    for at, row in enumerate(rows):
        values[at] = column[row]
        count = np.int64(counts[row] >> 1)
        total += count
        one += count * np.int64(counts[row] & 1)
        totals[at], ones[at] = total, one


@_part
def _count(counts, rows):  # type: ignore[no-untyped-def]
    total = one = np.int64(0)
    for row in rows:
        count = np.int64(counts[row] >> 1)
        total += count
        one += count * np.int64(counts[row] & 1)
    return float(total), float(one)


@_part
def _impurity(total, ones):  # type: ignore[no-untyped-def]
    """Gini's."""
    zeros = total - ones
    return 1.0 - (zeros * zeros + ones * ones) / (total * total)


@_part
def _gain(node, total, ones):  # type: ignore[no-untyped-def]
    """Give what grows with the improvement by a split, of the counts of its left side."""
    right = node.total - total
    there = _impurity(right, node.ones - ones)
    return -right * there - total * _impurity(total, ones)


@_part
def _improvement(node, split, everything):  # type: ignore[no-untyped-def]
    total, right = node.total, node.total - split.total
    here = split.total / total * _impurity(split.total, split.ones)
    there = right / total * _impurity(right, node.ones - split.ones)
    return total / everything * (node.impurity - there - here) + _EPSILON


@_part
def _divide(table, desk, node, split, n_constant):  # type: ignore[no-untyped-def]
    """Divide the rows of a node in all lists that may still be tried, keeping their order."""
    best, column = _rows_of(desk, node, split.feature), table.columns[split.feature]
    for row in best:
        desk.goes_left[row] = column[row] <= split.threshold
    if len(desk.rows) == 1:
        _divide_list(best, desk.goes_left, desk.spare)
        return
    for feature in desk.features[n_constant:]:
        if feature != split.feature:
            _divide_list(_rows_of(desk, node, feature), desk.goes_left, desk.spare)


@_part
def _divide_list(rows, goes_left, spare):  # type: ignore[no-untyped-def]
    # No branch: which way a row goes cannot be foreseen.
    left = right = np.int64(0)
    for row in rows:
        goes = np.int64(goes_left[row])
        rows[left] = spare[right] = row
        left += goes
        right += 1 - goes
    for at in range(right):
        rows[left + at] = spare[at]
