"""Settings from the environment and from files, as defaults for the options of each command."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from waterflow_cli.errors import UsageError, did_you_mean

LOCAL_FILE = "waterflow.toml"
PREFIX = "WATERFLOW_"

# A command's path, such as ("models", "list"), to its options: the name that the user writes
# (underscores for hyphens) to the name of the parameter.
Options = Mapping[tuple[str, ...], Mapping[str, str]]


def user_file() -> Path:
    """Give the path of the user's own settings."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "waterflow" / "config.toml"


def load_defaults(options: Options) -> dict[str, Any]:
    """Read the settings that hold where the command line says nothing.

    A key at the top of a file holds for every command that has the option, one in a table such as
    ``[train]`` for that command alone. ``waterflow.toml`` in the working folder goes before the
    user's own file, and ``WATERFLOW_<OPTION>`` in the environment before both.

    Parameters
    ----------
    options : mapping
        See `Options`.

    Returns
    -------
    dict
        Nested by command, as click takes it.

    Raises
    ------
    UsageError
        If a file is no TOML, or names a command or an option that does not exist.
    """
    defaults: dict[str, Any] = {}
    for path in (user_file(), Path(LOCAL_FILE)):
        for command, name, value in _read_file(path, options):
            _place(defaults, command, name, value)
    for command, names in options.items():
        for key, name in names.items():
            if (text := os.environ.get(PREFIX + key.upper())) is not None:
                _place(defaults, command, name, text)
    return defaults


def _read_file(path: Path, options: Options) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path}: cannot be read as TOML ({exc}).") from exc
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    plain = {key: value for key, value in content.items() if key not in tables}
    yield from _match(path, plain, options)
    commands = {command[0] for command in options}
    for table, values in tables.items():
        if table not in commands:
            raise UsageError(f"{path}: no command '{table}'." + did_you_mean(table, commands))
        own = {command: names for command, names in options.items() if command[0] == table}
        yield from _match(path, values, own)


def _match(
    path: Path, values: Mapping[str, Any], options: Options
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    known = {key for names in options.values() for key in names}
    for key, value in values.items():
        option = key.replace("-", "_")
        if option not in known:
            raise UsageError(f"{path}: no option '{key}'." + did_you_mean(option, known))
        for command, names in options.items():
            if option in names:
                yield command, names[option], value


def _place(defaults: dict[str, Any], command: tuple[str, ...], name: str, value: Any) -> None:
    inner = defaults
    for part in command:
        inner = inner.setdefault(part, {})
    inner[name] = value
