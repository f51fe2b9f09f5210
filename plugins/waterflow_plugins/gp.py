"""Gaussian process with one length for each measurement."""

from collections.abc import Sequence
from typing import Any

from waterflow_cli.pipelines import EstimatorPlugin


class RelevancePlugin(EstimatorPlugin):
    """A classifier that is given rows whose distances count what the label depends on."""

    def steps_before_sampling(self, random_state: int) -> Sequence[tuple[str, Any]]:
        """Learn the lengths before rows are made up, which lie between others."""
        from waterflow_plugins.gaussian_process import LengthScaler

        return [("lengths", LengthScaler(random_state))]


plugin = RelevancePlugin(
    scale=True,
    summary="Gaussian process: learns how much each measurement matters; for small tables",
    estimator="waterflow_plugins.gaussian_process:GaussianProcess",
    trusted_types=(
        "waterflow_plugins.gaussian_process.GaussianProcess",
        "waterflow_plugins.gaussian_process.LengthScaler",
    ),
    search_space={"noise": (0.7, 1.0, 1.5, 2.0, 3.0)},
)
