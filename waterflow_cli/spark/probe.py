"""What runs on executors to tell what is there.

It is sent as code, not by name: an executor without waterflow answers too. So it knows the standard
library only.
"""

from __future__ import annotations

import platform
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def describe_executor(
    names: tuple[str, ...], seconds: float, _: Iterable[Any]
) -> Iterator[dict[str, Any]]:
    """Yield host, Python and versions of the distributions named, after some seconds.

    The wait keeps one executor from answering for all.
    """
    time.sleep(seconds)
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    yield {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": versions,
    }
