"""What people read, in the language that they chose.

This is gettext: the English text is the key, and ``locale/fr/LC_MESSAGES/waterflow.po`` holds the
French one, compiled on installing to the ``.mo`` beside it. A text without an entry stays English.

The language is one setting of the whole process. Messages are made everywhere, in
worker threads and in errors raised deep inside the core; an argument for the language would have to
go through every function, and two languages in one process are never wanted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from gettext import NullTranslations, bindtextdomain, textdomain, translation
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "fr")
# The first of them that is set decides, as POSIX says of the last three.
_VARIABLES = ("WATERFLOW_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
_LOCALE = Path(__file__).with_name("locale")
_chosen = LANGUAGES[0]
# The no-break spaces that French sets; anywhere else one is shown, for nobody would see it.
_FRENCH_SPACE = re.compile("(?<=«)\u00a0|\u00a0(?=[:;?!%»])")
# Bytes of UTF-8 for what a message names, such as a cell, a header, a path or a cause; for each of
# several names; and for a whole line.
WIDTH, NAME_WIDTH, LINE_WIDTH = 200, 60, 1200


def use_language(code: str) -> None:
    """Give all messages from now on in one of `LANGUAGES`."""
    global _chosen
    if code not in LANGUAGES:
        raise ValueError(f"no messages in {code!r}")
    _chosen = code
    # What click says itself it looks up in the language that this names, and in the domain chosen.
    os.environ["LANGUAGE"] = code
    bindtextdomain("click", str(_LOCALE))
    textdomain("click")


def chosen_language() -> str:
    """Give the code of the language that messages are in."""
    return _chosen


def find_language(environ: Mapping[str, str]) -> str:
    """Find the language that an environment asks for; English where there is no catalogue of it.

    >>> find_language({"LANG": "fr_CA.UTF-8"})
    'fr'
    >>> find_language({"LC_ALL": "C", "LANG": "fr_FR"})
    'en'
    """
    name = next((environ[each] for each in _VARIABLES if environ.get(each)), "")
    code = name.partition(".")[0].partition("@")[0].partition("_")[0].lower()
    return code if code in LANGUAGES else LANGUAGES[0]


class Text(str):
    """A finished text: what it names is clipped already, and its own words stay as they are."""

    def __str__(self) -> Text:
        """Give itself, so that the message of an error stays what it is."""
        return self

    def __repr__(self) -> str:
        """Put it between quotes: what would need an escape has one."""
        return f'"{self}"' if "'" in self and '"' not in self else f"'{self}'"

    def __add__(self, other: str) -> str:
        """Go on with another text; with one that is not finished the whole is not."""
        whole = super().__add__(other)
        return Text(whole) if isinstance(other, Text) else whole


def printable(text: str, width: int = LINE_WIDTH) -> str:
    r"""Make a line of what is said: nothing in it breaks the line, commands a terminal or is long.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    return clipped(Text(text), width)


def clipped(text: str, width: int = WIDTH) -> Text:
    """Show a text from the data or the user: escaped, and without its middle where it is long.

    What stands for the middle says how many characters the text has. What was clipped stays as it
    is when it is clipped again.

    >>> clipped("x" * 1000, 24)
    'xxxxxxxx…[1000]…xxxx'
    """
    if text.isascii() and text.isprintable() and len(text) <= width:
        return text if isinstance(text, Text) else Text(text)
    escaped = _escaped(text[:width], own=isinstance(text, Text))
    head = _fitting(escaped, width)
    if len(text) <= width and len(head) == len(escaped):
        return Text("".join(head))
    mark = f"…[{len(text)}]…"
    left = width - len(mark.encode())
    # Of a long text only the ends are looked at: it may have millions of characters.
    last = _escaped(text[-width:], own=isinstance(text, Text))[::-1]
    tail = _fitting(last, left // 3)[::-1]
    return Text("".join((*_fitting(escaped, left - left // 3), mark, *tail)))


def _escaped(text: str, *, own: bool) -> list[str]:
    """Give what is shown for each character."""
    spaces = {match.start() for match in _FRENCH_SPACE.finditer(text)} if own else ()
    return [
        char if char.isprintable() or place in spaces else char.encode("unicode_escape").decode()
        for place, char in enumerate(text)
    ]


def _fitting(pieces: list[str], n_bytes: int) -> list[str]:
    for n, piece in enumerate(pieces):
        n_bytes -= len(piece.encode())
        if n_bytes < 0:
            return pieces[:n]
    return pieces


class Message(Text):
    """A text in English that knows how to be put into another language where it is shown.

    The core says and stores such texts: equal work leaves equal content, whoever did it.

    >>> Message("{n_rows} rows, {share:.1%} of them", n_rows=3, share=0.5)
    '3 rows, 50.0% of them'
    """

    forms: tuple[str, str]
    values: dict[str, Any]

    def __new__(cls, text: str, /, **values: object) -> Message:
        """Fill in the placeholders, as `tr` does; a value can be a message itself."""
        shown = {name: _clip(each) for name, each in values.items()}
        message = super().__new__(cls, text.format(**shown) if values else text)
        message.forms, message.values = (text, ""), values
        return message


def counted(one: str, many: str, n: int, /, **values: object) -> Message:
    """Make a message that counts, as `trn` does.

    >>> counted("{n} row", "{n} rows", 1)
    '1 row'
    """
    shown = one if n == 1 else many
    message = Message(shown, n=int(n), **values)
    message.forms = (one, many)
    return message


def joined(messages: Iterable[str], separator: str = ", ") -> Message:
    """Put several messages into one.

    >>> joined([Message("tab"), "comma"], " or ")
    'tab or comma'
    """
    values = {f"part_{number}": each for number, each in enumerate(messages)}
    return Message(separator.join(f"{{{name}}}" for name in values), **values)


def tr(text: str, /, **values: object) -> str:
    """Give a text in the language chosen, with its placeholders filled in.

    What they stand for is clipped, here and in all that makes a message, so that nobody who has
    something to say needs to think of it.

    Parameters
    ----------
    text : str
        The English text; ``{name}`` and ``{name:.3g}`` stand for values as in `str.format`.
        A `Message` brings its values.
    **values : object
        What stands for them, messages too. Without any, braces are just braces.

    >>> tr("{n_rows} rows, {share:.1%} of them", n_rows=3, share=0.5)
    '3 rows, 50.0% of them'
    """
    if isinstance(text, Message):
        one, many = text.forms
        return trn(one, many, text.values["n"], **text.values) if many else tr(one, **text.values)
    # The empty text is gettext's name for the head of the catalogue.
    shown = read_catalogue(_chosen).gettext(text) if text else text
    return Text(shown.format(**translated(values)) if values else shown)


def translated(values: Mapping[str, object]) -> dict[str, object]:
    """Put the messages among some values into the language chosen, and clip the other texts."""
    return {
        name: tr(each) if isinstance(each, Message) else _clip(each)
        for name, each in values.items()
    }


def _clip(value: object) -> object:
    """Clip what is shown as text, but for what is finished or, as `Markup`, no longer text."""
    if isinstance(value, (Path, BaseException)):
        value = str(value)
    if not isinstance(value, str) or isinstance(value, Text) or hasattr(value, "__html__"):
        return value
    return clipped(value)


def say(text: str) -> str:
    """Put what the core says into the language chosen; any other text stays as it is."""
    return tr(text) if isinstance(text, Message) else text


def trn(one: str, many: str, n: int, /, **values: object) -> str:
    """Give a text that counts, as `ngettext` does: each language has its own forms.

    Parameters
    ----------
    one, many : str
        The English text for 1, and for any other number.
    n : int
        How many; ``{n}`` stands for it.
    **values : object
        What the other placeholders stand for.

    >>> trn("{n} row by {model}", "{n} rows by {model}", 1, model="rf")
    '1 row by rf'
    """
    values["n"] = n = int(n)
    shown = read_catalogue(_chosen).ngettext(one, many, n)
    return Text(shown.format(**translated(values)))


def marked(text: str) -> str:
    """Leave a text as it is, for `tr` to translate where it is shown.

    For texts that are names too, in JSON or in a store: those stay English, whoever wrote them.
    """
    return text


def marked_forms(one: str, many: str) -> tuple[str, str]:
    """Leave the forms of a text that counts as they are, for `trn` to choose from."""
    return one, many


@cache
def read_catalogue(code: str) -> NullTranslations:
    """Read the texts of a language; those of English are none, and it starts without a file."""
    if code == LANGUAGES[0]:
        return NullTranslations()
    return translation("waterflow", _LOCALE, [code], fallback=True)
