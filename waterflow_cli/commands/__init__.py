"""The commands, one file each: options, one call into the core, the console."""

from importlib import import_module

import click

_NAMES = (
    *("demo", "validate", "explore", "train", "evaluate", "compare", "retrain", "reproduce"),
    *("score", "serve", "monitor", "replay", "simulate", "plugins", "schemas", "limits"),
    *("profiles", "models", "ui", "doctor"),
)
COMMANDS: tuple[click.Command, ...] = tuple(
    getattr(import_module(f"{__name__}.{name}"), name) for name in _NAMES
)
