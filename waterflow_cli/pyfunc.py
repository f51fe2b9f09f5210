"""The MLflow model: workers and servers import this module by name and call `_load_pyfunc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from waterflow_cli.models.files import StoredModel, load_payload, read_verified
from waterflow_cli.scoring.scorer import score_frame


class PotabilityModel:
    """What ``mlflow.pyfunc.load_model(uri)`` wraps: a model that is verified and loaded."""

    def __init__(self, model: StoredModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Judge samples.

        Parameters
        ----------
        model_input : DataFrame of shape (n_samples, n_measurements)
            The measurements in the schema's units, NaN where one is missing.
        params : dict, optional
            None are known.

        Returns
        -------
        DataFrame of shape (n_samples, 3)
            ``probability`` (calibrated P(potable)), ``prediction`` (1 or 0 by the tuned
            threshold) and ``verdict``. A row that breaks the schema, and would be ``invalid`` in
            ``waterflow score``, has neither of the first two and goes to the laboratory.
        """
        return score_frame(self.model, model_input)


def _load_pyfunc(path: str) -> PotabilityModel:
    """Load the payload of a model folder; the name is MLflow's."""
    folder = Path(path).parents[1]
    files = read_verified(folder, label=str(folder))
    return PotabilityModel(load_payload(files, label=f"sha256:{files.digest[:12]}"))
