"""What was done with the versions of a registered model: entries that are only ever added.

Each entry is a tag of the registered model under a key of its own. Any store of MLflow keeps such
tags, and two commands that write at the same time lose none.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from waterflow_cli import __version__
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import marked

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEY = re.compile(r"waterflow\.history\.(\d{6,})-[0-9a-f]{8}")
# MLflow's tables hold 5000 characters of a tag.
MAX_WHY = 2000
UNTOLD = marked("no entry told of it: done by another program, or by a command that was killed")


class Action(StrEnum):
    """What was done."""

    TRAIN = "train"
    RETRAIN = "retrain"
    IMPORT = "import"
    UPGRADE = "upgrade"
    GATE = "gate"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    FOUND = "found"
    """A change that no entry tells of: by another program, or by a command that was killed."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the history.

    Attributes
    ----------
    number : int
        Entries are numbered from 1; two that were written at the same time may share one.
    when : str
        UTC, in ISO 8601.
    who : str
        User and machine.
    before, after : int or None
        The champion's version before and after.
    waterflow : str
        The version of waterflow that wrote it.
    """

    number: int
    when: str
    who: str
    action: str
    version: int | None
    before: int | None
    after: int | None
    why: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    waterflow: str = __version__

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON, with the names that people use."""
        return {_PUBLIC.get(name, name): value for name, value in asdict(self).items()}


_PUBLIC = {"before": "from", "after": "to"}
_PRIVATE = {public: name for name, public in _PUBLIC.items()}


def read_entries(tags: Mapping[str, str]) -> list[Entry]:
    """Read the entries among the tags of a registered model, the oldest first."""
    found = [(int(match[1]), key) for key in tags if (match := _KEY.fullmatch(key))]
    return [_read_entry(number, tags[key]) for number, key in sorted(found)]


def _read_entry(number: int, text: str) -> Entry:
    try:
        content = {_PRIVATE.get(name, name): value for name, value in json.loads(text).items()}
        return Entry(**{**content, "number": number})
    except (ValueError, TypeError, AttributeError):
        # Somebody changed it. It is shown as it stands, and keeps nobody from rolling back.
        return Entry(
            number=number,
            when="",
            who="",
            action="unreadable",
            version=None,
            before=None,
            after=None,
            why=text[:MAX_WHY],
            waterflow="",
        )


def write_entry(client: MlflowClient, name: str, entry: Entry) -> None:
    """Add an entry to the history of a model."""
    key = f"waterflow.history.{entry.number:06d}-{uuid4().hex[:8]}"
    client.set_registered_model_tag(name, key, json.dumps(entry.to_json(), ensure_ascii=False))


def next_entry(
    entries: Sequence[Entry],
    action: Action,
    version: int | None,
    before: int | None,
    after: int | None,
    why: str = "",
    metrics: Mapping[str, float] | None = None,
) -> Entry:
    """Make the entry that follows others, by who runs this command."""
    return Entry(
        number=max((entry.number for entry in entries), default=0) + 1,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=_who(),
        action=action,
        version=version,
        before=before,
        after=after,
        why=why[:MAX_WHY],
        metrics=metrics or {},
    )


def unrecorded(
    entries: Sequence[Entry], versions: Iterable[int], champion: int | None
) -> list[Entry]:
    """Make the entries that are missing: for versions and a champion that no entry tells of."""
    told = {entry.version for entry in entries}
    known, last = list(entries), _last_champion(entries)

    def add(version: int | None, after: int | None) -> None:
        known.append(next_entry(known, Action.FOUND, version, before=last, after=after, why=UNTOLD))

    for version in sorted(set(versions) - told):
        add(version, last)
    if champion != last:
        add(champion, champion)
    return known[len(entries) :]


def former_champions(entries: Iterable[Entry]) -> list[int]:
    """Give the champions that rolling back would return to, the next one last."""
    # In use, the last one now; a change that turned out not to have been made is taken back.
    used: list[int | None] = [None]
    for entry in entries:
        if entry.before == entry.after:
            continue
        if entry.action == Action.FOUND and used[-2:] == [entry.after, entry.before]:
            used.pop()
        elif entry.action == Action.ROLLBACK and entry.after in used:
            while used[-1] != entry.after:
                used.pop()
        else:
            used.append(entry.after)
    return [version for version in used[:-1] if version is not None]


def check_why(why: str) -> str:
    """Refuse, by a `UsageError`, a reason of a user's that is too long for the history."""
    if len(why) > MAX_WHY:
        raise UsageError(
            "--why: {n_letters} characters; at most {most} can be kept.",
            n_letters=len(why),
            most=MAX_WHY,
        )
    return why


def _last_champion(entries: Sequence[Entry]) -> int | None:
    readable = [entry for entry in entries if entry.action != "unreadable"]
    return readable[-1].after if readable else None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"
