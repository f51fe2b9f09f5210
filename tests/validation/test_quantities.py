"""What is limited: columns, other units of them, and sums; and cells that were judged by hand."""

import csv
from pathlib import Path

import pytest

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.validation.limit_checks import LimitStatus
from waterflow_cli.validation.limits import PROFILES, load_limits
from waterflow_cli.validation.pass_over import PassOptions, pass_over
from waterflow_cli.validation.quantities import load_quantities

HERE = Path(__file__).parent
EVERY = load_schema("drinking-water")
# A file of every parameter that has a limit, in English and French and in several units; and how
# its cells stand to the published values, by exact fractions and without the code that is tested.
FILE = HERE / "every_parameter.csv"
JUDGED = list(csv.DictReader((HERE / "judged_cells.csv").read_text("utf-8").splitlines()))


def standing(path, schema=EVERY, profiles=PROFILES):
    """Give the status of each row by profile, parameter and condition."""
    options = PassOptions(limits=load_limits(profiles, schema))
    with pass_over(str(path), schema, options) as file:
        (checked,) = file.batches()
    assert checked.flags is not None
    pairs = zip(checked.flags.limits, checked.flags.codes, strict=True)
    return {
        (limit.profile, limit.column, limit.where): [
            LimitStatus(code).name.lower() for code in codes
        ]
        for limit, codes in pairs
    }


def judge(tmp_path, header, *rows, profiles=("eu",)):
    path = tmp_path / "in.csv"
    path.write_text("\n".join(["Site," + header, *(f"a,{row}" for row in rows), ""]), "utf-8")
    found = standing(path, profiles=profiles)
    return {name: statuses for (_, name, _), statuses in found.items()}


@pytest.mark.parametrize("schema", ["drinking-water", "water"])
def test_every_cell_that_was_judged_by_hand_is_judged_alike(schema):
    samples = [row["Sample"] for row in csv.DictReader(FILE.read_text("utf-8").splitlines())]
    found = standing(FILE, load_schema(schema))
    told = [
        found[each["profile"], each["parameter"], each["where"]][samples.index(each["sample"])]
        for each in JUDGED
    ]
    assert told == [each["status"] for each in JUDGED]
    assert len(told) > 200
    assert set(told) == {each.name.lower() for each in LimitStatus}


def test_what_quantities_are_made_of_are_columns_of_the_schema():
    defined = load_quantities()
    names = [*defined["same"], *defined["same"].values()]
    for kind in ("sums", "at_least"):
        names += [*defined[kind], *(each for parts in defined[kind].values() for each in parts)]
    names += [each for parts in defined["ratios"].values() for each in parts]
    assert set(names) <= set(EVERY.measurements)
    assert len(defined["sums"]["PFAS_20"]) == 20


def test_a_total_that_was_measured_goes_before_its_parts(tmp_path):
    found = judge(tmp_path, "Tetrachloroethene and trichloroethene,PCE,TCE", "9,8,8", ",8,8", ",,8")
    statuses = found["Tetrachloroethene_Trichloroethene"]
    assert statuses == ["within", "above", "indeterminate"]


def test_sums_are_equal_to_a_limit_whatever_the_binary_digits(tmp_path):
    found = judge(tmp_path, "NO3,NO2", "49,0.06", "45,0.3", "35,0.9", "49,0.0601", "50,0")
    statuses = found["Nitrate_and_nitrite"]
    assert statuses == ["within", "within", "within", "above", "within"]


def test_bounds_of_parts_add_up(tmp_path):
    rows = ["<4,<6", "<4,<6.1", "<4,10.1", ">10,<1", ">9,<1"]
    found = judge(tmp_path, "PCE (µg/L),TCE (µg/L)", *rows)
    statuses = found["Tetrachloroethene_Trichloroethene"]
    assert statuses == ["within", "indeterminate", "above", "above", "indeterminate"]


def test_nitrogen_is_compared_as_the_ion_where_that_was_not_measured(tmp_path):
    header = "NO3,NO3-N (mg/L)"
    found = judge(tmp_path, header, "50,99", ",11.29", ",11.3", profiles=("eu",))
    assert found["Nitrate_NO3"] == ["within", "within", "above"]
    found = judge(tmp_path, header, "44.268,", ",10", "44.27,", ",10.1", profiles=("epa",))
    assert found["Nitrate_NO3"] == ["within", "within", "above", "above"]


def test_part_of_a_total_shows_that_it_is_above_and_never_that_it_is_within(tmp_path):
    found = judge(tmp_path, "Atrazine,Dieldrin", "0.4,0.2", "0.4,0.1", "0.4,")
    assert found["Pesticides_total"] == ["above", "indeterminate", "indeterminate"]


def test_less_than_one_thing_is_none(tmp_path):
    found = judge(tmp_path, "E. coli", "<1", "<2", "0", "1", "<1.8")
    expected = ["within", "indeterminate", "within", "above", "indeterminate"]
    assert found["E_coli"] == expected
