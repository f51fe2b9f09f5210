"""How `waterflow validate` compares with reading the file at all, and with pandera itself.

    python benchmarks/bench_validate.py --rows 5000000 --runs 3

Generates its data with `waterflow simulate`. In the dirty file one measurement in each row of
twenty is what laboratories write: a non-detect, a word, a decimal comma, a value out of range.
pandera is run as its own command if `typer` is installed, which that needs, else by its API.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from measure import PYTHON, WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

RIVALS = (PYTHON, str(Path(__file__).with_name("rivals.py")))
EVERY = 20
BAD = ("<0.5", "abc", "-5", "1e6", '"7,4"', "1.2.3")
# As findings, like the others: else they would count as half of their bound.
NONDETECTS = ("--nondetect", "error")
MEASUREMENTS = range(3, 12)
PANDERA = (
    (PYTHON, "-m", "pandera", "validate", "-s", "water.yaml", "-d", "dirty.csv")
    if find_spec("typer")
    else (*RIVALS, "pandera-validate", "water.yaml", "dirty.csv")
)


def prepare(folder: Path, rows: int) -> None:
    """Make a clean file, and one in which every twentieth row is bad."""
    simulate = (*WATERFLOW, "simulate", "--rows", str(rows), "--seed", "5", "-o", "clean.csv")
    run_once(simulate, folder=folder)
    with (folder / "clean.csv").open() as source, (folder / "dirty.csv").open("w") as target:
        target.write(next(source))
        choice = random.Random(1)
        for number, line in enumerate(source):
            if number % EVERY == 0:
                cells = line.split(",")
                cells[choice.choice(MEASUREMENTS)] = choice.choice(BAD)
                line = ",".join(cells)
            target.write(line)
    with (folder / "dirty.csv").open() as source, (folder / "fifth.csv").open("w") as target:
        target.writelines(islice(source, 1 + rows // 5))
    run_once((*WATERFLOW, "schemas", "show", "water"), folder=folder)
    (folder / "water.yaml").write_bytes((folder / "command.log").read_bytes())


def validate(source: str, jobs: int, *more: str) -> tuple[str, ...]:
    """The command that is measured."""
    return (*WATERFLOW, "validate", source, "--jobs", str(jobs), "-q", *NONDETECTS, *more)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        prepare(folder, options.rows)
        print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.")
        clean = run_all(
            {
                "waterflow validate, 1 job": validate("clean.csv", 1),
                "waterflow validate, 2 jobs": validate("clean.csv", 2),
                "pyarrow.csv.read_csv": (*RIVALS, "read-typed", "clean.csv"),
                "pyarrow.csv.open_csv, all columns as text": (*RIVALS, "read-text", "clean.csv"),
            },
            folder=folder,
            runs=options.runs,
        )
        print_costs("A clean file", clean, reference="pyarrow.csv.read_csv")
        one, _, typed, text = clean.values()
        print()
        print_check("CPU / reading it with pyarrow", one.cpu_s / typed.cpu_s, 2.0)
        print(f"- CPU / reading it as text, in a stream: {one.cpu_s / text.cpu_s:.2f}")
        dirty = run_all(
            {
                "waterflow validate, 1 job": validate("dirty.csv", 1),
                "waterflow validate, 2 jobs": validate("dirty.csv", 2),
                "pandera validate": PANDERA,
            },
            folder=folder,
            runs=options.runs,
            ok=(0, 1),
        )
        print_costs("A file with 5 % bad rows", dirty, reference="pandera validate")
        one, _, pandera = dirty.values()
        print()
        print_check("pandera's CPU / ours", pandera.cpu_s / one.cpu_s, 5.0, at_least=True)
        fifth = run_once(validate("fifth.csv", 1), folder=folder, ok=(1,))
        print_check("peak memory, all rows / a fifth of them", one.peak_mb / fifth.peak_mb, 1.1)
        count_findings(folder, options.rows)


def count_findings(folder: Path, rows: int) -> None:
    """Say how many findings were put in, and how many were found."""
    run_once(validate("dirty.csv", 2, "--json"), folder=folder, ok=(1,))
    found = json.loads((folder / "command.log").read_text())["findings_total"]
    print(f"- findings: {-(-rows // EVERY)} put in, {found} found")


if __name__ == "__main__":
    main()
