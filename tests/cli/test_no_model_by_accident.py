"""No model of made-up samples, or without skill, is in use by accident."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from learnable import write_learnable

from waterflow_cli.registry.overview import list_versions

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
STORE = "sqlite:///mlflow.db"
QUICK = ("--plugin", "hgb", "--param", "max_iter=20", "--cv", "3x1", "--balance", "none")
SIMULATED = "learned from simulated samples"


def aliases():
    return {each["version"]: each["aliases"] for each in list_versions("waterflow", STORE)}


def test_a_model_of_the_simulated_sample_is_for_trying_alone(cli):
    trained = cli("train", *QUICK, "--json")
    assert json.loads(trained.out)["registered"]["alias"] == "demo"
    assert "training on 3000 simulated samples" in trained.err
    assert cli("simulate", "--rows", 30, "-o", "new.csv").code == 0

    refused = cli("score", "new.csv", "-o", "-")
    assert (refused.code, refused.out) == (4, "")
    assert "has no @champion" in refused.err
    assert "--model @demo" in refused.err

    scored = cli("score", "new.csv", "-o", "-", "--model", "@demo")
    assert scored.code == 0
    assert f"Warning: waterflow/1 {SIMULATED}" in scored.err

    promoted = cli("models", "promote", "1", "--force", "--why", "no")
    assert promoted.code == 1
    assert f"waterflow version 1 {SIMULATED}, and is never put in use" in promoted.err
    assert aliases() == {1: ["demo"]}


def write_senseless(path, n_rows):
    """Write samples whose labels tell nothing."""
    write_learnable(path, n_rows, seed=3)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["Potability"] = table["Potability"].sample(frac=1, random_state=1).to_numpy()
    table.to_csv(path, index=False)


def test_a_model_that_may_be_chance_is_put_in_use_by_force_alone(cli):
    write_senseless("samples.csv", 240)
    trained = cli("train", "samples.csv", *QUICK)
    assert trained.code == 0
    assert "Registered waterflow version 1 without an alias (run " in trained.out
    assert "Not shown to be better than chance" in trained.err
    assert "waterflow models promote 1 --force" in trained.err
    assert "chance not ruled out" in cli("models", "list").out
    assert json.loads(cli("models", "show", "1", "--json").out)["may_be_chance"] is True
    assert aliases() == {1: []}

    refused = cli("score", "samples.csv", "-o", "-")
    assert (refused.code, refused.out) == (4, "")
    assert "not shown to be better than chance, is --model 1" in refused.err
    assert cli("score", "samples.csv", "-o", "-", "--model", "1").code == 0

    promoted = cli("models", "promote", "1")
    assert promoted.code == 1
    assert "waterflow version 1 is not shown to be better than chance." in promoted.err
    assert cli("models", "promote", "1", "--force", "--why", "for the trial").code == 0
    assert aliases() == {1: ["champion"]}


@pytest.mark.slow
def test_a_simulated_model_that_may_be_chance_gets_no_alias_either(cli):
    # A straight line finds nothing in the simulated sample.
    trained = cli("train", "--plugin", "logreg", "--cv", "3x1", "--balance", "none", "--json")
    assert json.loads(trained.out)["registered"]["alias"] is None


@pytest.mark.slow
def test_a_refused_challenger_that_may_be_chance_gets_no_alias(cli):
    write_learnable("samples.csv", 240, seed=3)
    assert cli("train", "samples.csv", *QUICK).code == 0
    write_senseless("new.csv", 400)
    retrained = cli("retrain", "--with", "new.csv", "--plugin", "logreg", "--on-conflict", "new")
    assert retrained.code == 1
    assert "Refused: waterflow version 2 has no alias, and 1 stays @champion." in retrained.out
    assert aliases() == {2: [], 1: ["champion"]}
