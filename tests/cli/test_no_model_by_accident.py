"""No model of made-up samples is in use by accident."""

from __future__ import annotations

import json

import pytest

from waterflow_cli.registry.lookup import list_versions

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
