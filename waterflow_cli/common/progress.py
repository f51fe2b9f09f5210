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


class InputProgress:
    """Says what share of all bytes of some inputs was read, in the order in which they are.

    Attributes
    ----------
    n_bytes : int
        Of all the files together.
    n_done : int
        Inputs that were read to their end.
    """

    def __init__(self, inputs: Sequence[str], report: Report) -> None:
        self._sizes, self._report = [_size(path) for path in inputs], report
        self.n_bytes = sum(self._sizes)
        self.n_done = 0

    def __call__(self, n_rows: int, share: float | None) -> None:
        """Say it, given the rows of all inputs so far, and the share of the next one."""
        if share is not None and self.n_bytes:
            current = self._sizes[self.n_done] if self.n_done < len(self._sizes) else 0
            share = (sum(self._sizes[: self.n_done]) + share * current) / self.n_bytes
        else:
            share = None
        self._report(n_rows, share)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):  # standard input; or it is said where the file is opened
        return 0
