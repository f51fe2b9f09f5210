"""The whole life of a model on the public table, its rows taken for months in a drawn order."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
# The rows of the table stand in long runs, of labels and of more: in the fifth sixth the rank
# correlation of pH and hardness is 0.66, in the others -0.13 to 0.30.
N_TRAINED, N_MONTH = 2184, 546
TRAIN = ("--plugin", "extra-trees", "--param", "n_estimators=100", "--cv", "3x1")


@pytest.fixture
def months(real_table, workdir):
    """The rows to train on as ``year.csv``, and the month after them as ``1.csv``."""
    table = pd.read_csv(real_table, dtype=str, keep_default_na=False)
    table = table.sample(frac=1, random_state=0)
    table.insert(0, "sample_id", [f"W{number:04d}" for number in range(len(table))])
    table[:N_TRAINED].to_csv("year.csv", index=False)
    table[N_TRAINED : N_TRAINED + N_MONTH].to_csv("1.csv", index=False)


def write_changed(source, target, change):
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(target, index=False)


def add_to_ph(table):
    table["ph"] = [text and repr(min(float(text) + 0.5, 14.0)) for text in table["ph"]]


def into_milligrams(table):
    table["Trihalomethanes"] = [
        text and repr(float(text) / 1000) for text in table["Trihalomethanes"]
    ]


def lose_sulfate(table):
    lost = table.sample(frac=0.2, random_state=1).index
    table.loc[lost, "Sulfate"] = ""


def shuffle_labels(table):
    shuffled = table["Potability"].sample(frac=1, random_state=1)
    table["Potability"] = shuffled.to_numpy()


def champion(cli):
    versions = json.loads(cli("models", "list", "--json").out)["versions"]
    return {alias: each["version"] for each in versions for alias in each["aliases"]}


def test_a_model_is_trained_watched_retrained_promoted_and_rolled_back(cli, months):
    assert cli("train", "year.csv", *TRAIN).code == 0
    assert cli("score", "1.csv", "-o", "before.csv").code == 0

    # Watched: quiet on a month like the others, loud on what is not.
    quiet = cli("monitor", "1.csv")
    assert quiet.code == 0, quiet.out
    for change in (add_to_ph, into_milligrams, lose_sulfate):
        write_changed("1.csv", f"{change.__name__}.csv", change)
        alarm = cli("monitor", f"{change.__name__}.csv", "--json")
        assert alarm.code == 1, change
        assert json.loads(alarm.out)["alarm"] is True

    # Trained again: labels that tell nothing are refused, and change nothing.
    write_changed("1.csv", "shuffled.csv", shuffle_labels)
    refused = cli("retrain", "--with", "shuffled.csv", "--promote")
    assert refused.code == 1, refused.err
    assert champion(cli) == {"champion": 1, "challenger": 2}
    assert cli("models", "promote", "2").code == 1
    passed = cli("retrain", "--with", "1.csv", "--promote")
    assert passed.code == 0, passed.err
    assert champion(cli) == {"champion": 3, "previous": 1}

    # The new one judges otherwise, and the flips can be seen.
    assert cli("score", "1.csv", "-o", "after.csv").code == 0
    assert Path("after.csv").read_bytes() != Path("before.csv").read_bytes()
    flips = json.loads(cli("replay", "before.csv", "--model", "@champion", "--json").out)
    n_flips = flips["flips"] if isinstance(flips["flips"], int) else len(flips["flips"])
    assert n_flips > 0

    # Back to the one before: the same bytes as then.
    assert cli("models", "rollback", "--why", "the flips were not convincing").code == 0
    assert champion(cli) == {"champion": 1}
    assert cli("score", "1.csv", "-o", "again.csv").code == 0
    assert Path("again.csv").read_bytes() == Path("before.csv").read_bytes()

    # And it is all told.
    history = json.loads(cli("models", "history", "--json").out)["history"]
    assert [(each["action"], each["version"], each["from"], each["to"]) for each in history] == [
        ("train", 1, None, 1),
        ("retrain", 2, 1, 1),
        ("gate", 2, 1, 1),
        ("retrain", 3, 1, 1),
        ("gate", 3, 1, 1),
        ("promote", 3, 1, 3),
        ("rollback", 1, 3, 1),
    ]
    assert all(each["who"] and each["when"] and each["metrics"] for each in history)
