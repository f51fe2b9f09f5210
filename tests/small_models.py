"""Small models of the bundled plugins as files, and ways to change those."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import ModelError, PluginError
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.estimator_files import save_estimator
from waterflow_cli.models.estimator_scores import scores_of
from waterflow_cli.models.files import load_estimator
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.models.portable.form import PortableForm
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

COLUMNS = list(load_schema().measurements)
SMALL = {
    "blend": {"n_estimators": 2},
    "extra-trees": {"n_estimators": 3},
    "gp": {},
    "hgb": {"max_iter": 3, "max_leaf_nodes": 8},
    "lightgbm": {"n_estimators": 3, "num_leaves": 6},
    "logreg": {},
    "mlp": {"max_iter": 5, "hidden_layer_sizes": (4, 3)},
    "rf": {"n_estimators": 3},
    "svm": {},
    "xgboost": {"n_estimators": 3, "max_depth": 3},
}
random = np.random.default_rng(0)
X = pd.DataFrame(random.normal(size=(80, len(COLUMNS))), columns=COLUMNS)
y = (X["ph"] + random.normal(size=len(X)) > 0).to_numpy().astype(np.int64)
_FITTED = {}
_FORMS = {}


def saved(name):
    """Give the file of a small model of a plugin, trained once."""
    if name not in _FITTED:
        try:
            plugin = load_plugin(name)
        except PluginError as exc:
            pytest.skip(f"{exc.message} {exc.hint}")
        options = TrainingOptions(params=SMALL[name])
        with single_threaded_fits():
            fitted = build_pipeline(plugin, COLUMNS, options).fit(X, y)
        _FITTED[name] = save_estimator(strip_for_scoring(fitted))
    return _FITTED[name]


def forms(name):
    """Give the portable form of a small model of a plugin."""
    if name not in _FORMS:
        _FORMS[name] = scores_of(load(name, saved(name)), COLUMNS)
        assert isinstance(_FORMS[name], PortableForm)
    return _FORMS[name]


def load(name, data):
    return load_estimator(data, load_plugin(name), COLUMNS)


def refused(name, data):
    """Give what is said of a file that must be refused."""
    with pytest.raises(ModelError) as caught:
        load(name, data)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message
    return caught.value.message


def rewritten(data, change):
    """Give a file of which the members were changed, as whoever edits it can."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def states_of(content, kind):
    """Give the states of a class that a list of parts holds."""
    inner = content.values() if isinstance(content, dict) else content
    if isinstance(content, dict) and content.get("__class__") == kind:
        yield content
    for value in inner if isinstance(content, (dict, list)) else ():
        if isinstance(value, (dict, list)):
            yield from states_of(value, kind)
