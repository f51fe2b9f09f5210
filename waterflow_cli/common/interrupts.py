"""End on Ctrl-C, TERM and HUP by a KeyboardInterrupt, but never within what belongs together."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A terminal that is closed sends HUP twice. The second one shall not stop what the first one has
# begun, which is to clear up; but where a library swallowed the first, the next is heard.
_CLEARING_UP_S = 1.0


class _Interrupts:
    """The handler of the signals; whether one came, and whether one waits."""

    def __init__(self) -> None:
        self.is_installed = False
        self.begin()

    def begin(self) -> None:
        """Hold nothing back, and wait for nothing."""
        self.n_holding, self.is_waiting, self.came = 0, False, False
        self._last = -_CLEARING_UP_S

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise, or remember it where it is held back."""
        self.came = True
        if self.n_holding:
            self.is_waiting = True
        elif time.monotonic() - self._last >= _CLEARING_UP_S:
            self.strike()

    def strike(self) -> None:
        """Raise KeyboardInterrupt."""
        self.is_waiting, self._last = False, time.monotonic()
        raise KeyboardInterrupt


_interrupts = _Interrupts()


def install_interrupts() -> None:
    """Let each of the signals raise KeyboardInterrupt, but for those that are ignored."""
    _interrupts.begin()  # an earlier command in this process may have ended them
    sys.unraisablehook = _hear_lost_interrupt
    _interrupts.is_installed = True
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _interrupts)


def _hear_lost_interrupt(lost: sys.UnraisableHookArgs) -> None:
    """Let an interrupt that came while Python collected garbage, which drops it, wait."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _interrupts.is_waiting = True
    else:
        sys.__unraisablehook__(lost)


def end_interrupts() -> None:
    """Hold them back from here on: all is done but to say so."""
    _interrupts.n_holding += 1


def is_interrupt(exc: BaseException) -> bool:
    """Tell whether an exception ends the command on the user's wish.

    Code of a plugin can raise KeyboardInterrupt too; where the signals are ours, one came or not.
    """
    if isinstance(exc, KeyboardInterrupt):
        return _interrupts.came or not _interrupts.is_installed
    return isinstance(exc, GeneratorExit)


def came_of_interrupt(exc: BaseException | None) -> bool:
    """Tell whether an error is what a library made of an interruption, when it cleared up."""
    while exc is not None and not isinstance(exc, KeyboardInterrupt):
        exc = exc.__context__
    return exc is not None and _interrupts.came


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block rather than within it.

    That is for what is all to be done or nothing of it, such as giving several outputs their names.
    It is also for conditions and queues: Python leaves them locked when an exception comes between
    the taking of their lock and the block that gives it back, and a thread waits for ever.
    """
    _interrupts.n_holding += 1
    try:
        yield
    finally:
        _interrupts.n_holding -= 1
        if _interrupts.is_waiting and not _interrupts.n_holding:
            _interrupts.strike()
