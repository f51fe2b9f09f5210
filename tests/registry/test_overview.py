"""A registry at a glance: what a sqlite store's tables tell is what MLflow says."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from stores import copy_store

from waterflow_cli.common.errors import ModelError
from waterflow_cli.registry.lookup import ask_for_model
from waterflow_cli.registry.overview import FIGURES, list_versions, read_history, read_model
from waterflow_cli.registry.references import CHANCE_TAG
from waterflow_cli.registry.sqlite_tables import read_in_sqlite, sqlite_path
from waterflow_cli.registry.stores import connect

NAME = "waterflow"


@pytest.fixture
def uri(store_uri, tmp_path):
    """A store with a version in use, one without a run, and a deleted one."""
    copied = copy_store(store_uri, tmp_path)
    client = connect(copied)
    source = client.get_model_version(NAME, "1").source
    for _ in range(2):
        client.create_model_version(NAME, source)
    client.delete_model_version(NAME, "3")
    client.set_model_version_tag(NAME, "2", CHANCE_TAG, "no")
    return copied


def test_the_tables_tell_what_mlflow_says(uri):
    direct = read_in_sqlite(NAME, uri, FIGURES)
    assert direct is not None
    asked = ask_for_model(NAME, uri, FIGURES)
    assert direct.tags == asked.tags
    assert [each.number for each in direct.versions] == [1, 2]
    for ours, theirs in zip(direct.versions, asked.versions, strict=True):
        assert ours.describe() == theirs.describe()
        assert set(ours.figures.items()) <= set(theirs.figures.items())
    assert set(direct.versions[0].figures) == set(FIGURES)


def test_a_version_that_may_be_chance_is_marked_in_the_list(uri):
    assert [each["may_be_chance"] for each in list_versions(NAME, uri)] == [True, False]


def test_the_history_ends_with_what_nobody_told(uri):
    assert [(each.action, each.version) for each in read_history(NAME, uri)] == [
        *(("train", 1), ("found", 2))
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = 'of_tomorrow'",
        "DROP TABLE registered_model_aliases",
    ],
)
def test_tables_that_are_not_as_known_are_left_to_mlflow(change, uri):
    with closing(sqlite3.connect(sqlite_path(uri))) as database, database:
        database.execute(change)
    assert read_in_sqlite(NAME, uri, FIGURES) is None


def test_other_stores_and_models_are_left_to_mlflow(uri):
    assert read_in_sqlite(NAME, "http://localhost:1", FIGURES) is None
    assert read_in_sqlite("river", uri, FIGURES) is None


def test_a_store_that_is_not_there_is_told_without_mlflow(tmp_path):
    with pytest.raises(ModelError, match="No tracking store at sqlite:"):
        read_model(NAME, f"sqlite:///{tmp_path / 'none.db'}")
