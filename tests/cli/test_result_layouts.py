"""Tables of results in each layout: the same values as in a table of samples, or a refusal."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from layouts import LAYOUTS, REMARKED, SPECIATED, WITHOUT_ABOVE, Result, write_results
from paths import ROOT

from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = load_schema()
MASS = {"mg/L": "1", "µg/L": "0.001", "ug/l": "0.001", "ppm": "1"}
# By measurement: plausible values in the schema's unit, and units with what they are of it.
UNITS = {
    "ph": ((6, 9), {"pH": "1", "std units": "1", "SU": "1", "": "1"}),
    "Hardness": ((50, 400), {**MASS, "mg{CaCO3}/L": "1", "°f": "10", "°dH": "17.85"}),
    "Solids": ((100, 900), MASS),
    "Chloramines": ((1, 4), MASS),
    "Sulfate": ((5, 300), {**MASS, "mg(SO4)/L": "1"}),
    "Conductivity": ((100, 900), {"µS/cm": "1", "uS/cm @25C": "1", "mS/cm": "1000"}),
    "Organic_carbon": ((1, 9), MASS),
    "Trihalomethanes": ((1, 90), {unit: str(1000 * Decimal(of)) for unit, of in MASS.items()}),
    "Turbidity": ((1, 9), {"NTU": "1", "FNU": "1"}),
}
ODD_UNITS = ("grains", "mg/kg", "mg/L as N", "")


def read(path: str, **options: object) -> CheckedBatch:
    reading = ReadingOptions(nondetect="loq", **options)  # type: ignore[arg-type]
    with open_samples(path, SCHEMA, reading) as table:
        checker = RowChecker(SCHEMA, table, reading)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    return checked


@st.composite
def results(draw: st.DrawFn, layout: str) -> list[tuple[Result, float, str]]:
    """Draw results, each with its value in the schema's unit and what is odd about it."""
    names = [name for name in UNITS if layout not in ("waterbase",) or name != "Chloramines"]
    drawn = []
    ids = st.from_regex(r"[AZ09é]([ -]?[AZ09é]){0,4}", fullmatch=True)
    for sample in draw(st.lists(ids, unique=True, min_size=1, max_size=4)):
        for name in draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=4)):
            (low, high), units = UNITS[name]
            value = Decimal(draw(st.integers(low * 100, high * 100))) / 100
            unit = draw(st.sampled_from(sorted(units)))
            signs = ["", "", "<"] if layout in WITHOUT_ABOVE else ["", "", "<", ">"]
            sign = draw(st.sampled_from(signs))
            if name == "Chloramines" and layout in ("hubeau", "sise-eaux"):
                sign = ""
            written = format(value / Decimal(units[unit]), "f")
            one = Result(sample, name, written, unit, sign)
            odd = draw(st.sampled_from(["", "", "", "unit", "speciation", "remark"]))
            if odd == "unit" and name == "Sulfate":
                one = one._replace(unit=draw(st.sampled_from(ODD_UNITS)))
            elif odd == "speciation" and name == "Sulfate" and layout in SPECIATED:
                one = one._replace(speciation=draw(st.sampled_from(["as S", "as N"])))
            elif odd == "remark" and layout in REMARKED:
                one = one._replace(remark="zzz")
            else:
                odd = ""
            drawn.append((one, float(value), odd))
    return draw(st.permutations(drawn))


@pytest.mark.parametrize("layout", LAYOUTS)
@tried_on(120)
@given(data=st.data())
def test_values_come_back_or_what_is_odd_is_named(tmp_path_factory, layout, data):
    drawn = data.draw(results(layout))
    path = write_results(
        tmp_path_factory.mktemp("layout") / "r.csv", layout, [one for one, _, _ in drawn]
    )
    checked = read(path)
    key = next(iter(checked.batch.columns))
    at = {sample: row for row, sample in enumerate(checked.batch.columns[key].to_pylist())}
    assert set(at) == {one.sample for one, _, _ in drawn}
    odd = {one.sample for one, _, what in drawn if what}
    assert {sample for sample, row in at.items() if checked.invalid[row]} == odd
    named = {"unknown_unit", "missing_unit", "unknown_qualifier"}
    assert {each.rule for each in checked.findings()} <= named
    seen = 0
    for one, value, _ in drawn:
        if one.sample in odd:
            continue
        row = at[one.sample]
        assert checked.numbers[one.measurement][row] == pytest.approx(value, rel=1e-12)
        bounds = checked.censored.get(one.measurement)
        is_below = bounds is not None and bool(bounds.below[row])
        is_above = bounds is not None and bool(bounds.above[row])
        assert (is_below, is_above) == (one.sign == "<", one.sign == ">")
        seen += 1
    n_filled = sum(
        int(np.isfinite(checked.numbers[name][at[sample]]))
        for name in UNITS
        for sample in set(at) - odd
    )
    assert n_filled == seen  # nothing comes from nowhere


IN_LAYOUT = {**SCHEMA.units, "Hardness": "mg(CaCO3)/L"}


def results_of(table: Path, n_rows: int | None) -> list[Result]:
    """Give the cells of a table of samples as results, in the schema's units."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))[:n_rows]
    return [
        Result(f"S{number:05}", name, row[name], IN_LAYOUT[name])
        for number, row in enumerate(rows)
        for name in SCHEMA.measurements
        if row[name]
    ]


def comes_back(table: Path, layout: str, n_rows: int | None, folder: Path) -> None:
    """Compare the numbers of a table with those of the same in a layout, bit by bit."""
    path = write_results(folder / f"{layout}.csv", layout, results_of(table, n_rows))
    found = read(path)
    plain = folder / "plain.csv"
    lines = table.read_text("utf-8").splitlines(keepends=True)
    plain.write_text("".join(lines[: None if n_rows is None else n_rows + 1]), "utf-8")
    expected = read(str(plain))
    held = np.logical_or.reduce([np.isfinite(each) for each in expected.numbers.values()])
    for name in SCHEMA.measurements:
        np.testing.assert_array_equal(found.numbers[name], expected.numbers[name][held], name)


@pytest.mark.real_data
@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_table_comes_back_to_the_last_digit(real_table, tmp_path, layout):
    comes_back(real_table, layout, 200, tmp_path)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_real_table_comes_back_to_the_last_digit(real_table, tmp_path, layout):
    comes_back(real_table, layout, None, tmp_path)


CASES = ROOT.parent / "shared" / "cases"
WQP = "F11_usgs_field_and_lab_pH.csv"
# Arguments of validate, the exit code, and what is said; files of cases by their names.
SAID = [
    ("F01_hubeau_without_unit_column.csv", 3, "column 'libelle_unite' is not in the header"),
    ("F01_profile_unit_typo.csv --profile F01_profile_unit_typo.toml", 3, "'res_units'"),
    ("F02_wqp_qualifier_U.csv", 0, "Non-detects: Sulfate 1"),
    (
        "F03_above_in_qualifier_column.csv --profile F03_above_in_qualifier_column.toml",
        *(0, "Above the range: Sulfate 1"),
    ),
    (
        "F04_narrow_qualifier_not_in_profile.csv "
        "--profile F04_narrow_qualifier_not_in_profile.toml",
        *(0, "NOT READ, though about a measurement: 'resultQualifier.notation'"),
    ),
    ("F04_wide_qualifier_Q.csv", 0, "'Sulfate_Q', 'TOC_cens', 'Turbidity Qual'"),
    ("F05_unknown_detection_condition.csv", 1, "Turbidity in line 2"),
    ("F06_hubeau_blank_unit.csv", 1, "Hardness in line 3: no unit is named, and it decides"),
    ("F09_equis_SU.csv", 0, "as equis, recognised by its header"),
    ("F09_equis_SU.csv --profile F09_equis_SU.toml", 0, "Non-detects: Sulfate 1"),
    ("F09_german_dH.csv", 0, "'Hardness (°dH)' as Hardness (°dH to mg/L CaCO3)"),
    (
        "F10_depth_partly_empty.csv --profile F10_depth_partly_empty.toml",
        *(1, "ActivityDepthHeightMeasure/MeasureValue is empty"),
    ),
    (WQP, 1, "ph is 7.1 in line 2 and 7.4 in line 3"),
    (f"{WQP} --duplicates prefer=USGSPCode:00403", 0, "1 set aside"),
    (f"{WQP} --duplicates mean", 0, "1 set aside"),
    ("F20_long_table_hint.csv", 3, "waterflow profiles list, or profiles new"),
]


@pytest.mark.parametrize(("line", "code", "said"), SAID, ids=[line for line, _, _ in SAID])
def test_files_that_went_wrong_give_what_is_right(cli, line, code, said):
    if not CASES.is_dir():
        pytest.skip("the shared cases are not beside this folder")
    words = [str(CASES / word) if (CASES / word).is_file() else word for word in line.split()]
    done = cli("validate", *words)
    assert done.code == code
    assert said in " ".join(f"{done.out} {done.err}".split())


@pytest.mark.slow
@pytest.mark.real_data
def test_scores_of_each_layout_are_those_of_the_table_of_samples(cli, real_table, store_uri):
    lines = real_table.read_text("utf-8").splitlines(keepends=True)[:201]
    Path("plain.csv").write_text("".join(lines), "utf-8")

    def probabilities(path: str) -> list[str]:
        done = cli("score", path, "-o", f"out-{path}", "--tracking-uri", store_uri)
        assert done.code == 0
        with Path(f"out-{path}").open(newline="") as file:
            return [row["probability"] for row in csv.DictReader(file)]

    expected = probabilities("plain.csv")
    for layout in LAYOUTS:
        write_results(Path(f"{layout}.csv"), layout, results_of(Path("plain.csv"), None))
        assert probabilities(f"{layout}.csv") == expected
