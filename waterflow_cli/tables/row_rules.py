"""What makes a line of text no row of the table; `waterflow_cli.validation.rules` has all rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from waterflow_cli.common.messages import marked, marked_forms, tr, trn


@dataclass(frozen=True)
class Rule:
    """A rule that a cell or a row may break.

    Attributes
    ----------
    code : str
        Stable: scripts, and outputs that are replayed, rely on it.
    sentence : str or pair of str
        What is said of a finding; ``text`` is the cell. A pair has the forms for `trn` to choose
        from, by the value ``n``.
    variants : mapping of str to str
        What is said instead, where a value of that name is known.
    additions : mapping of str to str
        What is said besides, likewise.
    """

    code: str
    sentence: str | tuple[str, str]
    variants: Mapping[str, str] = field(default_factory=dict, hash=False)
    additions: Mapping[str, str] = field(default_factory=dict, hash=False)

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
        Rule("ragged_row", _COUNTED, additions=_ADDITIONS),
        # The same, and another separator would give as many.
        Rule("other_separator", _COUNTED, additions=_ADDITIONS),
        Rule("nul_byte", marked("the row holds a NUL byte")),
        Rule("stray_quote", marked("text follows a closing quote; cells may be other than meant")),
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
