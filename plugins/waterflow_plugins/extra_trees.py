"""Extremely randomised trees."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Extra trees: a forest with random cut points, fast to train",
    estimator="sklearn.ensemble:ExtraTreesClassifier",
    defaults={"n_estimators": 300, "n_jobs": 1},
    search_space={
        "n_estimators": (100, 300, 500),
        "max_features": ("sqrt", 0.5, None),
        "min_samples_leaf": (1, 2, 5, 10),
    },
)
