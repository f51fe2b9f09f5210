"""The record of a training: everything that its result depends on, in one JSON file."""

from __future__ import annotations

import ast
import json
import platform
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import packages_distributions
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient

from waterflow_cli import __version__
from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import ModelError, WaterflowError
from waterflow_cli.common.json import json_text
from waterflow_cli.common.libraries import TRAINING, installed_versions
from waterflow_cli.common.messages import tr
from waterflow_cli.models.discovery import LoadedPlugin
from waterflow_cli.models.guarantees import Guarantee
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.registry.runs import RECORD_FILE
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.databases.addresses import is_database, lasting_address
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.training.data import DataOptions, TrainingData
from waterflow_cli.training.leaks import Leak
from waterflow_cli.training.options import TrainingOptions, parse_cv
from waterflow_cli.training.runs.combined_data import COMBINED

RECORD_FORMAT = 1
PIPE = "-"
EVALUATION_FILE = "evaluation.json"
# By how much each tested row moves a figure: runs of the same folds are compared in pairs.
EFFECTS_FILE = "row_effects.npz"


@dataclass(frozen=True)
class Training:
    """What a training starts from."""

    data: TrainingData
    schema: TableSchema
    plugin: LoadedPlugin
    options: TrainingOptions

    @property
    def leaks(self) -> list[Leak]:
        """What makes the figures too good, of leaks that are not to be ignored."""
        if self.options.on_leak == "ignore":
            return []
        in_folds = self.data.when is None
        return [each for each in self.data.leaks if not (in_folds and each.is_kept_together)]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a run was trained from.

    Attributes
    ----------
    path : str or None
        The data file in full, ``-``, or `COMBINED` for one that lies with the run; None for the
        simulated sample, which can be made again.
    schema : TableSchema
        Recorded whole, so that its file need not be there any more.
    versions : mapping of str to str
        Of waterflow, Python, the platform and the libraries that decide the model's bits.
    """

    path: str | None
    sha256: str
    reading: DataOptions
    schema: TableSchema
    plugin: str
    plugin_distribution: str
    options: TrainingOptions
    versions: Mapping[str, str]

    @classmethod
    def of(cls, training: Training) -> TrainingRecord:
        """Record what a training starts from."""
        return cls(
            path=_lasting_path(training.data),
            sha256=training.data.sha256,
            reading=_lasting_options(training.data.options),
            schema=training.schema,
            plugin=training.plugin.name,
            plugin_distribution=training.plugin.distribution,
            options=training.options,
            versions=deciding_versions(training.plugin),
        )

    def to_json(self) -> str:
        """Write the record; `from_json` takes it back."""
        return json_text(
            {
                "data": {"path": self.path, "sha256": self.sha256, **asdict(self.reading)},
                "schema": {
                    "name": self.schema.name,
                    "sha256": self.schema.sha256,
                    "text": self.schema.text,
                },
                "plugin": self.plugin,
                "plugin_distribution": self.plugin_distribution,
                "options": _options_to_json(self.options),
                "versions": dict(self.versions),
            }
        )

    @classmethod
    def from_json(cls, text: bytes, source: str) -> TrainingRecord:
        """Take a record back, unless it is none, or one that a later version wrote.

        `source` says in messages whose record it is.
        """
        try:
            content = json.loads(text)
            if content["version"] != RECORD_FORMAT:
                raise ModelError(
                    "{source}: its {file} has version {version}; this version of waterflow "
                    "knows {known}.",
                    tr("Install the version of waterflow that wrote it."),
                    source=source,
                    file=RECORD_FILE,
                    version=content["version"],
                    known=RECORD_FORMAT,
                )
            data = content["data"]
            lists = {name: tuple(data["reading"].get(name, ())) for name in ("na", "samplings")}
            data["reading"] = ReadingOptions(**{**data["reading"], **lists})
            return cls(
                path=data.pop("path"),
                sha256=data.pop("sha256"),
                reading=DataOptions(**data),
                schema=parse_schema(content["schema"]["text"], content["schema"]["name"]),
                plugin=content["plugin"],
                plugin_distribution=content["plugin_distribution"],
                options=_options_from_json(content["options"]),
                versions=content["versions"],
            )
        except WaterflowError:
            raise
        except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as exc:
            raise ModelError(
                "{source}: its {file} is no record of a training ({kind}: {cause}).",
                source=source,
                file=RECORD_FILE,
                kind=type(exc).__name__,
                cause=exc,
            ) from exc


def read_run_file(client: MlflowClient, run_id: str, name: str) -> bytes:
    """Read a file that lies with a run."""
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        return Path(client.download_artifacts(run_id, name, scratch)).read_bytes()


def write_effects(effects: Mapping[str, FloatArray]) -> bytes:
    """Put effects of rows into the bytes of a file."""
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **effects)
    return content.getvalue()


def read_effects(content: bytes) -> dict[str, FloatArray]:
    """Read what `write_effects` wrote."""
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def deciding_versions(plugin: LoadedPlugin) -> dict[str, str]:
    """Give the versions of what decides the bits of a plugin's model."""
    offering = packages_distributions() if plugin.model.requires else {}
    roots = {module.partition(".")[0] for module in plugin.model.requires}
    names = {*TRAINING, *(name for root in roots for name in offering.get(root, []))}
    if plugin.point.dist is not None:
        names.add(plugin.point.dist.name)
    return {
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
        **installed_versions(sorted(names)),
        "waterflow": __version__,
    }


def _lasting_options(options: DataOptions) -> DataOptions:
    """Name the files of samplings in full."""
    samplings = tuple(str(Path(path).absolute()) for path in options.reading.samplings)
    return replace(options, reading=replace(options.reading, samplings=samplings))


def _lasting_path(data: TrainingData) -> str | None:
    """Name the file in full; None for the simulated sample, whose file is gone by now."""
    if data.is_simulated:
        return None
    if data.path in (PIPE, COMBINED):
        return data.path
    if is_database(data.path):
        return lasting_address(data.path)
    return str(Path(data.path).absolute())


def _options_to_json(options: TrainingOptions) -> dict[str, Any]:
    no_result = ("jobs", "journal")  # they change none
    return {
        **{name: value for name, value in vars(options).items() if name not in no_result},
        # As Python literals: JSON has no tuple, and a plugin may not take a list for one.
        "params": {name: repr(value) for name, value in options.params.items()},
        "threshold": options.threshold.text,
        "cv": options.cv and str(options.cv),
        # As numbers: their text is rounded.
        "guarantees": [asdict(each) for each in options.guarantees],
    }


def _options_from_json(content: Mapping[str, Any]) -> TrainingOptions:
    return TrainingOptions(
        **{
            **content,
            "params": {name: ast.literal_eval(text) for name, text in content["params"].items()},
            "threshold": parse_threshold(content["threshold"]),
            "cv": content["cv"] and parse_cv(content["cv"]),
            "guarantees": tuple(Guarantee(**each) for each in content["guarantees"]),
        }
    )
