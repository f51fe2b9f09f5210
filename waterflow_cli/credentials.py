"""Keep the passwords of tracking stores out of all that is said or written."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

# A password may hold / and @ where nobody escaped them; a user alone ends before either.
_USER = re.compile(r"(?<=://)(?:[^/@:\s]*:\S*|[^/@\s]+)@")
_PARAMETER = re.compile(
    r"(?i)([\w-]*(?:password|passwd|passphrase|pwd|secret|token|api_?key)[\w-]*(?:=|%3D))"
    r"(?:'[^']*'|[^&\s;'\"#]+)"
)
# A shorter one would hide parts of words that have nothing to do with it.
_SHORTEST = 4


def redact(text: str, uri: str = "") -> str:
    """Hide the users and passwords of the URIs in a text.

    Parameters
    ----------
    uri : str
        The passwords of this one are hidden wherever they stand in the text, escaped or not.

    >>> redact("postgresql://ana:p/w@db/mlflow?sslmode=require&sslpassword=hush")
    'postgresql://***@db/mlflow?sslmode=require&sslpassword=***'
    >>> redact("no entry for se cret", "http://ana:se%20cret@lab")
    'no entry for ***'
    """
    for secret in _secrets_of(uri):
        text = text.replace(secret, "***")
    return _PARAMETER.sub(r"\1***", _USER.sub("***@", text))


def _secrets_of(uri: str) -> list[str]:
    """List the passwords in a URI, each as it is written and as it is meant, the longest first."""
    users = [match[0][:-1].partition(":")[2] for match in _USER.finditer(uri)]
    values = [match[0][match.end(1) - match.start() :] for match in _PARAMETER.finditer(uri)]
    written = [*users, *values]
    meant = [plain(each) for each in written for plain in (unquote, unquote_plus)]
    return sorted({each for each in (*written, *meant) if len(each) >= _SHORTEST}, key=len)[::-1]
