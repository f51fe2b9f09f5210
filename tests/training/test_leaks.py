"""Leaks that are in a file: each kind is found where it was planted, and none where none was."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pandas as pd
import pytest
from paths import ROOT

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.copies import find_copies
from waterflow_cli.training.leaks import Leak, describe_leaks, find_leaks

spec = importlib.util.spec_from_file_location("bench_leaks", ROOT / "benchmarks/bench_leaks.py")
assert spec is not None
assert spec.loader is not None
bench = sys.modules["bench_leaks"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


@pytest.fixture(scope="module")
def real(real_table):
    return bench.part_of(str(real_table))


@pytest.mark.parametrize("source", ["public", *bench.SIMULATED])
@pytest.mark.parametrize("kind", bench.LEAKS)
def test_leak_is_found_where_it_was_planted(kind, source, request):
    draw = request.getfixturevalue("real") if source == "public" else bench.SIMULATED[source]
    plant, code = bench.LEAKS[kind]
    random = np.random.default_rng(3)
    X, y = plant(*draw(1000, 0.4, random), random)
    assert code in {leak.code for leak in bench.look(X, y)}


@pytest.mark.parametrize("source", bench.SIMULATED)
def test_none_is_found_where_nobody_put_one(source):
    assert bench.false_alarms(bench.SIMULATED[source], 4) == []


def test_none_is_found_in_the_public_table(real_table):
    frame = pd.read_csv(real_table)
    assert bench.look(frame[bench.NAMES], frame["Potability"].to_numpy()) == ()


@pytest.mark.parametrize(
    "values",
    [
        np.empty((0, 3)),
        np.full((60, 3), np.nan),
        np.ones((60, 3)),
        np.arange(60.0)[:, None] % 7,
        1e300 * np.random.default_rng(0).standard_normal((300, 5)),
    ],
    ids=["no rows", "nothing measured", "constant", "coarse", "huge"],
)
def test_odd_tables_show_none(values):
    X, y = pd.DataFrame(values), np.arange(len(values)) % 2
    assert find_leaks(X, y, find_copies(X)) == ()


def test_a_value_at_a_bound_of_detection_is_no_leak():
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 2000)
    values = random.lognormal(y, 1.0)
    values[values < 1.0] = 0.5
    X = pd.DataFrame({"Nitrate": values})
    assert find_leaks(X, y, find_copies(X)) == ()


def test_facts_are_told_in_words_and_as_json():
    leak = Leak(code="imputed_by_class", n_rows=1314, of=3276, column="ph", value=7.0355, label=0)
    assert str(leak.describe()) == (
        "ph is 7.0355 in 1,314 rows, nearly all labelled not potable: what was missing was filled "
        "in from rows of the same label"
    )
    assert json.dumps(leak.content(), allow_nan=False)
    copies = Leak(code="copies", n_rows=3, of=9)
    assert copies.content()["value"] is None
    assert str(describe_leaks([copies, leak, leak])).count(";") == 1


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    random = np.random.default_rng(0)
    X, y = bench.water(400, 0.4, random)
    X, y = bench.LEAKS["missing cells filled by the class's mean"][0](X, y, random)
    path = tmp_path_factory.mktemp("leaks") / "filled.csv"
    X.assign(Potability=y).to_csv(path, index=False)
    assert load_schema().label == "Potability"
    return path


def test_train_warns_above_the_table_in_the_run_and_on_the_page(by_class, cli, tmp_path):
    page, uri = tmp_path / "page.html", f"sqlite:///{tmp_path / 'mlflow.db'}"
    fast = ("--plugin", "logreg", "--cv", "3x1", "--tracking-uri", uri)
    done = cli("train", str(by_class), *fast, "--report", str(page))
    assert done.code == 0
    assert "Warning: LEAK in" in done.err
    assert done.out.startswith("DO NOT BELIEVE these figures. ph is ")
    assert "Do not believe the figures on this page" in page.read_text("utf-8")
    refused = cli("train", str(by_class), *fast, "--on-leak", "fail", "--name", "other")
    assert (refused.code, refused.out) == (1, "")
    assert "--on-leak warn" in refused.err
    ignored = cli("train", str(by_class), *fast, "--on-leak", "ignore", "--json")
    assert "LEAK" not in ignored.err
    assert {leak["code"] for leak in json.loads(ignored.out)["data"]["leaks"]} == {
        "imputed_by_class"
    }
    measured = cli(
        *("evaluate", str(by_class), "--model", "1", "--tracking-uri", uri, "--on-leak", "fail")
    )
    assert (measured.code, measured.out) == (1, "")


def test_explore_names_leaks_and_fails_where_that_is_asked_for(by_class, cli):
    done = cli("explore", str(by_class), "--on-leak", "fail")
    assert done.code == 1
    assert "! Leak. Ph is " in done.out or "! Leak. ph is " in done.out
    assert "Leak" not in cli("explore", str(by_class), "--on-leak", "ignore").out
