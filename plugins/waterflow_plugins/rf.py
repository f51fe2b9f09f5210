"""Random forest."""

from waterflow_cli.pipelines import EstimatorPlugin

# One job: the folds run in parallel already, and a forest that predicts with several threads adds
# up its trees in the order in which they finish, which changes the last bit.
plugin = EstimatorPlugin(
    summary="Random forest: robust, little to tune",
    estimator="sklearn.ensemble:RandomForestClassifier",
    defaults={"n_estimators": 300, "n_jobs": 1},
    search_space={
        "n_estimators": (100, 300, 500),
        "max_features": ("sqrt", 0.5, None),
        "min_samples_leaf": (1, 2, 5, 10),
    },
)
