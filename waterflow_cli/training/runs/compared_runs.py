"""Compare runs that waterflow logged to MLflow, from the folds that each kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mlflow import MlflowClient

from waterflow_cli.common.errors import ModelError, UsageError
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.registry.lookup import find_run
from waterflow_cli.registry.runs import design_name
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.training.comparison import (
    Candidate,
    Leaderboard,
    number_repeats,
    rank_candidates,
)
from waterflow_cli.training.designs import describe_design
from waterflow_cli.training.runs.record import EVALUATION_FILE, read_run_file


class TrainedRun(NamedTuple):
    """What a training run kept: what names it, and its `result_summary`."""

    data_sha256: str
    origin: dict[str, Any]
    content: dict[str, Any]

    @property
    def short_id(self) -> str:
        """What people know the run by."""
        return str(self.origin["run_id"])[:8]


def compare_runs(references: Sequence[str], *, name: str, tracking_uri: str) -> Leaderboard:
    """Compare runs by the folds that they were measured on.

    Parameters
    ----------
    references : sequence of str
        Ids of runs, or versions of registered models: ``@champion``, ``3``, ``models:/river/1``.
    name : str
        The registered model that an alias or a number alone stands for.

    Raises
    ------
    UsageError
        If fewer than two are named.
    ModelError
        If there is no such run, it keeps no evaluation, or the runs were measured on different
        rows or folds.
    """
    if len(references) < 2:
        raise UsageError(
            "--run {references}: one run cannot be compared.",
            tr("Name several, with commas; see: waterflow models list"),
            references=", ".join(references),
        )
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        found = [find_run(client, reference, name, tracking_uri) for reference in references]
        runs = [_read_run(run, client) for run in found]
    _refuse_different(runs)
    candidates = [
        Candidate(label, run.origin, _estimates(run.content), run.content["folds"])
        for label, run in zip(_name_runs(runs), runs, strict=True)
    ]
    design = runs[0].content["design"]
    return Leaderboard(
        candidates=rank_candidates(candidates),
        design=design["name"],
        design_sha256=design["sha256"],
        data_sha256=runs[0].data_sha256,
    )


def _read_run(run: Any, client: MlflowClient) -> TrainedRun:
    run_id = str(run.info.run_id)
    tags, params = run.data.tags, run.data.params
    kept = {artifact.path for artifact in client.list_artifacts(run_id)}
    trained = "waterflow.plugin" in tags and EVALUATION_FILE in kept
    content = json.loads(read_run_file(client, run_id, EVALUATION_FILE)) if trained else {}
    if "folds" not in content:
        raise ModelError(
            "The run {run_id} keeps no figures by fold, so it cannot be compared.",
            tr("Compare runs that this version of waterflow train finished, or train it again."),
            run_id=run_id,
        )
    design = content["design"]
    design.setdefault("name", design_name(design["text"]))  # runs of 0.1.0 keep only the text
    origin = {
        "run_id": run_id,
        "plugin": tags["waterflow.plugin"],
        "balance": params["balance"],
        "seed": int(params["seed"]),
    }
    return TrainedRun(tags["waterflow.data_sha256"], origin, content)


def _refuse_different(runs: Sequence[TrainedRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.data_sha256 != first.data_sha256:
            problem = Message("were trained on different data")
        elif run.content["design"]["sha256"] != first.content["design"]["sha256"]:
            problem = Message(
                "were measured on different folds ({design}, seed {seed}; "
                "{other_design}, seed {other_seed})",
                design=describe_design(first.content["design"]["name"]),
                seed=first.origin["seed"],
                other_design=describe_design(run.content["design"]["name"]),
                other_seed=run.origin["seed"],
            )
        else:
            continue
        raise ModelError(
            "The runs {first} and {second} {problem}.",
            tr(
                "Train both with the same data, --seed, --cv, --group and --time, or "
                "compare plugins: waterflow compare DATA --plugin A,B"
            ),
            first=first.short_id,
            second=run.short_id,
            problem=problem,
        )


def _name_runs(runs: Sequence[TrainedRun]) -> list[str]:
    """Name each run by its plugin, and by its id where several have the same."""
    plugins = Counter(run.origin["plugin"] for run in runs)
    return number_repeats(
        [
            run.origin["plugin"] if plugins[run.origin["plugin"]] == 1 else run.short_id
            for run in runs
        ]
    )


def _estimates(content: dict[str, Any]) -> dict[str, Estimate]:
    """Read the figures of a run; JSON has null for what is undefined."""
    return {
        name: Estimate(
            *(np.nan if found[k] is None else found[k] for k in ("value", "low", "high"))
        )
        for name, found in content["evaluation"]["estimates"].items()
    }
