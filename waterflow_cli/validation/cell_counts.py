"""Count what the cells of the measurements are, and say what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import Message, joined, marked
from waterflow_cli.tables.units import neighbour_unit

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import FloatArray
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import Nondetect
    from waterflow_cli.validation.batches import CheckedBatch

# Shares of non-detects among the measured values of a column. Up to the second, substitution is
# held to be tolerable (US EPA, Guidance for Data Quality Assessment, QA/G-9, 2000, section 4.7);
# Helsel (2006), Chemosphere 65, 2434, shows what it does, and argues against it throughout.
NOTABLE_SHARE, TOLERABLE_SHARE = 0.05, 0.15
# A whole column is off where nearly all of its values are.
_NEARLY_ALL = 0.8
_STEP = 1000
_TOO_SMALL = marked(
    "{name}: {share:.0%} of its values lie below {bound:g} {unit}, and would "
    "be usual {factor:g} times that. Nothing was changed.{hint}"
)
_TOO_LARGE = marked(
    "{name}: {share:.0%} of its values lie above {bound:g} {unit}, and would "
    "be usual {factor:g} times that. Nothing was changed.{hint}"
)


@dataclass(kw_only=True)
class CellCounts:
    """How many cells of each column of the schema are what.

    Attributes
    ----------
    missing : Counter of str
        Without a value.
    nondetects, above_range : Counter of str
        Known to lie below or above a bound.
    without_limit : Counter of str
        Non-detects that name no limit, and are among the missing.
    left_out : Counter of str
        By column of the file: rows that end before it, and were read as empty there.
    marks : Counter of str
        By column and mark: units and marks beside numbers, or in their place, that were followed.
    positive, small, large : Counter of str
        Measured values, no bounds: those above zero, and those that would be usual in a unit a
        thousand times larger or smaller than the one they are read in.
    converted : Counter of str
        Cells that were read in another unit than the schema's.
    """

    missing: Counter[str] = field(default_factory=Counter)
    nondetects: Counter[str] = field(default_factory=Counter)
    above_range: Counter[str] = field(default_factory=Counter)
    without_limit: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    positive: Counter[str] = field(default_factory=Counter)
    small: Counter[str] = field(default_factory=Counter)
    large: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, checked: CheckedBatch, schema: TableSchema) -> CellCounts:
        """Count the cells of a batch, but for those of rows that are none of the table."""
        counts = cls()
        whole = checked.whole
        counts.left_out.update(checked.batch.left_out)
        counts.marks.update(checked.marks)
        counts.converted.update(dict.fromkeys(checked.converted, len(checked.batch)))
        counts.missing.update({name: int(mask.sum()) for name, mask in checked.missing.items()})
        for name, censored in checked.censored.items():
            counts.nondetects[name] = int((censored.below & whole).sum())
            counts.above_range[name] = int((censored.above & whole).sum())
            counts.without_limit[name] = censored.without_limit
        for name, (low, high) in schema.usual.items():
            if name in checked.numbers:
                values = _measured(name, checked)
                small = (values < low) & (values >= low / _STEP)
                large = (values > high) & (values <= high * _STEP)
                counts.positive[name] = int(np.count_nonzero(values > 0))
                counts.small[name] = int(np.count_nonzero(small))
                counts.large[name] = int(np.count_nonzero(large))
        return counts

    def add(self, other: CellCounts) -> None:
        """Add the counts of another batch."""
        for each in fields(self):
            getattr(self, each.name).update(getattr(other, each.name))

    def content(self) -> dict[str, dict[str, int]]:
        """Put the counts into a JSON object; `from_content` takes it back."""
        return {each.name: dict(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> CellCounts:
        """Take counts back from their JSON."""
        return cls(**{name: Counter(counts) for name, counts in content.items()})

    def absent(self, names: Iterable[str], n_rows: int) -> list[str]:
        """Name those of some measurements of which none of so many rows has a value."""
        return [name for name in names if self.missing[name] == n_rows]

    def notes(self, way: Nondetect) -> Iterator[Message]:
        """Say how many values are bounds, and what they were counted as."""
        ways = {
            "half": Message("half of their bound"),
            "loq": Message("their bound"),
            "zero": Message("zero"),
            "missing": Message("missing"),
            "error": Message("errors"),
        }
        if listed := _listed(self.left_out):
            yield Message("Rows end before a column, read as empty: {counts}.", counts=listed)
        if listed := _listed(self.marks):
            yield Message("Beside numbers, and understood: {counts}.", counts=listed)
        if listed := _listed(self.nondetects):
            yield Message(
                "Non-detects: {counts}; they count as {way} (--nondetect {name}).",
                counts=listed,
                way=ways[way],
                name=way,
            )
        if listed := _listed(self.above_range):
            meant = ways["missing"] if way == "missing" else ways["loq"]
            yield Message(
                "Above the range: {counts}; they count as {way}.", counts=listed, way=meant
            )
        if listed := _listed(self.without_limit):
            yield Message(
                "Non-detects that name no limit, read as missing: {counts}. If it is known: "
                "--loq COLUMN=VALUE",
                counts=listed,
            )

    def substituted(self, n_rows: int) -> Iterator[Message]:
        """Warn of columns of which a model would learn what was put in for non-detects."""
        for name, count in self.nondetects.items():
            share = count / max(1, n_rows - self.missing[name])
            if share > TOLERABLE_SHARE:
                yield Message(
                    "{name}: {share:.0%} of its values are non-detects. Above {most:.0%} "
                    "substitution is not recommended (US EPA QA/G-9, 2000; Helsel, 2006): "
                    "--nondetect missing, or do without the column.",
                    name=name,
                    share=share,
                    most=TOLERABLE_SHARE,
                )
            elif share > NOTABLE_SHARE:
                yield Message(
                    "{name}: {share:.0%} of its values are non-detects; the model learns what "
                    "was put in for them.",
                    name=name,
                    share=share,
                )

    def alarms(self, schema: TableSchema) -> Iterator[Message]:
        """Warn of columns that look a thousand times off; nothing is corrected for it."""
        sides = (
            (self.small, _TOO_SMALL, Fraction(_STEP)),
            (self.large, _TOO_LARGE, Fraction(1, _STEP)),
        )
        for name, n_values in self.positive.items():
            unit = schema.units.get(name, "")
            for (counts, text, factor), bound in zip(sides, schema.usual[name], strict=True):
                if n_values and counts[name] >= _NEARLY_ALL * n_values:
                    yield Message(
                        text,
                        name=name,
                        share=counts[name] / n_values,
                        bound=bound,
                        unit=unit,
                        factor=float(factor),
                        # What else a unit that was converted may be is no matter of the schema's.
                        hint="" if self.converted[name] else _hint(name, unit, factor),
                    )


def _measured(name: str, checked: CheckedBatch) -> FloatArray:
    """Give a column's values without those that stand in for bounds: half a limit is small."""
    rows = checked.whole
    if censored := checked.censored.get(name):
        rows = rows & ~(censored.below | censored.above)
    return checked.numbers[name][rows]


def _hint(name: str, unit: str, factor: Fraction) -> str:
    other = neighbour_unit(unit, factor)
    if not other:
        return ""
    way = Message("If the file gives {other}: --unit {name}={other}", name=name, other=other)
    return joined([" ", way], "")


def _listed(counts: Mapping[str, int]) -> str:
    return shorten(f"{name} {count}" for name, count in counts.items() if count)
