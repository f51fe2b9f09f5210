"""The JSON that waterflow writes, and the names of files in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(content: Mapping[str, Any]) -> str:
    """Write a result as the one JSON object that the contract promises.

    It is ASCII, so that it stays JSON in any locale; a number that is none is null.
    """
    return json.dumps({"version": 1, **without_nan(content)}, indent=2, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """Put null for each number that is none or not finite, at any depth: JSON has no other way.

    >>> without_nan({"p": float("nan"), "range": (0.5, float("inf"))})
    {'p': None, 'range': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def path_text(path: str) -> str:
    r"""Write a file's name as text; bytes in it that are no UTF-8 are shown as ``\udcXX``."""
    return path.encode("utf-8", "backslashreplace").decode()
