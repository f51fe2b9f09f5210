"""No value of an option, however odd, meets a defect."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.slow
def test_commands_with_odd_values_meet_no_defect(workdir):
    fuzz = [sys.executable, ROOT / "benchmarks" / "fuzz_commands.py", "--number", "100"]
    done = subprocess.run(fuzz, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("100 commands")
