"""What a folder shows of itself: names that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_names(package: str, **modules: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package (PEP 562), so that importing it imports nothing more.

    Parameters
    ----------
    **modules : str
        Modules of the package, each with the names that it has, between spaces.
    """
    places = {name: module for module, names in modules.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return load
