"""What can go wrong, one class for each thing that the user can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from waterflow_cli.common.messages import NAME_WIDTH, WIDTH, Message, Text, clipped, tr


class WaterflowError(Exception):
    """An error with a message for the user and an exit code for the script.

    Parameters
    ----------
    text : str
        What happened and where, in one line of English, with placeholders as in `tr`; or the
        finished line, as a `Message` where it is stored.
    hint : str, optional
        What to do next, in one line, as it is shown.
    **values : object
        What stands for the placeholders of the text.
    """

    exit_code = 70

    def __init__(self, text: str, /, hint: str | None = None, **values: object) -> None:
        # For what is stored, which is English; `message` is in the language chosen.
        self.said = text if isinstance(text, Message) else Message(text, **values)
        self.message = tr(self.said)
        super().__init__(self.message)
        self.hint = hint


class DataRefusedError(WaterflowError):
    """The table was read, and the answer is no: its rows do not serve the purpose."""

    exit_code = 1


class ModelRefusedError(WaterflowError):
    """The model is there, and the answer is no: it is not good enough to be put in use."""

    exit_code = 1


class UsageError(WaterflowError):
    """The command, its options or its output path are wrong."""

    exit_code = 2


class InputError(WaterflowError):
    """An input cannot be read, or is no table of the expected columns.

    Parameters
    ----------
    path : str
        The input as the user typed it.
    problem : str
        What is wrong with it, as the text of a `WaterflowError`.
    line : int, optional
        Physical line, the header being line 1.
    hint : str, optional
        What to do next.
    **values : object
        What stands for the placeholders of the problem.
    """

    exit_code = 3

    def __init__(
        self,
        path: str,
        problem: str,
        /,
        *,
        line: int | None = None,
        hint: str | None = None,
        **values: object,
    ) -> None:
        where = path if line is None else tr("{path}, line {line}", path=path, line=line)
        said = tr(problem, **values)
        super().__init__("{where}: {problem}", hint, where=where, problem=said)
        self.path, self.problem, self.line = path, said, line


class ModelError(WaterflowError):
    """A model, registry or engine is not available or not compatible."""

    exit_code = 4


class EngineError(WaterflowError):
    """The engine that the user chose is not available, or it failed."""

    exit_code = 4


class PluginError(WaterflowError):
    """A plugin failed; the message names its entry point and distribution."""

    exit_code = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to a mistyped one.

    >>> did_you_mean("forrest", ["forest", "svm"])
    " Did you mean 'forest'?"
    >>> did_you_mean("zzz", ["forest", "svm"])
    ''
    """
    matches = get_close_matches(name, list(known), n=1)
    return tr(" Did you mean '{name}'?", name=matches[0]) if matches else ""


def shorten(names: Iterable[str], limit: int = 12, separator: str = ", ") -> str:
    """List names for a message, the first ones where they are many.

    >>> shorten(["ph", "Turbidity", "TOC"], 2)
    'ph, Turbidity, … 3 in all'
    """
    every = list(names)
    width = max(NAME_WIDTH, WIDTH // max(len(every), 1))
    parts = (each if isinstance(each, Text) else clipped(each, width) for each in every[:limit])
    shown = Text(separator.join(parts))
    return tr("{shown}, … {n} in all", shown=shown, n=len(every)) if len(every) > limit else shown
