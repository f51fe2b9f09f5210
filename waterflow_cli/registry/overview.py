"""What stands in the registry at a glance: the versions of a model and its history.

Both are read from a sqlite store's tables, at once, and asked of MLflow where these do not tell.
"""

from __future__ import annotations

from typing import Any

from waterflow_cli.registry.history import Entry, read_entries, unrecorded
from waterflow_cli.registry.references import CHAMPION, ListedModel
from waterflow_cli.registry.sqlite_tables import check_exists, read_in_sqlite

# Of the versions in the list, those by which they are told apart at a glance.
FIGURES = ("roc_auc", "false_potable_per_1000")


def list_versions(name: str, tracking_uri: str) -> list[dict[str, Any]]:
    """List the versions of a registered model, the newest first; a `ModelError` without any."""
    model = read_model(name, tracking_uri, figures=FIGURES)
    return [
        {**version.describe(), **{figure: version.figures.get(figure) for figure in FIGURES}}
        for version in reversed(model.versions)
    ]


def read_history(name: str, tracking_uri: str) -> list[Entry]:
    """Read what was done with a model, the oldest first; nothing is written.

    What no entry tells of stands at the end. There is a `ModelError` where there is no such model.
    """
    model = read_model(name, tracking_uri)
    entries = read_entries(model.tags)
    champions = [each.number for each in model.versions if CHAMPION in each.aliases]
    numbers = [version.number for version in model.versions]
    return [*entries, *unrecorded(entries, numbers, champions[0] if champions else None)]


def read_model(name: str, tracking_uri: str, figures: tuple[str, ...] = ()) -> ListedModel:
    """Read what is registered of a model; a `ModelError` where it has no version."""
    check_exists(tracking_uri)
    found = read_in_sqlite(name, tracking_uri, figures)
    if found is None:
        from waterflow_cli.registry.lookup import ask_for_model

        found = ask_for_model(name, tracking_uri, figures)
    return found
