"""The one digest: SHA-256, of what is in memory and of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(content: str | bytes) -> str:
    """Hash bytes, or a text as UTF-8.

    >>> sha256_of("")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def file_sha256(path: str | Path) -> str:
    """Hash a file's bytes, block by block."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
