"""Profiles drafted from an example file: what is guessed, what is asked, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.profiles import Profile, load_profile, parse_profile
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import AS_FOUND
from waterflow_cli.validation.profile_drafts import Draft, draft_profile

SCHEMA = load_schema()
LABORATORY = """\
place,collected_at,what,res,res_unit,qual,rl,note
Well 1,2026-03-17,pH,7.1,S.Units,,,
Well 1,2026-03-17,Turbidity,0.19,NTU,<,0.2,
Well 1,2026-03-17,Zinc,3,mg/L,J,,
"""


def drafted(tmp_path: Path, text: str) -> tuple[Draft, Profile]:
    path = tmp_path / "example.csv"
    path.write_text(text, "utf-8")
    draft = draft_profile(str(path), SCHEMA, AS_FOUND)
    return draft, parse_profile(draft.text, "draft", "draft.toml")


def test_columns_of_results_are_guessed_by_name_and_content(tmp_path):
    draft, profile = drafted(tmp_path, LABORATORY)
    results = profile.results
    assert results is not None
    assert results.sample == ("place", "collected_at")
    assert (results.parameter, results.value, results.unit) == ("what", "res", "res_unit")
    assert (results.qualifier, results.limit) == ("qual", "rl")
    assert profile.parameters == {"pH": "ph", "Turbidity": "Turbidity"}
    assert profile.qualifiers == {"below": ["<"]}
    asked = "\n".join(draft.questions)
    for word in ("place, collected_at", "note", "S.Units", "Zinc", "J"):
        assert word in asked
        assert word in draft.text
    assert draft.text.count("# guess") == 7


def test_what_is_asked_is_left_out_of_the_profile(tmp_path):
    _, profile = drafted(tmp_path, LABORATORY)
    assert (profile.unit_aliases, "Zinc" in profile.parameters) == ({}, False)


def test_table_without_units_is_asked_for_them(tmp_path):
    draft, profile = drafted(tmp_path, "site,analyte,value\nA,pH,7\nA,Sulfate,<2\n")
    assert "No column tells the units" in "\n".join(draft.questions)
    assert '# Sulfate = "mg/L SO4"' in draft.text
    assert profile.results is not None
    assert profile.results.unit == ""


def test_table_of_unknown_parameters_is_asked_for_its_column(tmp_path):
    draft, _ = drafted(tmp_path, "site,determinand,result\nA,xyz,7\nA,abc,8\n")
    assert "Which column holds the parameter?" in "\n".join(draft.questions)


def test_known_header_gives_a_copy_of_its_profile(tmp_path):
    draft, profile = drafted(tmp_path, "referenceprel,cdparametre,rqana\n1,1302,7\n")
    assert profile.results == load_profile("sise-eaux").results
    assert draft.questions == []


def test_table_of_samples_is_asked_for_missing_columns_and_units(tmp_path):
    draft, profile = drafted(tmp_path, "Acidity,Sulfate,THM (µg/L),site\n7,3,4,A\n8,3,4,B\n")
    assert profile.results is None
    asked = "\n".join(draft.questions)
    assert "Which columns hold ph" in asked
    assert "Numbers are in: Acidity" in asked
    assert "Nothing tells the units of Sulfate" in asked
    assert "Trihalomethanes" not in asked.split("units of")[1]


def test_file_of_numbers_alone_is_refused(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("site,param,result\n", "utf-8")
    with pytest.raises(InputError):
        draft_profile(str(path), SCHEMA, AS_FOUND)


WORDS = st.text(st.characters(exclude_characters=",\r\n\0", exclude_categories=("Cs",)), max_size=9)


@tried_on(200)
@given(rows=st.lists(st.tuples(*[WORDS] * 4), min_size=1, max_size=4), other=WORDS)
def test_draft_of_any_table_is_a_profile(tmp_path_factory, rows, other):
    path = tmp_path_factory.mktemp("draft") / "any.csv"
    lines = [f"sample id,parameter,result,x{other}", *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="")
    try:
        draft = draft_profile(str(path), SCHEMA, AS_FOUND)
    except InputError:
        return
    parse_profile(draft.text, "draft", "draft.toml")


def test_draft_is_written_checked_and_settled(cli, tmp_path):
    example, profile = tmp_path / "example.csv", tmp_path / "own.toml"
    example.write_text(LABORATORY, "utf-8")
    done = cli("profiles", "new", example, "-o", profile)
    assert done.code == 0
    assert "S.Units" in done.err
    assert cli("profiles", "new", example, "-o", profile).code == 2
    done = cli("profiles", "check", profile, example)
    assert done.code == 1
    assert "Parameters not read: Zinc 1" in done.err
    assert "'S.Units' is no known unit" in done.err
    assert "1 sample is not understood" in done.err
    settled = profile.read_text("utf-8").replace('# "S.Units" = ""', '"S.Units" = "pH"')
    profile.write_text(settled, "utf-8")
    done = cli("profiles", "check", profile, example)
    assert done.code == 0
    assert done.out.strip() == f"{profile}: a profile of files with one row for each result."


def test_check_of_a_bundled_profile_or_a_faulty_one(cli, tmp_path):
    assert "each sample" in cli("profiles", "check", "kaggle").out
    path = tmp_path / "own.toml"
    path.write_text('[units]\nSulfat = "mg/L"\n')
    done = cli("profiles", "check", path)
    assert done.code == 2
    assert "'Sulfat' is no column" in done.err
