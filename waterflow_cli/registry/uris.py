"""Addresses of tracking stores."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

SQLITE = "sqlite:///"


def sqlite_path(uri: str) -> Path | None:
    """Give the file of a sqlite store; None for any other kind of store.

    >>> sqlite_path("sqlite:///my%20river/mlflow.db?timeout=5")
    PosixPath('my river/mlflow.db')
    """
    if not uri.startswith(SQLITE):
        return None
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))
