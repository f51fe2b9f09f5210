"""Keep the passwords of tracking stores out of all that is said or written."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr

# What stands before the word stays as it is; a search for it would begin anew at each letter.
_KEY = r"(?i)((?:password|passwd|passphrase|pwd|secret|token|api_?key)[\w-]{0,99}(?:=|%3D))"
# A password may hold / and @ where nobody escaped them, and spaces where it is not taken for a port
# and the words after it; a user alone ends before any of these.
_USER = re.compile(
    r"(?<=://)(?:[^/@:\s]*:[^\s?]*|[^/@:\s]*:\S*|[^/@\s]+|[^/@:\s]*:(?!\d+\b)[^@\n]*)@"
)
_PARAMETER = re.compile(_KEY + r"(?:'[^']*'|[^&\s;'\"#]+)")
# Where nothing but a URI is written, what is secret in it may hold spaces too.
_USER_OF_URI = re.compile(r"(?s)([A-Za-z][\w+.-]*://)([^/@:?]*:[^?]*|[^/@:]*:.*|[^/@?]+)@")
_PARAMETER_OF_URI = re.compile(_KEY + "([^&]+)")
# A shorter one would hide parts of words that have nothing to do with it.
_SHORTEST = 4

_ADDRESS_USER = re.compile(r"(?s)(://[^/@:?]*):(.*)(@[^@]*)$")
# A user and what may be the start of a password with a question mark in it.
_CUT_USER = re.compile(r"[^/]*://[^/@:]*:(?!\d+(?:/|$))[^@]*$")
# Passwords that were typed into addresses, by the address without it, which alone is passed on.
_kept: dict[str, str] = {}


def hide_passwords(value: Any) -> Any:
    """Take passwords out of addresses of databases among the values of options, and keep them.

    Raises
    ------
    UsageError
        If a password stands elsewhere in an address, or is not escaped.

    >>> hide_passwords(("a.csv", "postgresql://ana:hush@lab/water?samples"))
    ('a.csv', 'postgresql://ana@lab/water?samples')
    """
    if type(value) is tuple:  # and no parsed option
        return tuple(map(hide_passwords, value))
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")):
        return value
    server, mark, rest = value.partition("?")
    found = _ADDRESS_USER.search(server)
    is_cut = found is None and _CUT_USER.match(server) and "@" in rest
    if is_cut or _PARAMETER.search(rest.partition(" ")[0]):
        raise UsageError(
            "{address}…: the password cannot be told from the rest.",
            tr(
                "Write it escaped (%3F for ?) before the @, or put it into PGPASSWORD or ~/.pgpass."
            ),
            address=server.partition("://")[0] + "://",
        )
    if found is None:
        return value
    shown = f"{server[: found.start()]}{found[1]}{found[3]}"
    _kept[shown] = unquote(found[2])
    return f"{shown}{mark}{rest}"


def password_of(server: str) -> str | None:
    """Give the password that stood in an address, by what is left of that before its ``?``."""
    return _kept.get(server)


def redact(text: str, uri: str = "") -> str:
    """Hide the users and passwords of the URIs in a text, or of a text that is one.

    Parameters
    ----------
    uri : str
        The passwords of this one are hidden wherever they stand in the text, escaped or not.

    >>> redact("postgresql://ana:p/w@db/mlflow?sslmode=require&sslpassword=hush")
    'postgresql://***@db/mlflow?sslmode=require&sslpassword=***'
    >>> redact("no entry for se cret", "http://ana:se%20cret@lab")
    'no entry for ***'
    """
    for secret in _forms(_part(uri)[1]):
        text = text.replace(secret, "***")
    return _PARAMETER.sub(r"\1***", _USER.sub("***@", _part(text)[0]))


def _part(uri: str) -> tuple[str, list[str]]:
    """Tell the passwords in a URI from what may be shown; in another text there are none."""
    if "://" not in uri.partition(" ")[0]:
        return uri, []
    head, separator, query = uri.partition("?")
    secrets = [match[2].strip("'") for match in _PARAMETER_OF_URI.finditer(query)]
    shown = head + separator + _PARAMETER_OF_URI.sub(r"\1***", query)
    if user := _USER_OF_URI.match(shown):
        secrets.append(user[2].partition(":")[2])
        shown = f"{user[1]}***@{shown[user.end() :]}"
    # In a text of ODBC the next parameter follows a semicolon.
    return shown, [*secrets, *(re.split("(?i);|%3B", each)[0] for each in secrets)]


def _forms(secrets: list[str]) -> list[str]:
    """List each password as it is written, as it is meant and escaped, the longest first."""
    meant = [plain(each) for each in secrets for plain in (unquote, unquote_plus)]
    escaped = [quote(each, safe) for each in meant for safe in ("", "/")]
    forms = {each for each in (*secrets, *meant, *escaped) if len(each) >= _SHORTEST}
    return sorted(forms, key=len)[::-1]
