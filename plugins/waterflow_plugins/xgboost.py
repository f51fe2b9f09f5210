"""XGBoost."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Gradient boosting (XGBoost)",
    estimator="xgboost:XGBClassifier",
    defaults={
        "n_estimators": 200,
        "learning_rate": 0.05,
        "max_depth": 4,
        "subsample": 0.8,
        "n_jobs": 1,
    },
    requires={"xgboost": "pip install 'waterflow-cli[xgboost]'"},
    trusted_types=("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"),
    search_space={
        "n_estimators": (100, 200, 400),
        "learning_rate": (0.02, 0.05, 0.1),
        "max_depth": (3, 4, 6),
    },
)
