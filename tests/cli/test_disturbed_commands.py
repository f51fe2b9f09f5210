"""Signals and failing calls at the steps with which commands end: what they say of it is true."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product

import pytest
from paths import ROOT

COMMANDS = ("score", "validate", "train", "promote", "retrain", "import", "explore")


@pytest.mark.slow
def test_disturbed_at_its_end_a_command_says_what_is_in_place():
    """Each signal, and failing calls of each part of the end, at steps that are chosen evenly.

    All steps, and the calls of the system too, are for a run by hand, of an hour or more::

        python tests/disturbed.py --tries 9999 --kinds signals,failures
        python tests/disturbed.py --tries 200 --kinds system-signals,system-failures
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "disturbed.py"), "--tries", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^(\w+): (\d+) (\w+) at \d+ steps, 0 faults$", done.stdout, re.MULTILINE)
    tries = {(name, kind): int(n) for name, n, kind in found}
    assert set(tries) == set(product(COMMANDS, ("signals", "failures")))
    assert min(tries.values()) >= 1
