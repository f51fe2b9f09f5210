"""The JSON that waterflow writes."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(content: dict[str, Any]) -> str:
    """Write a result as the one JSON object of the contract.

    It is ASCII, so that it stays JSON in any locale; a number that is none is null.
    """
    return json.dumps({"version": 1, **_without_nan(content)}, indent=2, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
