"""How many made-up examples a law is tried on: a tenth by default, all with `thorough`."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def tried_on(n_examples: int, **more: Any) -> settings:
    """Try a law on so many examples under `--hypothesis-profile thorough`."""
    is_thorough = settings.get_current_profile_name() == "thorough"
    n_tried = n_examples if is_thorough else min(n_examples, max(10, n_examples // 10))
    return settings(max_examples=n_tried, **more)
