"""Addresses of databases: what they name, and what is never shown of them."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from waterflow_cli.common import credentials
from waterflow_cli.common.credentials import hide_passwords, password_of
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.tables.databases.addresses import is_database, parse_address, quoted
from waterflow_cli.tables.databases.reading import open_database
from waterflow_cli.tables.table import NO_NAMES


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch):
    monkeypatch.setattr(credentials, "_kept", {})


@pytest.mark.parametrize(
    ("path", "kind", "place", "asked"),
    [
        ("sqlite:lab.db?samples", "sqlite", "lab.db", "samples"),
        ("sqlite:/a b/lab.db?SELECT * FROM t WHERE a = '?'", "sqlite", "/a b/lab.db", None),
        ("duckdb:lab.duckdb?lab.samples", "duckdb", "lab.duckdb", "lab.samples"),
        ("postgresql://ana@h:5432/db?samples", "postgresql", "postgresql://ana@h:5432/db", None),
        ("postgres://h/db?a=1&b=2&samples", "postgresql", "postgres://h/db?a=1&b=2", "samples"),
        ("postgresql://h/db?with x as (select 1) select * from x", "postgresql", None, None),
    ],
)
def test_an_address_names_a_place_and_a_table_or_a_query(path, kind, place, asked):
    found = parse_address(path)
    assert found.kind == kind
    assert place in (None, found.place)
    assert found.asked == (asked or path.partition("?")[2])
    assert found.is_query == (" " in found.asked)


@pytest.mark.parametrize("path", ["sqlite:lab.db", "duckdb:lab.db?", "postgresql://ana@h/db"])
def test_an_address_without_a_table_is_refused(path):
    with pytest.raises(UsageError, match="names no table") as caught:
        parse_address(path)
    assert "sqlite:lab.db?samples" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["a.csv", "-", "s3a://b/a.csv", "12:30.csv", "sqlite", "C:/a.db"])
def test_other_paths_are_no_databases(path):
    assert not is_database(path)


@pytest.mark.parametrize("password", ["hush", "h@sh", "h/u:sh", "p%40ss"])
def test_a_password_is_taken_out_and_kept(password):
    shown = hide_passwords(f"postgresql://ana:{password}@h:1/db?t")
    assert shown == "postgresql://ana@h:1/db?t"
    assert password_of("postgresql://ana@h:1/db") == password.replace("%40", "@")
    others = ("a.csv", 7, None, "postgresql://h:5432/db?t", "http://ana:hush@h/")
    assert hide_passwords(others) == others


@pytest.mark.parametrize(
    "address",
    ["postgresql://ana:hu?sh@h/db?t", "postgresql://ana@h/db?password=hush&t"],
)
def test_a_password_elsewhere_is_refused_and_not_shown(address):
    with pytest.raises(UsageError, match="cannot be told") as caught:
        hide_passwords(address)
    assert "hu" not in str(caught.value)


def test_a_name_is_looked_up_and_never_becomes_sql(tmp_path: Path):
    path = tmp_path / "lab.db"
    odd = 'a"; DROP TABLE b; --'
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {quoted([odd])} (ph REAL)")
        connection.execute("CREATE TABLE b (ph REAL)")
        connection.execute(f"INSERT INTO {quoted([odd])} VALUES (7.1)")
        connection.commit()
    with open_database(f"sqlite:{path}?{odd}", NO_NAMES) as table:
        assert [batch.columns["ph"].to_pylist() for batch in table.batches()] == [["7.1"]]
    unknown = pytest.raises(InputError, match=r"there is no table 'c'; the database has: a.*, b")
    with unknown, open_database(f"sqlite:{path}?c", NO_NAMES):
        pass


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_file_that_is_none_or_no_database_is_refused(kind, tmp_path):
    (tmp_path / "a.db").write_text("ph\n7\n" * 9, "utf-8")
    for name, problem in (("a.db", "is no database of"), ("b.db", "cannot be opened")):
        refused = pytest.raises(InputError, match=problem)
        with refused, open_database(f"{kind}:{tmp_path / name}?t", NO_NAMES):
            pass
    assert not (tmp_path / "b.db").exists()


def test_a_library_that_is_not_installed_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    refused = pytest.raises(UsageError, match="PostgreSQL is not installed")
    with refused as caught, open_database("postgresql://h/db?t", NO_NAMES):
        pass
    assert "pip install 'waterflow-cli[postgres]'" in str(caught.value.hint)
