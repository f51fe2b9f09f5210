"""Schemas: the bundled one, the user's own, and everything that is refused rather than ignored."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from paths import FAULTY, ROOT

from waterflow_cli.common.errors import PluginError, UsageError, WaterflowError
from waterflow_cli.samples import schemas
from waterflow_cli.samples.schemas import (
    DEFAULT_SCHEMA,
    Kind,
    TableSchema,
    load_schema,
    parse_schema,
    schema_entry_points,
)

MEASUREMENTS = (
    "ph",
    "Hardness",
    "Solids",
    "Chloramines",
    "Sulfate",
    "Conductivity",
    "Organic_carbon",
    "Trihalomethanes",
    "Turbidity",
)
ONE_COLUMN = "columns:\n  ph:\n    dtype: float64\n"

WELLS = """\
name: wells
metadata:
  label: safe
  measurements: [Nitrate, Coliforms]
  min_measurements: 2
  aliases:
    Nitrate: [NO3]
columns:
  Nitrate: {dtype: float64, nullable: true, ge: 0}
  Coliforms: {dtype: Int64, required: false}
  Depth: {dtype: float32}
  Sampled: {dtype: 'datetime64[ns]', required: false}
  Well: {dtype: str, unique: true}
  Remark: {required: false}
  safe: {dtype: int64, isin: [0, 1]}
"""


def parse(text: str) -> TableSchema:
    return parse_schema(text, "mine.yaml")


def with_column(options: str) -> str:
    return f"columns:\n  ph: {{dtype: float64, {options}}}\n"


def refusal_of(text: str) -> WaterflowError:
    with pytest.raises(UsageError, match=r"^Schema mine\.yaml") as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


def test_bundled_schema_is_the_default() -> None:
    schema = load_schema()
    assert schema.name == DEFAULT_SCHEMA == "water"
    assert schema.measurements == MEASUREMENTS
    assert schema.label == "Potability"
    assert schema.required == list(MEASUREMENTS)
    assert schema.min_measurements == 1
    assert not schema.has_unique
    assert set(schema.kinds.values()) == {Kind.NUMBER}


def test_bundled_schema_bounds_every_measurement_and_knows_its_unit() -> None:
    schema = load_schema()
    for name in MEASUREMENTS:
        column = schema.pandera.columns[name]
        assert [check.name for check in column.checks] == ["in_range"]
        assert column.nullable
        assert "(" in str(column.title)
    assert [check.name for check in schema.pandera.columns["Potability"].checks] == ["isin"]


def test_bundled_schema_judges_as_pandera_does() -> None:
    rows = pd.DataFrame({name: [1.0, None, -1.0, 1e9] for name in MEASUREMENTS})
    schema = load_schema().pandera
    assert len(schema.validate(rows.iloc[:2])) == 2
    with pytest.raises(Exception, match="in_range"):
        schema.validate(rows.iloc[2:], lazy=True)


def test_schema_text_and_hash_are_those_of_the_file() -> None:
    path = ROOT / "schemas" / "water.yaml"
    by_name, by_path = load_schema("water"), load_schema(str(path))
    assert by_name.text == path.read_text("utf-8")
    assert by_name.sha256 == by_path.sha256
    assert len(by_name.sha256) == 64
    assert parse(by_name.text + "\n").sha256 != by_name.sha256


def test_wanted_gives_each_column_its_aliases() -> None:
    wanted = parse(WELLS).wanted()
    assert wanted["Nitrate"] == ["NO3"]
    assert wanted["Depth"] == []
    assert list(wanted)[-1] == "safe"


def test_own_schema_may_have_other_columns_and_another_label(tmp_path: Path) -> None:
    path = tmp_path / "wells.yaml"
    path.write_text(WELLS, "utf-8")
    schema = load_schema(str(path))
    assert schema.name == "wells"
    assert schema.label == "safe"
    assert schema.measurements == ("Nitrate", "Coliforms")
    assert schema.min_measurements == 2
    assert schema.required == ["Nitrate", "Depth", "Well", "safe"]
    assert schema.has_unique
    assert schema.kinds == {
        "Nitrate": Kind.NUMBER,
        "Coliforms": Kind.INTEGER,
        "Depth": Kind.NUMBER,
        "Sampled": Kind.DATE,
        "Well": Kind.TEXT,
        "Remark": Kind.TEXT,
        "safe": Kind.INTEGER,
    }


def test_schema_file_needs_no_suffix(tmp_path: Path) -> None:
    path = tmp_path / "wells"
    path.write_text(WELLS, "utf-8")
    assert load_schema(str(path)).label == "safe"


def test_file_named_like_an_installed_schema_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "water").write_text(WELLS, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_schema("water").label == "Potability"
    assert load_schema("./water").label == "safe"


def test_measurements_are_all_numeric_columns_but_the_label_by_default() -> None:
    text = WELLS.replace("  measurements: [Nitrate, Coliforms]\n", "")
    assert parse(text).measurements == ("Nitrate", "Coliforms", "Depth")


def test_schema_without_metadata_has_no_label_and_the_name_of_its_file() -> None:
    schema = parse(ONE_COLUMN)
    assert (schema.label, schema.min_measurements, schema.aliases) == (None, 0, {})
    assert schema.name == "mine"
    assert not schema.has_unique


def test_unique_over_several_columns_counts_as_unique() -> None:
    assert parse(ONE_COLUMN + "unique: [ph]\n").has_unique


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("float", Kind.NUMBER),
        ("float32", Kind.NUMBER),
        ("Float64", Kind.NUMBER),
        ("int", Kind.INTEGER),
        ("int8", Kind.INTEGER),
        ("Int64", Kind.INTEGER),
        ("uint16", Kind.INTEGER),
        ("'datetime64[ns]'", Kind.DATE),
        ("'datetime64[ns, UTC]'", Kind.DATE),
        ("str", Kind.TEXT),
        ("string", Kind.TEXT),
        ("object", Kind.TEXT),
        ("category", Kind.TEXT),
    ],
)
def test_dtype_says_what_the_cells_hold(dtype: str, kind: Kind) -> None:
    assert parse(f"columns:\n  a: {{dtype: {dtype}}}\n").kinds == {"a": kind}


def test_columns_may_be_a_list() -> None:
    schema = parse("columns:\n  - {name: a, dtype: float64, ge: 0}\n  - {name: b, dtype: str}\n")
    assert schema.kinds == {"a": Kind.NUMBER, "b": Kind.TEXT}
    assert len(schema.pandera.columns["a"].checks) == 1


@pytest.mark.parametrize(
    "checks",
    [
        "in_range: {min_value: 0, max_value: 14}",
        "checks: {in_range: {min_value: 0, max_value: 14}}",
    ],
)
def test_checks_may_stand_beside_the_other_keys_or_in_their_own(checks: str) -> None:
    assert [str(c) for c in parse(with_column(checks)).pandera.columns["ph"].checks] == [
        "<Check in_range: in_range(0, 14)>"
    ]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("no_yaml.yaml", "is no YAML"),
        ("empty.csv", "it has no columns"),
        ("no_columns.yaml", "it has no columns"),
        (
            "misspelt_check.yaml",
            r"column ph: 'in_rnage' is no key of a schema\. Did you mean 'in_range'\?",
        ),
        ("label_is_no_column.yaml", "the label 'safe' is none of its columns"),
        ("not_utf8.csv", "cannot be read"),
        ("image.csv", "cannot be read"),
        ("ragged_rows.csv", "it has no columns"),
    ],
)
def test_faulty_schema_file_is_refused(file: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_schema(str(FAULTY / file))
    assert str(FAULTY / file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no columns"),
        ("null", "it has no columns"),
        ("- a\n- b\n", "it has no columns"),
        ("just words", "it has no columns"),
        ("columns: {}\n", "it has no columns"),
        ("columns: [a, b]\n", "is no pandera schema"),
        ("columns: abc\n", "is no pandera schema"),
        ("columns:\n  a:\n", "is no pandera schema"),
        ("columns:\n  - {dtype: float64}\n", "is no pandera schema"),
        ("\tcolumns: 1", "is no YAML"),
        ("columns: \0", "is no YAML"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
        ("columns:\n  1: {dtype: float64}\n", "the column name 1 is not text"),
        ("columns:\n  a: {dtype: nonsense}\n", "is no pandera schema"),
        (with_column("in_range: {min: 0}"), "is no pandera schema"),
        (with_column("in_range: {min_value: 2, max_value: 1}"), "is no pandera schema"),
        (with_column("str_matches: '['"), "is no pandera schema"),
        (with_column("checks: {no_such_check: 1}"), "no_such_check"),
        (ONE_COLUMN + "checks: {no_such_check: 1}\n", "no_such_check"),
        (ONE_COLUMN + "strict: perhaps\n", "is no pandera schema"),
        (ONE_COLUMN + "metadata: [label]\n", "is no pandera schema"),
    ],
)
def test_what_is_no_schema_is_refused(text: str, message: str) -> None:
    assert message in str(refusal_of(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_column("nullabel: true"), "column ph: 'nullabel' is no key of a schema. Did you"),
        (with_column("no_such_check: 1"), "column ph: 'no_such_check' is no key of a schema."),
        ("columns:\n  - {name: a, gee: 1}\n", "column a: 'gee' is no key of a schema."),
        (ONE_COLUMN + "uniqe: [ph]\n", "'uniqe' is no key of a schema. Did you mean 'unique'?"),
        (
            with_column("checks: {ge: 0}, lt: 5"),
            "column ph: pandera passes over 'lt' beside 'checks'.",
        ),
    ],
)
def test_what_pandera_would_pass_over_is_refused(text: str, message: str) -> None:
    assert message in str(refusal_of(text))


@pytest.mark.parametrize(
    ("text", "option"),
    [
        (ONE_COLUMN + "index:\n  - {dtype: int64, name: i}\n", "index"),
        (ONE_COLUMN + "dtype: float64\n", "dtype"),
        (ONE_COLUMN + "ordered: true\n", "ordered"),
        (ONE_COLUMN + "add_missing_columns: true\n", "add_missing_columns"),
        (ONE_COLUMN + "drop_invalid_rows: true\n", "drop_invalid_rows"),
        (with_column("drop_invalid_rows: true"), "drop_invalid_rows"),
        (with_column("regex: true"), "regex"),
        (with_column("default: 7"), "default"),
        (with_column("ge: {min_value: 0, raise_warning: true}"), "raise_warning"),
        (with_column("ge: {min_value: 0, groupby: [ph]}"), "groupby"),
        (with_column("ge: {min_value: 0, ignore_na: false}"), "ignore_na: false"),
        (
            ONE_COLUMN + "checks: {ge: {min_value: 0, options: {raise_warning: true}}}\n",
            "raise_warning",
        ),
    ],
)
def test_option_that_is_not_supported_is_refused_and_not_ignored(text: str, option: str) -> None:
    error = refusal_of(text)
    assert f"'{option}' is not supported." in str(error)
    assert error.hint == "See docs/schemas.md."


@pytest.mark.parametrize(
    "dtype", ["bool", "complex128", "'Decimal(10, 2)'", "date", "'interval[int64]'", "timedelta"]
)
def test_dtype_that_is_not_supported_is_refused(dtype: str) -> None:
    error = refusal_of(f"columns:\n  ph: {{dtype: {dtype}}}\n")
    assert "column ph: dtype" in str(error)
    assert "is not supported" in str(error)
    assert "float64" in str(error.hint)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("label: safe", "the label 'safe' is none of its columns"),
        ("label: [ph]", "'label' in its metadata must be the name of a column"),
        ("measurements: [site]", "measurement 'site' is no numeric column of it"),
        ("measurements: [none]", "measurement 'none' is no numeric column of it"),
        ("measurements: ph", "'measurements' in its metadata must be a list of columns"),
        ("measurements:", "'measurements' in its metadata must be a list of columns"),
        ("measurements: [1]", "'measurements' in its metadata must be a list of columns"),
        ("aliases: {ph: acidity}", "'aliases' in its metadata must be a list of names for each"),
        ("aliases: [ph]", "'aliases' in its metadata must be a list of names for each"),
        ("aliases: {ph: [7]}", "'aliases' in its metadata must be a list of names for each"),
        (
            "aliases: {sites: [x]}",
            "'aliases' names 'sites', which is none of its columns. Did you mean",
        ),
        ("aliases: {ph: [Site]}", "'site' stands for both ph and site"),
        ("aliases: {ph: [x], site: [X]}", "'X' stands for both ph and site"),
        ("min_measurements: some", "'min_measurements' in its metadata must be a whole number"),
        ("min_measurements: -1", "'min_measurements' in its metadata must be a whole number"),
        ("min_measurements: 1.5", "'min_measurements' in its metadata must be a whole number"),
        ("min_measurements: true", "'min_measurements' in its metadata must be a whole number"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused(metadata: str, message: str) -> None:
    text = f"columns:\n  ph: {{dtype: float64}}\n  site: {{}}\nmetadata:\n  {metadata}\n"
    assert message in str(refusal_of(text))


def test_columns_that_a_header_cannot_tell_apart_are_refused() -> None:
    error = refusal_of("columns:\n  pH: {dtype: float64}\n  p h: {dtype: float64}\n")
    assert "'p h' stands for both pH and p h" in str(error)


def test_unique_over_a_column_that_is_none_is_refused() -> None:
    error = refusal_of(ONE_COLUMN + "unique: [ph, hp]\n")
    assert "'unique' names 'hp', which is none of its columns" in str(error)


def test_alias_may_repeat_the_name_of_its_own_column() -> None:
    assert parse(ONE_COLUMN + "metadata: {aliases: {ph: [pH, PH]}}\n").aliases["ph"] == ["pH", "PH"]


def test_unknown_name_is_refused_with_a_guess() -> None:
    with pytest.raises(
        UsageError, match=r"No schema named 'watr'\. Did you mean 'water'\?"
    ) as info:
        load_schema("watr")
    assert "schemas list" in str(info.value.hint)


@pytest.mark.parametrize("name", ["none.yaml", "none.yml", "x" * 5000 + ".yaml", "a\0.yaml"])
def test_schema_file_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_schema(name)


def test_folder_is_no_schema(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No schema named"):
        load_schema(str(tmp_path))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Put a distribution on the path that promises a schema in a package."""
    info = folder / "lab_schemas-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-schemas\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[waterflow.schemas]\nwells = {package}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, package, raising=False)


def test_installed_package_adds_a_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lab_schemas"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wells.yaml").write_text(WELLS, "utf-8")
    install(tmp_path, monkeypatch, "lab_schemas")
    assert {"water", "wells"} <= set(schema_entry_points())
    assert load_schema("wells").label == "safe"


def test_package_that_breaks_its_promise_is_a_plugin_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "no_such_lab")
    with pytest.raises(PluginError, match="Schema wells, from the package no_such_lab") as caught:
        load_schema("wells")
    assert caught.value.exit_code == 5


def test_package_without_the_file_is_a_plugin_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "empty_lab"
    package.mkdir()
    (package / "__init__.py").touch()
    install(tmp_path, monkeypatch, "empty_lab")
    with pytest.raises(PluginError, match="from the package empty_lab: cannot be read"):
        load_schema("wells")


def compile_to_json(schema):
    return json.dumps({"sha256": schema.sha256, "schema": schema.compiled()}, indent=2) + "\n"


def test_bundled_schemas_are_compiled_as_they_stand():
    for name, point in schema_entry_points().items():
        path = Path(str(files(point.value))) / f"{name}.compiled.json"
        parsed = parse_schema(path.with_name(f"{name}.yaml").read_text("utf-8"), name)
        if os.environ.get("WATERFLOW_WRITE_DOCS"):
            path.write_text(compile_to_json(parsed), "utf-8")
        assert path.read_text("utf-8") == compile_to_json(parsed), (
            "compile it again: WATERFLOW_WRITE_DOCS=1 pytest tests/test_schemas.py"
        )
        assert load_schema(name) == parsed


def test_schema_that_a_model_of_0_1_0_holds_is_read():
    schema, later = load_schema("water"), {"label_values": {}, "unit_aliases": {}}
    content = {key: each for key, each in schema.compiled().items() if key not in later}
    loaded = TableSchema.from_compiled(schema.text, content)
    assert loaded == replace(schema, **later)


def test_compiled_schema_of_another_text_is_not_used(monkeypatch):
    text = load_schema("water").text.replace("max_value: 14", "max_value: 13")
    read = schemas._read_installed
    monkeypatch.setattr(
        schemas,
        "_read_installed",
        lambda point, suffix: text if suffix == ".yaml" else read(point, suffix),
    )
    assert load_schema("water") == parse_schema(text, "water")
