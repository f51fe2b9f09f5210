"""LightGBM."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Gradient boosting (LightGBM)",
    estimator="lightgbm:LGBMClassifier",
    defaults={
        "n_estimators": 200,
        "learning_rate": 0.05,
        "num_leaves": 15,
        "n_jobs": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    },
    requires={"lightgbm": "pip install 'waterflow-cli[lightgbm]'"},
    trusted_types=(
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
    ),
    search_space={
        "n_estimators": (100, 200, 400),
        "learning_rate": (0.02, 0.05, 0.1),
        "num_leaves": (7, 15, 31),
    },
)
