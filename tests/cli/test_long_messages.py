"""No message is without bound, whatever the file or the command line is made of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from marks import slow
from paths import ROOT

FAULTY = ROOT / "tests" / "faulty"
CASES = ROOT.parent / "shared" / "cases"
# What a person reads at once; a line of a table on stdout has as much.
BOUND = 2_000
KINDS = {
    "x": "x",
    "wide": "\u6c34",
    "four bytes": "\U0001f4a7",
    "bidi": "\u202e",
    "control": "\x1b",
}


def inputs(folder):
    return [path for path in sorted(folder.glob("*")) if path.suffix not in (".md", ".toml")]


def strings(content):
    """Give all texts in some JSON, the names in it too."""
    if isinstance(content, dict):
        return [text for pair in content.items() for each in pair for text in strings(each)]
    if isinstance(content, list):
        return [text for each in content for text in strings(each)]
    return [content] if isinstance(content, str) else []


def assert_bounded(outcome):
    for said in (outcome.err, *outcome.out.splitlines()):
        assert len(said.encode("utf-8", "backslashreplace")) <= BOUND, said
        assert all(line.replace("\xa0", " ").isprintable() for line in said.splitlines()), said


def assert_all_bounded(cli, store_uri, path, *options):
    """Run both commands in each form of their answer."""
    for language in ("en", "fr"):
        spoken = (*options, "--lang", language)
        assert_bounded(cli("validate", path, *spoken))
        judged = ("--tracking-uri", store_uri, "-o", "scored.csv", "--force")
        assert_bounded(cli("score", path, *judged, *spoken))
    for outcome in (cli("validate", path, "--json", *options),):
        if outcome.out:
            assert max(map(len, strings(json.loads(outcome.out)))) <= BOUND


@pytest.mark.parametrize("path", inputs(FAULTY), ids=lambda path: path.name)
def test_messages_on_faulty_files_are_bounded(path, cli, store_uri):
    assert_all_bounded(cli, store_uri, path)


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="small inputs that go wrong lie beside the project")
@pytest.mark.parametrize("path", inputs(CASES), ids=lambda path: path.name)
def test_messages_on_small_inputs_that_go_wrong_are_bounded(path, cli, store_uri):
    assert_all_bounded(cli, store_uri, path)
    profile = path.with_suffix(".toml")
    if profile.exists():
        assert_all_bounded(cli, store_uri, path, "--profile", profile)


def long_inputs(lines, long):
    """Make tables that are long somewhere: a cell, a header, a name in each of many rows."""
    header, *rows = lines
    rest = [row.partition(",")[2] for row in rows]
    cells = [f'"{long}",{each}' for each in rest]
    yield "cell", [header, cells[0], *rows[1:]]
    yield "cells", [header, *cells]
    yield "header", [f'{header},"{long}"', *(f"{row},1" for row in rows)]
    yield "only_header", [f'"{long}"', "1"]
    yield (
        "unit",
        [f'{header.replace("ph,", "ph,", 1)},"Nitrate ({long})"', *(f"{row},1" for row in rows)],
    )
    yield "fields", [header, ",".join([rows[0], *[f'"{long}"'] * 50]), *rows[1:]]
    yield "line", [header, long, *rows]
    yield "title", [long, header, *rows]
    yield "twice", [f'{header},"{long}","{long}"', *(f"{row},1,2" for row in rows)]


@pytest.mark.parametrize("kind", ["control", *slow("x", "wide", "four bytes", "bidi")])
def test_messages_on_tables_with_something_long_are_bounded(kind, cli, store_uri, samples, workdir):
    lines = samples.read_text().splitlines()[:30]
    for name, made in long_inputs(lines, KINDS[kind] * 9_000):
        path = Path(f"{name}.csv")
        path.write_text("\n".join(made) + "\n", "utf-8")
        assert_all_bounded(cli, store_uri, path)


@pytest.mark.slow
def test_messages_on_many_unknown_columns_are_bounded(cli, store_uri, samples, workdir):
    lines = samples.read_text().splitlines()[:30]
    unknown = [f"unknown column {n} mg/L" for n in range(5_000)]
    Path("more.csv").write_text(f"{lines[0]},{','.join(unknown)}\n{lines[1]}{',<5' * 5_000}\n")
    Path("only.csv").write_text(f"{','.join(unknown)}\n1{',2' * 4_999}\n")
    Path("ragged.csv").write_text("\n".join([*lines, f"{lines[1]}{',x' * 5_000}"]) + "\n")
    for name in ("more.csv", "only.csv", "ragged.csv"):
        assert_all_bounded(cli, store_uri, name)


LONG = "y" * 30_000
OPTIONS = [
    ("validate", "s.csv", f"--{LONG}"),
    *(("validate", "s.csv", f"--{each}", LONG) for each in (
        *("schema", "format", "limits", "max-errors", "rename", "unit", "sep", "decimal"),
        *("encoding", "nondetect", "loq", "profile", "good", "jobs", "lang", "missing"),
    )),
    *(("train", "s.csv", f"--{each}", LONG) for each in (
        *("plugin", "balance", "threshold", "cv", "param", "name", "guarantee", "seed", "target"),
        *("time", "group", "tracking-uri"),
    )),
    ("train", "s.csv", "--plugin", "rf", "--param", f"{LONG}=1"),
    ("train", "s.csv", "--plugin", "rf", "--param", f"max_depth={LONG}"),
    *(("score", "s.csv", "-o", "o.csv", f"--{each}", LONG) for each in (
        *("model", "columns", "prefix", "on-invalid", "rejects", "engine", "tracking-uri", "name"),
    )),
    ("score", "s.csv", "-o", LONG),
    ("explore", LONG),
    ("compare", "s.csv", "--plugins", LONG),
    ("evaluate", "s.csv", "--model", LONG),
    ("monitor", "s.csv", "--window", LONG),
    ("plugins", "check", LONG),
    ("plugins", "new", LONG),
    ("schemas", "show", LONG),
    ("models", "show", LONG),
    ("models", LONG),
    ("limits", LONG),
    (LONG,),
]  # fmt: skip


@pytest.mark.parametrize("arguments", OPTIONS, ids=lambda each: " ".join(each)[:40])
def test_messages_on_long_options_are_bounded(arguments, cli, samples, workdir):
    Path("s.csv").write_text("\n".join(samples.read_text().splitlines()[:60]) + "\n")
    for language in ("en", "fr"):
        outcome = cli("--lang", language, *arguments)
        assert 2 <= outcome.code <= 4, outcome.err
        assert_bounded(outcome)
        error = re.split("^(?=Error|Erreur)", outcome.err, flags=re.MULTILINE)[-1]
        assert len(error.splitlines()) <= 3
