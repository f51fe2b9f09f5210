"""Health-based limits of drinking water for what the nine measurements hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from waterflow_cli.arrays import BoolArray


class HealthLimit(NamedTuple):
    """A concentration above which water is no longer held to be safe.

    Attributes
    ----------
    value : float
        In `unit`, inclusive.
    basis : str
        What the value is compared with; one sample can lie above it, and break no rule.
    """

    value: float
    unit: str
    basis: str
    source: str


# Of the nine measurements only these two have one. Colour, taste and plant control are no health
# limits.
HEALTH_LIMITS: Mapping[str, HealthLimit] = {
    "Chloramines": HealthLimit(
        4.0, "mg/L as Cl2", "running annual average", "US EPA, maximum residual disinfectant level"
    ),
    "Trihalomethanes": HealthLimit(
        80.0, "µg/L", "locational running annual average", "US EPA, maximum contaminant level"
    ),
}


def above_health_limit(X: pd.DataFrame) -> BoolArray:
    """Say which samples have a measurement above its health limit, shape (n_samples,)."""
    above = [X[name] > limit.value for name, limit in HEALTH_LIMITS.items() if name in X]
    return np.logical_or.reduce(above) if above else np.zeros(len(X), dtype=bool)
