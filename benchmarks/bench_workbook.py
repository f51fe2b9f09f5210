"""What it costs to validate a workbook, beside bare calls of the library that reads it.

    python benchmarks/bench_workbook.py --rows 100000 --runs 5

Both read the same simulated samples, written as .xlsx by waterflow itself, in one process and in
turn; the start of Python and the imports count for neither. Beside them: the same rows as CSV, and
what writing them as .xlsx costs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as pa_csv
from measure import describe_machine
from python_calamine import load_workbook

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.tables.writing import open_table_writer
from waterflow_cli.validation.report import ValidationOptions, validate_files


def cpu_s(call: Callable[[], object]) -> float:
    """Measure the CPU seconds of a call, those of its threads too."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Measure in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(describe_machine())
    schema = load_schema("water")
    with tempfile.TemporaryDirectory() as folder:
        book, text, copy = (str(Path(folder) / name) for name in ("a.xlsx", "a.csv", "b.xlsx"))
        for path in (text, book):
            write_simulation(path, arguments.rows, seed=1)
        table = pa_csv.read_csv(text).to_batches()

        def write() -> None:
            with Path(copy).open("wb") as sink, open_table_writer(copy, sink) as writer:
                for batch in table:
                    writer.write(dict(zip(batch.schema.names, batch.columns, strict=True)))

        ways: dict[str, Callable[[], object]] = {
            "calamine alone": lambda: load_workbook(book).get_sheet_by_index(0).to_python(),
            "validate a.xlsx": lambda: validate_files([book], schema, ValidationOptions()),
            "validate a.csv": lambda: validate_files([text], schema, ValidationOptions()),
            "write b.xlsx": write,
        }
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.runs + 1):  # the first warms up
            for name, call in ways.items():
                costs[name].append(cpu_s(call))
    alone = statistics.median(costs["calamine alone"][1:])
    for name, seconds in costs.items():
        median = statistics.median(seconds[1:])
        print(f"{name:<16} {median:6.2f} CPU s  {median / alone:5.2f} times calamine alone")


if __name__ == "__main__":
    main()
