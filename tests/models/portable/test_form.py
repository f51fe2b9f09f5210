"""The files of a portable form: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from portable_forms import by_both_walks
from small_models import SMALL, forms

from waterflow_cli.models.portable.form import FORM_FILE, PortableForm, load_form, save_form
from waterflow_cli.models.portable.parts import Part
from waterflow_cli.models.portable.tree_structure import UnsoundError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Files = dict[str, bytes]
NAMES = sorted(SMALL)
# Those of which each kind of part is in one at least.
SOME = ("blend", "lightgbm", "rf")


def rows_for(form: PortableForm) -> np.ndarray:
    """Give rows as they come, with gaps, and of extremes."""
    X = np.random.default_rng(1).normal(size=(24, form.n_measurements))
    X[:6][X[:6] > 0.5] = np.nan
    X[6], X[7], X[8], X[9], X[10] = np.nan, 1e30, -1e30, 1e308, 5e-324
    return X


def outcome(files: Files) -> str:
    """Load files and score rows: either they are refused, or each row gets a probability or NaN."""
    try:
        form = load_form(files)
    except UnsoundError as exc:
        return "refused" if "\n" not in str(exc) else "refused in several lines"
    found = form(rows_for(form))
    assert found.shape == (24,)
    assert found.dtype == np.float64
    known = found[~np.isnan(found)]
    assert ((known >= 0) & (known <= 1)).all()
    return "scored"


def refused(files: Files) -> UnsoundError:
    with pytest.raises(UnsoundError) as caught:
        load_form(files)
    return caught.value


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values), allow_pickle=False)
    return file.getvalue()


def with_json(files: Files, change: Callable[[Any], Any]) -> Files:
    """Change what ``form.json`` says, in place or by what is returned."""
    content = json.loads(files[FORM_FILE])
    changed = change(content)
    return {**files, FORM_FILE: json.dumps(content if changed is None else changed).encode()}


def parts_of(content: Any) -> Iterator[dict[str, Any]]:
    yield content
    for inner in content.get("parts", ()):
        yield from parts_of(inner)


def put(name: str, value: Any, kind: str | None = None) -> Callable[[Any], None]:
    """Set a field of the first part of a kind, or of the form itself."""

    def change(content: Any) -> None:
        parts = parts_of(content["root"])
        owner = content if kind is None else next(each for each in parts if each["kind"] == kind)
        owner[name] = value

    return change


# --- saved and loaded ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_form_is_the_one_that_was_saved(name: str) -> None:
    form = forms(name)
    files = save_form(form)
    loaded = load_form(files)
    assert save_form(loaded) == files
    X = rows_for(form)
    assert np.array_equal(by_both_walks(loaded, X), by_both_walks(form, X), equal_nan=True)
    assert not np.isnan(loaded(X[:7])).any()


@pytest.mark.parametrize("name", NAMES)
def test_files_are_json_and_flat_arrays_of_numbers(name: str) -> None:
    files = save_form(forms(name))
    content = json.loads(files.pop(FORM_FILE))
    assert content["version"] == 1
    assert files
    for file, data in files.items():
        assert file.endswith(".npy")
        array = np.load(io.BytesIO(data), allow_pickle=False)
        assert array.ndim == 1
        assert array.dtype.str in ("<f8", "<i8", "|b1")


def test_the_same_form_has_the_same_bytes() -> None:
    assert save_form(forms("rf")) == save_form(forms("rf"))


def test_all_trees_are_told_of_the_rows_to_come() -> None:
    form = forms("blend")
    told: list[int] = []
    for part in form.parts:
        if part.kind == "trees":
            object.__setattr__(part, "expect", told.append)
    form.expect(5)
    assert told == [5]


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_any_byte_may_be_another_in_form_json(name: str) -> None:
    files = save_form(forms(name))
    data = files[FORM_FILE]
    for place in range(0, len(data), 1 if name == "rf" else 7):
        for mask in (1, 128):
            changed = bytearray(data)
            changed[place] ^= mask
            outcome({**files, FORM_FILE: bytes(changed)})


@pytest.mark.parametrize("name", SOME)
def test_any_byte_may_be_another_in_an_array(name: str) -> None:
    files = save_form(forms(name))
    counts = {"refused": 0, "scored": 0}
    for file, data in files.items():
        places = range(len(data)) if len(data) < 200 else [*range(128), *range(128, len(data), 37)]
        for place in () if file == FORM_FILE else places:
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            counts[outcome({**files, file: bytes(changed)})] += 1
    assert min(counts.values()) > 20


@pytest.mark.parametrize("name", SOME)
def test_a_file_of_another_length_or_none_is_refused(name: str) -> None:
    files = save_form(forms(name))
    for file, data in files.items():
        for changed in (
            b"",
            data[:-1],
            data[: len(data) // 2],
            data[:9],
            data + b"\0",
            data + data,
        ):
            if file != FORM_FILE or changed != data[:-1]:  # a line end less is no matter
                refused({**files, file: changed})
        refused({each: content for each, content in files.items() if each != file})


def test_a_file_too_many_is_refused() -> None:
    files = save_form(forms("rf"))
    assert refused({**files, "more.npy": npy([1.0])}).field == "files"


def test_no_file_is_read_twice() -> None:
    """A hundred parts that name one large file would need a hundred times its memory."""

    def change(content: Any) -> None:
        trees = content["root"]["parts"][-1]
        content["root"]["parts"][-1] = {"kind": "mean", "parts": [trees] * 100}

    assert refused(with_json(save_form(forms("rf")), change)).field in ("words", "roots", "values")


HEADS = [
    b"\x93NUMPY\x02\x00v\x00\x00\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': True, 'shape': (2,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '>f8', 'fortran_order': False, 'shape': (2,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': exit()}",
    b"\x93NUMPY\x01\x00\xff\xff",
    b"PK\x03\x04",
    b"\x80\x04N.",
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_head_that_numpy_would_not_write_is_refused(head: bytes) -> None:
    files = save_form(forms("logreg"))
    file = next(name for name in files if name.endswith("-weights.npy"))
    data = head.ljust(127) + b"\n" + files[file][128:]
    assert refused({**files, file: data}).field in ("head", "size")


@pytest.mark.parametrize(
    "values",
    [
        [[1.0]],
        1.0,
        np.zeros(9, "f4"),
        np.zeros(9, ">f8"),
        np.zeros(9, "i8"),
        np.zeros(9, "c16"),
        np.zeros(9, "U1"),
        np.full(9, np.nan),
        np.full(9, np.inf),
        np.full(9, -np.inf),
        np.zeros(8),
        np.zeros(10),
        np.zeros(0),
        np.zeros(9, [("a", "f8")]),
    ],
    ids=lambda values: f"{np.asarray(values).dtype}-{np.shape(values)}",
)
def test_an_array_of_another_type_shape_or_of_no_numbers_is_refused(values: Any) -> None:
    files = save_form(forms("logreg"))
    refused({**files, "root-2-weights.npy": npy(values)})


def test_a_truth_is_zero_or_one() -> None:
    files = save_form(forms("rf"))
    file = next(name for name in files if name.endswith("-missing_right.npy"))
    assert outcome(files) == "scored"
    refused({**files, file: files[file][:-1] + b"\x02"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"1e999",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"version": 1' + b"0" * 5000 + b"}",
        b'{"version": 1, "version": 2}',
    ],
    ids=lambda data: data[:12].decode("latin1"),
)
def test_a_form_json_that_says_no_form_is_refused(data: bytes) -> None:
    refused({**save_form(forms("rf")), FORM_FILE: data})


HUGE = 10**400
ODD = [None, True, -1, 0, 2, 1e308, HUGE, float("nan"), float("inf"), "1", [], {}, [1]]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("version", None),
        ("n_measurements", None),
        ("root", None),
        ("kind", "trees"),
        ("link", "trees"),
        ("rounds", "trees"),
        ("start", "trees"),
        ("slope", "trees"),
        ("words", "trees"),
        ("parts", "steps"),
        ("parts", "mean"),
        ("gamma", "support_vectors"),
        ("intercept", "support_vectors"),
        ("activation", "network"),
        ("widths", "network"),
    ],
)
def test_a_field_that_holds_something_else_is_refused_or_a_number_of_its_kind(
    name: str, kind: str | None, value: Any
) -> None:
    files = with_json(
        save_form(forms("mlp" if kind == "network" else "blend")), put(name, value, kind)
    )
    is_number = type(value) in (int, float) and abs(value) <= 1e308  # NaN is not
    may_be = name in ("gamma", "intercept", "start", "slope") and is_number
    may_be = may_be or (name, value) in (("rounds", True),)
    assert outcome(files) == "refused" or may_be


@pytest.mark.parametrize("change", ["less", "more"])
@pytest.mark.parametrize("name", SOME)
def test_a_field_too_few_or_too_many_is_refused(name: str, change: str) -> None:
    files = save_form(forms(name))
    n_parts = len(list(parts_of(json.loads(files[FORM_FILE])["root"])))
    for number in range(n_parts):

        def edit(content: Any, number: int = number) -> None:
            part = list(parts_of(content["root"]))[number]
            if change == "more":
                part["more"] = 1
            else:
                part.popitem()

        refused(with_json(files, edit))


FILL = {"kind": "fill", "values": "a.npy"}
LINE = {"kind": "linear", "intercept": 0.0, "weights": "b.npy"}
ARRAYS = {"a.npy": npy([1.0, 2.0]), "b.npy": npy([1.0, 2.0])}


def nested(depth: int, kind: str = "mean") -> dict[str, Any]:
    part: dict[str, Any] = LINE
    for _ in range(depth):
        part = {"kind": kind, "parts": [part]}
    return part


@pytest.mark.parametrize(
    ("root", "used"),
    [
        (FILL, "a"),
        ({"kind": "steps", "parts": []}, ""),
        ({"kind": "mean", "parts": []}, ""),
        ({"kind": "steps", "parts": [FILL]}, "a"),
        ({"kind": "steps", "parts": [LINE, FILL]}, "ab"),
        ({"kind": "mean", "parts": [LINE, FILL]}, "ab"),
        ({"kind": "steps", "parts": [{"kind": "steps", "parts": [FILL]}, LINE]}, "ab"),
        ({"kind": "steps", "parts": {"0": LINE}}, "b"),
        ({"kind": "steps", "parts": [FILL, None]}, "a"),
        ({"kind": "linear", "intercept": 0.0, "weights": "c.npy"}, ""),
        ({"kind": "linear", "intercept": 0.0, "weights": FORM_FILE}, ""),
        (nested(8), "b"),
        (nested(100), "b"),
        (nested(8, "steps"), "b"),
    ],
)
def test_parts_that_are_nested_wrongly_are_refused(root: Any, used: str) -> None:
    content = {"version": 1, "n_measurements": 2, "root": root}
    arrays = {name: data for name, data in ARRAYS.items() if name[0] in used}
    refused({**arrays, FORM_FILE: json.dumps(content).encode()})
    content["root"] = nested(7)
    assert outcome({"b.npy": ARRAYS["b.npy"], FORM_FILE: json.dumps(content).encode()}) == "scored"


# --- at random -----------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, 1e30, 1.1e30, -1e308, 1e308, 1.0]),
)
WHOLE = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 2**62, 2**36, 2**27, 2**12, 2**24]),
)


def arrays_of(part: Part) -> list[tuple[Part, str]]:
    return [(part, field.name) for field in fields(part) if field.name in part.arrays]  # type: ignore[arg-type]


@tried_on(1000)
@given(st.data())
def test_any_numbers_in_any_array_are_refused_or_give_probabilities(data: st.DataObject) -> None:
    files = save_form(forms(data.draw(st.sampled_from(NAMES))))
    for _ in range(data.draw(st.integers(1, 3))):
        file = data.draw(st.sampled_from([name for name in files if name != FORM_FILE]))
        array = np.load(io.BytesIO(files[file]), allow_pickle=False)
        way = data.draw(st.sampled_from(["value", "value", "other", "cut", "longer", "sorted"]))
        if way in ("value", "other") and len(array) and array.dtype != bool:
            place = data.draw(st.integers(0, len(array) - 1))
            new = NUMBERS if array.dtype.kind == "f" else WHOLE
            other = array[data.draw(st.integers(0, len(array) - 1))]
            array[place] = data.draw(new) if way == "value" else other
        elif way == "cut":
            array = array[: data.draw(st.integers(0, len(array)))]
        elif way == "longer":
            array = np.concatenate([array, array])
        elif way == "sorted":
            array = np.sort(array)
        files[file] = npy(array)
    outcome(files)


@tried_on(500)
@given(st.data())
def test_any_bytes_in_any_file_are_refused_or_give_probabilities(data: st.DataObject) -> None:
    files = save_form(forms(data.draw(st.sampled_from(NAMES))))
    for _ in range(data.draw(st.integers(1, 3))):
        file = data.draw(st.sampled_from(sorted(files)))
        content = files[file]
        start, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 9))
        files[file] = content[:start] + data.draw(st.binary(max_size=9)) + content[start + length :]
    outcome(files)


def test_a_form_takes_gaps_where_something_in_it_does() -> None:
    line = load_form(
        {
            "b.npy": ARRAYS["b.npy"],
            FORM_FILE: json.dumps({"version": 1, "n_measurements": 2, "root": LINE}).encode(),
        }
    )
    assert not line.takes_gaps
    assert all(forms(name).takes_gaps for name in NAMES)
    assert replace(line, root=forms("rf").root).takes_gaps
