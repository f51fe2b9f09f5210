"""Save a decision model as plain files; verify and load it again.

A model is an MLflow pyfunc folder. Its payload holds the estimator as a skops file (no pickle),
the decision in JSON and the schema in YAML. A manifest beside MLmodel lists the sha256 of every
file, and the tracking store keeps the sha256 of the manifest: nothing is loaded before each file
matches.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import ModelError, PluginError, UsageError, WaterflowError
from waterflow_cli.common.hashing import file_sha256, sha256_of
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.models.calibration import calibrator_from_json, calibrator_to_json
from waterflow_cli.models.decision import DecisionModel, Policy
from waterflow_cli.models.discovery import LoadedPlugin, describe_failure, load_plugin
from waterflow_cli.models.reference import REFERENCE_FILES, Reference
from waterflow_cli.samples.table_schema import TableSchema

FORMAT, MANIFEST_FORMAT = 4, 1
MANIFEST = "waterflow-manifest.json"
PAYLOAD = "waterflow"
DIGEST_TAG = "waterflow.manifest_sha256"
ESTIMATOR_FILE, DECISION_FILE, SCHEMA_FILE = "estimator.skops", "decision.json", "schema.yaml"
# MLflow writes this note about a version into the folder whenever it is fetched.
_ADDED_BY_MLFLOW = "registered_model_meta"

# Types beyond those that skops itself trusts, which the bundled scikit-learn models are made of.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A verified model, ready to score.

    Attributes
    ----------
    label : str
        What a scored row says judged it: name and version, or the digest of the folder.
    digest : str
        The sha256 of its manifest.
    schema : TableSchema
        What its training rows kept to.
    plugin : str
        The plugin that trained it.
    data_sha256 : str
        Of the file that it was trained on; empty where that is not known.
    """

    label: str
    digest: str
    decision: DecisionModel
    schema: TableSchema
    plugin: str
    data_sha256: str = ""

    def probability(self, X: pd.DataFrame) -> FloatArray:
        """Calibrated P(potable) of each row, shape (n_samples,).

        Raises
        ------
        PluginError
            If the estimator fails, or gives no probability for a row.
        """
        try:
            probability = self.decision.probability(X)
        except Exception as exc:  # the estimator's code is the plugin's
            raise PluginError(
                "Model {label}, of the plugin '{plugin}', failed to predict: {cause}.",
                label=self.label,
                plugin=self.plugin,
                cause=describe_failure(exc),
            ) from exc
        n_without = int(np.isnan(probability).sum())
        if n_without:
            raise PluginError(
                trn(
                    "Model {label}, of the plugin '{plugin}', gave no probability for "
                    "{n_without} of {n} row (NaN).",
                    "Model {label}, of the plugin '{plugin}', gave no probability for "
                    "{n_without} of {n} rows (NaN).",
                    len(X),
                    label=self.label,
                    plugin=self.plugin,
                    n_without=n_without,
                )
            )
        return probability


def save_payload(
    folder: Path,
    decision: DecisionModel,
    schema: TableSchema,
    plugin: LoadedPlugin,
    details: dict[str, Any],
    reference: Reference,
) -> None:
    """Write the payload of a model into a new folder.

    Parameters
    ----------
    details : dict
        JSON of what else is worth knowing.

    Raises
    ------
    ModelError
        If the estimator holds a type that loading would refuse.
    """
    folder.mkdir(parents=True)
    estimator_file = folder / ESTIMATOR_FILE
    skops.io.dump(decision.estimator, estimator_file)
    trusted_types_of(estimator_file, plugin)
    content = {
        "format": FORMAT,
        "measurements": list(decision.measurements),
        "calibration": calibrator_to_json(decision.calibrator),
        "threshold": decision.threshold,
        "policy": asdict(decision.policy),
        "typical": list(decision.typical),
        "schema": schema.compiled(),
        "plugin": plugin.name,
        "plugin_distribution": plugin.distribution,
        **details,
    }
    (folder / DECISION_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    (folder / SCHEMA_FILE).write_text(schema.text, "utf-8")
    reference.save(folder)


def load_payload(folder: Path, *, label: str, digest: str) -> StoredModel:
    """Load a payload whose files were verified.

    Raises
    ------
    ModelError
        If a file is missing, or the estimator holds a type that is not trusted.
    """
    try:
        content = json.loads((folder / DECISION_FILE).read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ModelError(
                "Model {label} has format {format}; this version knows {known}.",
                tr("Install the version of waterflow that wrote it, or train again."),
                label=label,
                format=content["format"],
                known=FORMAT,
            )
        estimator_file = folder / ESTIMATOR_FILE
        found = skops.io.get_untrusted_types(file=estimator_file)
        plugin = None if set(found) <= set(TRUSTED_TYPES) else _plugin_of(content, label)
        trusted = found if plugin is None else trusted_types_of(estimator_file, plugin)
        decision = DecisionModel(
            estimator=skops.io.load(estimator_file, trusted=trusted),
            measurements=content["measurements"],
            calibrator=calibrator_from_json(content["calibration"]),
            threshold=content["threshold"],
            policy=Policy(**content["policy"]),
            typical=content["typical"],
        )
        return StoredModel(
            label=label,
            digest=digest,
            decision=decision,
            schema=TableSchema.from_compiled(
                (folder / SCHEMA_FILE).read_text("utf-8"), content["schema"]
            ),
            plugin=content["plugin"],
            data_sha256=content.get("data_sha256", ""),
        )
    except WaterflowError:
        raise
    except Exception as exc:
        raise ModelError(
            "Model {label} cannot be loaded: {kind}: {cause}",
            tr("It was saved by other versions of the libraries, or is no model of waterflow."),
            label=label,
            kind=type(exc).__name__,
            cause=str(exc)[:150],
        ) from exc


def _plugin_of(content: dict[str, Any], label: str) -> LoadedPlugin:
    try:
        return load_plugin(content["plugin"])
    except UsageError as exc:
        raise ModelError(
            "Model {label} needs the plugin '{plugin}', which is not installed.",
            tr(
                "Install what trained it: {distribution}",
                distribution=content["plugin_distribution"],
            ),
            label=label,
            plugin=content["plugin"],
        ) from exc


def write_manifest(folder: Path) -> str:
    """List the sha256 of every file of a model folder in it, and return the list's own sha256."""
    entries = {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, _ADDED_BY_MLFLOW)
    }
    text = json.dumps({"version": MANIFEST_FORMAT, "sha256": entries}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")
    return sha256_of(text)


def verify_folder(folder: Path, *, label: str, digest: str | None = None) -> str:
    """Check every file of a model folder against its manifest, and give the manifest's sha256.

    Nothing is executed.

    Parameters
    ----------
    digest : str, optional
        The manifest's sha256 as the tracking store keeps it.

    Raises
    ------
    ModelError
        If a file is missing or changed.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as exc:
        raise ModelError(
            "Model {label}: {file} is missing, so its files cannot be verified.",
            tr("Only models that waterflow trained can be used."),
            label=label,
            file=folder / MANIFEST,
        ) from exc
    found = sha256_of(text)
    if digest is not None and found != digest:
        raise ModelError(_tampered(label, folder / MANIFEST))
    try:
        content = json.loads(text)
        version, entries = content["version"], content["sha256"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ModelError(_tampered(label, folder / MANIFEST)) from exc
    payload = {f"data/{PAYLOAD}/{name}" for name in (ESTIMATOR_FILE, DECISION_FILE, SCHEMA_FILE)}
    # Models of former formats have no reference; one that is there must be listed too.
    reference = {f"data/{PAYLOAD}/{name}" for name in REFERENCE_FILES}
    payload |= {name for name in reference if (folder / name).exists()}
    if version != MANIFEST_FORMAT or not {"MLmodel", *payload} <= {name for name, _ in entries}:
        raise ModelError(_tampered(label, folder / MANIFEST))
    for name, expected in entries:
        path = folder / name
        if not path.is_file() or file_sha256(path) != expected:
            raise ModelError(_tampered(label, path))
    return found


def listed_files(folder: Path) -> set[str]:
    """Give the names of a verified folder's files, as its manifest lists them."""
    return set(json.loads((folder / MANIFEST).read_bytes())["sha256"])


def _tampered(label: str, path: Path) -> str:
    return tr(
        "Model {label}: {path} is not what was saved (its sha256 differs); refused, not loaded.",
        label=label,
        path=path,
    )


def trusted_types_of(estimator_file: Path, plugin: LoadedPlugin) -> list[str]:
    """List the types that a saved estimator holds, each one trusted.

    Raises
    ------
    ModelError
        Naming the types that neither waterflow nor the plugin trusts.
    """
    found = skops.io.get_untrusted_types(file=estimator_file)
    strangers = sorted(set(found) - set(TRUSTED_TYPES) - set(plugin.model.trusted_types))
    if strangers:
        raise ModelError(
            "The estimator holds types that neither waterflow nor the {plugin} "
            "trusts: {strangers}.",
            tr("The plugin's author can declare them as trusted_types."),
            plugin=plugin,
            strangers=", ".join(strangers),
        )
    return list(found)
