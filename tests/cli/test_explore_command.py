"""``waterflow explore`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waterflow_cli.common.messages import LANGUAGES

PLAIN = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity\n"
    "7,200,300,1,100,450,2,50,1\n7.5,210,310,1,100,450,2,50,1\n"
)


@pytest.fixture
def plain(workdir):
    Path("plain.csv").write_text(PLAIN)
    return "plain.csv"


def test_the_summary_is_on_stdout_and_the_reading_on_stderr(cli, plain):
    done = cli("explore", plain)
    assert done.code == 0
    assert done.out.startswith("plain.csv: rows 2, columns 9\n")
    assert "Signal was not looked for. The file has no label column." in done.out
    assert "Conductivity" in done.out
    assert done.err == "Read plain.csv as utf-8, separator ','.\n"


def test_json_is_one_object_with_a_version(cli, plain):
    done = cli("explore", plain, "--json", "-q")
    content = json.loads(done.out)
    assert content["version"] == 1
    assert [file["path"] for file in content["files"]] == ["plain.csv"]
    assert content["differences"] == []
    assert done.err == ""


def test_a_page_is_written_and_replaced_only_with_force(cli, plain):
    assert cli("explore", plain, "-o", "page.html").err.endswith("Wrote page.html.\n")
    first = Path("page.html").read_bytes()
    refused = cli("explore", plain, "-o", "page.html")
    assert refused.code == 2
    assert "exists already" in refused.err
    assert Path("page.html").read_bytes() == first
    assert cli("explore", plain, "-o", "page.html", "--force").code == 0


def test_the_page_goes_to_stdout_alone(cli, plain):
    done = cli("explore", plain, "-o", "-", "-q")
    assert done.out.startswith("<!doctype html>")
    assert done.out.rstrip().endswith("</html>")


def test_json_and_the_page_do_not_share_stdout(cli, plain):
    assert cli("explore", plain, "-o", "-", "--json").code == 2


def test_an_input_is_never_the_output(cli, plain):
    assert cli("explore", plain, "-o", plain, "--force").code == 2
    assert Path(plain).read_text() == PLAIN


def test_two_files_are_laid_side_by_side(cli, plain):
    Path("other.csv").write_text(PLAIN.replace("7.5", ""))
    content = json.loads(cli("explore", plain, "--against", "other.csv", "--json").out)
    assert [file["path"] for file in content["files"]] == ["plain.csv", "other.csv"]
    ph = content["differences"][0]
    assert (ph["name"], ph["missing"]) == ("ph", [0.0, 0.5])
    assert ph["statistic"] == 0.5
    assert "KS statistic" in cli("explore", plain, "--against", "other.csv").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nowhere.csv",), 3),
        (("empty.csv",), 3),
        (("plain.csv", "--against", "nowhere.csv"), 3),
        (("plain.csv", "--limits", "atlantis"), 2),
        (("plain.csv", "--site", "nowhere"), 2),
    ],
)
def test_what_cannot_be_read_or_found_ends_as_everywhere(cli, plain, arguments, code):
    Path("empty.csv").write_text(PLAIN.splitlines()[0] + "\n")
    done = cli("explore", *arguments)
    assert done.code == code
    assert done.err.startswith("Error: ")
    assert done.out == ""


def test_rows_that_break_the_schema_do_not_change_the_exit_code(cli, workdir):
    Path("bad.csv").write_text(PLAIN + "x,200,300,1,100,450,2,50,1\n")
    done = cli("explore", "bad.csv")
    assert done.code == 0
    assert "Rows that break the schema. 1 of 3." in done.out


def test_limits_of_other_profiles_can_be_held_against_the_labels(cli, workdir):
    header, first, second = PLAIN.splitlines()
    Path("labelled.csv").write_text(f"{header},Potability\n{first},1\n{second},0\n")
    content = json.loads(cli("explore", "labelled.csv", "--json", "--limits", "who,eu").out)
    assert content["files"][0]["contradictions"]["profiles"] == ["who", "eu"]
    absent = json.loads(cli("explore", "labelled.csv", "--json", "--limits", "").out)
    assert "no limits were chosen" in absent["files"][0]["contradictions"]["absent"]


def test_json_is_english_whatever_the_language(cli, workdir):
    header, first, second = PLAIN.splitlines()
    Path("few.csv").write_text(f"{header},Potability\n{first},1\n{second},0\n")
    said = [cli("--lang", language, "explore", "few.csv", "--json").out for language in LANGUAGES]
    assert "row of one class cannot be put into 5 folds." in said[0]
    assert said[0] == said[1]
    assert "ligne d'une classe" in cli("--lang", "fr", "explore", "few.csv").out


@pytest.mark.slow
@pytest.mark.real_data
def test_the_real_table_has_no_line_some_signal_and_labels_against_limits(cli, real_table):
    done = cli("explore", real_table, "--json")
    found = json.loads(done.out)["files"][0]
    assert found["signal"]["linear"]["value"] == pytest.approx(0.50, abs=0.02)
    assert found["signal"]["linear"]["low"] < 0.5 < found["signal"]["linear"]["high"]
    assert 0.66 < found["signal"]["quick"]["value"] < 0.70
    assert found["signal"]["quick"]["low"] > 0.6
    assert found["signal"]["permutation"]["p_value"] == pytest.approx(0.01)
    assert max(abs(value) for value in found["signal"]["point_biserial"].values()) < 0.05
    told = found["contradictions"]
    assert told["n_potable_outside"] / told["n_potable"] == pytest.approx(0.973, abs=0.001)
