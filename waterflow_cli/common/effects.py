"""What the running command has put in place, and what it has begun and must not leave behind.

Wherever a command ends early, in whatever line a signal comes, this tells what there is by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import tr


@dataclass
class Effects:
    """The outputs, versions and aliases that are in place, each noted as it comes to be.

    Attributes
    ----------
    outputs : list of str
        Paths that have their final names.
    aliases : dict of (str, int) to list of str
        The versions that were registered or got an alias, and their new aliases.
    begun : list of callable
        What ends that which was begun; each can be called more than once.
    """

    outputs: list[str] = field(default_factory=list)
    aliases: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    begun: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Say whether anything is in place."""
        return bool(self.outputs or self.aliases)

    def note_version(self, name: str, version: int, alias: str | None = None) -> None:
        """Note a version that was registered, or that an alias stands for now."""
        for others in self.aliases.values():
            if alias in others:
                others.remove(alias)
        self.aliases.setdefault((name, version), []).extend([] if alias is None else [alias])

    def forget(self, end: Callable[[], None]) -> None:
        """Forget something that was begun, and has ended; it may be forgotten already."""
        with suppress(ValueError):
            self.begun.remove(end)

    def end_begun(self) -> None:
        """End all that was begun, the last first; what fails hinders nothing else."""
        for end in reversed(tuple(self.begun)):
            with suppress(Exception):
                end()
        self.begun.clear()

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Call something at the end of the block, whatever happens."""
        self.begun.append(end)
        try:
            yield
        finally:
            with interrupts_held_back():
                end()
                self.forget(end)


effects = Effects()


def forget_effects() -> None:
    """Begin anew, as each command does."""
    effects.outputs.clear()
    effects.aliases.clear()
    effects.begun.clear()


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make a folder that is not there, and let the block fill it.

    Raises
    ------
    UsageError
        If it exists, or it or what the block writes cannot be created.
    """
    try:
        with interrupts_held_back():
            path.mkdir(parents=True)
            effects.outputs.append(str(path))
            yield
    except OSError as exc:
        raise UsageError(
            "{folder}: cannot be created ({strerror}).",
            tr("Choose another: --folder NAME"),
            folder=path,
            strerror=exc.strerror,
        ) from exc
