"""Leaks put into a copy of the training code on purpose: each must be caught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from waterflow_cli import training
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.options import CrossValidation, TrainingOptions

pytestmark = pytest.mark.slow

FOLDER = Path(training.__file__).parent
N_SETS = 12
# Each leak: the module that it is put into, what stands there, and what stands there instead.
SMOTE_BEFORE_SPLIT = (
    "trainer",
    "    learner = choose_learner(plugin, part, options)\n",
    "    from imblearn.over_sampling import SMOTE\n"
    "    X, y = SMOTE(random_state=0).fit_resample(part.X.fillna(part.X.median()), part.y)\n"
    "    part = replace(part, X=X, y=y)\n"
    "    design = make_design(part, options)\n"
    "    learner = choose_learner(plugin, part, options)\n",
)
IMPUTED_BY_LABEL = (
    "trainer",
    "    learner = choose_learner(plugin, part, options)\n",
    "    part = replace(part, X=part.X.fillna(part.X.groupby(part.y).transform('median')))\n"
    "    learner = choose_learner(plugin, part, options)\n",
)
TUNED_ON_TEST = (
    "judging",
    "        _tune(rule, known, probability),\n",
    "        _tune(rule, y[fold.rows], calibrator.apply(fold.scores)),\n",
)


def noise(seed: int) -> TrainingData:
    """Rows whose labels have nothing to do with their measurements, some of them missing."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(size=(240, 4)), columns=list("abcd"))
    X = X.mask(random.random(X.shape) < 0.25)
    return TrainingData(
        path="noise", X=X, y=(random.random(240) < 0.3).astype(np.int64), sha256="", n_dropped=0
    )


def load_copy(monkeypatch, leak=None):
    """Import copies of the modules that measure, with a leak put into one of them."""
    copies = {}
    for name in ("judging", "trainer"):
        source = (FOLDER / f"{name}.py").read_text("utf-8")
        if leak is not None and leak[0] == name:
            assert source.count(leak[1]) == 1, "the code has changed: put the leak in anew"
            source = source.replace(*leak[1:])
        full = f"waterflow_cli.training.{name}"
        spec = importlib.util.spec_from_loader(full, loader=None)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full, module)
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
        copies[name] = module
    return copies["trainer"]


def reported(trainer, *metrics: str) -> list[np.ndarray]:
    """What a copy reports for some sets of noise, of shape (n_sets,) for each metric."""
    from waterflow_cli.models.discovery import load_plugin

    plugin = load_plugin("rf")
    options = TrainingOptions(
        params={"n_estimators": 10}, cv=CrossValidation(3, 1), balance="smote"
    )
    found = [
        trainer.train_model(noise(seed), plugin, options).evaluation.estimates
        for seed in range(N_SETS)
    ]
    return [np.array([estimates[metric].value for estimates in found]) for metric in metrics]


def seems_honest(values: np.ndarray) -> bool:
    """Whether the mean of what was reported for noise is no more than chance plus its error."""
    return values.mean() <= 0.5 + 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_training_code_finds_nothing_in_noise(monkeypatch):
    roc_auc, balanced_accuracy = reported(load_copy(monkeypatch), "roc_auc", "balanced_accuracy")
    assert seems_honest(roc_auc)
    assert seems_honest(balanced_accuracy)


@pytest.mark.parametrize(
    ("leak", "metric"),
    [
        (SMOTE_BEFORE_SPLIT, "roc_auc"),
        (IMPUTED_BY_LABEL, "roc_auc"),
        (TUNED_ON_TEST, "balanced_accuracy"),
    ],
    ids=["smote before the split", "imputation with the label", "threshold tuned on test rows"],
)
def test_leak_is_caught(leak, metric, monkeypatch):
    (values,) = reported(load_copy(monkeypatch, leak), metric)
    assert not seems_honest(values)
