"""Logistic regression."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Logistic regression: linear, the honest baseline",
    estimator="sklearn.linear_model:LogisticRegression",
    defaults={"max_iter": 1000},
    scale=True,
    search_space={"C": (0.001, 0.01, 0.1, 1.0, 10.0)},
)
