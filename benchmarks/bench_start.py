"""What the commands cost that only look at what is here.

    python benchmarks/bench_start.py --runs 5

Trains two versions on simulated samples, and prints Markdown tables of CPU seconds, wall time and
peak memory.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

COMMANDS = ("models list", "models history", "plugins list", "doctor", "--help", "--version")
MOST_CPU_S = 0.5


def prepare(folder: Path) -> None:
    """Make a store with two versions."""
    run_once((*WATERFLOW, "simulate", "--rows", "600", "-o", "train.csv"), folder=folder)
    for seed in ("0", "1"):
        quick = ("--plugin", "hgb", "--cv", "3x1", "--seed", seed, "-q")
        run_once((*WATERFLOW, "train", "train.csv", *quick), folder=folder)


def main() -> None:
    """Measure each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(describe_machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder)
        commands = {each: (*WATERFLOW, *each.split()) for each in COMMANDS}
        costs = run_all(commands, folder=folder, runs=runs)
    print_costs("Looking at what is here", costs, reference="--version")
    for name, cost in costs.items():
        print_check(f"CPU s, {name}", cost.cpu_s, MOST_CPU_S)


if __name__ == "__main__":
    main()
