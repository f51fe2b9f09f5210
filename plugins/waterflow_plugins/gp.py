"""Gaussian process with one length for each measurement."""

from collections.abc import Mapping, Sequence
from typing import Any

from waterflow_cli.contract import Balance
from waterflow_cli.pipelines import EstimatorPlugin


class RelevancePlugin(EstimatorPlugin):
    """A classifier that is given rows whose distances count what the label depends on."""

    def build_pipeline(
        self,
        *,
        columns: Sequence[str],
        balance: Balance,
        random_state: int,
        params: Mapping[str, Any],
    ) -> Any:
        """Build the unfitted pipeline; the lengths are learned before rows are made up."""
        from waterflow_cli.pipelines import balanced_pipeline
        from waterflow_plugins.gaussian_process import LengthScaler

        return balanced_pipeline(
            self.make_classifier(params, random_state),
            balance=balance,
            random_state=random_state,
            scale=True,
            before_sampling=[("lengths", LengthScaler(random_state))],
        )


plugin = RelevancePlugin(
    summary="Gaussian process: learns how much each measurement matters; for small tables",
    estimator="waterflow_plugins.gaussian_process:GaussianProcess",
    trusted_types=(
        "waterflow_plugins.gaussian_process.GaussianProcess",
        "waterflow_plugins.gaussian_process.LengthScaler",
    ),
    search_space={"noise": (0.7, 1.0, 1.5, 2.0, 3.0)},
)
