"""Labelled data and a plugin become an evaluated model; there is no MLflow here.

It may import `models`, `validation` and below. Start at `train_model`; `runs` keeps what stays of
a training, and `retraining` judges whether it replaces the champion.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__, trainer="train_model", options="TrainingOptions", data="load_training_data"
)
