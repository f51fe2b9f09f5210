"""The two files of the French control, made up, go through the life of a model as one table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
SAMPLINGS, RESULTS = "DIS_PLV_2024.txt", "DIS_RESULT_2024.txt"
PAIR = (RESULTS, SAMPLINGS)
HGB = ("--plugin", "hgb", "--balance", "none", "--param", "max_iter=60", "--cv", "3x1")


def simulate(cli, n_rows, *options):
    said = cli("simulate", "--layout", "sise-eaux", "--samples", n_rows, "-o", ".", *options)
    assert said.code == 0, said.err
    return said


def test_both_files_make_samples_with_date_network_commune_and_label(cli):
    assert f"Wrote 400 simulated samples to {SAMPLINGS}, {RESULTS}" in simulate(cli, 400).err
    checked = cli("validate", *PAIR, "--good", "good.csv")
    assert checked.code == 0, checked.out
    assert "400 samples of" in checked.err
    assert f"400 samplings in 412 rows of {SAMPLINGS}" in checked.err
    with Path("good.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400
    for row in rows:
        assert row["dateprel"].startswith("2024-")
        assert row["cdreseau"].startswith("0330")
        assert row["nomcommuneprinc"]
        assert row["Potability"] in ("0", "1")
        assert not row["Hardness"].count("0000")  # of 22,12 °f
    assert cli("validate", SAMPLINGS, RESULTS, "--good", "again.csv").code == 0
    assert Path("again.csv").read_bytes() == Path("good.csv").read_bytes()


def test_a_model_is_trained_on_the_pair_and_made_again(cli):
    simulate(cli, 1500, "--signal", "0.95")
    trained = cli("train", *PAIR, *HGB, "--group", "cdreseau", "--json")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["registered"]["alias"] == "champion"
    again = cli("reproduce", "@champion", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["identical"]
    with Path(SAMPLINGS).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert cli("reproduce", "@champion").code == 1  # one of the files is another one now

    scored = cli("score", *PAIR, "-o", "out.csv")
    assert scored.code == 0, scored.err
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["scored"] * 1500
    refused = cli("score", *PAIR, "-o", SAMPLINGS, "--force")
    assert refused.code == 2
    assert "is an input" in refused.err


@pytest.mark.slow
def test_what_decides_the_labels_is_found(cli):
    possible = json.loads(simulate(cli, 20_000, "--seed", "3", "--json").out)
    trained = cli("train", *PAIR, *HGB, "--json")
    found = json.loads(trained.out)["evaluation"]["estimates"]["roc_auc"]["value"]
    assert found == pytest.approx(possible["best_auc_with_missing"], abs=0.03)
