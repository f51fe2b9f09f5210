"""Say which measurements moved a row's probability most."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.models.files import StoredModel


def check_n_listed(model: StoredModel, n_listed: int) -> None:
    """Refuse to list more measurements for a row than the model has.

    Raises
    ------
    UsageError
        Naming both numbers.
    """
    n_measurements = len(model.decision.measurements)
    if n_listed > n_measurements:
        raise UsageError(
            trn(
                "--explain {n_listed}: model {model} has {n} measurement.",
                "--explain {n_listed}: model {model} has {n} measurements.",
                n_measurements,
                n_listed=n_listed,
                model=model.label,
            )
        )


def list_movers(
    model: StoredModel, X: pd.DataFrame, probability: FloatArray, n_listed: int
) -> pa.StringArray:
    """End each row's reason: ``; moved most by: Sulfate +0.062, ph -0.031``, for example.

    Shares are ranked as they are shown, in thousandths: equal ones keep the order of the
    measurements, and those that would show as 0.000 are left out.

    Parameters
    ----------
    X, probability : DataFrame, ndarray
        See `measure_contributions`.
    n_listed : int
        At most so many measurements are listed for a row.

    Returns
    -------
    pyarrow.StringArray of shape (n_samples,)
        Empty where nothing moved the probability.
    """
    shares = measure_contributions(model, X, probability)
    thousandths = np.rint(1000 * shares).astype(np.int64)
    ranked = np.argsort(-np.abs(thousandths), axis=1, kind="stable")[:, :n_listed]
    names = pa.array(list(X.columns), pa.string())
    parts = []
    for place, columns in enumerate(ranked.T):
        moved = thousandths[np.arange(len(X)), columns]
        values, codes = np.unique(moved, return_inverse=True)
        figures = pa.array([f" {value / 1000:+.3f}" for value in values], pa.string())
        lead = ", " if place else tr("; moved most by: ")
        part = pc.binary_join_element_wise(lead, names.take(columns), figures.take(codes), "")
        parts.append(pc.if_else(moved == 0, "", part))
    return pc.binary_join_element_wise(*parts, "")


def measure_contributions(
    model: StoredModel, X: pd.DataFrame, probability: FloatArray
) -> FloatArray:
    """Measure what each measurement does to the calibrated probability of each row.

    It is the probability less that of the same row with this measurement at its typical value, the
    median of the training rows: one at a time, as in the individual conditional expectations of
    Goldstein, Kapelner, Bleich and Pitkin (2015, "Peeking inside the black box"). That is exact
    for any model, and takes one more scoring for each measurement. It is not additive: what two
    measurements do together is counted for both, or for neither, and never shared out.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_measurements)
        The model's measurements. A missing one is compared as the model sees it: one that is
        imputed by the median did nothing.
    probability : ndarray of shape (n_samples,)
        What the model gives for it.

    Returns
    -------
    ndarray of shape (n_samples, n_measurements)
        Each in [-1, 1].
    """
    shares = np.empty(X.shape)
    typical = zip(model.decision.measurements, model.decision.typical, strict=True)
    for column, (name, value) in enumerate(typical):
        changed = X.copy(deep=False)
        changed[name] = value
        shares[:, column] = probability - model.probability(changed)
    return shares
