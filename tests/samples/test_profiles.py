"""Profiles of sources: what the bundled ones hold, and what a file of one's own may."""

from __future__ import annotations

import csv
import json
import os
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest
from paths import ROOT

from waterflow_cli.common.errors import UsageError
from waterflow_cli.samples.profiles import (
    bundled_profiles,
    check_names,
    fitting_profiles,
    is_of_results,
    load_profile,
    parse_profile,
)
from waterflow_cli.samples.schemas import load_schema

SCHEMA = load_schema()
RESULTS = '[results]\nsample = ["id"]\nparameter = "what"\nvalue = "result"\n'
# Sandre's codes, written anew from its lists.
SANDRE = {
    "1302": "ph",
    "1345": "Hardness",
    "1338": "Sulfate",
    "1303": "Conductivity",
    "1841": "Organic_carbon",
    "2036": "Trihalomethanes",
    "1295": "Turbidity",
}


def test_bundled_profiles_are_shipped():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["waterflow_schemas"].replace(",", " ").split()
    assert bundled_profiles() == [
        *("datastream", "equis", "hubeau", "kaggle", "sise-eaux", "uk-wqa", "waterbase"),
        *("wqp", "wqx3"),
    ]
    for name in bundled_profiles():
        assert any(fnmatch(f"profiles/{name}.toml", pattern) for pattern in patterns)


@pytest.mark.parametrize("name", bundled_profiles())
def test_bundled_profile_fits_the_bundled_schema(name):
    profile = load_profile(name)
    for schema in ("water", "drinking-water"):
        check_names(profile, load_schema(schema), name)
    assert profile.title
    assert profile.source
    assert parse_profile(profile.text, name, name) == profile


@pytest.mark.parametrize("name", ["hubeau", "sise-eaux"])
def test_codes_of_french_profiles_are_those_of_sandre(name):
    profile = load_profile(name)
    known = load_schema("drinking-water").columns
    nine = {code: column for code, column in profile.parameters.items() if column in SCHEMA.columns}
    assert nine == SANDRE
    assert set(profile.parameters.values()) <= set(known)
    assert profile.differences == {"Chloramines": ["1399", "1398"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[unit]\n", "unknown key 'unit'. Did you mean 'units'?"),
        ('[results]\nsampel = ["id"]\n', "unknown key 'sampel'. Did you mean 'sample'?"),
        ("units = 3\n", "'units' has the wrong shape"),
        ("results = 3\n", "'results' has the wrong shape"),
        ("[units]\nSulfate = 3\n", "'units' has the wrong shape"),
        ("[columns]\nx = 3\n", "'columns' has the wrong shape"),
        ('[columns]\nx = ["ph"]\n', "'columns' has the wrong shape"),
        ("[parameters]\n1302 = 3\n", "'parameters' has the wrong shape"),
        ('[differences]\nChloramines = ["a"]\n', "'differences' has the wrong shape"),
        ("[differences]\nChloramines = [1399, 1398]\n", "'differences' has the wrong shape"),
        ('[conditions]\nunder = ["ND"]\n', "[conditions]: unknown key 'under'"),
        ('[qualifiers]\nblow = ["U"]\n', "[qualifiers]: unknown key 'blow'"),
        (RESULTS + '[qualifiers]\nbelow = ["U"]\n', "[qualifiers] without 'qualifier' under"),
        (RESULTS + '[conditions]\nbelow = ["U"]\n', "[conditions] without 'condition' under"),
        (
            RESULTS + 'qualifier = "q"\n[qualifiers]\nbelow = ["U"]\nignore = ["u "]\n',
            "[qualifiers]: 'u' stands there twice",
        ),
        (RESULTS + 'optional = ["unt"]\n', "'optional' lists 'unt', which it does not name"),
        ('[conditions]\nbelow = "ND"\n', "'conditions' has the wrong shape"),
        ("[fractions]\nSulfate = true\n", "'fractions' has the wrong shape"),
        ('[leave_out]\nkind = "blank"\n', "'leave_out' has the wrong shape"),
        ('title = ["a"]\n', "'title' has the wrong shape"),
        ('[results]\nsample = "id"\n', "[results]: 'sample' has the wrong shape"),
        ("[results]\nsample = []\n", "[results]: 'sample' has the wrong shape"),
        ("[results]\nsample = [3]\n", "[results]: 'sample' has the wrong shape"),
        ('[results]\nsample = ["id"]\nvalue = "v"\n', "[results]: 'parameter' is missing"),
        ('[units]\nSulfate = "mg"\n', "'mg' of Sulfate is no known unit"),
        ("units = \n", "Invalid value"),
        ('[units]\na = "mg/L"\na = "g/L"\n', "Cannot overwrite a value"),
    ],
)
def test_faulty_profile_is_refused_in_one_line(text, problem):
    with pytest.raises(UsageError) as refused:
        parse_profile(text, "own", "own.toml")
    message = str(refused.value)
    assert message.startswith("Profile own.toml")
    assert problem in message
    assert "\n" not in message.removesuffix(str(refused.value.hint)).strip()
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[units]\nSulfat = "mg/L"\n', "'Sulfat' is no column of the schema water.*'Sulfate'"),
        ('[parameters]\nSO4 = "sulphate"\n', "'sulphate' is no column of the schema water"),
        ('[fractions]\nTOC = ["Total"]\n', "'TOC' is no column of the schema water"),
        ('[differences]\nCl = ["1", "2"]\n', "'Cl' is no column of the schema water"),
        ('[units]\nSulfate = "NTU"\n', "'NTU' of Sulfate does not convert to .* 'mg/L SO4'"),
    ],
)
def test_profile_of_ones_own_names_only_what_the_schema_has(text, problem):
    profile = parse_profile(RESULTS + text, "own", "own.toml")
    with pytest.raises(UsageError, match=problem):
        check_names(profile, SCHEMA, "own.toml")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("hubeua", "No profile 'hubeua'. Did you mean 'hubeau'?"),
        ("no.toml", "Profile no.toml: cannot be read (No such file or directory)."),
        (".", "No profile '.'."),
        ("latin.toml", "Profile latin.toml: is no UTF-8 text."),
        ("folder.toml", "Profile folder.toml: cannot be read (Is a directory)."),
    ],
)
def test_profile_that_is_not_there_is_refused(cli, name, problem):
    Path("latin.toml").write_bytes(b'title = "qualit\xe9"\n')
    Path("folder.toml").mkdir()
    Path("river.csv").write_text("ph\n7\n")
    for command in (("profiles", "show", name), ("validate", "river.csv", "--profile", name)):
        outcome = cli(*command)
        assert outcome.code == 2
        assert problem in outcome.err
        assert len(outcome.err.splitlines()) <= 3


OF_RESULTS = [name for name in bundled_profiles() if name != "kaggle"]


@pytest.mark.parametrize("name", OF_RESULTS)
def test_columns_of_results_tell_their_profile(name):
    results = load_profile(name).results
    key = [name for name in results.sample if name not in results.optional]
    header = ["x", *key, results.parameter.upper(), results.value]
    assert [each.name for each in fitting_profiles(header)] == [name]
    assert fitting_profiles([results.parameter, "x"]) == []
    whole = [column for _, column in results.parts()]
    assert [each.name for each in fitting_profiles(whole)] == [name]


def test_header_of_two_layouts_fits_both():
    both = [column for name in ("wqp", "wqx3") for _, column in load_profile(name).results.parts()]
    assert [each.name for each in fitting_profiles(both)] == ["wqp", "wqx3"]


@pytest.mark.parametrize(
    ("columns", "is_long"),
    [
        (["location", "parameter_code", "collected_at", "result_value", "unit_code"], True),
        (["Analyte", "Result", "Units"], True),
        (["paramètre", "valeur"], True),
        (["sample", "pH", "Hardness"], False),
        (["sample", "value"], False),
    ],
)
def test_table_of_results_of_no_known_source_is_told_to_be_one(cli, columns, is_long):
    assert is_of_results(columns) == is_long
    Path("long.csv").write_text(",".join(columns) + "\n" + ",".join("1" * len(columns)) + "\n")
    outcome = cli("validate", "long.csv")
    assert outcome.code == 3
    assert ("waterflow profiles list" in outcome.err) == is_long
    assert ("--rename" in outcome.err) != is_long


def test_list_names_each_profile_with_its_hash(cli):
    listed = json.loads(cli("profiles", "list", "--json").out)
    assert listed["version"] == 1
    assert [each["name"] for each in listed["profiles"]] == bundled_profiles()
    rows = {each["name"]: each["rows"] for each in listed["profiles"]}
    assert rows == {"kaggle": "samples", **dict.fromkeys(OF_RESULTS, "results")}
    text = cli("profiles", "list").out
    for each in listed["profiles"]:
        assert each["name"] in text
        assert each["sha256"] == load_profile(each["name"]).sha256
        assert each["sha256"][:12] in text


def test_shown_profile_can_be_copied_and_used(cli):
    outcome = cli("profiles", "show", "hubeau")
    assert outcome.out.rstrip() == load_profile("hubeau").text.rstrip()
    Path("own.toml").write_text(outcome.out, "utf-8")
    assert cli("profiles", "show", "own.toml").out == outcome.out
    with Path("results.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["code_prelevement", "code_parametre", "resultat_alphanumerique", "libelle_unite"],
                ["1", "1302", "7.1", "unité pH"],
            ]
        )
    assert cli("validate", "results.csv", "--profile", "own.toml").code == 0


# Tests have an environment of their own.
WRITE = os.environ.get("WATERFLOW_WRITE_DOCS") == "1"
DOCS = ROOT / "docs" / "results-tables.md"
EXAMPLE = re.compile(r"`([^`\n]+)`:\n\n```csv\n(.*?)```\n\n```text\n(.*?)\n```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(DOCS.read_text("utf-8"))


def test_docs_have_an_example_of_each_layout():
    text = DOCS.read_text("utf-8")
    assert sorted(re.findall(r"^### .*: `(.*)`$", text, re.MULTILINE)) == OF_RESULTS
    assert len(EXAMPLES) == len(OF_RESULTS)


@pytest.mark.parametrize(("name", "rows", "told"), EXAMPLES, ids=OF_RESULTS)
def test_example_in_the_docs_is_read_as_they_say(cli, name, rows, told):
    Path(name).write_text(rows, "utf-8")
    lines = cli("validate", name).err.splitlines()
    shown = "\n".join(line for line in lines if not line.startswith(("Missing", "1 row")))
    if WRITE:
        text = DOCS.read_text("utf-8")
        DOCS.write_text(text.replace(f"```text\n{told}\n```", f"```text\n{shown}\n```"), "utf-8")
    else:
        assert shown == told
