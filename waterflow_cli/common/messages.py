"""What people read, in the language that they chose.

This is gettext: the English text is the key, and ``locale/fr/LC_MESSAGES/waterflow.po`` holds the
French one, compiled on installing to the ``.mo`` beside it. A text without an entry stays English.

The language is one setting of the whole process. Messages are made everywhere, in
worker threads and in errors raised deep inside the core; an argument for the language would have to
go through every function, and two languages in one process are never wanted.
"""

from __future__ import annotations

import os
from functools import cache
from gettext import NullTranslations, bindtextdomain, textdomain, translation
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def tr(text: str, /, **values: object) -> str:
    """Give a text in the language chosen, with its placeholders filled in.

    Parameters
    ----------
    text : str
        The English text; ``{name}`` and ``{name:.3g}`` stand for values as in `str.format`.
    **values : object
        What stands for them. Without any, braces are just braces.

    >>> tr("{n_rows} rows, {share:.1%} of them", n_rows=3, share=0.5)
    '3 rows, 50.0% of them'
    """
    shown = read_catalogue(_chosen).gettext(text)
    return shown.format(**values) if values else shown


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
    return read_catalogue(_chosen).ngettext(one, many, n).format(**values)


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
