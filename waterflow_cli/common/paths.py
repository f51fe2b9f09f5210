"""Names of files as text."""

from __future__ import annotations


def path_text(path: str) -> str:
    r"""Write a file's name as text; bytes in it that are no UTF-8 are shown as ``\udcXX``."""
    return path.encode("utf-8", "backslashreplace").decode()
