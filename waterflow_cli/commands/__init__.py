"""The commands, one file each: options, one call into the core, the console."""

from importlib import import_module
from typing import cast

import click

COMMANDS = (
    *("demo", "validate", "explore", "train", "evaluate", "compare", "retrain", "reproduce"),
    *("score", "serve", "monitor", "replay", "simulate", "plugins", "schemas", "limits"),
    *("profiles", "models", "ui", "doctor"),
)


def load_command(name: str) -> click.Command:
    """Import one of `COMMANDS`: a command pays for the options of no other."""
    return cast("click.Command", getattr(import_module(f"{__name__}.{name}"), name))
