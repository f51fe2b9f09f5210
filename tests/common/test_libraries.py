"""What decides a result is listed once."""

from __future__ import annotations

from importlib.metadata import version

from waterflow_cli.common.libraries import PORTABLE, SCORING, TRAINING, installed_versions
from waterflow_cli.health import LIBRARIES
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.spark.remote import expected_versions
from waterflow_cli.training.runs.record import deciding_versions


def test_what_is_not_installed_has_no_version():
    assert installed_versions(("numpy", "no-such-thing")) == {"numpy": version("numpy")}


def test_all_that_lists_libraries_lists_those_that_decide_a_score():
    for listed in (TRAINING, LIBRARIES, expected_versions(), deciding_versions(load_plugin("rf"))):
        assert set(PORTABLE) < set(SCORING) <= set(listed)
