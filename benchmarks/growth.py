"""Whether the cost of odd text grows with its size, and no faster.

    python benchmarks/growth.py --kb 400

Writes each kind of odd text at a size and at ten times it, runs `waterflow validate` on both, and
compares the CPU seconds beyond those that a file of two rows takes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import WATERFLOW, Cost, describe_machine, print_check, run_once

NAMES = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity"
)
ROW = "7.1,180,20000,7,333,426,14,66,4"
# A start of the command costs some hundredths of a second more or less each time.
LEAST_S, MOST_TIMES = 0.1, 12


def repeated(text: str) -> Callable[[int], str]:
    """Fill a size with one text."""
    return lambda size: text * (size // len(text.encode()))


def header(name: Callable[[int], str]) -> Callable[[int], str]:
    """Put a text into the name of a column."""
    return lambda size: f"{name(size)},{NAMES}\n" + f"1,{ROW}\n" * 2


def cell(text: Callable[[int], str], *, column: int = 4) -> Callable[[int], str]:
    """Put a text into a cell."""

    def make(size: int) -> str:
        cells = ROW.split(",")
        cells[column] = text(size)
        return f"{NAMES}\n{ROW}\n{','.join(cells)}\n{ROW}\n"

    return make


def cells(text: str) -> Callable[[int], str]:
    """Put a short text into a cell of each row."""
    start, end = ROW.split(",333,")
    return lambda size: f"{NAMES}\n" + repeated(f"{start},{text},{end}\n")(size)


def further(text: str) -> Callable[[int], str]:
    """Put a short text into each row of a column that nothing reads."""
    return lambda size: f"{NAMES},remark\n" + repeated(f"{ROW},{text}\n")(size)


def below(text: Callable[[int], str]) -> Callable[[int], str]:
    """Put a text below the rows."""
    return lambda size: f"{NAMES}\n{ROW}\n{ROW}\n{text(size)}"


def above(text: Callable[[int], str]) -> Callable[[int], str]:
    """Put a text above the header."""
    return lambda size: f"{text(size)}\n{NAMES}\n{ROW}\n{ROW}\n"


def columns(name: str) -> Callable[[int], str]:
    """Make so many columns as fit, each with its number in its name."""

    def make(size: int) -> str:
        n_columns = size // (len(name.encode()) + 9)
        names = ",".join(f"{name}{number:06}" for number in range(n_columns))
        return f"{NAMES},{names}\n{ROW}{',1' * n_columns}\n"

    return make


LONG = {
    "a": "a",
    "digits": "1",
    "digits and gaps": "1 ",
    "groups": " 111",
    "points": "1.",
    "commas and digits": "1,",
    "grouped by commas": ",111",
    "exponents": "1e9999 ",
    "nines": "e9",
    "signs": "+-",
    "below signs": "<",
    "spaces": " ",
    "no-break spaces": "\u00a0",
    "tabs": "\t",
    "underscores": "_",
    "gaps": "ph _",
    "words": "Sulfate ",
    "words by underscores": "Sulfate_",
    "units": "mg/L ",
    "degrees": "°f",
    "opening brackets": "(",
    "brackets": "()",
    "brackets and units": "Sulfate (mg/L) ",
    "square brackets": "[mg/L] [",
    "plus minus": "+ / - ",
    "accents": "e\u0301",
    "capital mu": "Μm",
    "closing brackets": ")",
    "quotes": '"',
    "quotes in text": 'a"b',
    "quoted": '"a",',
    "quoted, spaces": '"a" ',
    "semicolons": ";",
    "bars and commas": "|,",
    "lines": "a\n",
    "returns": "a\r",
    "line ends": "\n",
    "blank lines": " \n",
    "labels": "Source: a\n",
    "hashes": "#",
    "comments": "# a\n",
    "titles": "Sulfate of the river\n",
    "titles with units": "in mg/L\n",
    "titles with commas": "ph,Sulfate\n",
    "quoted lines": '"a\n"\n',
    "numbers": "7.1,180\n",
    "slashes": "/",
    "markup": "<a>",
    "braces": "{}",
    "braces and spaces": "{} ",
    "braced lists": "[{",
    "NUL bytes": "\0",
    "not detected": "ND",
    "dates": "2024-01-01 ",
    "cp1252": "é",
    "Greek": "Ωμ",
    "surrogates": "\U0001f600",
}
SHORT = {
    "stray quotes": '"3"3',
    "one quote": '3"',
    "quoted line ends": '"3\n3"',
    "NUL": "3\0",
    "non-detects": "<0.5",
    "groups": "1 111 111",
    "long numbers": "1" * 1000,
    "long exponents": "1e" + "9" * 1000,
    "units": "3 mg/L",
    "brackets": "3 (" * 200,
    "qualifiers": "0.5 U",
    "words": "not measured ",
    "spaces": " " * 500 + "3",
    "more cells": "3,3",
    "summary": "Mean",
}
KINDS: dict[str, Callable[[int], str]] = {
    **{f"header of {name}": header(repeated(text)) for name, text in LONG.items()},
    **{f"nothing but {name}": repeated(text) for name, text in LONG.items()},
    **{f"cell of {name}": cell(repeated(text)) for name, text in LONG.items()},
    **{f"first cell of {name}": cell(repeated(text), column=0) for name, text in LONG.items()},
    **{f"above the header: {name}": above(repeated(text)) for name, text in LONG.items()},
    **{f"below the rows: {name}": below(repeated(text)) for name, text in LONG.items()},
    **{f"rows with {name}": cells(text) for name, text in SHORT.items()},
    **{f"remarks with {name}": further(text) for name, text in SHORT.items()},
    **{f"columns named {name[:20]}": columns(name) for name in ("a", "Sulfate_x" * 20, "(mg/L) _")},
    "a quote that never closes": lambda size: f'{NAMES}\n"{ROW}\n' + f"{ROW}\n" * (size // 32),
    "a quote that never closes, below": lambda size: (
        f"{NAMES}\n" + f"{ROW}\n" * (size // 32) + '"a\n'
    ),
    "a quoted name that never closes": lambda size: f'"a,{NAMES}\n' + f"{ROW}\n" * (size // 32),
    "sep= and commas": lambda size: "sep=," + "," * size + f"\n{NAMES}\n{ROW}\n",
}


def measure(kind: str, size: int, folder: Path, encoding: str) -> Cost:
    """Validate a text of one kind and size."""
    path = folder / "odd.csv"
    path.write_bytes(KINDS[kind](size).encode(encoding, "replace"))
    return run_once((*WATERFLOW, "validate", path.name), folder=folder, ok=(0, 1, 3))


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kb", type=int, default=400, help="the smaller size")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--encoding", default="utf-8")
    options = parser.parse_args()
    print(f"{describe_machine()}\n")
    slow = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain.csv").write_text(f"{NAMES}\n{ROW}\n{ROW}\n")
        plain = (*WATERFLOW, "validate", "plain.csv")
        least = min(run_once(plain, folder=folder).cpu_s for _ in range(5))
        kinds = [each for each in KINDS if options.only in each]
        for kind in kinds:
            small, large = (
                measure(kind, times * options.kb * 1000, folder, options.encoding)
                for times in (1, 10)
            )
            ratio = (large.cpu_s - least) / max(small.cpu_s - least, LEAST_S)
            slow += ratio > MOST_TIMES
            shown = f"{small.cpu_s:.2f} s, {large.cpu_s:.2f} s, {large.peak_mb:.0f} MB"
            print_check(f"{kind} ({shown})", ratio, MOST_TIMES)
            import sys

            sys.stdout.flush()
    print(f"\n{len(kinds)} kinds; {slow} grow faster than their size")


if __name__ == "__main__":
    main()
