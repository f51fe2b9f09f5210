"""Column names of a file and those of a schema: which stand for which."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.headers import MOST_COLUMNS, Header, check_header, fold_name

WANTED = {"ph": ["pH value"], "Organic_carbon": ["TOC"], "Turbidity": []}


def match(
    columns: list[str], renames: dict[str, str] | None = None, wanted: dict[str, list[str]] = WANTED
) -> dict[str, str]:
    return Header(wanted, renames).match(columns, "river.csv").columns


@pytest.mark.parametrize(
    "written",
    [
        "Organic_carbon",
        "organic carbon",
        "ORGANIC CARBON",
        "  Organic-Carbon ",
        "organic.carbon",
        "OrganicCarbon",
        "Orgánic_cárbon",
        "Ｏrganic carbon",
        "Organic\ncarbon",
        "Organic carbon:",
        "toc",
        "T.O.C.",
    ],
)
def test_case_spaces_punctuation_and_accents_do_not_count(written: str) -> None:
    assert match([written]) == {"Organic_carbon": written}


@pytest.mark.parametrize(
    "written",
    [
        "Organic",
        "carbon",
        "Organic carbons",
        "Organic carbon 2",
        "TOC mg",
        "mg/L TOC",
        "TOCmg/L",
        "",
    ],
)
def test_other_letters_and_digits_do_count(written: str) -> None:
    assert match([written]) == {}


def test_a_cell_much_longer_than_any_name_is_none_and_costs_no_time() -> None:
    """With a wrong separator a whole line of names is one cell."""
    start = time.perf_counter()
    header = Header({**WANTED, "long " * 60: []}, {"x" * 300: "Turbidity"})
    assert header.column_of(";".join(f"c_{n}" for n in range(100_000))) is None
    assert header.column_of("pH value" + " " * 1_000_000) is None
    assert header.column_of("(" * 1_000_000) is None
    assert time.perf_counter() - start < 5
    assert header.column_of("long " * 60) == ("long " * 60, "")
    assert header.column_of("x" * 300) == ("Turbidity", "")


def test_schema_name_is_found_at_any_place_and_other_columns_pass() -> None:
    found = match(["id", "turbidity", "note", "PH"])
    assert found == {"Turbidity": "turbidity", "ph": "PH"}


def test_header_is_reported_as_written() -> None:
    assert match([" pH  Value"]) == {"ph": " pH  Value"}


def test_rename_gives_a_column_another_name() -> None:
    assert match(["acid", "x"], {"acid": "ph"}) == {"ph": "acid"}


def test_rename_goes_to_an_alias_or_a_name_written_otherwise_too() -> None:
    assert match(["a", "b"], {"a": "toc", "b": "TURBIDITY"}) == {
        "Organic_carbon": "a",
        "Turbidity": "b",
    }


def test_rename_takes_a_column_away_from_its_own_name() -> None:
    assert match(["ph", "ph2"], {"ph": "old", "ph2": "ph"}) == {"ph": "ph2"}


@pytest.mark.parametrize("columns", [["ph", "pH value"], ["pH", "PH"], ["toc", "Organic carbon"]])
def test_two_columns_for_one_of_the_schema_are_refused(columns: list[str]) -> None:
    with pytest.raises(InputError, match=r"two columns, '.*' and '.*', both stand for") as caught:
        match(columns)
    assert all(f"'{column}'" in str(caught.value) for column in columns)
    assert caught.value.exit_code == 3


def test_hint_on_two_columns_works() -> None:
    with pytest.raises(InputError, match="both stand for ph") as caught:
        match(["ph", "pH value"])
    assert "--rename 'pH value=other'" in str(caught.value.hint)
    assert match(["ph", "pH value"], {"pH value": "other"}) == {"ph": "ph"}


def test_rename_onto_a_column_that_is_there_is_refused() -> None:
    with pytest.raises(InputError, match="two columns, 'ph' and 'acid', both stand for ph"):
        match(["ph", "acid"], {"acid": "ph"})


@pytest.mark.parametrize("unit", ["℉", "℃", "°C", "ºF", "deg F", "°f", "g/gal"])
def test_renamed_column_keeps_the_unit_in_its_brackets(unit: str) -> None:
    found = Header(WANTED, {f"Temp ({unit})": "ph"}).match([f"Temp ({unit})"], "river.csv")
    assert found.units == {"ph": unit}


@pytest.mark.parametrize("written", ["acid (mg/L)", "acid [mg/L]", "acid, mg/L"])
def test_rename_finds_the_column_in_an_output_that_names_its_unit(written: str) -> None:
    header = Header(WANTED, {"acid": "toc"})
    assert written in header.in_unit("acid", "mg/L")
    assert header.match(["x", written], "river.csv") == (
        {"Organic_carbon": written},
        {"Organic_carbon": "mg/L"},
    )


def test_rename_of_an_unknown_column_is_refused_with_a_guess() -> None:
    with pytest.raises(
        UsageError, match=r"river\.csv has no column 'acidd'. Did you mean 'acid'\?"
    ):
        match(["acid"], {"acidd": "ph"})


def test_rename_takes_the_name_exactly_as_written() -> None:
    with pytest.raises(UsageError, match="has no column 'ACID'") as caught:
        match(["acid"], {"ACID": "ph"})
    assert caught.value.exit_code == 2


@given(st.permutations(["id", "ph", "TOC", "Turbidity", "note"]))
def test_order_of_the_columns_does_not_matter(columns: list[str]) -> None:
    assert match(columns) == {"ph": "ph", "Organic_carbon": "TOC", "Turbidity": "Turbidity"}


@given(st.text(max_size=12))
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("pH", "ph"),
        ("TDS", "Solids"),
        ("Total Dissolved Solids", "Solids"),
        ("SO4", "Sulfate"),
        ("Sulphate", "Sulfate"),
        ("EC", "Conductivity"),
        ("T.O.C.", "Organic_carbon"),
        ("TTHM", "Trihalomethanes"),
        ("THMs", "Trihalomethanes"),
    ],
)
def test_bundled_schema_knows_the_field_s_short_names(written: str, column: str) -> None:
    assert match([written], wanted=load_schema().wanted()) == {column: written}


@pytest.mark.parametrize(
    ("written", "column", "unit"),
    [
        ("Trihalomethanes (mg/L)", "Trihalomethanes", "mg/L"),
        ("Trihalomethanes [mg/L]", "Trihalomethanes", "mg/L"),
        ("Trihalomethanes(mg/L)", "Trihalomethanes", "mg/L"),
        (" trihalomethanes  ( mg/L ) ", "Trihalomethanes", "mg/L"),
        ("THM_ug_L", "Trihalomethanes", "ug_L"),
        ("thm_mg/L", "Trihalomethanes", "mg/L"),
        ("sulfate_mg_L", "Sulfate", "mg_L"),
        ("Turbidity NTU", "Turbidity", "NTU"),
        ("Turbidité, NFU", "Turbidity", "NFU"),
        ("Sulfates : mg/L SO4", "Sulfate", "mg/L SO4"),
        ("SO4 mg/L SO4", "Sulfate", "mg/L SO4"),
        ("Chloramines [mg(Cl2)/L]", "Chloramines", "mg(Cl2)/L"),
        ("TH (°f)", "Hardness", "°f"),
        ("Dureté totale (mg/L CaCO3)", "Hardness", "mg/L CaCO3"),
        ("Conductivité à 25 °C (µS/cm)", "Conductivity", "µS/cm"),
        ("Conductivity uS/cm", "Conductivity", "uS/cm"),
        ("Sulfate (grains/gallon)", "Sulfate", "grains/gallon"),
        ("Conductivité à 25 °C", "Conductivity", ""),
        ("pH", "ph", ""),
    ],
)
def test_unit_in_a_name_is_told_apart_from_it(written: str, column: str, unit: str) -> None:
    header = Header(load_schema().wanted())
    assert header.column_of(written) == (column, unit)
    match = header.match(["id", written], "river.csv")
    assert match.columns == {column: written}
    assert match.units == ({column: unit} if unit else {})


@pytest.mark.parametrize(
    "written", ["id", "Sulfate flag", "Turbidity grains", "NTU", "(mg/L)", "mg/L", "pH Sulfate", ""]
)
def test_name_with_anything_but_a_unit_behind_it_is_another(written: str) -> None:
    assert Header(load_schema().wanted()).column_of(written) is None


def test_plain_name_goes_before_one_with_something_in_brackets() -> None:
    for columns in (["ph", "ph (flag)"], ["ph (flag)", "ph"]):
        assert Header(WANTED).match(columns, "river.csv") == ({"ph": "ph"}, {})


@pytest.mark.parametrize(
    ("name", "about"),
    [
        *(
            (name, "ph")
            for name in ("pH ±", "± pH", "u_ph", "pH (SD)", "pH_sd", "pH +/-", "pH err")
        ),
        *(
            (name, "ph")
            for name in ("pH uncertainty", "Incertitude pH", "u(pH)", "pH (±)", "phstd")
        ),
        *((name, "Sulfate") for name in ("Sulfate_Q", "SO4 <", "< Sulfate", "Sulfate (flag)")),
        *(
            (name, "Sulfate")
            for name in ("flag SO4", "Sulfate (mg/L) qual", "Sulfate.LT", "SO4_ND")
        ),
        *((name, "Organic_carbon") for name in ("TOC_cens", "TOC detected", "COT qualificatif")),
    ],
)
def test_name_that_says_more_of_a_measurement_is_none_of_it(name: str, about: str) -> None:
    header = Header(load_schema().wanted())
    assert header.column_of(name) is None
    assert header.remark_on(name) == about


@pytest.mark.parametrize(
    "name", ["pH", "Sulfate (mg/L)", "THM_ug_L", "site", "pHq", "Cu", "Nitrate Q"]
)
def test_other_names_say_nothing_of_a_measurement(name: str) -> None:
    assert Header(load_schema().wanted()).remark_on(name) is None


@pytest.mark.parametrize(
    ("name", "about"),
    [
        *((f"Sulfate{rest}", "Sulfate") for rest in (" max", " (mmol/L)", " %", "_flg", ".2")),
        *((f"{rest} SO4", "Sulfate") for rest in ("estimated", "D", "limit of")),
        *(("pH mean", "ph"), ("delta pH", "ph"), ("Hardness Ca", "Hardness")),
        *((name, None) for name in ("EC lab", "TH 2", "site pH meter", "Sulfatex", "site", "date")),
    ],
)
def test_measurement_is_mentioned_at_the_ends_of_a_name(name: str, about: str | None) -> None:
    assert Header(load_schema().wanted()).mentioned_in(name) == about


@pytest.mark.parametrize("columns", [["TOC (mg/L)", "TOC (µg/L)"], ["TOC mg/L", "TOC (old)"]])
def test_two_columns_with_units_for_one_are_refused(columns: list[str]) -> None:
    with pytest.raises(InputError, match="both stand for Organic_carbon"):
        match(columns)
    assert match(columns, {columns[1]: "other"}) == {"Organic_carbon": columns[0]}


@pytest.mark.parametrize(
    ("cells", "count"),
    [
        (["ph", "TOC (mg/L)", "Turbidity"], 3),
        (["ph", "pH value", "PH"], 1),
        (["a", "", "7.1"], 0),
        ([], 0),
    ],
)
def test_known_columns_are_counted_once_each(cells: list[str], count: int) -> None:
    assert Header(WANTED).count_known(cells) == count


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("Turbidité", "Turbidity"),
        ("TURBIDITE NEPHELOMETRIQUE", "Turbidity"),
        ("Conductivité", "Conductivity"),
        ("carbone organique total", "Organic_carbon"),
        ("COT", "Organic_carbon"),
        ("Sulfates", "Sulfate"),
        ("Trihalométhanes", "Trihalomethanes"),
        ("total trihalométhanes", "Trihalomethanes"),
        ("Dureté totale", "Hardness"),
        ("Titre hydrotimétrique", "Hardness"),
        ("Résidu sec à 180°C", "Solids"),
        ("chlore combiné", "Chloramines"),
        ("potentiel hydrogène", "ph"),
        ("Potabilité", "Potability"),
    ],
)
def test_bundled_schema_knows_french_names(written: str, column: str) -> None:
    assert match([written], wanted=load_schema().wanted()) == {column: written}


def test_header_of_distinct_names_passes() -> None:
    check_header(["", "a", "A", " a"], "river.csv", 1)


def test_name_that_stands_twice_is_refused_with_both_places() -> None:
    with pytest.raises(InputError, match="two columns 'ph', at positions 2 and 4") as caught:
        check_header(["id", "ph", "x", "ph"], "river.csv", 3)
    assert str(caught.value).startswith("river.csv, line 3: ")


@pytest.mark.parametrize("name", ["", "  "])
def test_two_empty_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="two columns with an empty name, at positions 1 and 3"):
        check_header([name, "ph", name], "river.csv", 1)


def test_nul_byte_in_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="column 2 of the header holds a NUL byte"):
        check_header(["a", "b\0"], "river.csv", 1)


def test_header_wider_than_a_sheet_is_refused() -> None:
    check_header([str(number) for number in range(MOST_COLUMNS)], "wide.csv", 1)
    with pytest.raises(InputError, match="line 1: columns in the header: 16385; at most 16384"):
        check_header([str(number) for number in range(MOST_COLUMNS + 1)], "wide.csv", 1)


@pytest.mark.parametrize("gap", ["+-", "+/-", "+ / - ", "±", "+", " ± "])
def test_how_sure_a_measurement_is_is_not_the_measurement(gap: str) -> None:
    assert match([f"toc {gap} mg/L", "ph"]) == {"ph": "ph"}


@pytest.mark.parametrize(
    "remark", ["<" * 99 + "%", "detect" * 30 + "%", "q_" * 90, "_" * 200, "(_" * 99, "mg/L_" * 40]
)
def test_no_name_takes_long_to_be_told(remark: str) -> None:
    header = Header(WANTED)
    start = time.process_time()
    for cell in (f"ph_{remark}", f"{remark}_ph"):
        header.column_of(cell)
        header.remark_on(cell)
    assert time.process_time() - start < 0.1
