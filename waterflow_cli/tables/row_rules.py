"""What makes a line of text no row of the table; `waterflow_cli.validation.rules` has all rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from waterflow_cli.common.messages import marked, marked_forms, tr, trn

Place = Literal["cell", "row", "cell or row"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that a cell or a row may break.

    Attributes
    ----------
    code : str
        Stable: scripts, and outputs that are replayed, rely on it.
    place : str
        Whether it lies in a cell or in a row as a whole.
    title : str
        What was found, for the documentation.
    sentence : str or pair of str
        What is said of a finding; ``text`` is the cell. A pair has the forms for `trn` to choose
        from, by the value ``n``.
    variants : mapping of str to str
        What is said instead, where a value of that name is known.
    additions : mapping of str to str
        What is said besides, likewise.
    is_in_source_only : bool
        Whether the file alone shows it: once the row is in an output, its cells seem sound.
    """

    code: str
    place: Place
    title: str
    sentence: str | tuple[str, str]
    variants: Mapping[str, str] = field(default_factory=dict, hash=False, kw_only=True)
    additions: Mapping[str, str] = field(default_factory=dict, hash=False, kw_only=True)
    is_in_source_only: bool = field(default=False, kw_only=True)

    def describe(self, values: Mapping[str, Any]) -> str:
        """Say what was found."""
        known = (text for name, text in self.variants.items() if name in values)
        text = next(known, self.sentence)
        said = tr(text, **values) if isinstance(text, str) else trn(*text, values["n"], **values)
        added = (text for name, text in self.additions.items() if name in values)
        return said + "".join(tr(text, **values) for text in added)


_COUNTED = marked_forms(
    "{n} field where the header has {n_columns}", "{n} fields where the header has {n_columns}"
)
_ADDITIONS = {
    "extra": marked("; beyond it: {extra}"),
    "other": marked("; with {other} between them it has as many"),
}

ROW_RULES: Mapping[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(
            code="ragged_row",
            place="row",
            title="more or fewer fields than the header",
            sentence=_COUNTED,
            additions=_ADDITIONS,
            is_in_source_only=True,
        ),
        Rule(
            code="other_separator",
            place="row",
            title="the same, and another separator would give as many",
            sentence=_COUNTED,
            additions=_ADDITIONS,
            is_in_source_only=True,
        ),
        Rule(
            code="nul_byte",
            place="row",
            title="the row holds a NUL byte",
            sentence=marked("the row holds a NUL byte"),
            is_in_source_only=True,
        ),
    )
}


class RowFinding(NamedTuple):
    """What is wrong with a row as it was read.

    Attributes
    ----------
    rule : str
        The rule's code.
    values : dict of str to object
        What its sentence needs.
    """

    rule: str
    values: dict[str, Any]
