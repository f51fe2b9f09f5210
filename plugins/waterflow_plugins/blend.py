"""A blend of unlike models: extra trees, a support vector machine and a Gaussian process."""

from collections.abc import Mapping
from typing import Any

from waterflow_plugins.gp import RelevancePlugin
from waterflow_plugins.gp import plugin as process


class BlendPlugin(RelevancePlugin):
    """The mean of three probabilities; models that err differently err less together."""

    def default_params(self) -> dict[str, Any]:
        """Return the parameters of the members."""
        return dict(self.defaults)

    def make_classifier(self, params: Mapping[str, Any], random_state: int) -> Any:
        """Make the unfitted classifier."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
        from sklearn.svm import SVC

        from waterflow_plugins.gaussian_process import GaussianProcess

        chosen = {**self.defaults, **params}
        trees = ExtraTreesClassifier(
            chosen["n_estimators"],
            max_features=chosen["max_features"],
            random_state=random_state,
            n_jobs=1,
        )
        machine = CalibratedClassifierCV(
            SVC(C=chosen["C"], gamma=chosen["gamma"], random_state=random_state),
            method="sigmoid",
            cv=3,
            ensemble=False,
        )
        gaussian = GaussianProcess(chosen["noise"], random_state=random_state)
        return VotingClassifier(
            [("trees", trees), ("machine", machine), ("process", gaussian)], voting="soft"
        )


plugin = BlendPlugin(
    summary="Blend of extra trees, a support vector and a Gaussian process: the best, and slow",
    estimator="sklearn.ensemble:VotingClassifier",
    defaults={
        "n_estimators": 500,
        "max_features": None,
        "C": 1.0,
        "gamma": "scale",
        "noise": 1.5,
    },
    scale=True,
    # A VotingClassifier keeps its members in a Bunch.
    trusted_types=("sklearn.utils._bunch.Bunch", *process.trusted_types),
    search_space={
        "max_features": ("sqrt", 0.5, None),
        "C": (0.3, 1.0, 3.0),
        "gamma": ("scale", 0.03, 0.1),
    },
)
