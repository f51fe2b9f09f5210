"""How a model is referred to, and where a reference leads: values, without MLflow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple


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
