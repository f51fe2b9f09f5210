"""What it costs to read a file as laboratories write it, beside the same rows written plainly.

    python benchmarks/bench_dialects.py --rows 1000000 --runs 3

Each file holds the same samples, made with `waterflow simulate`; `waterflow validate` reads it with
one job. A user's other way is pandas with every option set by hand.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import PYTHON, WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

NO_BREAK, NARROW = "\u00a0", "\u202f"
UNITS = ("", "", "", "pH", "mg/L", "mg/L", "mg/L", "mg/L", "mS/cm", "mg/L", "mg/L", "NTU", "")
READ_BY_HAND = (
    "import pandas as pd; pd.read_csv('excel.csv', sep=';', decimal=',', thousands='\\u00a0', "
    "encoding='cp1252')"
)


def french(cell: str, group: str) -> str:
    """Write a number with a decimal comma and grouped thousands; leave other text alone."""
    whole, point, rest = cell.partition(".")
    if not whole.isdigit() or not (rest.isdigit() or not point):
        return cell
    return f"{int(whole):,}".replace(",", group) + ("," + rest if rest else "")


def thousandth(cell: str) -> str:
    """Write a number in the unit that is a thousand times as large."""
    return f"{float(cell) / 1000!r}" if cell else cell


def excel(row: list[str]) -> list[str]:
    """Write a row as French Excel does in its old encoding."""
    return [*row[:3], *(french(cell, NO_BREAK) for cell in row[3:])]


def modern(row: list[str]) -> list[str]:
    """Write a row as French software does in Unicode."""
    return [*row[:3], *(french(cell, NARROW) for cell in row[3:])]


def converted(row: list[str]) -> list[str]:
    """Write conductivity in mS/cm and trihalomethanes in mg/L."""
    return [*row[:8], thousandth(row[8]), row[9], thousandth(row[10]), *row[11:]]


def write(
    folder: Path, name: str, encoding: str, sep: str, end: str, change: Callable[..., list[str]]
) -> None:
    """Write the plain file's rows in another way."""
    with (folder / "plain.csv").open(newline="") as source:
        rows = csv.reader(source)
        header = next(rows)
        with (folder / name).open("w", encoding=encoding, newline="") as target:
            writer = csv.writer(target, delimiter=sep, lineterminator=end)
            writer.writerow(header)
            if change is converted:
                writer.writerow(UNITS[: len(header)])
            writer.writerows(map(change, rows))


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """Write each file; yield its name and what it is."""
    for name, what, encoding, sep, end, change in (
        ("excel.csv", "cp1252, ';', decimal comma, U+00A0", "cp1252", ";", "\r\n", excel),
        ("modern.csv", "UTF-8, BOM, ';', decimal comma, U+202F", "utf-8-sig", ";", "\r\n", modern),
        ("utf16.csv", "UTF-16, tab, decimal comma, U+202F", "utf-16", "\t", "\r\n", modern),
        ("units.csv", "a row of units, two columns converted", "utf-8", ",", "\n", converted),
    ):
        write(folder, name, encoding, sep, end, change)
        yield name, what


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        simulate = (*WATERFLOW, "simulate", "--rows", str(options.rows), "--seed", "5")
        run_once((*simulate, "-o", "plain.csv"), folder=folder)
        made = dict(files(folder))
        print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.")
        validate = (*WATERFLOW, "validate", "--jobs", "1", "-q")
        plain = "the plain file"
        costs = run_all(
            {
                plain: (*validate, "plain.csv"),
                **{what: (*validate, name) for name, what in made.items()},
                "pandas, options by hand": (PYTHON, "-c", READ_BY_HAND),
            },
            folder=folder,
            runs=options.runs,
        )
        print_costs("waterflow validate, 1 job", costs, reference=plain)
        print()
        for what in made.values():
            print_check(f"CPU, {what} / plain", costs[what].cpu_s / costs[plain].cpu_s, 1.5)
        largest = max(costs[what].peak_mb for what in made.values())
        print_check("largest peak memory / plain", largest / costs[plain].peak_mb, 1.5)


if __name__ == "__main__":
    main()
