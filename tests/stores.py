"""Copies of tracking stores, for tests that write to one: making its tables takes a second."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

SQLITE = "sqlite:///"


def copy_store(uri: str, folder: Path) -> str:
    """Copy a store's database into a folder, and give its URI; artifacts stay where they are."""
    path = folder / "mlflow.db"
    with (
        closing(sqlite3.connect(uri.removeprefix(SQLITE))) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy)
    return f"{SQLITE}{path}"
