"""Quadratic discriminant analysis for waterflow, written against the plugin contract itself.

Most plugins need no more than `waterflow_cli.pipelines.EstimatorPlugin`. This one builds its own
pipeline, because it also tells the classifier which values were missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imblearn.pipeline import Pipeline
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from waterflow_cli.contract import CONTRACT, Balance
from waterflow_cli.pipelines import make_sampler

_EQUAL_PRIORS = (0.5, 0.5)


class QdaPlugin:
    """See `waterflow_cli.contract.ModelPlugin` for what each member promises."""

    contract = CONTRACT
    summary = "Quadratic discriminant analysis (example): one ellipsoid for each class"
    requires: Mapping[str, str] = {}
    trusted_types: Sequence[str] = ()
    search_space: Mapping[str, Sequence[Any]] = {"reg_param": (0.01, 0.05, 0.1, 0.3)}

    def default_params(self) -> Mapping[str, Any]:
        """Return what ``--param`` may set."""
        return {"reg_param": 0.05}

    def build_pipeline(
        self,
        *,
        columns: Sequence[str],
        balance: Balance,
        random_state: int,
        params: Mapping[str, Any],
    ) -> Pipeline:
        """Build the unfitted pipeline."""
        # Weighting the classes equally is, for this classifier, to give them equal priors.
        priors = _EQUAL_PRIORS if balance == "weight" else None
        classifier = QuadraticDiscriminantAnalysis(
            priors=priors, **{**self.default_params(), **params}
        )
        steps: list[tuple[str, Any]] = [
            ("imputer", SimpleImputer(add_indicator=True, keep_empty_features=True)),
            ("scaler", StandardScaler()),
        ]
        if sampler := make_sampler(balance, random_state):
            steps.append(("sampler", sampler))
        return Pipeline([*steps, ("classifier", classifier)])


plugin = QdaPlugin()
