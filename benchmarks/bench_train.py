"""What `waterflow train` costs beside the fits that its evaluation needs, and with `--quick`.

    python benchmarks/bench_train.py water_potability.csv

Without a file: on 3000 simulated samples. Prints a Markdown table of CPU seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import WATERFLOW, describe_machine, print_check, run_once

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import make_learner, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.trainer import make_design

SHARE, CONSTANT_S = 1.3, 8.0
QUICK_SHARE = 0.15


def measure_fits(path: str, plugin: str) -> tuple[int, float]:
    """Fit what the evaluation and the final model need, and nothing else: number, CPU seconds."""
    data = load_training_data(path, load_schema("water"))
    options = TrainingOptions()
    design = make_design(data, options)
    learner = make_learner(load_plugin(plugin), data, options)
    unbalanced = make_learner(load_plugin(plugin), data, replace(options, balance="none"))
    fits = [
        (learner, np.flatnonzero(np.isin(block, list(blocks))))
        for block in design.repeats
        for blocks in design.fits()
    ]
    fits.append((learner, np.arange(len(data.y))))
    fits += [
        (unbalanced, np.flatnonzero(np.isin(design.repeats[0], list(design.trains[k]))))
        for k in design.tested
    ]
    start = time.process_time()
    with single_threaded_fits():
        for each, rows in fits:
            each.fit(rows)
    return len(fits), time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--plugin", default="rf")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        path = options.data
        if path is None:
            path = str(folder / "samples.csv")
            run_once((*WATERFLOW, "simulate", "--rows", "3000", "-o", path), folder=folder)
        path = str(Path(path).resolve())
        n_fits, fits_s = measure_fits(path, options.plugin)
        command = (*WATERFLOW, "train", path, "--plugin", options.plugin, "--jobs", "1")
        cost = run_once(command, folder=folder)
        quick = run_once((*command, "--quick"), folder=folder)
    print(f"{describe_machine()}\n")
    print("| plugin | fits | CPU s of the fits | CPU s of the command | wall s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {options.plugin} | {n_fits} | {fits_s:.1f} | {cost.cpu_s:.1f} | {cost.wall_s:.1f} | "
        f"{cost.peak_mb:.0f} |\n"
    )
    print(f"With --quick: {quick.cpu_s:.1f} CPU s, {quick.wall_s:.1f} s, {quick.peak_mb:.0f} MB.\n")
    print_check("CPU with --quick / without", quick.cpu_s / cost.cpu_s, QUICK_SHARE)
    print_check("CPU / (1.3 x fits + 8 s)", cost.cpu_s / (SHARE * fits_s + CONSTANT_S), 1.0)


if __name__ == "__main__":
    main()
