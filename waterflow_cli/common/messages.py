"""What people read, in the language that they chose.

This is gettext: the English text is the key, and ``locale/fr/LC_MESSAGES/waterflow.po`` holds the
French one, compiled on installing to the ``.mo`` beside it. A text without an entry stays English.

The language is one setting of the whole process. Messages are made everywhere, in
worker threads and in errors raised deep inside the core; an argument for the language would have to
go through every function, and two languages in one process are never wanted.
"""

from __future__ import annotations

import os
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


class Message(str):
    """A text in English that knows how to be put into another language where it is shown.

    The core says and stores such texts: equal work leaves equal content, whoever did it.

    >>> Message("{n_rows} rows, {share:.1%} of them", n_rows=3, share=0.5)
    '3 rows, 50.0% of them'
    """

    forms: tuple[str, str]
    values: dict[str, Any]

    def __new__(cls, text: str, /, **values: object) -> Message:
        """Fill in the placeholders, as `tr` does; a value can be a message itself."""
        message = super().__new__(cls, text.format(**values) if values else text)
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
    return shown.format(**translated(values)) if values else shown


def translated(values: Mapping[str, object]) -> dict[str, object]:
    """Put the messages among some values into the language chosen."""
    return {name: say(each) if isinstance(each, str) else each for name, each in values.items()}


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
    return read_catalogue(_chosen).ngettext(one, many, n).format(**translated(values))


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
