"""Inputs that are no table of text cells, through whole commands."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from databases import PASSWORD, Postgres, running_postgres

# As it is meant, and as it is escaped.
SECRETS = (PASSWORD, "p%40ss")
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


def to_sqlite(path: str, table: str, rows: list[list[str]]) -> str:
    """Put text into a table, but numbers as numbers; give its address."""
    head, *rest = rows
    with closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f'"{name}" NUMERIC' for name in head)
        connection.execute(f'CREATE TABLE "{table}" ({columns})')
        marks = ", ".join("?" for _ in head)
        values = [[cell or None for cell in row] for row in rest]
        connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', values)
        connection.commit()
    return f"sqlite:{path}?{table}"


def cells(*rows: str) -> list[list[str]]:
    return [row.split(",") for row in (HEAD, *rows)]


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_rows_go_from_a_database_into_one(cli, store_uri, plain, kind):
    store = ("--tracking-uri", store_uri)
    source = to_sqlite("lab.db", "samples", cells(*ROWS))
    target = f"{kind}:{'lab.db' if kind == 'sqlite' else 'out.duckdb'}?scored"
    outcome = cli("score", source, "-o", target, "--manifest", "m.json", *store)
    assert outcome.code == 0, outcome.err
    assert "as SQLite table; 'TDS' as Solids" in outcome.err
    assert json.loads(Path("m.json").read_text("utf-8"))["outputs"] == [
        {"path": target, "bytes": None, "sha256": None}
    ]
    again = cli("score", source, "-o", target, *store)
    assert (again.code, "--force" in again.err) == (2, True)
    assert cli("score", source, "-o", target, *store, "--force").code == 0
    assert cli("validate", target, "--good", "good.csv").code == 0
    assert cli("score", plain, "-o", "plain_out.csv", *store).code == 0
    ours, expected = pd.read_csv("good.csv"), pd.read_csv("plain_out.csv")
    assert ours["probability"].tolist() == expected["probability"].tolist()
    assert ours["reason"].tolist() == expected["reason"].tolist()


def test_findings_in_a_database_name_the_row(cli, workdir):
    rows = [ROWS[0], ROWS[1].replace("200.10", "many"), ROWS[2].replace("7.30", "<LQ")]
    outcome = cli("validate", to_sqlite("lab.db", "samples", cells(*rows)), "--format", "csv")
    assert outcome.code == 1
    assert "sqlite:lab.db?samples,3,Hardness,many,not_a_number" in outcome.out
    assert "sqlite:lab.db?samples,4,pH,<LQ,no_limit" in outcome.out


def test_what_cannot_be_done_with_a_database_is_refused_by_name(cli, store_uri, plain):
    store = ("--tracking-uri", store_uri)
    source = to_sqlite("lab.db", "samples", cells(*ROWS))
    for args, code, said in (
        ((source, "-o", source, "--force"), 2, "is an input"),
        ((source, "-o", "out.csv", "--resume"), 2, "--resume: sqlite:lab.db?samples is in a"),
        ((plain, "-o", "sqlite:lab.db?b", "--resume"), 2, "--resume: sqlite:lab.db?b is in a"),
        ((source, "-o", "folder/"), 2, "has no name for a file in a folder"),
        (("sqlite:lab.db?nope", "-o", "out.csv"), 3, "the database has: samples"),
        ((plain, "-o", "sqlite:no/lab.db?t"), 2, "there is no folder no"),
        ((source, "-o", "out", "--engine", "spark"), 2, "--engine spark: sqlite:lab.db?samples"),
    ):
        outcome = cli("score", *args, *store)
        assert (outcome.code, said in outcome.err) == (code, True), outcome.err
        assert not Path("out.csv").exists()


@pytest.mark.slow
def test_train_monitor_and_explore_read_databases(cli, workdir, samples):
    rows = [line.split(",") for line in samples.read_text("utf-8").splitlines()]
    source = to_sqlite("lab.db", "samples", rows)
    store = ("--tracking-uri", "sqlite:///mlflow.db")
    trained = cli("train", source, "--plugin", "logreg", "--cv", "3x1", *store)
    assert trained.code == 0, trained.err
    again = cli("reproduce", "1", *store)
    assert again.code == 0, again.err
    assert cli("monitor", source, *store).code in (0, 1)
    assert cli("explore", source, "-o", "page.html").code == 0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def to_postgres(server: Postgres, table: str, rows: list[list[str]]) -> str:
    import psycopg

    head, *rest = rows
    with psycopg.connect(server.uri()) as connection:
        kinds = {"sample_id": "text"}
        columns = ", ".join(f'"{name}" {kinds.get(name, "numeric")}' for name in head)
        connection.execute(f'CREATE TABLE "{table}" ({columns})')
        with connection.cursor() as cursor, cursor.copy(f'COPY "{table}" FROM STDIN') as copy:
            for row in rest:
                copy.write_row([cell or None for cell in row])
    return f"{server.uri()}?{table}"


@pytest.mark.slow
def test_postgresql_is_read_and_written_and_no_password_is_shown(cli, store_uri, plain, postgres):
    store = ("--tracking-uri", store_uri)
    source = to_postgres(postgres, "samples", cells(*ROWS))
    target = f"{postgres.uri()}?scored"

    def run(*args: str, code: int = 0) -> str:
        outcome = cli(*args)
        said = outcome.out + outcome.err
        assert outcome.code == code, said
        assert not any(secret in said for secret in SECRETS)
        return said

    run("score", source, plain, "-o", "both.csv", *store)
    assert not any(secret in Path("both.csv").read_text("utf-8") for secret in SECRETS)
    assert "as PostgreSQL table" in run("score", source, "-o", target, "--manifest", "m", *store)
    assert not any(secret in Path("m").read_text("utf-8") for secret in SECRETS)
    assert "exists already" in run("score", source, "-o", target, *store, code=2)
    run("score", source, "-o", target, "--force", *store)
    run("score", f"{source.partition('?')[0]}?SELECT * FROM samples", "-o", "out.csv", *store)
    run("validate", target, "--good", "good.csv")
    run("score", plain, "-o", "plain_out.csv", *store)
    ours, expected = pd.read_csv("good.csv"), pd.read_csv("plain_out.csv")
    assert ours["probability"].tolist() == expected["probability"].tolist()
    assert "the database has: samples, scored" in run("validate", f"{postgres.uri()}?no", code=3)
    wrong = postgres.uri("wr0ng-secret")
    said = run("validate", f"{wrong}?samples", code=3)
    assert "password authentication failed" in said
    assert "wr0ng" not in said
    run("score", plain, "-o", f"{postgres.uri()}?no.scored", *store, code=2)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_table_in_each_database_scores_as_the_file(cli, store_uri, real_table, postgres):
    with real_table.open(newline="") as file:
        rows = [row[:9] for row in csv.reader(file)]
    store = ("--tracking-uri", store_uri, "--columns", "ids")
    Path("plain.csv").write_text("".join(",".join(row) + "\n" for row in rows), "utf-8")
    assert cli("score", "plain.csv", "-o", "plain_out.csv", *store).code == 0
    expected = pd.read_csv("plain_out.csv")["probability"].tolist()
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect("lab.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT * FROM read_csv('plain.csv')")
    for source, told in (
        (to_sqlite("lab.db", "t", rows), "as SQLite table."),
        ("duckdb:lab.duckdb?t", "as DuckDB table."),
        (to_postgres(postgres, "t", rows), "as PostgreSQL table."),
    ):
        outcome = cli("score", source, "-o", "out.csv", "--force", *store)
        assert outcome.code == 0, outcome.err
        (line,) = [each for each in outcome.err.splitlines() if each.startswith("Read ")]
        assert line.endswith(told)
        assert pd.read_csv("out.csv")["probability"].tolist() == expected
