"""Signals and failing calls at the steps with which commands end: what they say of it is true."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from paths import ROOT


def disturb(*options):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "disturbed.py"), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        (name, kind): int(n)
        for name, n, kind in re.findall(
            r"^(\w+): (\d+) (\w+), 0 faults$", done.stdout, re.MULTILINE
        )
    }


def test_disturbed_at_a_few_steps_a_command_says_what_is_in_place():
    tries = disturb("--commands", "score,train", "--tries", "2")
    assert len(tries) == 4
    assert min(tries.values()) >= 2


@pytest.mark.slow
def test_disturbed_at_many_steps_a_command_says_what_is_in_place():
    # Without the failing calls of import: the harness loses the files of its model between two
    # points, and cannot judge them.
    failing = "score,validate,train,promote,retrain,explore"
    tries = disturb("--tries", "12", "--kinds", "signals")
    tries |= disturb("--tries", "12", "--kinds", "failures", "--commands", failing)
    assert len(tries) == 13
    assert sum(tries.values()) > 200
