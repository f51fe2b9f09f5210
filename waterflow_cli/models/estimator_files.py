"""Estimators as skops files: written, and read part by part, each checked before it is used.

skops asks only of which types a file is made. `soundness` says what each part must be. Parts that a
library rebuilds from a text or from raw memory are checked before that, the others as soon as they
are there; so nothing inside another estimator, or inside a plugin's own object, is passed over.
"""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import skops.io
from skops.io._audit import Node, get_tree
from skops.io._protocol import PROTOCOL
from skops.io._utils import LoadContext

from waterflow_cli.common.messages import tr
from waterflow_cli.models.boosters import check_lightgbm, check_xgboost
from waterflow_cli.models.portable.tree_structure import (
    check_predictors,
    check_tree_state,
    check_trees,
    need,
)
from waterflow_cli.models.soundness import check_part, check_pipeline

# Types beyond those that skops itself trusts, which the bundled scikit-learn models are made of.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
# skops trusts all of scikit-learn. Of these modules it is known that they compute in Python and
# NumPy, or that `soundness` checks what their compiled code reads.
_CHECKED_MODULES = tuple(
    f"sklearn.{name}"
    for name in (
        *("_loss.", "base.", "calibration.", "compose.", "decomposition._pca.", "dummy."),
        *("discriminant_analysis.", "ensemble.", "feature_selection.", "frozen.", "impute."),
        *("isotonic.", "linear_model.", "multiclass.", "naive_bayes.", "neural_network."),
        *("pipeline.", "preprocessing.", "svm.", "tree.", "utils."),
    )
)
_TREE = "sklearn.tree._tree.Tree"
_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
# What is rebuilt from raw memory or a text, and what checks that before.
_BOOSTERS = {"lightgbm.basic.Booster": check_lightgbm, "xgboost.core.Booster": check_xgboost}
# The only ways in which these are stored.
_LOADERS = {_TREE: "TreeNode", _PREDICTOR: "ObjectNode", **dict.fromkeys(_BOOSTERS, "ObjectNode")}

_MOST_MEMBERS = 100_000
_MOST_SEEDS = 100
# Arrays of a forest shrink to a twentieth, pages and lists to a thirtieth; a bomb to a thousandth.
_MOST_RATIO = 200
_FREE_BYTES = 16 << 20
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class EstimatorFile:
    """A skops file that was read, of which nothing was built.

    Parameters
    ----------
    data : bytes
        The file's content.

    Raises
    ------
    ValueError, KeyError, TypeError, zipfile.BadZipFile
        If it is none, or too large unpacked.
    """

    def __init__(self, data: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_members(archive.infolist(), len(data))
            schema = json.loads(archive.read("schema.json"))
            protocol = schema["protocol"]
            if type(protocol) is not int or not 0 <= protocol <= PROTOCOL:
                raise ValueError(f"skops protocol {protocol!r}")
            context = LoadContext(src=archive, protocol=protocol)
            # No type is trusted for being here: `strangers` tells, and `build` is for later.
            self._root = get_tree(schema, context, trusted=None)
        self._nodes = _children_first(self._root)

    def strangers(self, declared: Iterable[str] = ()) -> list[str]:
        """List the types that nobody vouches for; a plugin vouches for those that it declares."""
        found = self._root.get_unsafe_set() - set(TRUSTED_TYPES)
        names = {_name_of(node) for node in self._nodes}
        unchecked = {name for name in names if name.startswith("sklearn.")} - set(TRUSTED_TYPES)
        found |= {name for name in unchecked if not name.startswith(_CHECKED_MODULES)}
        return sorted(found - set(declared))

    def build(self, measurements: Sequence[str]) -> Any:
        """Build the estimator, which must take these measurements; no type is asked for.

        Raises
        ------
        waterflow_cli.models.portable.tree_structure.UnsoundError
            If a part is not as fitting makes it.
        """
        trees, predictors = [], []
        for node in self._nodes:
            name = _name_of(node)
            loader = _LOADERS.get(name) or _LOADERS.get(_constructor_of(node))
            if loader is not None:
                state = self._state_of(node, loader)
                if name == _TREE:
                    trees.append((node.children["args"].construct(), state))
            if (seeds := node.children.get("seed_seq_state")) is not None:
                # NumPy mixes each number of a pool with each other one.
                need(seeds.construct().get("pool_size") in range(_MOST_SEEDS), name, "pool_size")
            part = node.construct()
            check_part(part)
            if name == _PREDICTOR:
                predictors.append(part)
        check_trees(trees)
        check_predictors(predictors)
        estimator = self._root.construct()
        check_pipeline(estimator, measurements)
        return estimator

    @staticmethod
    def _state_of(node: Node, loader: str) -> Any:
        """Check how a part is stored that must not be built unchecked, and give its state."""
        name = _name_of(node)
        need(type(node).__name__ == loader and name in _LOADERS, name, "loader")
        attributes = node.children.get("attrs")
        need(attributes is not None, name, "state")
        state = attributes.construct()
        if name == _TREE:
            check_tree_state(node.children["args"].construct(), state)
        elif name in _BOOSTERS:
            _BOOSTERS[name](state)
        return state


def save_estimator(estimator: Any) -> bytes:
    """Give the skops file of an estimator."""
    # Forests shrink to a fifth in a third of a second; more effort gives little more.
    packed = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    return bytes(packed)


def _name_of(node: Node) -> str:
    return f"{node.module_name}.{node.class_name}"


def _constructor_of(node: Node) -> str:
    constructor = node.children.get("constructor")
    return _name_of(constructor) if isinstance(constructor, Node) else ""


def _children_first(root: Node) -> list[Node]:
    """List the nodes of a file, each once and after those that it is built of."""
    done: dict[int, Node] = {}
    waiting = [(root, False)]
    seen = set()
    while waiting:
        node, is_ready = waiting.pop()
        if is_ready:
            done[id(node)] = node
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((child, False) for child in _children(node))
    return list(done.values())


def _children(node: Node) -> Iterable[Node]:
    # A tree's constructor is a type, and is no way to build another one.
    inner = [child for name, child in node.children.items() if name != "constructor"]
    for child in (*inner, getattr(node, "cached", None)):
        members = child if isinstance(child, list) else [child]
        members = list(child.values()) if isinstance(child, dict) else members
        yield from (member for member in members if isinstance(member, Node))


def check_members(
    members: Sequence[zipfile.ZipInfo], n_bytes: int, *, at_most: int = _MOST_MEMBERS
) -> None:
    """Refuse an archive that is no plain one of a sensible size, by its table of contents.

    A member is never unpacked beyond the size that the table says.

    Parameters
    ----------
    n_bytes : int
        Size of the archive.

    Raises
    ------
    ValueError
        Naming what is wrong with it.
    """
    names = [member.filename for member in members]
    if len(names) > at_most:
        raise ValueError(tr("it has too many members"))
    if len({*names}) < len(names):
        raise ValueError(tr("two members have one name"))
    total = sum(member.file_size for member in members)
    if total > _FREE_BYTES + _MOST_RATIO * n_bytes:
        raise ValueError(tr("it is too large unpacked"))
    for member in members:
        path = PurePosixPath(member.filename)
        if (
            not member.filename
            or path.is_absolute()
            or ".." in path.parts
            or "\\" in member.filename
        ):
            raise ValueError(tr("a name in it leads elsewhere"))
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if is_link or member.is_dir() or member.header_offset < 0:
            raise ValueError(tr("a member is no file"))
        if member.compress_type not in _PLAIN or member.flag_bits & 1:
            raise ValueError(tr("a member is packed in another way"))
