"""Keep the passwords of tracking stores out of all that is said or written."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

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
