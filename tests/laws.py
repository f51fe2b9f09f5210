"""How many made-up examples a law is tried on: a tenth by default, all with `thorough`.

By hand, some 30,000 files and profiles with `exhaustive`, ten times as many:

    python -m pytest -m "" --hypothesis-profile exhaustive tests/cli/test_meaning.py \
        tests/validation/test_rows_in_and_out.py
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

_FACTORS = {"quick": 0.1, "thorough": 1, "exhaustive": 10}


def tried_on(n_examples: int, **more: Any) -> settings:
    """Try a law on so many examples under `--hypothesis-profile thorough`."""
    n_tried = int(n_examples * _FACTORS.get(settings.get_current_profile_name(), 0.1))
    return settings(max_examples=max(min(n_examples, 10), n_tried), **more)
