"""Schemas drafted from files: kinds, bounds, units and label, with every guess marked."""

from pathlib import Path

import pytest
import yaml

from waterflow_cli.samples.schema_draft import draft_schema
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.tables.units import parse_unit

FRENCH = """Sample;Date;Plomb (mg/L);Nitrate;Tanin (mg/L);Remarque;Conforme;pH
001;2024-01-02;<0,001;5,1;2,25;ras;C;7,1
002;2024-01-03;0,02;7,2;3,5;;N;6,9
003;2024-01-04;0,01;9,2;;x;C;8
"""


@pytest.fixture
def draft(workdir):
    def run(text=FRENCH):
        Path("lab.csv").write_text(text, "utf-8")
        written = draft_schema("lab.csv")
        return written, parse_schema(written, "draft.yaml")

    return run


def test_a_file_passes_its_own_draft(cli, draft):
    written, _ = draft()
    Path("draft.yaml").write_text(written, "utf-8")
    outcome = cli("validate", "lab.csv", "--schema", "draft.yaml")
    assert (outcome.code, "3 rows, all pass (schema lab)" in outcome.err) == (0, True)


def test_the_command_prints_the_draft(cli, draft):
    written, _ = draft()
    outcome = cli("schemas", "infer", "lab.csv")
    assert (outcome.code, outcome.out) == (0, written + "\n")
    assert cli("schemas", "infer", "none.csv").code == 3


def test_kinds_follow_from_the_cells(draft):
    _, schema = draft()
    kinds = {name: kind.value for name, kind in schema.kinds.items()}
    assert kinds["Sample"] == kinds["Remarque"] == "text"
    assert kinds["Date"] == "date"
    assert schema.measurements == ("Lead", "Nitrate", "Tanin", "ph")


def test_known_columns_have_their_bounds_and_others_ten_times_what_was_seen(draft):
    written, schema = draft()
    every = load_schema("drinking-water")
    for name in ("Lead", "ph"):
        assert schema.columns[name].checks == every.columns[name].checks
        assert schema.units[name] == every.units[name]
    columns = yaml.safe_load(written)["columns"]
    assert columns["Tanin"]["in_range"] == {"min_value": 0, "max_value": 40}
    assert "guess; seen: 2.25 to 3.5" in written


def test_units_are_those_that_the_file_tells(draft):
    _, schema = draft()
    assert schema.units["Tanin"] == "mg/L"
    assert schema.aliases["Lead"] == ["Plomb"]
    # As N or as NO3: nothing tells, so it is taken for neither.
    assert "Nitrate" not in schema.units


def test_the_label_is_the_column_of_two_classes(draft):
    _, schema = draft()
    assert schema.label == "Conforme"
    assert schema.label_values == {"C": 1, "N": 0}
    assert draft("ph,E. coli\n7,0\n8,1\n")[1].label is None
    assert draft("ph,Potability,ok\n7,0,1\n8,1,0\n")[1].label == "Potability"


def test_every_line_that_rests_on_a_guess_says_so(draft):
    written, _ = draft()
    keys = ("dtype:", "in_range:", "label:", "measurements:", "min_measurements:", "label_values:")
    lines = [line for line in written.splitlines() if line.split("#")[0].strip().startswith(keys)]
    assert len(lines) > 10
    assert all("# guess" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["yes", "a: b", "[x]", '"', "*x", "D.O. (mg/l)", "T", "été", "x # y", "1", "~", "No"]
)
def test_any_name_is_written_so_that_it_is_read_back(draft, name):
    text = f"{name}" if '"' not in name else f'"{name * 2}"'
    _, schema = draft(f"{text};ph\n2,5;7,1\n3,5;7,2\n")
    (found,) = [each for each in schema.columns if each != "ph"]
    assert found == ("D.O." if "D.O." in name else name)
    assert all(parse_unit(unit) for unit in schema.units.values())
