"""Histogram-based gradient boosting."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Gradient boosting on histograms (scikit-learn): small and fast to score",
    estimator="sklearn.ensemble:HistGradientBoostingClassifier",
    defaults={"max_iter": 150, "learning_rate": 0.05, "min_samples_leaf": 20},
    search_space={
        "learning_rate": (0.02, 0.05, 0.1),
        "max_iter": (100, 150, 300),
        "max_leaf_nodes": (8, 15, 31),
        "l2_regularization": (0.0, 1.0, 10.0),
    },
)
