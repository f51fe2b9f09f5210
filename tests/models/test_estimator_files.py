"""Archives of others are plain and bounded before anything of them is unpacked."""

from __future__ import annotations

import io
import json
import warnings
import zipfile

import numpy as np
import pytest

from waterflow_cli.models.estimator_files import EstimatorFile, check_members, save_estimator
from waterflow_cli.models.portable.tree_structure import UnsoundError


def check(data, **bounds):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive.infolist(), len(data), **bounds)


def packed(*members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of names that stand twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def link():
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    return info


def test_a_plain_archive_is_let_through():
    check(packed(("a/b.json", b"{}" * 1000), ("c", b"")))
    check(packed(("zeros.npy", b"\0" * (10 << 20))))


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ([("a", b"1"), ("a", b"2")], "two members have one name"),
        ([("../a", b"")], "leads elsewhere"),
        ([("a/../../b", b"")], "leads elsewhere"),
        ([("/etc/a", b"")], "leads elsewhere"),
        ([("a\\b", b"")], "leads elsewhere"),
        ([(link(), b"/etc/passwd")], "is no file"),
        ([("folder/", b"")], "is no file"),
        ([("a", b"\0" * (40 << 20))], "too large unpacked"),
        ([(f"{n}", b"") for n in range(50)], "too many members"),
    ],
)
def test_an_archive_that_is_none_of_ours_is_refused(members, cause):
    with pytest.raises(ValueError, match=cause):
        check(packed(*members), at_most=20)


def test_a_member_without_a_name_is_refused():
    with pytest.raises(ValueError, match="leads elsewhere"):
        check_members([zipfile.ZipInfo("")], 100)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method):
    with pytest.raises(ValueError, match="packed in another way"):
        check(packed(("a", b"1" * 100), method=method))


def test_a_member_is_not_unpacked_beyond_what_the_table_says():
    data = packed(("a", b"\0" * (40 << 20)))
    lie = data.replace((40 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    check(lie)
    with zipfile.ZipFile(io.BytesIO(lie)) as archive, pytest.raises(zipfile.BadZipFile):
        archive.read("a")


def test_a_member_that_lies_before_the_archive_is_refused():
    """As the table says it after a few bytes of the archive were lost."""
    data = packed(("a", b"1" * 100), ("b", b"2" * 100))
    with pytest.raises(ValueError, match="is no file"):
        check(data[8:])


@pytest.mark.parametrize("size", [100_000, -1, 0.5, "4", None])
def test_a_random_generator_that_takes_hours_to_start_is_refused(size):
    with zipfile.ZipFile(io.BytesIO(save_estimator(np.random.default_rng(0)))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    schema["content"]["seed_seq"]["content"]["pool_size"]["content"] = json.dumps(size)
    members["schema.json"] = json.dumps(schema).encode()
    with pytest.raises(UnsoundError, match="pool_size"):
        EstimatorFile(packed(*members.items())).build(["ph"])
