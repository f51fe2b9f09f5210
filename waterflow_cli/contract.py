"""For plugin authors: what a model plugin is. See `waterflow_cli.models.contract`."""

from waterflow_cli.models.contract import (
    BALANCES,
    CALIBRATIONS,
    CONTRACT,
    GROUP,
    Balance,
    Calibration,
    ModelPlugin,
)

__all__ = ["BALANCES", "CALIBRATIONS", "CONTRACT", "GROUP", "Balance", "Calibration", "ModelPlugin"]
