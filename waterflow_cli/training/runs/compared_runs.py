"""Compare runs that waterflow logged to MLflow, from the folds that each kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mlflow import MlflowClient

from waterflow_cli.common.errors import ModelError, UsageError, shorten
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.common.number_formats import Estimate
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
from waterflow_cli.training.runs.record import (
    EFFECTS_FILE,
    EVALUATION_FILE,
    read_effects,
    read_run_file,
)


def compare_runs(references: Sequence[str], *, name: str, tracking_uri: str) -> Leaderboard:
    """Compare runs by the folds that they were measured on.

    Parameters
    ----------
    references : sequence of str
        Ids of runs, or versions of registered models: ``@champion`` or ``3`` of the model `name`,
        ``models:/river/1``.

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
            references=shorten(references),
        )
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        found = [find_run(client, reference, name, tracking_uri) for reference in references]
        boards = [_read_run(run, client) for run in found]
    _refuse_different(boards)
    candidates = _name_candidates([board.candidates[0] for board in boards])
    return replace(boards[0], candidates=rank_candidates(candidates))


def _read_run(run: Any, client: MlflowClient) -> Leaderboard:
    """Read what a run kept of its evaluation, as a board of one candidate with a short id."""
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
    origin = {
        "run_id": run_id,
        "plugin": tags["waterflow.plugin"],
        "balance": params["balance"],
        "seed": int(params["seed"]),
    }
    design = content["design"]
    effects = {}
    if EFFECTS_FILE in kept:  # else compared by its folds
        effects = read_effects(read_run_file(client, run_id, EFFECTS_FILE))
    candidate = Candidate(
        name=run_id[:8],
        origin=origin,
        estimates=_estimates(content),
        folds=content["folds"],
        effects=effects,
    )
    return Leaderboard(
        candidates=[candidate],
        # Runs of 0.1.0 keep only the text.
        design=design.get("name") or design_name(design["text"]),
        design_sha256=design["sha256"],
        data_sha256=tags["waterflow.data_sha256"],
    )


def _refuse_different(boards: Sequence[Leaderboard]) -> None:
    first = boards[0]
    for board in boards[1:]:
        one, other = first.candidates[0], board.candidates[0]
        if board.data_sha256 != first.data_sha256:
            problem = Message("were trained on different data")
        elif board.design_sha256 != first.design_sha256:
            problem = Message(
                "were measured on different folds ({design}, seed {seed}; "
                "{other_design}, seed {other_seed})",
                design=describe_design(first.design),
                seed=one.origin["seed"],
                other_design=describe_design(board.design),
                other_seed=other.origin["seed"],
            )
        else:
            continue
        raise ModelError(
            "The runs {first} and {second} {problem}.",
            tr(
                "Train both with the same data, --seed, --cv, --group and --time, or "
                "compare plugins: waterflow compare DATA --plugin A,B"
            ),
            first=one.name,
            second=other.name,
            problem=problem,
        )


def _name_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Name each by its plugin, and by its run's id where several have the same."""
    plugins = [each.origin["plugin"] for each in candidates]
    names = [
        plugin if plugins.count(plugin) == 1 else each.name
        for plugin, each in zip(plugins, candidates, strict=True)
    ]
    distinct = zip(candidates, number_repeats(names), strict=True)
    return [replace(each, name=name) for each, name in distinct]


def _estimates(content: dict[str, Any]) -> dict[str, Estimate]:
    """Read the figures of a run; JSON has null for what is undefined."""
    return {
        name: Estimate(**{part: np.nan if each is None else each for part, each in found.items()})
        for name, found in content["evaluation"]["estimates"].items()
    }
