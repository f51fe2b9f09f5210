"""Support vector machine with an RBF kernel."""

from collections.abc import Mapping
from typing import Any

from waterflow_cli.pipelines import EstimatorPlugin


class SvmPlugin(EstimatorPlugin):
    """A support vector machine: a sigmoid fitted to its margin gives the probabilities."""

    def make_classifier(self, params: Mapping[str, Any], random_state: int) -> Any:
        """Make the classifier; ``ensemble=False`` keeps one machine, and not one a fold."""
        from sklearn.calibration import CalibratedClassifierCV

        machine = super().make_classifier(params, random_state)
        return CalibratedClassifierCV(machine, method="sigmoid", cv=3, ensemble=False)


plugin = SvmPlugin(
    summary="Support vector machine (RBF kernel): strong on small tables, slow on large ones",
    estimator="sklearn.svm:SVC",
    defaults={"C": 1.0, "gamma": "scale"},
    scale=True,
    search_space={"C": (0.1, 0.3, 1.0, 3.0, 10.0), "gamma": ("scale", 0.03, 0.1, 0.3)},
)
