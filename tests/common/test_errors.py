"""One class for each thing that the user can do about it."""

from __future__ import annotations

import pytest

from waterflow_cli.common.errors import (
    DataRefusedError,
    InputError,
    ModelError,
    PluginError,
    UsageError,
    WaterflowError,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (WaterflowError, 70),
        (DataRefusedError, 1),
        (UsageError, 2),
        (ModelError, 4),
        (PluginError, 5),
    ],
)
def test_each_class_has_the_exit_code_of_the_contract(kind, code):
    error = kind("what", "next")
    assert (error.exit_code, error.message, error.hint) == (code, "what", "next")
    assert kind("what").hint is None
    with pytest.raises(WaterflowError, match=r"^what$"):
        raise error


def test_error_of_an_input_names_file_and_line():
    error = InputError("data/river.csv", "15.2 is above 14.", line=14, hint="Mend it.")
    assert error.exit_code == 3
    assert str(error) == error.message == "data/river.csv, line 14: 15.2 is above 14."
    assert (error.path, error.line, error.hint) == ("data/river.csv", 14, "Mend it.")
    assert error.problem == "15.2 is above 14."


def test_error_of_a_whole_input_names_no_line():
    error = InputError("data/river.csv", "is empty.")
    assert error.message == "data/river.csv: is empty."
    assert (error.line, error.hint) == (None, None)


def test_every_class_says_what_the_user_can_do():
    kinds = [
        kind
        for kind in WaterflowError.__subclasses__()
        if kind.__module__ == WaterflowError.__module__
    ]
    assert {DataRefusedError, UsageError, InputError, ModelError, PluginError} <= set(kinds)
    assert all(kind.__doc__ and kind.exit_code in range(1, 6) for kind in kinds)


@pytest.mark.parametrize(
    ("name", "known", "suggestion"),
    [
        ("forrest", ["forest", "svm"], " Did you mean 'forest'?"),
        ("zzz", ["forest", "svm"], ""),
        ("x", [], ""),
        ("seeed", {"seed": 1, "seeds": 2}, " Did you mean 'seed'?"),
    ],
)
def test_nearest_known_name_is_suggested_when_one_is_near(name, known, suggestion):
    assert did_you_mean(name, known) == suggestion
