"""Lay out MLflow's pages so that the leaderboard is the first thing seen.

MLflow keeps the layout of an experiment in its tags: which kind of work it is, its description,
and views that anyone can open by a key in the address. They are set here and nothing else is
changed; what a person wrote into the description stays below the leaderboard. Texts in a store
are English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

from waterflow_cli.common.number_formats import Estimate, describe_estimate
from waterflow_cli.registry.runs import design_name

KIND_TAG, MODEL_TRAINING = "mlflow.experimentKind", "custom_model_development"
NOTE_TAG = "mlflow.note.content"
VIEW_KEY = "waterflow-leaderboard"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
_RANKED_BY = "roc_auc"
# What MLflow's pages keep of a table: which columns, and in which order the runs stand.
_STATE = Path(__file__).with_name("leaderboard_view.json")
_START, _END = "<!-- waterflow leaderboard -->", "<!-- end of the leaderboard -->"
_OWN_PART = re.compile(f"{re.escape(_START)}.*?{re.escape(_END)}\n*", re.DOTALL)
_MAX_RUNS = 5000
# MLflow keeps 5000 characters of a tag.
_MAX_NOTE = 4900
_MAX_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class RankedRun:
    """A finished training and its honest figures.

    Attributes
    ----------
    versions : str
        The registered versions that it made, with their aliases.
    data, evaluation : str
        What was learned from, and how it was tested: only runs alike in both can be compared.
    """

    run_id: str
    start_ms: int
    plugin: str
    figures: Mapping[str, Estimate]
    versions: str
    data: str
    evaluation: str


@dataclass(frozen=True)
class LaidOut:
    """An experiment that has a leaderboard now."""

    experiment_id: str
    name: str
    n_runs: int
    latest_ms: int

    @property
    def page(self) -> str:
        """Where it is, within MLflow's pages."""
        return (
            f"#/experiments/{self.experiment_id}/runs"
            f"?workflowType=machine_learning&viewStateShareKey={VIEW_KEY}"
        )


def lay_out(client: MlflowClient) -> list[LaidOut]:
    """Lay out each experiment that holds finished trainings, the latest first."""
    versions = _versions_by_run(client)
    found = []
    for experiment in mlflow.search_experiments():
        runs = _ranked_runs(experiment.experiment_id, versions)
        if runs:
            _set_tags(client, experiment, runs)
            latest = max(run.start_ms for run in runs)
            found.append(LaidOut(experiment.experiment_id, experiment.name, len(runs), latest))
    return sorted(found, key=lambda each: -each.latest_ms)


def _set_tags(client: MlflowClient, experiment: Any, runs: Sequence[RankedRun]) -> None:
    note = experiment.tags.get(NOTE_TAG, "")
    wanted = {
        NOTE_TAG: with_leaderboard(note, leaderboard(experiment.experiment_id, runs)),
        VIEW_TAG: _view(),
        KIND_TAG: experiment.tags.get(KIND_TAG) or MODEL_TRAINING,
    }
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def with_leaderboard(note: str, board: str) -> str:
    """Put the leaderboard above what a description says besides, in place of an older one."""
    others = _OWN_PART.sub("", note)
    room = _MAX_NOTE - len(others) - len(_START) - len(_END)
    if len(board) > room:
        board = board[: board.rfind("\n", 0, max(room, 0)) + 1]
    return f"{_START}\n{board}{_END}\n\n{others}" if board else note


def leaderboard(experiment_id: str, runs: Iterable[RankedRun]) -> str:
    """Write the runs as tables in Markdown, one for each data set and evaluation.

    The first line says it all: MLflow shows no more until the description is opened.
    """
    groups = _comparable(runs)
    best = groups[0][0]
    lines = [
        f"**Best: {_cell(best.plugin)}, ROC AUC {_figure(best, _RANKED_BY)} (95 % interval), "
        f"of {len(groups[0])} runs on {_cell(best.data)}.**",
        "",
        "Measured on rows that were not learned from. Where intervals overlap, no difference is "
        "shown. Only runs in one table can be compared.",
    ]
    for group in groups:
        lines += ["", f"### {_cell(group[0].data)}, {_cell(group[0].evaluation)}", ""]
        lines += [
            "| | plugin | ROC AUC | balanced accuracy | false 'potable' per 1000 | version |",
            "| --: | :-- | :-- | :-- | :-- | :-- |",
        ]
        for place, run in enumerate(group[:_MAX_ROWS], 1):
            link = f"[{_cell(run.plugin)}](#/experiments/{experiment_id}/runs/{run.run_id})"
            names = (_RANKED_BY, "balanced_accuracy", "false_potable_per_1000")
            figures = " | ".join(_figure(run, name) for name in names)
            lines.append(f"| {place} | {link} | {figures} | {_cell(run.versions)} |")
        if len(group) > _MAX_ROWS:
            lines += ["", f"{len(group) - _MAX_ROWS} more runs are not shown."]
    return "\n".join(lines) + "\n"


def _comparable(runs: Iterable[RankedRun]) -> list[list[RankedRun]]:
    """Group runs by what they can be compared on, the latest group and the best run first."""

    def kind(run: RankedRun) -> tuple[str, str]:
        return run.data, run.evaluation

    groups = [
        sorted(group, key=lambda run: -run.figures[_RANKED_BY].value)
        for _, group in groupby(sorted(runs, key=kind), key=kind)
    ]
    return sorted(groups, key=lambda group: -max(run.start_ms for run in group))


def _figure(run: RankedRun, name: str) -> str:
    if name not in run.figures:
        return ""
    form = ".0f" if name.endswith("_per_1000") else ".3f"
    return describe_estimate(run.figures[name], form)


def _cell(text: str) -> str:
    r"""Write a name so that Markdown shows it as it is.

    >>> print(_cell("a|b_c.csv"))
    a\|b\_c.csv
    """
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _view() -> str:
    """Write the view as MLflow's pages save one: the same each time, so that nothing changes."""
    state = json.loads(_STATE.read_text("utf-8"))
    view = {"name": "Leaderboard", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    return json.dumps(view)


def _ranked_runs(experiment_id: str, versions: Mapping[str, str]) -> list[RankedRun]:
    runs = mlflow.search_runs(
        [experiment_id],
        "metrics.test_roc_auc >= 0 and attributes.status = 'FINISHED'",
        ViewType.ACTIVE_ONLY,
        _MAX_RUNS,
        output_format="list",
    )
    return [_ranked(run, versions.get(run.info.run_id, "")) for run in runs]


def _ranked(run: Any, versions: str) -> RankedRun:
    metrics, tags = run.data.metrics, run.data.tags
    names = [name.removeprefix("test_") for name in metrics if f"{name}_low" in metrics]
    figures = {
        name: Estimate(*(metrics[f"test_{name}{end}"] for end in ("", "_low", "_high")))
        for name in names
        if f"test_{name}_high" in metrics
    }
    figures.setdefault(_RANKED_BY, Estimate(metrics["test_roc_auc"], float("nan"), float("nan")))
    inputs = run.inputs.dataset_inputs if run.inputs else []
    files = ", ".join(each.dataset.name for each in inputs) or "data"
    sha256 = tags.get("waterflow.data_sha256", "")[:8]
    return RankedRun(
        run_id=run.info.run_id,
        start_ms=run.info.start_time,
        plugin=tags.get("waterflow.plugin") or run.info.run_name,
        figures=figures,
        versions=versions,
        data=f"{files} ({sha256})" if sha256 else files,
        evaluation=design_name(run.data.params.get("evaluation", "evaluation unknown")),
    )


def _versions_by_run(client: MlflowClient) -> dict[str, str]:
    """Say for each run which registered versions it made, with their aliases."""
    aliases: dict[tuple[str, str], list[str]] = {}
    for model in client.search_registered_models():
        for alias, version in model.aliases.items():
            aliases.setdefault((model.name, str(version)), []).append(alias)
    found: dict[str, list[str]] = {}
    for version in client.search_model_versions():
        known = aliases.get((version.name, str(version.version)), [])
        # Without @, which MLflow's pages take for a person on GitHub.
        shown = f" ({', '.join(sorted(known))})" if known else ""
        text = f"{version.name}/{version.version}{shown}"
        found.setdefault(version.run_id, []).append(text)
    return {run_id: ", ".join(sorted(texts)) for run_id, texts in found.items()}
