"""Settings from the environment and from files, as defaults for the options of each command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.messages import tr
from waterflow_cli.common.toml import parse_toml, read_text

LOCAL_FILE = "waterflow.toml"
PREFIX = "WATERFLOW_"


class Setting(NamedTuple):
    """A parameter of a command that can be set: its name, and whether it takes several values."""

    name: str
    many: bool = False


# A command's path, such as ("models", "list"), to its options: the name that the user writes
# (underscores for hyphens) to the parameter.
Options = Mapping[tuple[str, ...], Mapping[str, Setting]]


def user_file() -> Path:
    """Give the path of the user's own settings."""
    # Without a home (as in a container with a number for a user), "~" stays as it is.
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(base) / "waterflow" / "config.toml"


def load_defaults(options: Options, every: Callable[[], Options]) -> dict[str, Any]:
    """Read the settings that hold where the command line says nothing.

    A key at the top of a file holds for every command that has the option, one in a table such as
    ``[train]`` or ``[models.list]`` for that command alone. ``waterflow.toml`` in the working
    folder goes before the user's own file, ``WATERFLOW_<OPTION>`` in the environment before both,
    and ``WATERFLOW_<COMMAND>_<OPTION>`` before that; where an option takes several values, the
    variable is split like a command line.

    Parameters
    ----------
    options : mapping
        Those of the command that runs.
    every : callable
        Gives those of all commands, which the keys of a file must be among.

    Returns
    -------
    dict
        Nested by command, as click takes it; values are text, as on the command line.

    Raises
    ------
    UsageError
        If a file is no TOML, names a command or an option that does not exist, or gives a list
        to an option that takes one value.
    """
    defaults: dict[str, Any] = {}
    for path in filter(_is_there, (user_file(), Path(LOCAL_FILE))):
        values = parse_toml(read_text(path, str(path)), str(path))
        for command, name, value in _match(path, values, every()):
            _place(defaults, command, name, value)
    for command, settings in options.items():
        for key, setting in settings.items():
            # The variable for one command comes last: it goes before that for all of them.
            for words in ((key,), (*command, key)):
                variable = PREFIX + "_".join(words).replace("-", "_").upper()
                if text := os.environ.get(variable):
                    value = _split(variable, text) if setting.many else text
                    _place(defaults, command, setting.name, value)
    return defaults


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it is told where the file is read
        pass
    return True


def _match(
    path: Path, values: Mapping[str, Any], options: Options, parents: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Match the keys of a table to options, those for some commands before those for fewer."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    known = {key for settings in options.values() for key in settings}
    for key, value in values.items():
        option = key.replace("-", "_")
        if key in tables:
            continue
        if option not in known:
            raise UsageError(
                tr("{path}: no option '{key}'.", path=path, key=key) + did_you_mean(option, known)
            )
        for command, settings in options.items():
            if option in settings:
                yield command, settings[option].name, _text(path, key, value, settings[option])
    depth = len(parents)
    commands = {command[depth] for command in options if len(command) > depth}
    for table, inner in tables.items():
        if table not in commands:
            named = " ".join((*parents, table))
            raise UsageError(
                tr("{path}: no command '{named}'.", path=path, named=named)
                + did_you_mean(table, commands)
            )
        own = {command: names for command, names in options.items() if command[depth] == table}
        yield from _match(path, inner, own, (*parents, table))


def _text(path: Path, key: str, value: Any, setting: Setting) -> str | list[str]:
    """Write a value as on the command line, whose conversions and messages then hold for it."""
    if setting.many:
        return [str(each) for each in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        raise UsageError(
            "{path}: the option '{key}' takes one value, and no list.", path=path, key=key
        )
    return str(value)


def _split(variable: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise UsageError(
            "{variable}: cannot be split into values ({cause}).", variable=variable, cause=exc
        ) from exc


def check_texts(*texts: str) -> None:
    """Refuse what no name of a file and no URI can hold, before anybody makes one of it."""
    for text in texts:
        try:
            is_name = b"\0" not in os.fsencode(text)
        except UnicodeEncodeError:  # half of a surrogate pair
            is_name = False
        if not is_name:
            raise UsageError("{text!r}: a character in it can stand in no option.", text=text)


def _place(defaults: dict[str, Any], command: tuple[str, ...], name: str, value: Any) -> None:
    check_texts(*([value] if isinstance(value, str) else value))
    inner = defaults
    for part in command:
        inner = inner.setdefault(part, {})
    inner[name] = value
