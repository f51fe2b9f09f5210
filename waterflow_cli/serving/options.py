"""What the user chose of how a model is served."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions

TOKEN_VARIABLE = "WATERFLOW_SERVE_TOKEN"
_TOKEN = re.compile(r"[!-~]{16,}")


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """What requests may ask for.

    Attributes
    ----------
    reading : ReadingOptions
        How CSV is read; of JSON, what non-detects count as.
    max_bytes, max_rows : int
        The most that a request may hold.
    timeout_s : float
        How long it may take to be read, and to be answered.
    max_concurrent : int
        How many requests may be scored or wait for it at once.
    jobs : int
        How many are scored at once.
    token : str, optional
        What clients must show, but for /health.
    is_open : bool
        Whether anybody may ask, by any name of this machine.
    """

    reading: ReadingOptions = AS_FOUND
    max_bytes: int = 10_000_000
    max_rows: int = 100_000
    timeout_s: float = 30.0
    max_concurrent: int = 32
    jobs: int = 1
    token: str | None = None
    is_open: bool = False


def read_token(path: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Read the token from a file, else from the environment; None where neither names one.

    Raises
    ------
    UsageError
        If the file cannot be read, or the token is too short to be one. It is not shown.
    """
    text, source = environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    if path is not None:
        try:
            text, source = Path(path).read_text("utf-8"), path
        except (OSError, ValueError) as exc:
            cause = getattr(exc, "strerror", None) or tr("it is no text")
            raise UsageError("{path}: cannot be read ({cause}).", path=path, cause=cause) from exc
    if text is None:
        return None
    if not _TOKEN.fullmatch(text.strip()):
        raise UsageError(
            "{source}: a token is at least 16 characters of ASCII, without spaces.",
            tr("Make one: openssl rand -hex 32"),
            source=source,
        )
    return text.strip()
