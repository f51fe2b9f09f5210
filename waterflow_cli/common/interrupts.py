"""End on Ctrl-C, TERM and HUP by a KeyboardInterrupt, but never while locks are taken."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupts:
    """The handler of the signals, and whether one waits."""

    def __init__(self) -> None:
        self.n_holding = 0
        self.is_waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise, or remember it where it is held back."""
        if self.n_holding:
            self.is_waiting = True
            return
        raise KeyboardInterrupt


_interrupts = _Interrupts()


def install_interrupts() -> None:
    """Let each of the signals raise KeyboardInterrupt, but for those that are ignored."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _interrupts)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block rather than within it.

    Python's conditions and queues are left locked when an exception comes between the taking of
    their lock and the block that gives it back; a thread that needs it then waits for ever.
    """
    _interrupts.n_holding += 1
    try:
        yield
    finally:
        _interrupts.n_holding -= 1
        if _interrupts.is_waiting and not _interrupts.n_holding:
            _interrupts.is_waiting = False
            raise KeyboardInterrupt
