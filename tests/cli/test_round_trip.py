"""Any table in any dialect comes back as it was, or is refused by naming what would decide."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, reject
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError, WaterflowError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = parse_schema(
    """
metadata:
  units: {ph: pH, Sulfate: mg/L, Trihalomethanes: µg/L, Conductivity: µS/cm}
  aliases: {Trihalomethanes: [THM, trihalométhanes], Conductivity: [conductivité]}
columns:
  ph: {dtype: float64, nullable: true, required: false}
  Sulfate: {dtype: float64, nullable: true, required: false}
  Trihalomethanes: {dtype: float64, nullable: true, required: false}
  Conductivity: {dtype: float64, nullable: true, required: false}
""",
    "round_trip.yaml",
)
# Each column's names in files, and its units with their factor to the schema's.
NAMES = {
    "ph": ("ph", "pH"),
    "Sulfate": ("Sulfate", "SULFATE"),
    "Trihalomethanes": ("THM", "Trihalométhanes"),
    "Conductivity": ("Conductivity", "Conductivité"),
}
UNITS: dict[str, dict[str, Fraction]] = {
    "ph": {"": Fraction(1), "pH": Fraction(1)},
    "Sulfate": {"": Fraction(1), "mg/L": Fraction(1), "µg/L": Fraction(1, 1000)},
    "Trihalomethanes": {"": Fraction(1), "µg/L": Fraction(1), "mg/L": Fraction(1000)},
    "Conductivity": {"": Fraction(1), "mS/cm": Fraction(1000), "µS/cm": Fraction(1)},
}
TITLES = ("# fait à la main", "Analyses de la semaine 12", "", "Laboratoire : Brest")


@dataclass(frozen=True)
class Cell:
    """A measurement: a decimal number, a sign before it, or nothing."""

    digits: str = ""
    sign: str = ""
    missing: str = ""

    @property
    def value(self) -> float:
        """Give what is read of the cell in its own unit, where non-detects count as half."""
        if not self.digits:
            return math.nan
        return float(self.digits) * (0.5 if self.is_below else 1.0)

    @property
    def is_below(self) -> bool:
        return bool(self.digits) and ("<" in self.sign or "≤" in self.sign)


@dataclass(frozen=True)
class Writing:
    """How a table is written."""

    encoding: str = "utf-8"
    sep: str = ","
    decimal: str = "."
    thousands: str = ""
    line_end: str = "\n"
    titles: tuple[str, ...] = ()
    tells_sep: bool = False
    has_units_row: bool = False
    quoting: int = csv.QUOTE_MINIMAL

    def number(self, digits: str) -> str:
        whole, point, fraction = digits.partition(".")
        sign = "-" if whole.startswith("-") else ""
        grouped = f"{int(whole):,}".lstrip("-") if self.thousands else whole.lstrip("-")
        return (
            sign + grouped.replace(",", self.thousands) + (self.decimal if point else "") + fraction
        )

    def cell(self, cell: Cell) -> str:
        return cell.sign + self.number(cell.digits) if cell.digits else cell.missing

    def options(self) -> ReadingOptions:
        """Say all that a user can say of it."""
        other = self.thousands if self.thousands in (",", ".") else None
        named = {"utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
        return ReadingOptions(
            encoding=named.get(self.encoding, self.encoding),
            sep=self.sep,
            decimal=self.decimal,
            thousands=other,
            header_line=len(self.titles) + self.tells_sep + 1,
        )


@dataclass(frozen=True)
class Samples:
    """A table of measurements."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sites: tuple[str, ...] = ()
    is_french: bool = False

    def write(self, writing: Writing) -> bytes:
        shown = [NAMES[name][self.is_french] for name in self.names]
        if not writing.has_units_row:
            shown = [
                f"{name} ({unit})" if unit else name
                for name, unit in zip(shown, self.units, strict=True)
            ]
        head = [*(["site"] if self.sites else []), *shown]
        lines = [head]
        if writing.has_units_row:
            lines.append([*([""] if self.sites else []), *self.units])
        for number, row in enumerate(self.rows):
            site = [self.sites[number % len(self.sites)]] if self.sites else []
            # Python's writer puts only its own line end between quotes.
            site = [name.replace("\n", writing.line_end) for name in site]
            lines.append([*site, *map(writing.cell, row)])
        text = io.StringIO(newline="")
        if writing.tells_sep:
            text.write(f"sep={writing.sep}{writing.line_end}")
        text.write("".join(title + writing.line_end for title in writing.titles))
        csv.writer(
            text, delimiter=writing.sep, lineterminator=writing.line_end, quoting=writing.quoting
        ).writerows(lines)
        return text.getvalue().encode(writing.encoding)

    def values(self) -> dict[str, list[float]]:
        """Give what each column is in the schema's units."""
        found = {}
        for position, (name, unit) in enumerate(zip(self.names, self.units, strict=True)):
            factor = float(UNITS[name][unit])
            found[name] = [row[position].value * factor for row in self.rows]
        return found

    def below(self) -> dict[str, list[bool]]:
        return {
            name: [row[position].is_below for row in self.rows]
            for position, name in enumerate(self.names)
        }


def decimals() -> st.SearchStrategy[str]:
    whole = st.one_of(
        st.integers(0, 99), st.integers(100, 99_999), st.integers(0, 9_999_999), st.just(-3)
    )
    fraction = st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,6}", fullmatch=True))
    return st.builds(lambda one, other: f"{one}{other}", whole, fraction)


CELLS = st.one_of(
    decimals().map(Cell),
    st.builds(
        Cell,
        decimals().filter(lambda text: not text.startswith("-")),
        st.sampled_from(["<", "< ", "ND<", "ND < ", ">", "≤"]),
    ),
    st.sampled_from(["", "", "NA", "-", "ND", " "]).map(lambda text: Cell(missing=text)),
)
SITES = st.lists(
    st.sampled_from(["A", "Château", "a;b", "c,d", "e|f", "g\th", 'say "x"', "two\nlines", "Nº 1"]),
    max_size=3,
)


@st.composite
def tables(draw: st.DrawFn) -> Samples:
    names = draw(st.lists(st.sampled_from(list(NAMES)), min_size=1, max_size=4, unique=True))
    units = [draw(st.sampled_from(list(UNITS[name]))) for name in names]
    # A row of zeros alone is a finding, whatever it is written with.
    row = st.tuples(*[CELLS] * len(names)).filter(
        lambda cells: (
            all(cell.value != 0 for cell in cells) or any(abs(cell.value) > 0 for cell in cells)
        )
    )
    rows = draw(st.lists(row, min_size=1, max_size=6))
    sites = tuple(draw(SITES))
    return Samples(tuple(names), tuple(units), tuple(rows), sites, draw(st.booleans()))


@st.composite
def writings(draw: st.DrawFn) -> Writing:
    decimal = draw(st.sampled_from(".,"))
    thousands = draw(
        st.sampled_from(["", "", " ", "\u00a0", "\u202f", "'", "’", ",."["., ".index(decimal)]])
    )
    return Writing(
        draw(
            st.sampled_from(
                ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
            )
        ),
        draw(st.sampled_from(",;\t|")),
        decimal,
        thousands,
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        tuple(draw(st.lists(st.sampled_from(TITLES), max_size=3))),
        draw(st.booleans()) and draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )


def is_sayable(table: Samples, writing: Writing) -> bool:
    """Leave out what no reader could know."""
    try:
        table.write(writing)
    except UnicodeEncodeError:
        return False
    if writing.has_units_row and not any(table.units):
        return False
    # A title above a single name looks like any other name.
    if len(table.names) + bool(table.sites) == 1 and writing.titles:
        return False
    cells = [writing.cell(cell) for row in table.rows for cell in row]
    # A point is a decimal point as long as nothing in the file speaks against it.
    return not (
        writing.thousands == "."
        and not any("," in cell for cell in cells)
        and any(cell.count(".") == 1 for cell in cells)
        and not any(cell.count(".") > 1 for cell in cells)
    )


def check(path: Path, options: ReadingOptions, batch_rows: int | None = None) -> list[CheckedBatch]:
    with open_samples(str(path), SCHEMA, options, batch_rows=batch_rows) as table:
        checker = RowChecker(SCHEMA, table, options)
        return [checker.check(batch) for batch in table.batches()]


def gather(batches: list[CheckedBatch]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the values of each column, and which lie below a bound."""
    values = {
        name: np.concatenate([checked.numbers[name] for checked in batches])
        for name in batches[0].numbers
    }
    below = {
        name: np.concatenate(
            [
                checked.censored[name].below
                if name in checked.censored
                else np.zeros(len(checked.batch), dtype=bool)
                for checked in batches
            ]
        )
        for name in values
    }
    return values, below


def assert_equal(batches: list[CheckedBatch], table: Samples) -> None:
    values, below = gather(batches)
    assert set(values) == set(table.names)
    assert [finding.rule for checked in batches for finding in checked.findings()] == []
    for name, expected in table.values().items():
        np.testing.assert_allclose(values[name], expected, rtol=1e-15, atol=0)
        if table.units[table.names.index(name)] in ("", SCHEMA.units[name]):
            np.testing.assert_array_equal(values[name], expected)
        assert below[name].tolist() == table.below()[name]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round") / "samples.csv"


ONE = Samples(("ph",), ("",), ((Cell("7.5"),),))
# The last row ends in an empty cell, and the one above holds nothing.
HOLLOW = Samples(
    ("ph", "Sulfate"), ("", ""), ((Cell("7"), Cell("1")), (Cell(), Cell()), (Cell("6"), Cell()))
)
BELOW = Samples(("Conductivity",), ("",), ((Cell("56.78386", "ND < "),),))
LARGE = Samples(("Conductivity",), ("",), ((Cell("1234567"),), (Cell("12345"),)))
# Most rows are one cell with any separator; one has a comma that may part thousands.
RARELY_GROUPED = Samples(("ph",), ("",), (*[(Cell("7"),)] * 5, (Cell("1000"),)))
FILTERED = [HealthCheck.filter_too_much]


@given(table=tables(), writing=writings())
@example(table=ONE, writing=Writing())
@example(table=ONE, writing=Writing(decimal=","))
@example(table=ONE, writing=Writing("cp1252", ";", ",", line_end="\r\n"))
@example(table=HOLLOW, writing=Writing())
@example(table=HOLLOW, writing=Writing(sep="\t", line_end="\r\n"))
@example(table=BELOW, writing=Writing(decimal=",", quoting=csv.QUOTE_ALL))
@example(table=LARGE, writing=Writing(sep=";", decimal=",", thousands="."))
@example(table=LARGE, writing=Writing(sep=";", decimal=".", thousands=","))
@example(table=RARELY_GROUPED, writing=Writing(sep=";", decimal=".", thousands=","))
@tried_on(250, suppress_health_check=FILTERED)
def test_any_table_in_any_dialect_comes_back_or_is_refused(
    table: Samples, writing: Writing, path: Path
) -> None:
    assume(is_sayable(table, writing))
    path.write_bytes(table.write(writing))
    try:
        batches = check(path, ReadingOptions())
    except InputError as exc:
        told = f"{exc} {exc.hint}"
        assert any(f"--{name}" in told for name in ("decimal", "sep", "encoding")), told
        return
    assert_equal(batches, table)


@given(table=tables(), writing=writings())
@example(table=ONE, writing=Writing(sep=";", decimal=","))
@example(table=HOLLOW, writing=Writing(sep=";", encoding="utf-16"))
@example(table=LARGE, writing=Writing(sep=";", decimal=",", thousands="."))
@tried_on(250, suppress_health_check=FILTERED)
def test_any_table_comes_back_when_its_dialect_is_told(
    table: Samples, writing: Writing, path: Path
) -> None:
    assume(is_sayable(table, writing))
    path.write_bytes(table.write(writing))
    assert_equal(check(path, writing.options()), table)


def read_in_blocks(path: Path, block_bytes: int) -> list[CheckedBatch]:
    with open_table(str(path), SCHEMA.header, block_bytes=block_bytes) as table:
        checker = RowChecker(SCHEMA, table)
        return [checker.check(batch) for batch in table.batches()]


@given(
    table=tables(),
    writing=writings(),
    batch_rows=st.integers(1, 8),
    block_bytes=st.integers(1, 300),
)
@tried_on(150, suppress_health_check=FILTERED)
def test_values_do_not_depend_on_how_a_file_is_cut(
    table: Samples, writing: Writing, batch_rows: int, block_bytes: int, path: Path
) -> None:
    try:
        path.write_bytes(table.write(writing))
    except UnicodeEncodeError:
        reject()
    try:
        whole = check(path, ReadingOptions())
    except InputError as exc:
        with pytest.raises(InputError, match=re.escape(str(exc))):
            read_in_blocks(path, block_bytes)
        return
    expected, below = gather(whole)
    findings = [finding for checked in whole for finding in checked.findings()]
    for cut in (check(path, ReadingOptions(), batch_rows), read_in_blocks(path, block_bytes)):
        values, cut_below = gather(cut)
        for name in expected:
            np.testing.assert_array_equal(values[name], expected[name])
            assert cut_below[name].tolist() == below[name].tolist()
        assert [finding for checked in cut for finding in checked.findings()] == findings


PIECES = [
    "ph",
    "THM",
    "Sulfate",
    " (mg/L)",
    *",;|\t",
    *"\n\n",
    "\r\n",
    "\r",
    "1",
    "7,1",
    "7.1",
    "1,234",
]
PIECES += [
    "1.234,5",
    "<0,5",
    "ND",
    "<LQ",
    "#",
    "sep=;",
    '"',
    "é",
    "µg/L",
    "\0",
    "\ufeff",
    " ",
    "\u00a0",
]


@given(
    start=st.sampled_from(["", "ph;Sulfate\n", "ph,THM (mg/L)\n", "ph\n", "ph|THM|x\n;µg/L;\n"]),
    rest=st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-16-le"]),
    junk=st.binary(max_size=2),
    options=st.sampled_from(
        [
            ReadingOptions(),
            ReadingOptions(decimal=",", nondetect="error"),
            ReadingOptions(sep=";", header_line=2),
            ReadingOptions(encoding="utf-8", loq={"ph": 1.0}),
            ReadingOptions(encoding="utf-16"),
        ]
    ),
)
@tried_on(250, suppress_health_check=FILTERED)
def test_anything_is_read_or_refused_in_one_line(
    start: str, rest: str, encoding: str, junk: bytes, options: ReadingOptions, path: Path
) -> None:
    path.write_bytes((start + rest).encode(encoding, errors="replace") + junk)
    try:
        for checked in check(path, options):
            checked.findings()
    except WaterflowError as exc:
        lines = str(exc).splitlines()
    else:
        return
    assert len(lines) == 1
