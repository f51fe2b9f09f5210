"""Write a command down as a line of cron and as a timer of systemd."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_PLAIN = re.compile(r"[\w@:,./=+-]+", re.ASCII)
_NAME = "waterflow-monitor"


def this_program() -> list[str]:
    """Give what starts this program again, from any folder."""
    path = Path(sys.argv[0]).absolute()
    if path.name == "__main__.py":
        return [sys.executable, "-m", path.parent.name]
    return [str(path)]


def cron_line(command: Sequence[str], folder: Path) -> str:
    r"""Write a line that runs a command every morning at six.

    >>> cron_line(["waterflow", "monitor", "100 %.csv"], Path("/data"))
    "0 6 * * * cd /data && waterflow monitor '100 \\%.csv'"
    """
    # cron ends a command at a % that is not escaped.
    line = f"cd {shlex.quote(str(folder))} && {shlex.join(command)}"
    return "0 6 * * * " + line.replace("%", r"\%")


def systemd_units(command: Sequence[str], folder: Path) -> str:
    """Write a service that runs a command, and a timer that starts it every morning at six."""
    shown = " ".join(map(_quote, command))
    return f"""\
# ~/.config/systemd/user/{_NAME}.service
[Unit]
Description=waterflow monitor

[Service]
Type=oneshot
WorkingDirectory={str(folder).replace("%", "%%")}
ExecStart={shown}

# ~/.config/systemd/user/{_NAME}.timer
[Unit]
Description=waterflow monitor, every morning

[Timer]
OnCalendar=*-*-* 06:00:00
Persistent=true

[Install]
WantedBy=timers.target
"""


def _quote(text: str) -> str:
    """Quote an argument for ExecStart, where % and $ have a meaning in quotes too."""
    escaped = text.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
