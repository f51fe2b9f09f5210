"""Run commands, and measure what they cost: CPU seconds, wall time, peak memory."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PYTHON = sys.executable
WATERFLOW = (PYTHON, "-m", "waterflow_cli")


@dataclass(frozen=True)
class Cost:
    """What a command cost, with what its children cost.

    Attributes
    ----------
    cpu_s, wall_s : float
        Seconds.
    peak_mb : float
        Peak resident memory of the largest process, in MB.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float


def run_once(command: Sequence[str], *, folder: Path, ok: tuple[int, ...] = (0,)) -> Cost:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        If its exit code is none of the expected ones; its output is in the message.
    """
    log = folder / "command.log"
    with log.open("wb") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in ok:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{log.read_text()[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def run_all(
    commands: dict[str, Sequence[str]],
    *,
    folder: Path,
    runs: int,
    ok: tuple[int, ...] = (0,),
    outputs: Sequence[str] = (),
) -> dict[str, Cost]:
    """Run each command some times, taking turns, and give the medians.

    Taking turns spreads what else the machine does over all commands. The outputs are removed
    before each run: to free the blocks of a large file can take the disk a second.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs):
        for name, command in commands.items():
            for output in outputs:
                (folder / output).unlink(missing_ok=True)
            costs[name].append(run_once(command, folder=folder, ok=ok))
            print(f"run {number + 1} of {runs}: {name}: {costs[name][-1]}", file=sys.stderr)
    return {name: _median(each) for name, each in costs.items()}


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
    )


def print_costs(title: str, costs: dict[str, Cost], *, reference: str) -> None:
    """Print a Markdown table; ratios are to the reference's CPU seconds."""
    print(f"\n### {title}\n")
    print("| command | CPU s | wall s | peak MB | CPU / reference |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, cost in costs.items():
        ratio = cost.cpu_s / costs[reference].cpu_s
        print(
            f"| {name} | {cost.cpu_s:.2f} | {cost.wall_s:.2f} | {cost.peak_mb:.0f} | {ratio:.2f} |"
        )


def print_check(claim: str, value: float, bound: float, *, at_least: bool = False) -> None:
    """Print whether a ratio keeps its bound."""
    holds = value >= bound if at_least else value <= bound
    sign = "at least" if at_least else "at most"
    print(f"- {'holds' if holds else 'DOES NOT HOLD'}: {claim}: {value:.2f} ({sign} {bound:g})")


def describe_machine() -> str:
    """Say what the figures were measured on."""
    names = ("waterflow", "scikit-learn", "mlflow", "pandas", "pyarrow", "pandera", "numba")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    cores = len(os.sched_getaffinity(0))
    return f"Python {platform.python_version()}, {versions}; {cores} cores of {model}."
