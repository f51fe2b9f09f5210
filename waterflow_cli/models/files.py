"""Save a decision model as plain files; verify and load it again.

A model is an MLflow pyfunc folder. Its payload holds the estimator as a skops file (no pickle),
what it computes in portable form where it has one, the decision in JSON and the schema in YAML. A
manifest beside MLmodel lists the sha256 of every file, and the tracking store keeps the sha256 of
the manifest: nothing is loaded before each file matches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import ModelError, PluginError, UsageError, WaterflowError, shorten
from waterflow_cli.common.interrupts import is_interrupt
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.models.calibration import calibrator_from_json, calibrator_to_json
from waterflow_cli.models.decision import CLAIMS, Certified, DecisionModel, Policy, Scores
from waterflow_cli.models.discovery import LoadedPlugin, describe_failure, load_plugin
from waterflow_cli.models.manifest import (
    DECISION_FILE,
    ESTIMATOR_FILE,
    PAYLOAD,
    SCHEMA_FILE,
    ModelFiles,
    files_below,
    write_manifest,
)
from waterflow_cli.models.portable.form import FORM_FILE, PortableForm, load_form, save_form
from waterflow_cli.models.portable.tree_structure import UnsoundError, is_number, need
from waterflow_cli.models.reference import COUNTS_FILE, Reference, load_reference
from waterflow_cli.samples.table_schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

    from waterflow_cli.models.estimator_files import EstimatorFile

# Models of format 4 have no portable form; one is made of the estimator when it is loaded.
FORMAT = 5
_KNOWN_FORMATS = (4, FORMAT)
# Folder of the payload in which the portable form lies.
FORM_FOLDER = "portable/"


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
    is_simulated : bool
        Whether it learned from simulated samples, and is good for trying out alone.
    """

    label: str
    digest: str
    decision: DecisionModel
    schema: TableSchema
    plugin: str
    data_sha256: str = ""
    is_simulated: bool = False

    @property
    def is_portable(self) -> bool:
        """Whether it scores by a portable form, which asks no estimator."""
        return isinstance(self.decision.scores, PortableForm)

    def probability(self, X: FloatArray | pd.DataFrame) -> FloatArray:
        """Calibrated P(potable) of each row, shape (n_samples,).

        Raises
        ------
        PluginError
            If the estimator fails, or gives no probability for a row.
        """
        try:
            probability = self.decision.probability(X)
        except BaseException as exc:  # the estimator's code is the plugin's
            if is_interrupt(exc):
                raise
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
        If loading would refuse the estimator.
    """
    from waterflow_cli.models.estimator_files import save_estimator  # skops, all of scikit-learn

    folder.mkdir(parents=True)
    estimator = save_estimator(decision.estimator)
    load_estimator(estimator, plugin, decision.measurements)
    (folder / ESTIMATOR_FILE).write_bytes(estimator)
    _save_scores(folder, decision.scores)
    content = {
        "format": FORMAT,
        "measurements": list(decision.measurements),
        "calibration": calibrator_to_json(decision.calibrator),
        "threshold": decision.threshold,
        "policy": asdict(decision.policy),
        "typical": list(decision.typical),
        "importance": list(decision.importance),
        "guarantees": [each._asdict() for each in decision.certified],
        "schema": schema.compiled(),
        "plugin": plugin.name,
        "plugin_distribution": plugin.distribution,
        **details,
    }
    (folder / DECISION_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    (folder / SCHEMA_FILE).write_text(schema.text, "utf-8")
    reference.save(folder)


def _save_scores(folder: Path, scores: Scores) -> bool:
    """Write the portable form, where there is one, and say so."""
    if not isinstance(scores, PortableForm):
        return False
    (folder / FORM_FOLDER).mkdir()
    for name, data in save_form(scores).items():
        (folder / FORM_FOLDER / name).write_bytes(data)
    return True


def upgrade_folder(folder: Path, files: ModelFiles, *, label: str) -> str | None:
    """Add the portable form to the folder of a model that was saved without one.

    Parameters
    ----------
    files : ModelFiles
        What was read of the folder, and verified.

    Returns
    -------
    str or None
        The sha256 of the new manifest; None where nothing was added: the model has its form, or an
        estimator of which none is known.

    Raises
    ------
    ModelError
        If the model cannot be loaded.
    """
    model, payload = load_payload(files, label=label), files.payload
    place = folder / "data" / PAYLOAD
    if files_below(FORM_FOLDER, payload) or not _save_scores(place, model.decision.scores):
        return None
    content = {**json.loads(payload[DECISION_FILE]), "format": FORMAT}
    (place / DECISION_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return write_manifest(folder)


def load_payload(files: ModelFiles, *, label: str) -> StoredModel:
    """Load a model from files that were verified.

    Raises
    ------
    ModelError
        If a file is missing, the estimator holds a type that is not trusted, or something in it is
        not as fitting makes it.
    """
    try:
        payload = files.payload
        content = json.loads(payload[DECISION_FILE])
        if content["format"] not in _KNOWN_FORMATS:
            raise ModelError(
                "Model {label} has format {format}; this version knows {known}.",
                tr("Install the version of waterflow that wrote it, or train again."),
                label=label,
                format=content["format"],
                known=FORMAT,
            )
        _check_decision(content)
        decision = DecisionModel(
            scores=_load_scores(payload, content, label),
            measurements=content["measurements"],
            calibrator=calibrator_from_json(content["calibration"]),
            threshold=content["threshold"],
            policy=Policy(**content["policy"]),
            typical=content["typical"],
            importance=content.get("importance", ()),  # which models of 0.1.0 do not tell
            certified=[Certified(**each) for each in content.get("guarantees", ())],
        )
        return StoredModel(
            label=label,
            digest=files.digest,
            decision=decision,
            schema=TableSchema.from_compiled(payload[SCHEMA_FILE].decode(), content["schema"]),
            plugin=content["plugin"],
            data_sha256=content.get("data_sha256", ""),
            is_simulated=content.get("simulated", False),
        )
    except WaterflowError:
        raise
    except UnsoundError as exc:
        raise _malformed(label, exc) from exc
    except BaseException as exc:
        if is_interrupt(exc):
            raise
        raise ModelError(
            "Model {label} cannot be loaded: {kind}: {cause}",
            tr("It was saved by other versions of the libraries, or is no model of waterflow."),
            label=label,
            kind=type(exc).__name__,
            cause=exc,
        ) from exc


def _load_scores(payload: Mapping[str, bytes], content: Mapping[str, Any], label: str) -> Scores:
    if form := files_below(FORM_FOLDER, payload):
        scores = load_form(form)
        fits = scores.n_measurements == len(content["measurements"])
        need(fits, FORM_FILE, "n_measurements")
        return scores
    from waterflow_cli.models.estimator_scores import scores_of

    return scores_of(_load_own_estimator(payload, content, label), content["measurements"])


def _load_own_estimator(
    payload: Mapping[str, bytes], content: Mapping[str, Any], label: str
) -> Any:
    from waterflow_cli.models.estimator_files import EstimatorFile

    stored = EstimatorFile(payload[ESTIMATOR_FILE])
    if stored.strangers():
        _refuse_strangers(stored, _plugin_of(content, label))
    return stored.build(content["measurements"])


def estimator_of(files: ModelFiles, *, label: str) -> bytes:
    """Give the skops file of a model's estimator, from which it could be built.

    Raises
    ------
    ModelError
        If it could not: it holds a type that is not trusted, or is not as fitting makes it.
    """
    payload = files.payload
    content = json.loads(payload[DECISION_FILE])
    load_estimator(payload[ESTIMATOR_FILE], _plugin_of(content, label), content["measurements"])
    return payload[ESTIMATOR_FILE]


def check_form(model: StoredModel, files: ModelFiles, *, n_rows: int, tolerance: float) -> None:
    """Hold what a model is scored by against its estimator, which nothing else would look at.

    Parameters
    ----------
    n_rows : int
        How many of the reference rows are tried, besides rows made up at the forms' thresholds.
    tolerance : float
        The largest difference between probabilities.

    Raises
    ------
    ModelError
        If they differ by more, or the estimator would not be loaded.
    """
    if not isinstance(model.decision.scores, PortableForm):
        return
    from waterflow_cli.models.portable.conversion import made_up_rows

    rest = {name: data for name, data in files.content.items() if FORM_FOLDER not in name}
    estimator = load_payload(ModelFiles(files.digest, rest), label=model.label)
    forms = (each.decision.scores for each in (model, estimator))
    rows = [made_up_rows(form) for form in forms if isinstance(form, PortableForm)]
    if COUNTS_FILE in files.payload:
        rows.append(load_reference(files.payload, label=model.label).X.iloc[:n_rows].to_numpy())
    X = np.concatenate(rows)
    found, expected = model.probability(X), estimator.probability(X)
    if not np.allclose(found, expected, rtol=0, atol=tolerance):
        raise ModelError(
            "{label}: the model's portable form gives other probabilities than its estimator. "
            "Nothing was imported.",
            label=model.label,
        )


def _malformed(label: str, exc: UnsoundError) -> ModelError:
    return ModelError(
        "Model {label} is malformed: {part} is not as fitting makes it ({field}). It was refused, "
        "and nothing was computed with it.",
        label=label,
        part=exc.part,
        field=exc.field,
    )


def _check_decision(content: Mapping[str, Any]) -> None:
    """Check that the numbers beside an estimator are finite ones."""
    line, names = content["calibration"], content["measurements"]
    points = [line.get("scores", []), line.get("probabilities", [])]
    singles = [value for value in line.values() if not isinstance(value, (str, list))]
    numbers = [content["threshold"], *content["policy"].values(), *singles, *points[0], *points[1]]
    importance = content.get("importance", [])
    numbers += [*content["typical"], *importance]
    need(all(map(is_number, numbers)), DECISION_FILE, "numbers")
    need(len(points[0]) == len(points[1]), DECISION_FILE, "calibration")
    need(all(each == sorted(each) for each in points), DECISION_FILE, "calibration")
    is_named = type(names) is list and all(type(name) is str for name in names)
    need(is_named and len({*names}) == len(names) > 0, DECISION_FILE, "measurements")
    need(len(content["typical"]) in (0, len(names)), DECISION_FILE, "typical")
    need(len(importance) in (0, len(names)), DECISION_FILE, "importance")
    certified = [Certified(**each) for each in content.get("guarantees", ())]
    need(all(map(_is_sound, certified)), DECISION_FILE, "guarantees")


def _is_sound(certified: Certified) -> bool:
    counts = certified.n_decided, certified.n_rows
    are_counts = all(type(count) is int for count in counts) and 0 <= counts[0] <= counts[1] > 0
    return are_counts and type(certified.guarantee) is str and certified.verdict in CLAIMS


def _plugin_of(content: Mapping[str, Any], label: str) -> LoadedPlugin:
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


def load_estimator(data: bytes, plugin: LoadedPlugin, measurements: Sequence[str]) -> Any:
    """Load an estimator from a file's content as a model is loaded.

    Raises
    ------
    ModelError
        Naming the types that neither waterflow nor the plugin trusts, or the part that is not as
        fitting makes it.
    """
    from waterflow_cli.models.estimator_files import EstimatorFile

    stored = EstimatorFile(data)
    _refuse_strangers(stored, plugin)
    try:
        return stored.build(measurements)
    except UnsoundError as exc:
        raise _malformed(plugin.name, exc) from exc


def _refuse_strangers(stored: EstimatorFile, plugin: LoadedPlugin) -> None:
    if strangers := stored.strangers(plugin.model.trusted_types):
        raise ModelError(
            "The estimator holds types that neither waterflow nor the {plugin} "
            "trusts: {strangers}.",
            tr("The plugin's author can declare them as trusted_types."),
            plugin=plugin,
            strangers=shorten(strangers),
        )
