"""Inputs that are no table of text cells, through whole commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

HEAD = "sample_id,pH,Hardness,TDS,Chloramines,Sulfate,Conductivity,TOC,THM,Turbidity"
ROWS = [f"W-{n},7.{n}0,200.10,20000,7.1,330,560,14,66,3.9" for n in range(1, 7)]


def objects(*rows: str) -> list[dict[str, str]]:
    return [dict(zip(HEAD.split(","), row.split(","), strict=True)) for row in rows]


def lines(*rows: str) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects(*rows))


@pytest.fixture
def plain(workdir: Path) -> str:
    Path("plain.csv").write_text("\n".join([HEAD, *ROWS, ""]), "utf-8")
    return "plain.csv"


def test_what_score_writes_as_json_lines_is_read_by_each_command(cli, store_uri, plain):
    store = ("--tracking-uri", store_uri)
    assert cli("score", plain, "-o", "out.jsonl.gz", *store).code == 0
    outcome = cli("validate", "out.jsonl.gz", "--good", "good.csv")
    assert outcome.code == 0, outcome.err + outcome.out
    assert "as JSON lines, utf-8; 'TDS' as Solids" in outcome.err
    assert "W-1,7.10,200.10," in Path("good.csv").read_text("utf-8")
    assert cli("score", "out.jsonl.gz", "-o", "again.csv", "--prefix", "b_", *store).code == 0
    again = pd.read_csv("again.csv")
    assert (again["probability"] == again["b_probability"]).all()
    assert cli("replay", "out.jsonl.gz", "--model", "1", *store).code == 0
    assert cli("monitor", "out.jsonl.gz", *store).code in (0, 1)


def test_wrong_lines_are_named_with_file_and_line_and_kept_as_they_are(cli, store_uri, workdir):
    Path("in.ndjson").write_text(lines(ROWS[0]) + '{"pH": 7\n' + lines(ROWS[1]), "utf-8")
    outcome = cli("validate", "in.ndjson")
    assert outcome.code == 1
    assert "in.ndjson" in outcome.out
    assert "the line is no JSON object (character 9)" in outcome.out
    store = ("--tracking-uri", store_uri)
    assert cli("score", "in.ndjson", "-o", "o.csv", "--rejects", "r.csv", *store).code == 0
    assert pd.read_csv("o.csv")["rule"].tolist()[1] == "not_json"
    assert Path("r.csv").read_text("utf-8").splitlines()[1].startswith('in.ndjson,2,"{""pH"": 7",')


def test_json_is_read_from_standard_input(cli, workdir, monkeypatch):
    Path("in.json").write_text(json.dumps(objects(*ROWS)), "utf-8")
    with Path("in.json").open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        outcome = cli("validate", "-")
    assert (outcome.code, "Read - as JSON, utf-8" in outcome.err) == (0, True)


def test_json_without_the_columns_ends_with_3_and_names_its_keys(cli, workdir):
    Path("a.json").write_text('[{"lead": 1}]', "utf-8")
    outcome = cli("validate", "a.json")
    assert (outcome.code, "JSON, utf-8; it has: lead" in outcome.err) == (3, True)


@pytest.mark.parametrize("options", [(), ("--jobs", "3"), ("--batch-rows", "2")])
def test_outputs_are_the_same_for_each_number_of_jobs(cli, store_uri, workdir, options):
    Path("in.jsonl").write_text(lines(*ROWS), "utf-8")
    Path("in.json").write_text(json.dumps(objects(*ROWS)), "utf-8")
    store = ("--tracking-uri", store_uri, "--force")
    for name in ("in.jsonl", "in.json"):
        assert cli("score", name, "-o", "all.csv", *store).code == 0
        assert cli("score", name, "-o", "out.csv", *store, *options).code == 0
        assert Path("out.csv").read_bytes() == Path("all.csv").read_bytes()
