"""What changes the meaning of a value is understood or named: laws over made-up files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.nondetects import Censored
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.report import ValidationOptions, validate_files
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = load_schema()
# Names in a file, and units with what a value is multiplied with.
NAMES = {
    "ph": ("pH", "ph value"),
    "Hardness": ("Hardness", "TH", "dureté"),
    "Solids": ("TDS", "Solids"),
    "Chloramines": ("Chloramines", "chlore combiné"),
    "Sulfate": ("Sulfate", "SO4", "Sulfates"),
    "Conductivity": ("Conductivity", "EC"),
    "Organic_carbon": ("TOC", "Organic_carbon"),
    "Trihalomethanes": ("THM", "Trihalomethanes"),
    "Turbidity": ("Turbidity",),
}
MASS = {"g/L": 1000.0, "mg/L": 1.0, "µg/L": 0.001, "ug/l": 0.001, "ppm": 1.0}
UNITS: dict[str, Mapping[str, float]] = {
    "ph": {"unité pH": 1.0},
    "Hardness": {**MASS, "°f": 10.0, "mg/L CaCO3": 1.0},
    "Conductivity": {"µS/cm": 1.0, "mS/cm": 1000.0},
    "Trihalomethanes": {unit: 1000 * factor for unit, factor in MASS.items()},
    "Turbidity": {"NTU": 1.0, "FNU": 1.0},
}


def read(path: str, reading: ReadingOptions) -> tuple[dict[str, list[float]], RowChecker]:
    """Read a file's numbers, by column of the schema; NaN where a value is missing."""
    with open_samples(path, SCHEMA, reading) as table:
        checker = RowChecker(SCHEMA, table, reading)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    return {name: values.tolist() for name, values in checked.numbers.items()}, checker


@tried_on(400)
@given(data=st.data())
def test_output_reads_back_with_the_same_values(tmp_path_factory, data):
    """However the units were told: by the header, a row, a profile, an option, or not at all."""
    folder = tmp_path_factory.mktemp("units")
    header, row, options, of_profile, factors = [], [], {}, {}, {}
    has_row = data.draw(st.booleans())
    for name, names in NAMES.items():
        units = UNITS.get(name, MASS)
        column = data.draw(st.sampled_from(names))
        unit = data.draw(st.sampled_from(sorted(units)))
        ways = ["header", "option", "both", *(["row", "row", "all"] if has_row else ["profile"])]
        way = data.draw(st.sampled_from(ways if name != "ph" else ["none"]))
        factors[name] = units[unit]
        if way == "none" or (way == "profile" and column == "TH"):
            way, factors[name] = ("none", 1.0) if name == "ph" else ("header", units[unit])
        other = data.draw(st.sampled_from(sorted(units)))
        told = {"header": unit, "both": other, "all": unit}.get(way, "")
        form = data.draw(st.sampled_from(["{} ({})", "{} [{}]"]))
        header.append(form.format(column, told) if told else column)
        row.append(unit if way in ("row", "all") else "")
        if way in ("option", "both", "all"):
            options[name] = unit
        if way == "profile":
            of_profile[name] = unit
    values = data.draw(
        st.lists(st.lists(st.integers(1, 12), min_size=9, max_size=9), min_size=1, max_size=3)
    )
    path, good, bad, profile = (
        str(folder / f"{name}") for name in ("a.csv", "g.csv", "b.csv", "p.toml")
    )
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        rows = [header, *([row] if any(row) else []), *values]
        csv.writer(file).writerows(rows)
    lines = [f'{name} = "{unit}"' for name, unit in of_profile.items()]
    Path(profile).write_text("\n".join(["[units]", *lines, ""]), "utf-8")
    reading = ReadingOptions(units=options, profile=profile if of_profile else None)
    before, _ = read(path, reading)
    for at, name in enumerate(NAMES):
        expected = [line[at] * factors[name] for line in values]
        np.testing.assert_allclose(before[name], expected, rtol=1e-12)
    validate_files([path], SCHEMA, ValidationOptions(reading=reading, good=good, bad=bad))
    after = [read(each, ReadingOptions())[0] for each in (good, bad) if _has_rows(each)]
    for name, numbers in before.items():
        found = sorted(number for each in after for number in each[name])
        assert found == sorted(numbers), name


def test_unit_of_a_profile_goes_into_the_header_under_the_profile_s_name(tmp_path):
    profile, path, good = (str(tmp_path / name) for name in ("p.toml", "in.csv", "good.csv"))
    Path(profile).write_text('[columns]\nDur = "Hardness"\n[units]\nHardness = "°f"\n', "utf-8")
    names = "pH,Dur,TDS,Chloramines,Sulfate,EC,TOC,THM,Turbidity"
    Path(path).write_text(f"{names}\n7,20,300,1,5,400,1,30,0.2\n", "utf-8")
    reading = ReadingOptions(profile=profile)
    validate_files([path], SCHEMA, ValidationOptions(reading=reading, good=good))
    values, checker = read(good, reading)
    assert checker.columns["Hardness"] == "Dur (°f)"
    assert values["Hardness"] == [200]


def _has_rows(path: str) -> bool:
    return len(Path(path).read_text("utf-8").splitlines()) > 1


@pytest.mark.parametrize("command", ["score", "validate"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_unit_of_a_row_goes_into_the_header_of_outputs(cli, store_uri, workdir, command, suffix):
    columns = "id,pH,Hardness,TDS,Chloramines,Sulfate,EC,TOC,THM,Turbidity"
    rows = ["1,7,20,300,1,5,400,1,30,0.2", "2,7,21,310,1,5,400,1,30,0.2"]
    units = ",,°f,mg/L,mg/L,mg/L,µS/cm,mg/L,µg/L,NTU"
    Path("in.csv").write_text("\n".join([columns, units, *rows, ""]), "utf-8")
    out = f"out.{suffix}"
    if command == "score":
        outcome = cli("score", "in.csv", "-o", out, "--tracking-uri", store_uri)
    else:
        outcome = cli("validate", "in.csv", "--good", out)
    assert outcome.code == 0, outcome.err
    if suffix == "jsonl":
        assert json.loads(Path(out).read_text("utf-8").splitlines()[0])["Hardness (°f)"] == "20"
    values, checker = read(out, ReadingOptions())
    assert checker.columns["Hardness"] == "Hardness (°f)"
    assert values["Hardness"] == [200, 210]
    if suffix == "csv":
        header, first, *_ = Path(out).read_text("utf-8").splitlines()
        assert header.startswith(columns.replace("Hardness", "Hardness (°f)"))
        assert first.startswith(rows[0])


PARTS = {
    "result": ["5", "<5", ">5", ""],
    "unit": ["mg/L", "µg/L", "", "furlong"],
    "qual": ["", "U", "u;J", "R", "J", ">", "> U", "XY", "J XY"],
    "flag": ["", "N", "Y", "?"],
    "limit": ["", "2"],
    "limit_unit": ["", "µg/L"],
}
LONG = """
[results]
sample = ["place"]
parameter = "what"
value = "result"
unit = "unit"
condition = "flag"
qualifier = "qual"
limit = "limit"
limit_unit = "limit_unit"
optional = [{}]
[conditions]
below = ["N"]
[qualifiers]
below = ["U"]
above = [">"]
reject = ["R"]
ignore = ["J"]
"""
FINDING = "a finding"


def meaning_of(row: Mapping[str, str]) -> tuple[str, float] | str | None:
    """Say what a result means: its sign and value in mg/L, a finding, or None for no result."""
    codes = set(row["qual"].upper().replace(";", " ").split())
    if "R" in codes:
        return None
    if "XY" in codes or row["flag"] == "?":
        return FINDING
    sign, number, unit = row["result"][:-1], row["result"][-1:], row["unit"]
    is_below = "U" in codes or row["flag"] == "N"
    if ">" in codes:
        sign = ">"
    elif is_below:
        sign = sign or "<"
    is_of_limit = is_below and sign == "<" and row["result"] in ("", "5")
    if row["limit"] and (is_of_limit or (sign == ">" and not number)):
        number, unit = row["limit"], row["limit_unit"] or unit
    if not number:
        return FINDING if sign == ">" else None
    factor = {"mg/L": 1.0, "µg/L": 0.001}.get(unit)
    return (sign, float(number) * factor) if factor else FINDING


@tried_on(400)
@given(data=st.data())
def test_result_means_what_stands_beside_it_or_is_named(tmp_path_factory, data):
    """A column that the profile names is taken away from some files, allowed to or not."""
    folder = tmp_path_factory.mktemp("long")
    path, profile = str(folder / "a.csv"), str(folder / "p.toml")
    rows = [
        {name: data.draw(st.sampled_from(values)) for name, values in PARTS.items()}
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    absent = data.draw(st.sampled_from(["", "", *PARTS]))
    is_optional = data.draw(st.booleans())
    Path(profile).write_text(LONG.format(f'"{absent}"' if absent and is_optional else ""), "utf-8")
    columns = ["place", "what", *(name for name in PARTS if name != absent)]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for place, row in enumerate(rows):
            blank = dict.fromkeys(PARTS, "")
            writer.writerow({"place": place, "what": "pH", **blank, "result": "7"})
            writer.writerow({"place": place, "what": "Sulfate", **row})
    meanings = [meaning_of({**row, absent: ""}) for row in rows]
    reading = ReadingOptions(profile=profile, nondetect="loq")
    if absent and (not is_optional or absent == "result"):
        with pytest.raises(InputError, match=f"'{absent}' is not in the header"):
            read(path, reading)
        return
    if absent == "unit":
        # A bare sign is no number, but it is something; what is not known of a result is not.
        known = [row for row in rows if "XY" not in row["qual"] and row["flag"] != "?"]
        if any(meaning_of({**row, "unit": "mg/L", "limit_unit": ""}) for row in known):
            with pytest.raises(InputError, match="nothing tells the unit of Sulfate"):
                read(path, reading)
            return
    with open_samples(path, SCHEMA, reading) as table:
        checker = RowChecker(SCHEMA, table, reading)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    assert (f"not in the file: '{absent}'" in checker.reading) == bool(absent)
    assert checked.invalid.tolist() == [meaning == FINDING for meaning in meanings]
    censored = checked.censored.get("Sulfate")
    for at, meaning in enumerate(meanings):
        if isinstance(meaning, tuple):
            sign, value = meaning
            np.testing.assert_allclose(checked.numbers["Sulfate"][at], value)
            told = "" if censored is None else _sign(censored, at)
            assert told == sign
        elif meaning is None:
            assert checked.missing["Sulfate"][at]


BESIDE = ("{}_Q", "{} Qual", "{}_cens", "{} ±", "± {}", "u_{}", "{} uncertainty", "{} (SD)", "{} <")
BESIDE += ("{}.flag", "flag {}", "{} LOQ", "{} detected", "{}_less_than", "Qualificatif {}")
BESIDE += ("{} remarque", "LQ {}", "{}_cd_rmk")


@tried_on(300)
@given(data=st.data())
def test_column_beside_a_measurement_changes_none_and_is_named(tmp_path_factory, data):
    path = str(tmp_path_factory.mktemp("wide") / "a.csv")
    names = {name: data.draw(st.sampled_from(each)) for name, each in NAMES.items()}
    columns = {
        f"{names[name]} (mg/L)" if names[name] == "TH" else names[name]: "7" for name in NAMES
    }
    about = data.draw(st.sampled_from(sorted(NAMES)))
    other = data.draw(st.sampled_from(NAMES[about]))
    beside = data.draw(st.sampled_from(BESIDE)).format(other)
    cell = data.draw(st.sampled_from(["U", "<", "0", "1", "0.3", ""]))
    order = data.draw(st.permutations([*columns, beside]))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        cells = {**columns, beside: cell}
        csv.writer(file).writerows([order, [cells[name] for name in order]])
    values, checker = read(path, ReadingOptions())
    assert values == {name: [7.0] for name in NAMES}
    assert f"NOT READ, though about a measurement: '{beside}'" in checker.reading


@pytest.mark.parametrize("cells", ["<,,U", "ND,,", ">,>,<", "<LQ,,nd", "u,,", ",J,U", "mg/L,,µg/L"])
def test_column_of_signs_or_units_is_named_whatever_it_is_called(tmp_path, cells):
    path = str(tmp_path / "a.csv")
    columns = [each[0] for each in NAMES.values()]
    rows = [[*"777777777", sign] for sign in cells.split(",")]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*columns, "x"], *rows])
    assert "NOT READ, though about a measurement: 'x'" in read(path, ReadingOptions())[1].reading


def _sign(censored: Censored, row: int) -> str:
    return ("<" if censored.below[row] else "") + (">" if censored.above[row] else "")
