"""``waterflow demo``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from waterflow_cli.commands import options
from waterflow_cli.common.effects import new_folder
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

# Fewer trees and repeats than by default, to be done in half a minute.
_TRAINED = ("--plugin", "rf", "--param", "n_estimators=100", "--cv", "5x1")


@options.command(short_help="See the whole job once: simulate, validate, train, score.", json=False)
@click.option(
    "--folder",
    default="waterflow-demo",
    metavar="FOLDER",
    help="Where to put the files; it must not exist.",
)
def demo(console: Console, *, folder: str) -> None:
    """Simulate samples, check them, train a model on them and score new ones with it.

    Each step is a command of waterflow, printed before it runs.
    """
    path = Path(folder)
    with new_folder(path):
        pass  # each command fills it on its own
    store = f"sqlite:///{path / 'mlflow.db'}"
    known, fresh, scored = path / "samples.csv", path / "new_samples.csv", path / "scored.csv"
    steps = (
        ["simulate", "--rows", "3000", "--seed", "1", "-o", str(known)],
        ["simulate", "--rows", "200", "--seed", "2", "-o", str(fresh)],
        ["validate", str(known)],
        ["train", str(known), *_TRAINED, "--tracking-uri", store],
        ["score", str(fresh), "-o", str(scored), "--tracking-uri", store],
    )
    for step in steps:
        console.result(f"\n$ waterflow {shlex.join(step)}")
        _run(step, click.get_current_context().find_root())
    console.result("\nThe first rows of {scored}:", scored=scored)
    with scored.open(encoding="utf-8") as file:
        for _, line in zip(range(4), file, strict=False):
            console.result(line.rstrip())
    console.note(tr("The samples are simulated; no row is real."))


def _run(step: list[str], root: click.Context) -> None:
    assert isinstance(root.command, click.Group)
    name, command, arguments = root.command.resolve_command(root, step)
    assert command is not None
    with command.make_context(name, arguments, parent=root) as sub:
        try:
            command.invoke(sub)
        except click.exceptions.Exit as exc:
            if exc.exit_code:
                raise
