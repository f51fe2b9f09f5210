"""How far a job came, for those who wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from waterflow_cli.common.messages import tr

_SECONDS_BETWEEN_LINES = 5.0
# Is told the rows done so far, and the share of the inputs read: 0 to 1, None if unknown.
Report = Callable[[int, float | None], None]


def say_nothing(n_rows: int, share: float | None) -> None:
    """Report to nobody."""


class ProgressLines:
    """Says every few seconds how far a job came, and how long the rest will take.

    Parameters
    ----------
    unit : str
        What is counted.
    say : callable
        Takes a line.
    """

    def __init__(self, unit: str, say: Callable[[str], None]) -> None:
        self._unit, self._say = unit, say
        self._start = self._last = time.monotonic()

    def __call__(self, n_done: int, share: float | None) -> None:
        """Say it, if it was not said a moment ago."""
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        elapsed = now - self._start
        text = tr(
            "{n_done} {unit}, {rate:.0f} a second",
            n_done=n_done,
            unit=self._unit,
            rate=n_done / elapsed,
        )
        if share:
            text += tr(
                ", {share:.0%}, {seconds:.0f} s left",
                share=share,
                seconds=elapsed * (1 - share) / share,
            )
        self._say(f"{text}.")


class InputShares:
    """What share of all bytes of some inputs was read.

    Parameters
    ----------
    inputs : sequence of str
        In the order in which they are read.

    Attributes
    ----------
    n_bytes : int
        Of all the files together.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._sizes = [_size(path) for path in inputs]
        self.n_bytes = sum(self._sizes)

    def after(self, n_done: int, share: float | None) -> float | None:
        """Give the share once some inputs are read, and a share of the next."""
        if share is None or not self.n_bytes:
            return None
        current = self._sizes[n_done] if n_done < len(self._sizes) else 0
        return (sum(self._sizes[:n_done]) + share * current) / self.n_bytes


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):  # standard input; or it is said where the file is opened
        return 0
