"""Multi-layer perceptron."""

from waterflow_cli.pipelines import EstimatorPlugin

plugin = EstimatorPlugin(
    summary="Neural network (multi-layer perceptron), with a loss curve",
    estimator="sklearn.neural_network:MLPClassifier",
    defaults={"hidden_layer_sizes": (64, 32), "early_stopping": True, "max_iter": 300},
    scale=True,
    search_space={
        "hidden_layer_sizes": ((32,), (64, 32), (128, 64)),
        "alpha": (1e-5, 1e-4, 1e-3, 1e-2),
        "learning_rate_init": (3e-4, 1e-3, 3e-3),
    },
)
