"""A blend of unlike models: extra trees, a support vector machine, and small neural networks."""

from collections.abc import Mapping
from typing import Any

from waterflow_cli.pipelines import EstimatorPlugin


class BlendPlugin(EstimatorPlugin):
    """The mean of three probabilities; models that err differently err less together.

    The networks are bagged (Breiman 1996, "Bagging predictors"): one alone depends much on its
    seed.
    """

    def default_params(self) -> dict[str, Any]:
        """Return the parameters of the members, and how many networks there are."""
        return dict(self.defaults)

    def make_classifier(self, params: Mapping[str, Any], random_state: int) -> Any:
        """Make the unfitted classifier."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, VotingClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.svm import SVC

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
        network = MLPClassifier(chosen["hidden_layer_sizes"], early_stopping=True, max_iter=300)
        networks = BaggingClassifier(network, chosen["n_networks"], random_state=random_state)
        return VotingClassifier(
            [("trees", trees), ("machine", machine), ("networks", networks)], voting="soft"
        )


plugin = BlendPlugin(
    summary="Blend of extra trees, a support vector machine and networks: the best, and slow",
    estimator="sklearn.ensemble:VotingClassifier",
    defaults={
        "n_estimators": 500,
        "max_features": None,
        "C": 1.0,
        "gamma": "scale",
        "hidden_layer_sizes": (64, 32),
        "n_networks": 10,
    },
    scale=True,
    trusted_types=("sklearn.utils._bunch.Bunch",),  # VotingClassifier's list of members
    search_space={
        "max_features": ("sqrt", 0.5, None),
        "C": (0.3, 1.0, 3.0),
        "gamma": ("scale", 0.03, 0.1),
    },
)
