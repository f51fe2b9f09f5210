"""Entries of a model's history: numbered, only ever added, whole whatever happens to them."""

from __future__ import annotations

import json

import pytest

from waterflow_cli.common.errors import UsageError
from waterflow_cli.registry.history import (
    MAX_WHY,
    Action,
    check_why,
    former_champions,
    next_entry,
    read_entries,
    unrecorded,
)


def entry(entries, action, version, before, after):
    return next_entry(entries, action, version, before=before, after=after)


def history(*changes):
    entries = []
    for action, version, before, after in changes:
        entries.append(entry(entries, action, version, before, after))
    return entries


def tags_of(entries):
    return {
        f"waterflow.history.{each.number:06d}-{place:08x}": json.dumps(each.to_json())
        for place, each in enumerate(entries)
    }


def test_entries_are_read_as_they_were_written_in_their_order():
    entries = history((Action.TRAIN, 1, None, 1), (Action.TRAIN, 2, 1, 1))
    tags = {**dict(reversed(tags_of(entries).items())), "owner": "ana"}
    assert read_entries(tags) == entries
    assert [each.number for each in entries] == [1, 2]
    assert entries[0].to_json()["from"] is None
    assert entries[0].to_json()["to"] == 1
    assert "@" in entries[0].who


def test_two_entries_of_one_number_are_both_kept():
    entries = history((Action.TRAIN, 1, None, 1))
    both = [
        *entries,
        entry(entries, Action.PROMOTE, 2, 1, 2),
        entry(entries, Action.TRAIN, 3, 1, 1),
    ]
    assert read_entries(tags_of(both)) == both


@pytest.mark.parametrize("text", ["not JSON", "[1]", '{"version": 1}', ""])
def test_an_entry_that_was_changed_is_shown_and_stops_nothing(text):
    entries = history((Action.TRAIN, 1, None, 1))
    found = read_entries({**tags_of(entries), "waterflow.history.000002-00000009": text})
    assert (found[1].action, found[1].why) == ("unreadable", text)
    assert unrecorded(found, [1], 1) == []


def test_what_no_entry_tells_of_is_found():
    entries = history((Action.TRAIN, 1, None, 1))
    assert unrecorded(entries, [1], 1) == []
    version, champion = unrecorded(entries, [1, 2], 2)
    assert (version.action, version.version, version.before, version.after) == ("found", 2, 1, 1)
    assert (champion.version, champion.before, champion.after) == (2, 1, 2)
    assert "by another program, or by a command that was killed" in champion.why
    (gone,) = unrecorded(entries, [1], None)
    assert (gone.before, gone.after) == (1, None)


def test_rolling_back_twice_goes_back_twice():
    promoted = (
        *((Action.TRAIN, 1, None, 1), (Action.PROMOTE, 2, 1, 2)),
        *((Action.TRAIN, 3, 2, 2), (Action.PROMOTE, 3, 2, 3)),
    )
    assert former_champions(history(*promoted)) == [1, 2]
    once = (*promoted, (Action.ROLLBACK, 2, 3, 2))
    assert former_champions(history(*once)) == [1]
    assert former_champions(history(*once, (Action.ROLLBACK, 1, 2, 1))) == []
    assert former_champions(history((Action.FOUND, 1, None, 1))) == []


def test_a_reason_longer_than_a_store_holds_is_refused():
    assert check_why("x" * MAX_WHY)
    with pytest.raises(UsageError, match="--why: 2001 characters; at most 2000 can be kept"):
        check_why("x" * (MAX_WHY + 1))
