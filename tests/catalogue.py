"""The French texts: their source, what it is compiled to, and the texts in the code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from paths import ROOT

LOCALE = ROOT / "waterflow_cli/common/locale"
DOMAINS = ("waterflow", "click")


def compile_stale_texts() -> None:
    """Compile again what was changed since `pip install`; several processes may do so at once."""
    for source in LOCALE.rglob("*.po"):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        part = compiled.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            write_mo(file, read_french(source.stem))
        part.replace(compiled)


def read_french(domain: str = "waterflow") -> Catalog:
    with (LOCALE / f"fr/LC_MESSAGES/{domain}.po").open("rb") as file:
        return read_po(file)


def french_texts(domain: str = "waterflow") -> Iterator[tuple[str, str]]:
    """Give each English text with its French one; of plurals each form with its own."""
    for message in read_french(domain):
        if message.id and isinstance(message.id, str):
            yield message.id, message.string
        elif message.id:
            yield from zip(message.id, message.string, strict=True)


def extract_texts(folder: Path, *options: str) -> Catalog:
    """Find the texts in the code, as `pybabel extract` does in the project's folder."""
    path = folder / "texts.pot"
    assert not CommandLineInterface().run(["pybabel", "-q", "extract", "-o", str(path), *options])
    with path.open("rb") as file:
        return read_po(file)
