"""Cells that give a bound and no value: ``<0.5`` and ``>200``."""

from __future__ import annotations

from dataclasses import dataclass

from waterflow_cli.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Censored:
    """The cells of one column that give a bound and no value.

    Attributes
    ----------
    below, above : ndarray of bool, shape (n_rows,)
        Where the value lies below the bound (a limit of quantification), or above it.
    bound : ndarray of float64, shape (n_rows,)
        In the schema's unit; NaN where the cell is not censored.
    """

    below: BoolArray
    above: BoolArray
    bound: FloatArray
