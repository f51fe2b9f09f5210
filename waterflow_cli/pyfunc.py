"""The MLflow model: workers and servers import this module by name and call `_load_pyfunc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from waterflow_cli.models.files import StoredModel, load_payload
from waterflow_cli.models.manifest import read_verified
from waterflow_cli.scoring.frames import score_frame


class PotabilityModel:
    """What ``mlflow.pyfunc.load_model(uri)`` wraps: a model that is verified and loaded."""

    def __init__(self, model: StoredModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Judge samples.

        Parameters
        ----------
        model_input : DataFrame of shape (n_samples, n_columns), or what pandas makes one of
            Among others the measurements, by their names in any order, in the schema's units; NaN
            where one is missing. Columns named "0", "1" and so on, as ``spark_udf`` names them
            outside a ``struct``, are the measurements in the schema's order.
        params : dict, optional
            None are known.

        Returns
        -------
        DataFrame of shape (n_samples, 3)
            ``probability`` (calibrated P(potable)), ``prediction`` (1 or 0 by the tuned
            threshold) and ``verdict``. A row that breaks the schema, and would be ``invalid`` in
            ``waterflow score``, has neither of the first two and goes to the laboratory.

        Raises
        ------
        InputError, ModelError
            If a column that the model needs is not there, or most of them are not.
        """
        frame, names = pd.DataFrame(model_input), self.model.decision.measurements
        if frame.columns.tolist() == [str(place) for place in range(len(names))]:
            frame = frame.set_axis(list(names), axis="columns")
        return score_frame(self.model, frame)


def _load_pyfunc(path: str) -> PotabilityModel:
    """Load the payload of a model folder; the name is MLflow's."""
    folder = Path(path).parents[1]
    files = read_verified(folder, label=str(folder))
    return PotabilityModel(load_payload(files, label=f"sha256:{files.digest[:12]}"))
