"""What the libraries' own readers do not check of a booster is checked before they read it."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile

import numpy as np
import pytest
from small_models import load, refused, rewritten, saved, states_of

from waterflow_cli.models.boosters import check_lightgbm, check_xgboost
from waterflow_cli.models.portable.tree_structure import UnsoundError

LONG = "1" * 30


def booster_text():
    with zipfile.ZipFile(io.BytesIO(saved("lightgbm"))) as archive:
        (state,) = states_of(json.loads(archive.read("schema.json")), "Booster")
    return json.loads(state["content"]["content"]["_handle"]["content"])


def with_text(text):
    """Give the file of a LightGBM model with another text."""

    def change(members):
        schema = json.loads(members["schema.json"])
        (state,) = states_of(schema, "Booster")
        state["content"]["content"]["_handle"].update(content=json.dumps(text), __id__=1)
        members["schema.json"] = json.dumps(schema).encode()

    return rewritten(saved("lightgbm"), change)


def replaced(text, name, value):
    """Give the text of a booster of which the first value of a field was changed."""
    changed = re.sub(rf"(?m)^{name}=[^ \n]*", f"{name}={value}", text, count=1)
    assert changed != text
    # The sizes of the blocks tell where each tree begins.
    head, _, trees = changed.partition("\n\n")
    blocks = re.findall(r"(?s)Tree=.*?\n\n\n(?=Tree=|end)", trees)
    sizes = " ".join(str(len(block)) for block in blocks)
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head) + "\n\n" + trees


def test_a_text_that_was_written_anew_is_read_as_it_was():
    text = booster_text()
    assert replaced(text, "split_gain", "0") != text
    load("lightgbm", with_text(replaced(text, "split_gain", "0")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("left_child", value) for value in ("0", "99", "-99", "x", "", LONG)),
        *(("right_child", value) for value in ("0", "99", "-99")),
        *(("split_feature", value) for value in ("9", "-1", LONG)),
        *(("threshold", value) for value in ("nan", "inf", "1e999", "x", "1_0", "0x10")),
        *(("leaf_value", value) for value in ("nan", "-inf", "")),
        *(("num_leaves", value) for value in ("0", "1", "2147483647", "-3", "5 5")),
        *(("decision_type", value) for value in ("1", "3", "300")),
        *(("num_cat", "1"), ("is_linear", "1"), ("shrinkage", "nan"), ("leaf_count", "1 1")),
        *(("num_class", "3"), ("num_tree_per_iteration", "2"), ("label_index", "4")),
        *(("max_feature_idx", "99"), ("max_feature_idx", "-1"), ("objective", "none\x07")),
        *(("feature_infos", "none none"), ("version", "v4\nnum_class=1")),
    ],
)
def test_a_tree_of_lightgbm_that_is_none_is_refused(name, value):
    said = refused("lightgbm", with_text(replaced(booster_text(), name, value)))
    assert "lightgbm.Booster is not as fitting makes it" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("tree_sizes=", "tree_sizes=1", 1),
        lambda text: text.replace("Tree=1", "Tree=7", 1),
        lambda text: text.replace("end of trees", "", 1),
        lambda text: text[:500],
        lambda text: text.replace("tree\n", "tree\nlinear=1\n", 1),
        lambda text: text.replace("split_feature=", "split_features=", 1),
        lambda text: "",
        lambda text: text + "\0",
        lambda text: None,
        lambda text: 5,
    ],
)
def test_a_text_that_is_none_of_lightgbm_is_refused(change):
    refused("lightgbm", with_text(change(booster_text())))


@pytest.mark.parametrize(
    "state", [None, {}, {"_handle": "tree", "handle": "x"}, {"handle": "tree"}]
)
def test_a_booster_without_a_text_of_its_own_is_refused(state):
    with pytest.raises(UnsoundError):
        check_lightgbm(state)


def blob():
    with zipfile.ZipFile(io.BytesIO(saved("xgboost"))) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".bin"))
        return name, archive.read(name)


def with_blob(data):
    """Give the file of an XGBoost model with other bytes."""
    return rewritten(saved("xgboost"), lambda members: members.update({blob()[0]: data}))


def put(name, kind, value, place=0):
    """Change a number of the last array of a name."""

    def change(data):
        item = np.dtype(kind).itemsize
        at = data.rindex(name.encode() + b"[$") + len(name) + 4 + 1 + 8 + place * item
        return data[:at] + np.array([value], dtype=kind).tobytes() + data[at + item :]

    return change


def put_text(name, value):
    """Change the text of a parameter wherever it stands."""
    encoded = struct.pack(">q", len(value)) + value.encode()
    pattern = re.escape(name.encode() + b"SL") + rb".{7}(.)"

    def change(data):
        for found in reversed(list(re.finditer(pattern, data, re.DOTALL))):
            end = found.end() + found.group(1)[0]
            data = data[: found.end() - 8] + encoded + data[end:]
        return data

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (put("left_children", ">i4", 10**6), "left_child"),
        (put("left_children", ">i4", 0), "left_child"),
        (put("left_children", ">i4", -5), "left_child"),
        (put("left_children", ">i4", -1), "right_children"),
        (put("right_children", ">i4", 1), "left_child"),
        (put("right_children", ">i4", 10**6), "right_child"),
        (put("split_indices", ">i4", 9), "split_indices"),
        (put("split_indices", ">i4", -1), "split_indices"),
        (put("split_conditions", ">f4", np.nan), "split_conditions"),
        (put("split_type", ">u1", 1), "split_type"),
        (put("parents", ">i4", 5, place=1), "parents"),
        (lambda data: data.replace(b"idi\2", b"idi\0"), "id"),
        (put_text("num_feature", "90"), "split_indices"),
        (put_text("num_nodes", "1000000"), "base_weights"),
        (put_text("num_trees", "90"), "num_trees"),
        (put_text("num_class", "3"), "num_class"),
        (put_text("num_target", "3"), "num_target"),
        (put_text("num_parallel_tree", "0"), "num_parallel_tree"),
        (put_text("size_leaf_vector", "7"), "size_leaf_vector"),
        (put_text("nthread", "1000000"), "nthread"),
        (lambda data: data.replace(b"gbtree", b"gblin_"), "name"),
        (lambda data: data[:-1], "handle"),
        (lambda data: data + b"}", "handle"),
        (lambda data: b"", "handle"),
        (lambda data: b"CONFIG-offset:" + data, "handle"),
        (lambda data: b'{"Config":{},"Model":{}}', "handle"),
        (lambda data: b"{L" + struct.pack(">q", 2**62) + data, "handle"),
        (lambda data: b"{L" + struct.pack(">q", 1) + b"a[#L" + struct.pack(">q", -1), "handle"),
    ],
)
def test_a_tree_of_xgboost_that_is_none_is_refused(change, field):
    data = change(blob()[1])
    assert data != blob()[1]
    said = refused("xgboost", with_blob(data))
    if field != "split_indices" or b"90" not in data:
        assert f"xgboost.Booster is not as fitting makes it ({field})" in said


def test_arrays_within_arrays_have_a_limit():
    deep = b"[#L" + struct.pack(">q", 1)
    with pytest.raises(UnsoundError):
        check_xgboost({"handle": bytearray(deep * 100_000)})


@pytest.mark.parametrize("state", [None, {}, {"handle": None}, {"handle": b"{}"}])
def test_a_booster_without_bytes_of_its_own_is_refused(state):
    with pytest.raises(UnsoundError):
        check_xgboost(state)
