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
        return
    values, checker = read(out, ReadingOptions())
    assert checker.columns["Hardness"] == "Hardness (°f)"
    assert values["Hardness"] == [200, 210]
    if suffix == "csv":
        header, first, *_ = Path(out).read_text("utf-8").splitlines()
        assert header.startswith(columns.replace("Hardness", "Hardness (°f)"))
        assert first.startswith(rows[0])
