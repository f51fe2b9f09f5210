"""A portable form: read from its files, checked, and written.

``form.json`` says of which parts a form is made, and each array stands in a file of NumPy's
beside it (``.npy``), named after its place. Nothing in either is code, and nothing is computed
before each part was held against what it must be.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray
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
from waterflow_cli.models.portable.tree_structure import UnsoundError, is_number, need
from waterflow_cli.models.portable.trees import Trees

VERSION = 1
FORM_FILE = "form.json"
_KINDS: dict[str, type[Part]] = {
    part.kind: part for part in (Steps, Fill, Scale, Trees, Linear, SupportVectors, Network, Mean)
}
_MOST_PARTS, _MOST_DEPTH = 10_000, 8
# NumPy would read an array's head as Python; it is held against what NumPy writes.
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<type>[<|][a-z][0-9])', 'fortran_order': False, "
    rb"'shape': \((?P<length>[0-9]{1,12}),\), \} *\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class PortableForm:
    """What a model computes before its calibration.

    Attributes
    ----------
    n_measurements : int
        Columns that it takes.
    """

    n_measurements: int
    root: Part

    def __call__(self, X: FloatArray) -> FloatArray:
        """Give P(class 1) of each row, shape (n_samples,).

        X has shape (n_samples, n_measurements), and NaN where a value is missing. Trees always
        give a probability; other parts give NaN where a value is too large to compute with.
        """
        with np.errstate(all="ignore"):
            return self.root.apply(X)

    @property
    def parts(self) -> list[Part]:
        """All parts, each before those inside it."""
        return list(_walk(self.root))

    @property
    def takes_gaps(self) -> bool:
        """Whether rows may lack values: they are filled, or trees have ways for them."""
        return any(isinstance(part, Fill | Trees) for part in self.parts)

    def expect(self, n_rows: int) -> None:
        """Be told that about so many rows will come: many are worth a compiler."""
        for part in self.parts:
            if isinstance(part, Trees):
                part.expect(n_rows)


def save_form(form: PortableForm) -> dict[str, bytes]:
    """Give the files of a form, by name."""
    files: dict[str, bytes] = {}
    content = {
        "version": VERSION,
        "n_measurements": form.n_measurements,
        "root": _to_json(form.root, "root", files),
    }
    files[FORM_FILE] = (json.dumps(content, indent=1) + "\n").encode()
    return files


def load_form(files: Mapping[str, bytes]) -> PortableForm:
    """Read a form of its files.

    Raises
    ------
    waterflow_cli.models.portable.tree_structure.UnsoundError
        If a file is missing, or something in one is not as it must be.
    """
    try:
        content = json.loads(files[FORM_FILE])
    except (KeyError, ValueError, RecursionError) as exc:
        raise UnsoundError(FORM_FILE, "JSON") from exc
    need(type(content) is dict, FORM_FILE, "JSON")
    version = content.get("version")
    need(type(version) is int and version == VERSION, FORM_FILE, "version")
    n = content.get("n_measurements")
    need(type(n) is int and 0 < n < 1 << 16, FORM_FILE, "n_measurements")
    left = dict(files)
    del left[FORM_FILE]
    root = _from_json(content.get("root"), left, 0)
    need(not left, FORM_FILE, "files")
    need(sum(1 for _ in _walk(root)) <= _MOST_PARTS, FORM_FILE, "parts")
    need(not isinstance(root, Fill | Scale), FORM_FILE, "root")
    root.check(n)
    return PortableForm(n, root)


def _walk(part: Part) -> Iterator[Part]:
    yield part
    if isinstance(part, Steps | Mean):
        for inner in part.parts:
            yield from _walk(inner)


def _to_json(part: Part, place: str, files: dict[str, bytes]) -> dict[str, Any]:
    content: dict[str, Any] = {"kind": part.kind}
    for field in fields(part):  # type: ignore[arg-type]
        value, name = getattr(part, field.name), f"{place}-{field.name}"
        if field.name == "parts":
            content["parts"] = [
                _to_json(inner, f"{place}-{number}", files) for number, inner in enumerate(value)
            ]
        elif field.name in part.arrays:
            content[field.name] = f"{name}.npy"
            files[f"{name}.npy"] = _to_npy(np.asarray(value, dtype="<" + part.arrays[field.name]))
        else:
            content[field.name] = value
    return content


def _to_npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()


def _from_json(content: Any, left: dict[str, bytes], depth: int) -> Part:
    """Make a part, and take its files away: none is read twice, so that they bound the memory."""
    need(type(content) is dict and depth < _MOST_DEPTH, FORM_FILE, "parts")
    name = content.get("kind")
    need(type(name) is str and name in _KINDS, FORM_FILE, "kind")
    kind: type[Part] = _KINDS[str(name)]
    known = fields(kind)  # type: ignore[arg-type]
    need({*content} == {"kind", *(field.name for field in known)}, FORM_FILE, str(name))
    values: dict[str, Any] = {}
    for field in known:
        value = content[field.name]
        if field.name == "parts":
            need(type(value) is list and len(value) <= _MOST_PARTS, FORM_FILE, "parts")
            values["parts"] = [_from_json(inner, left, depth + 1) for inner in value]
        elif field.name in kind.arrays:
            need(type(value) is str and value in left, FORM_FILE, field.name)
            values[field.name] = _from_npy(left.pop(value), value, kind.arrays[field.name])
        else:
            values[field.name] = _plain(value, field.type, field.name)
    return kind(**values)


def _plain(value: Any, kind: Any, name: str) -> Any:
    """Check a number, a text or a truth by what the field is declared as."""
    if kind == "float":
        need(type(value) in (int, float) and is_number(value), FORM_FILE, name)
        return float(value)
    need(type(value).__name__ == kind, FORM_FILE, name)
    return value


def _from_npy(data: bytes, name: str, kind: str) -> np.ndarray:
    """Read an array, of which every byte is what its head says: a type, a length, the values."""
    dtype = np.dtype("<" + kind)
    size = 10 + int.from_bytes(data[8:10], "little")
    head = _HEAD.fullmatch(data[:size])
    need(head is not None and head["type"] == dtype.str.encode(), name, "head")
    length = int(head["length"])  # type: ignore[index]
    need(length * dtype.itemsize == len(data) - size, name, "size")
    values = np.frombuffer(data, dtype, offset=size).astype(dtype.newbyteorder("="))
    need(dtype.kind != "f" or np.isfinite(values).all(), name, "values")
    need(dtype.kind != "b" or (values.view(np.uint8) <= 1).all(), name, "values")
    return values
