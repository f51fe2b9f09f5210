"""What a model is called, where a reference leads, what is registered: values, without MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CHAMPION, CHALLENGER, PREVIOUS, DEMO = "champion", "challenger", "previous", "demo"
# Of a logged model: what its files must hash to.
DIGEST_TAG = "waterflow.manifest_sha256"
PLUGIN_TAG, GATE_TAG = "waterflow.plugin", "waterflow.gate"
# Of a version that is not shown to be better than chance: "no".
CHANCE_TAG = "waterflow.better_than_chance"


class VersionReference(NamedTuple):
    """A version of a registered model, by alias or by number."""

    name: str
    alias: str | None
    number: str | None


@dataclass(frozen=True)
class Located:
    """Where a model's files lie, and what they must hash to."""

    label: str
    location: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class ListedVersion:
    """What the registry knows about a version.

    Attributes
    ----------
    figures : mapping of str to float
        Those that were asked for, of what its run measured.
    """

    number: int
    created_ms: int
    run_id: str
    tags: Mapping[str, str]
    aliases: Sequence[str]
    figures: Mapping[str, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "version": self.number,
            "aliases": sorted(self.aliases),
            "plugin": self.tags.get(PLUGIN_TAG, ""),
            "gate": self.tags.get(GATE_TAG),
            "may_be_chance": CHANCE_TAG in self.tags,
            "created_s": self.created_ms / 1000,
            "run_id": self.run_id,
        }


class ListedModel(NamedTuple):
    """The versions of a registered model, the oldest first, and its own tags."""

    versions: list[ListedVersion]
    tags: Mapping[str, str]


def parse_reference(reference: str, name: str) -> VersionReference | None:
    """Read ``@alias``, a number or ``models:/NAME/…``; None for anything else.

    >>> parse_reference("@champion", "waterflow")
    VersionReference(name='waterflow', alias='champion', number=None)
    >>> parse_reference("models:/river/3", "waterflow")
    VersionReference(name='river', alias=None, number='3')
    """
    if match := re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+))", reference):
        return VersionReference(*match.groups())
    if match := re.fullmatch(r"@(.+)|([0-9]+)", reference):
        return VersionReference(name, *match.groups())
    return None
