"""Make the trees of a forest that scikit-learn began."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from waterflow_cli.common.arrays import IntArray
from waterflow_cli.training.forest_growth import Limits, Table, grow_tree

# scikit-learn draws seeds, of trees and within them, below that.
_MOST = np.iinfo(np.int32).max


def grow_trees(forest: Any, X: Any, y: Any) -> list[Any]:
    """Grow as many trees as a forest should have; none if the first differs from scikit-learn's.

    Parameters
    ----------
    forest : RandomForestClassifier or ExtraTreesClassifier
        With one tree, fitted by scikit-learn.
    X : ndarray of shape (n_samples, n_features)
        What it was fitted on; no value is missing.
    y : array-like of shape (n_samples,)
        Of two classes.
    """
    first = forest.estimators_[0]
    columns = np.ascontiguousarray(np.asarray(X, dtype=np.float32).T)
    sorts = first.splitter == "best"
    order = np.argsort(columns, axis=1) if sorts else np.arange(len(X)).reshape(1, -1)
    table = Table(columns, order.astype(np.uint32))
    is_one = np.asarray(y) == forest.classes_[1]
    random = np.random.RandomState(forest.random_state)
    seeds = random.randint(_MOST, size=forest.n_estimators).tolist()

    def grow(seed: int) -> Any:
        tree = copy(first)
        tree.random_state = seed
        tree.tree_ = _grow(first, table, _counts(forest, tree, len(is_one)) * 2 + is_one, seed)
        return tree

    if not _equal(grow(seeds[0]), first):
        return []
    run = Parallel(n_jobs=forest.n_jobs, prefer="threads")
    return [first, *run(delayed(grow)(seed) for seed in seeds[1:])]


def _counts(forest: Any, tree: Any, n_rows: int) -> IntArray:
    """Count how often a tree draws each row, by scikit-learn's own account."""
    alone = copy(forest)
    alone.estimators_ = [tree]
    return np.bincount(alone.estimators_samples_[0], minlength=n_rows)


def _grow(model: Any, table: Table, counts: IntArray, seed: int) -> Any:
    """Grow what is inside a tree, of the kind and with the limits of another."""
    inside = model.tree_
    nodes = np.zeros(2 * len(counts), dtype=inside.__getstate__()["nodes"].dtype)
    shares = np.empty((len(nodes), 1, 2))
    draws = int(np.random.RandomState(seed).randint(_MOST))
    n, depth = grow_tree(table, counts.astype(np.uint32), _limits(model), draws, nodes, shares)
    grown = type(inside)(inside.n_features, inside.n_classes, inside.n_outputs)
    grown.__setstate__(
        {"max_depth": depth, "node_count": n, "nodes": nodes[:n], "values": shares[:n]}
    )
    return grown


def _limits(tree: Any) -> Limits:
    return Limits(
        max_features=tree.max_features_,
        max_depth=_MOST if tree.max_depth is None else tree.max_depth,
        min_samples_split=max(tree.min_samples_split, 2 * tree.min_samples_leaf),
        min_samples_leaf=tree.min_samples_leaf,
        min_impurity_decrease=float(tree.min_impurity_decrease),
        random_splitter=tree.splitter == "random",
    )


def _equal(tree: Any, other: Any) -> bool:
    """Say whether trees are equal, bit for bit."""
    one, two = tree.tree_.__getstate__(), other.tree_.__getstate__()
    return bool(
        tree.random_state == other.random_state
        and one["max_depth"] == two["max_depth"]
        and one["nodes"].tobytes() == two["nodes"].tobytes()
        and one["values"].tobytes() == two["values"].tobytes()
    )
