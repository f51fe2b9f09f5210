"""The profiles of limits: what the bundled ones hold, and what a file of one's own may."""

import ast
import json
import re
import tomllib
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest
from paths import ROOT

from waterflow_cli.common.errors import UsageError
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.tables.units import conversion
from waterflow_cli.validation.limits import CLASSES, PROFILES, load_limits

NINE = load_schema().measurements
EVERY = load_schema("drinking-water")
# Profile, column, condition -> minimum, maximum, class. Written anew from the published values, so
# that a slip in a profile's file does not stand here too.
PUBLISHED = {
    ("who", "Chloramines", ""): (None, 3, "health"),
    ("who", "Turbidity", "at disinfection"): (None, 1, "operational"),
    ("eu", "ph", ""): (6.5, 9.5, "operational"),
    ("eu", "Sulfate", ""): (None, 250, "aesthetic"),
    ("eu", "Conductivity", "at 20 °C"): (None, 2500, "operational"),
    ("eu", "Trihalomethanes", ""): (None, 100, "health"),
    ("eu", "Turbidity", "95 % of samples, at the plant"): (None, 0.3, "operational"),
    ("eu", "Turbidity", "any sample, at the plant"): (None, 1, "operational"),
    ("epa", "ph", ""): (6.5, 8.5, "operational"),
    ("epa", "Solids", ""): (None, 500, "aesthetic"),
    ("epa", "Chloramines", ""): (None, 4, "health"),
    ("epa", "Sulfate", ""): (None, 250, "aesthetic"),
    ("epa", "Trihalomethanes", ""): (None, 80, "health"),
    ("epa", "Turbidity", "95 % of samples"): (None, 0.3, "operational"),
    ("epa", "Turbidity", "any sample"): (None, 1, "operational"),
    ("fr", "ph", ""): (6.5, 9, "operational"),
    ("fr", "Sulfate", ""): (None, 250, "aesthetic"),
    ("fr", "Conductivity", "at 20 °C"): (180, 1000, "operational"),
    ("fr", "Conductivity", "at 25 °C"): (200, 1100, "operational"),
    ("fr", "Organic_carbon", ""): (None, 2, "operational"),
    ("fr", "Trihalomethanes", ""): (None, 100, "health"),
    ("fr", "Turbidity", "limite, at entry into distribution"): (None, 1, "operational"),
    ("fr", "Turbidity", "référence, at entry into distribution"): (None, 0.5, "operational"),
    ("fr", "Turbidity", "référence, at the tap"): (None, 2, "operational"),
}
BUNDLED = [limit for profile in load_limits(PROFILES) for limit in profile.limits]
OF_THE_NINE = [limit for limit in BUNDLED if limit.column in NINE]
# The rows of the list of all parameters: profile -> column -> the values in the order of the file.
# Nitrate and nitrite of the US are as N.
OTHERS = {
    "eu": """
        E_coli 0; Enterococci 0; Coliforms 0; Clostridium_perfringens 0; Acrylamide 0.10;
        Epichlorohydrin 0.10; Antimony 10; Arsenic 10; Benzene 1.0; Benzo_a_pyrene 0.010;
        Bisphenol_A 2.5; Boron 1.5 2.4; Bromate 10; Cadmium 5.0; Chlorate 0.25 0.70; Chlorite
        0.25 0.70; Chromium 50 25; Copper 2.0; Cyanide 50; Dichloroethane_1_2 3.0; Fluoride 1.5;
        Haloacetic_acids 60; Lead 10 5; Manganese 50; Mercury 1.0; Microcystin_LR 1.0; Nickel
        20; Nitrate_NO3 50; Nitrate_and_nitrite 1; Nitrite_NO2 0.50 0.10; Pesticide_highest
        0.10; Atrazine 0.10; Aldrin 0.030; Dieldrin 0.030; Heptachlor 0.030; Heptachlor_epoxide
        0.030; Pesticides_total 0.50; PFAS_20 0.10; PFAS_total 0.50; PAH_4 0.10; Selenium 20 30;
        Tetrachloroethene_Trichloroethene 10; Uranium 30; Vinyl_chloride 0.50; Aluminium 200;
        Ammonium_NH4 0.50; Chloride 250; Iron 200; Oxidisability 5.0; Sodium 200""",
    "who": """
        E_coli 0; Acrylamide 0.5; Epichlorohydrin 0.4; Antimony 20; Arsenic 10; Barium 1.3;
        Benzene 10; Benzo_a_pyrene 0.7; Boron 2.4; Bromate 10; Cadmium 3; Chlorate 0.7; Chlorite
        0.7; Chromium 50; Copper 2; Dichloroethane_1_2 30; Fluoride 1.5; Lead 10; Manganese 80;
        Mercury 6; Microcystin_LR 1; Nickel 70; Nitrate_NO3 50; Nitrate_and_nitrite 1;
        Nitrite_NO2 3; Selenium 40; Tetrachloroethene 100; Trichloroethene 8; Uranium 30;
        Vinyl_chloride 0.3; Chlorine_free 5; Trihalomethane_ratios 1""",
    "epa": """
        Antimony 6; Arsenic 10; Barium 2; Benzene 5; Benzo_a_pyrene 0.2; Beryllium 4; Thallium
        2; Bromate 10; Cadmium 5; Chlorite 1.0; Chromium 100; Copper 1.3 1.0; Cyanide 200;
        Dichloroethane_1_2 5; Fluoride 4.0 2.0; Haloacetic_acids 60; Lead 15 10; Manganese 50;
        Mercury 2; Nitrate_NO3 10; Nitrite_NO2 1; Atrazine 3; PFOA 0.004; PFOS 0.004; Selenium
        50; Tetrachloroethene 5; Trichloroethene 5; Uranium 30; Vinyl_chloride 2; Aluminium 50
        200; Chloride 250; Chlorine_free 4.0; Colour 15; Iron 300; Zinc 5""",
    "fr": """
        E_coli 0; Enterococci 0; Coliforms 0; Clostridium_perfringens 0; Acrylamide 0.10;
        Epichlorohydrin 0.10; Antimony 10; Arsenic 10; Barium 0.70; Benzene 1.0; Benzo_a_pyrene
        0.010; Bisphenol_A 2.5; Boron 1.5; Bromate 10; Cadmium 5.0; Chlorate 0.25 0.70; Chlorite
        0.25 0.70; Chromium 50 25; Copper 2.0 1.0; Cyanide 50; Dichloroethane_1_2 3.0; Fluoride
        1.5; Haloacetic_acids 60; Lead 10 5; Manganese 50; Mercury 1.0; Microcystin_LR 1.0;
        Nickel 20; Nitrate_NO3 50; Nitrate_and_nitrite 1; Nitrite_NO2 0.50 0.10;
        Pesticide_highest 0.10; Atrazine 0.10; Aldrin 0.030; Dieldrin 0.030; Heptachlor 0.030;
        Heptachlor_epoxide 0.030; Pesticides_total 0.50; PFAS_20 0.10; PAH_4 0.10; Selenium 20
        30; Tetrachloroethene_Trichloroethene 10; Uranium 30; Vinyl_chloride 0.50; Aluminium
        200; Ammonium_NH4 0.10 0.50; Chloride 250; Colour 15; Iron 200; Oxidisability 5.0;
        Sodium 200; Temperature 25""",
}
LIMIT = {
    "column": "Sulfate",
    "maximum": 250,
    "unit": "mg/L",
    "class": "aesthetic",
    "basis": "single sample",
    "source": "the town",
    "date": "2024",
}
# What would call a single sample a breach of a rule.
BREACH = re.compile(
    r"\b(non|not|in)[-\s]?compl|\bnon[-\s]?conform|\b(breach|violat|exceed)\w*\b[^.]{0,40}\b(limit|value)\b"
    r"|\b(limits?|values?)\b[^.]{0,40}\b(breach|violat|exceed)|\billegal",
    re.IGNORECASE,
)


def toml(limit, title="Town"):
    """Write a profile of one limit; a key that is None is left out."""
    pairs = (f"{key} = {json.dumps(value)}" for key, value in limit.items() if value is not None)
    return f"title = {json.dumps(title)}\n[[limit]]\n" + "\n".join(pairs) + "\n"


@pytest.fixture
def load(workdir):
    """Load a profile from the text of a file."""

    def run(text, schema=None):
        Path("town.toml").write_text(text, "utf-8")
        (profile,) = load_limits(["town.toml"], schema)
        return profile

    return run


# --- what the bundled profiles hold --------------------------------------------------------------


def test_the_bundled_profiles_hold_the_published_values_and_no_others():
    held = {
        (limit.profile, limit.column, limit.where): (limit.minimum, limit.maximum, limit.purpose)
        for limit in OF_THE_NINE
    }
    assert held == PUBLISHED
    assert len(OF_THE_NINE) == len(PUBLISHED)


@pytest.mark.parametrize("name", PROFILES)
def test_so_do_they_for_all_other_parameters(name):
    rows = [row.split() for row in OTHERS[name].split(";")]
    held = {}
    for limit in (each for each in BUNDLED if each.profile == name and each not in OF_THE_NINE):
        assert limit.minimum is None
        held.setdefault(limit.column, []).append(limit.maximum)
    assert held == {column: list(map(float, values)) for column, *values in rows}


@pytest.mark.parametrize("profile", load_limits(PROFILES), ids=PROFILES)
def test_each_profile_has_a_value_or_a_reason_for_each_measurement(profile):
    limited = {limit.column for limit in profile.limits}
    unlimited = [each.column for each in profile.unlimited]
    assert limited.isdisjoint(unlimited)
    assert limited | set(unlimited) >= set(NINE)
    every = {row.split()[0] for each in OTHERS.values() for row in each.split(";")}
    assert limited | set(unlimited) == every | set(NINE)
    assert all(each.reason for each in profile.unlimited)


@pytest.mark.parametrize("limit", BUNDLED, ids=lambda each: f"{each.origin} {each.column}")
def test_each_limit_tells_class_basis_source_and_date_in_the_units_of_the_schema(limit):
    assert limit.purpose in CLASSES
    assert limit.basis
    assert limit.source
    assert limit.date
    if limit.unit == "1":  # a sum of ratios
        assert len(limit.ways[0].terms) > 1
    else:
        assert conversion(limit.unit, EVERY.units[limit.column])
        assert limit.ways[0].terms[0].column == limit.column


def test_of_the_nine_only_chloramines_and_trihalomethanes_have_health_limits():
    health = {limit.column for limit in OF_THE_NINE if limit.purpose == "health"}
    assert health == {"Chloramines", "Trihalomethanes"}


def test_what_was_not_seen_in_the_primary_text_is_marked_in_its_source():
    marked = {
        (limit.profile, limit.column)
        for limit in BUNDLED
        if limit.source.rstrip(".").endswith("(check)")
    }
    carried = {"ph", "Sulfate", "Conductivity", "Trihalomethanes", "Turbidity"}
    others = {("fr", "Barium"), ("epa", "Lead"), ("epa", "PFOA"), ("epa", "PFOS")}
    others.add(("who", "Trihalomethane_ratios"))
    assert marked == {("eu", column) for column in carried} | others
    (who,) = load_limits(["who"])
    (sulfate,) = [each.reason for each in who.unlimited if each.column == "Sulfate"]
    assert "500 mg/L (check)" in sulfate


def test_values_that_are_often_repeated_and_wrong_are_named_and_not_held():
    who, epa = load_limits(["who", "epa"])
    reasons = {each.column: each.reason for each in who.unlimited}
    for column in ("ph", "Solids"):
        assert reasons[column].startswith("no health-based value")
    assert "Conductivity" in reasons
    assert "Organic_carbon" in {each.column for each in epa.unlimited}
    text = " ".join([*who.notes, *epa.notes])
    for wrong in ("WHO pH limit", "TDS limit of 500", "400 µS/cm", "2 mg/L", "80 ppm"):
        assert wrong in text
    assert all(limit.unit == "µg/L" for limit in BUNDLED if limit.column == "Trihalomethanes")


def test_the_profiles_are_among_the_files_that_are_shipped():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    patterns = setup["options.package_data"]["waterflow_schemas"].replace(",", " ").split()
    for name in PROFILES:
        assert (ROOT / "schemas" / "limits" / f"{name}.toml").is_file()
        assert any(fnmatch(f"limits/{name}.toml", pattern) for pattern in patterns)


# --- a file of one's own -------------------------------------------------------------------------


def test_a_file_can_be_named_beside_bundled_profiles(workdir):
    Path("town.toml").write_text(toml(LIMIT), "utf-8")
    epa, town = load_limits(["epa", "town.toml"])
    assert (epa.name, town.name, town.title) == ("epa", "town", "Town")
    assert town.limits[0].value == "at most 250 mg/L"


def test_the_example_of_the_documentation_is_a_profile(load):
    page = (ROOT / "docs" / "limits.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    profile = load(example)
    assert profile.limits[0].value == "at most 200 mg/L"
    assert profile.unlimited[0].column == "Hardness"


def test_a_profile_that_is_named_twice_counts_once():
    assert [profile.name for profile in load_limits(["epa", "who", "epa"])] == ["epa", "who"]


def test_columns_go_by_the_aliases_of_the_schema(load):
    assert load(toml(LIMIT | {"column": "sulphate"})).limits[0].column == "Sulfate"


def test_columns_of_a_schema_of_ones_own_can_be_limited(load):
    text = "schema_type: dataframe\ncolumns:\n  Tannin:\n    dtype: float64\n"
    schema = parse_schema(text, "town.yaml")
    limit = LIMIT | {"column": "tannin", "maximum": 50}
    assert load(toml(limit), schema).limits[0].column == "Tannin"
    with pytest.raises(UsageError, match="no column 'tannin' is known"):
        load(toml(limit))


def test_a_unit_that_converts_is_converted(load):
    (limit,) = load(toml(LIMIT | {"column": "Plomb", "maximum": 0.01})).limits
    assert limit.value == "at most 0.01 mg/L"
    assert limit.in_unit_of_column.value == "at most 10 µg/L"


def test_a_name_in_ones_own_schema_stands_for_the_same_of_the_bundled_one(load):
    text = "columns:\n  Pb: {dtype: float64}\nmetadata: {units: {Pb: mg/L}}\n"
    (eu,) = load_limits(["eu"], parse_schema(text, "own.yaml"))
    (now, _) = [limit for limit in eu.limits if limit.column == "Pb"]
    assert now.in_unit_of_column.value == "at most 0.01 mg/L"
    assert "Lead" not in {limit.column for limit in eu.limits}


def test_a_date_may_stand_without_quotes(load):
    text = toml(LIMIT).replace('"2024"', "2024-05-17")
    assert load(text).limits[0].date == "2024-05-17"


def test_several_values_for_a_column_need_a_condition_each(load):
    one = toml(LIMIT | {"where": "at the tap"})
    assert len(load(one + toml(LIMIT).partition("\n")[2]).limits) == 2
    with pytest.raises(UsageError, match="Sulfate stands there twice"):
        load(one + one.partition("\n")[2])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"maximun": 3}, "unknown key 'maximun'. Did you mean 'maximum'?"),
        ({"unit": None}, "'unit' is missing"),
        ({"unit": "mg/L C"}, "the unit of Sulfate is mg/L SO4, not 'mg/L C'"),
        ({"unit": "grains"}, "the unit of Sulfate is mg/L SO4, not 'grains'"),
        ({"class": "legal"}, "class 'legal' is none of health, operational, aesthetic"),
        ({"minimum": 251}, "its minimum 251 is above its maximum 250"),
        ({"maximum": None}, "it has neither a minimum nor a maximum"),
        ({"maximum": "250"}, "'maximum' must be a number"),
        ({"maximum": True}, "'maximum' must be a number"),
        ({"maximum": 10**400}, "'maximum' must be a number"),
        ({"column": "Sulfit"}, "no column 'Sulfit' is known. Did you mean 'Sulfate'?"),
        ({"column": "Potability"}, "no column 'Potability' is known"),
        ({"source": " "}, "'source' is empty"),
        ({"basis": "two\nlines"}, "'basis' must be one line of text"),
        ({"date": 2024}, "'date' must be one line of text"),
    ],
)
def test_a_faulty_limit_is_refused_by_name(load, change, problem):
    with pytest.raises(UsageError, match=r"town\.toml, limit 1: " + re.escape(problem)):
        load(toml(LIMIT | change))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_bound_is_a_finite_number(load, value):
    with pytest.raises(UsageError, match="'maximum' must be a number"):
        load(toml(LIMIT).replace("250", value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title = ", "is no TOML"),
        ("", "'title' is missing"),
        ("title = 'x'", "'limit' is missing"),
        ("title = 'x'\nlimit = 3", "must be tables"),
        ("title = 'x'\nlimit = [3]", "must be tables"),
        ("title = 'x'\nlimit = []\nnotes = 'a'", "'notes' must be a list of texts"),
        ("title = 'x'\nlimit = []\n[[none]]\ncolumn = 'ph'", "none 1: 'reason' is missing"),
        ("title = 'x'\nlimits = []", "unknown key 'limits'. Did you mean 'limit'?"),
        ("title = 'x'\nlimit = " + "[" * 5000, "is no TOML"),
    ],
)
def test_a_faulty_file_is_refused(load, text, problem):
    with pytest.raises(UsageError, match=r"^Limits town\.toml.*" + re.escape(problem)):
        load(text)


@pytest.mark.parametrize("name", ["none.toml", ".", "a" * 300])
def test_a_name_that_is_no_file_is_refused(workdir, name):
    with pytest.raises(UsageError, match=r"cannot be read|No limits named"):
        load_limits([name])


def test_bytes_that_are_no_utf_8_are_refused(workdir):
    Path("town.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(UsageError, match=r"Limits town\.toml: is no UTF-8 text"):
        load_limits(["town.toml"])


@pytest.mark.parametrize("names", [["epa", "other/epa.toml"], ["a/town.toml", "b/town.toml"]])
def test_two_profiles_of_one_name_are_refused(workdir, names):
    for name in names[0:2]:
        if "/" in name:
            Path(name).parent.mkdir()
            Path(name).write_text(toml(LIMIT), "utf-8")
    with pytest.raises(UsageError, match="another profile is named"):
        load_limits(names)


def test_a_mistyped_name_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"No limits named 'epaa'\. Did you mean 'epa'\?"):
        load_limits(["epaa"])


def test_without_names_there_are_no_limits():
    assert load_limits([]) == ()


# --- on the command line -------------------------------------------------------------------------


def test_list_names_the_profiles(cli):
    outcome = cli("limits", "list", "--json")
    assert outcome.code == 0
    profiles = json.loads(outcome.out)["profiles"]
    assert [profile["name"] for profile in profiles] == list(PROFILES)
    assert sum(profile["limits"] for profile in profiles) == len(BUNDLED)
    shown = cli("limits", "list").out
    assert all(profile["title"] in shown for profile in profiles)


def test_show_tells_values_conditions_sources_and_what_has_no_value(cli):
    shown = cli("limits", "show", "who", "fr")
    assert shown.code == 0
    (line,) = [line for line in shown.out.splitlines() if line.strip().startswith("ph  ")][:1]
    assert "none" in line
    assert "no health-based value; 6.5 to 8.5 is the usual operating range" in line
    for text in ("180 to 1000 µS/cm", "at 20 °C", "200 to 1100 µS/cm", "at 25 °C"):
        assert text in shown.out
    assert "often as they are repeated" in shown.out
    assert "US EPA" not in shown.out


def test_show_without_a_name_shows_all_and_json_holds_what_the_files_do(cli):
    content = json.loads(cli("limits", "show", "--json").out)
    assert [profile["name"] for profile in content["profiles"]] == list(PROFILES)
    for profile in content["profiles"]:
        text = (ROOT / "schemas" / "limits" / f"{profile['name']}.toml").read_text("utf-8")
        written = tomllib.loads(text)
        assert profile["none"] == written["none"]
        for held, limit in zip(profile["limits"], written["limit"], strict=True):
            assert {key: held[key] for key in limit} == limit
    assert all(profile["title"] in cli("limits", "show").out for profile in content["profiles"])


def test_show_takes_a_file(cli, workdir):
    Path("town.toml").write_text(toml(LIMIT), "utf-8")
    assert "at most 250 mg/L" in cli("limits", "show", "town.toml").out
    outcome = cli("limits", "show", "twon")
    assert outcome.code == 2
    assert "waterflow limits list" in outcome.err


# --- the words -----------------------------------------------------------------------------------


def texts_of_the_tool():
    """Find all texts that the tool can write: of its code, its catalogues, pages and profiles."""
    for path in sorted((ROOT / "waterflow_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value
    for folder in ("waterflow_cli", "schemas"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".html", ".toml", ".yaml"):
                yield path.name, path.read_text("utf-8")


def test_no_sentence_of_the_tool_calls_a_single_sample_non_compliant():
    # The words of labels are what files say, not the tool.
    label = re.compile(r"^ *label_values:.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
    texts = [(where, label.sub("", text)) for where, text in texts_of_the_tool()]
    found = [(where, text) for where, text in texts if BREACH.search(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "The sample is non-compliant.",
        "not compliant with the directive",
        "échantillon non conforme",
        "pH violates the limit",
        "the value is exceeded",
    ],
)
def test_the_search_finds_such_sentences(text):
    assert BREACH.search(text)
