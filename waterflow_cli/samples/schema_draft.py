"""Draft a schema from a file: what its columns seem to be, with each guess marked as one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import as_bools
from waterflow_cli.samples.nondetects import find_nondetects
from waterflow_cli.samples.number_marks import find_marks
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.numbers import NumberMarks, missing_text, parse_numbers
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.table import Table
from waterflow_cli.tables.units import parse_unit

# A column is one of numbers if at most so many of its cells are none.
_MOST_ODD = 0.05
# What numbers under such a name are: names, whatever they look like.
_NAMES = re.compile(r"(?:^|[^a-z])(?:id|code|number|num[eé]ro|site|station|ref|sample)(?:[^a-z]|$)")
_ISO = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?$"
_IN_BRACKETS = re.compile(r"^(.*?)\s*[(\[](.*)[)\]]\s*$")
# So many different words are kept of a column, to tell a label by.
_MOST_WORDS = 12


@dataclass(kw_only=True)
class ColumnFacts:
    """What was seen of a column.

    Attributes
    ----------
    words : set of str
        Its different cells as they stand, as long as they are few.
    """

    name: str
    n_rows: int = 0
    n_missing: int = 0
    n_numbers: int = 0
    n_bounds: int = 0
    n_dates: int = 0
    low: float = math.inf
    high: float = -math.inf
    has_leading_zeros: bool = False
    is_whole: bool = True
    words: set[str] = field(default_factory=set)

    def add(self, cells: pa.Array, marks: NumberMarks) -> None:
        """Look at the cells of a batch."""
        text = cells.cast(pa.string())
        numbers, bounds = parse_numbers(cells, marks), find_nondetects(text, marks)
        missing, is_bound = missing_text(text), bounds.below | bounds.above
        good = ~(numbers.missing | numbers.bad)
        values = numbers.values[good]
        self.n_rows += len(text)
        self.n_missing += int((missing & ~is_bound).sum())
        self.n_numbers += len(values)
        self.n_bounds += int(is_bound.sum())
        self.n_dates += int(
            as_bools(pc.fill_null(pc.match_substring_regex(text, _ISO), False)).sum()
        )
        found = np.concatenate([values, bounds.bound[np.isfinite(bounds.bound)]])
        if len(found):
            self.low, self.high = min(self.low, found.min()), max(self.high, found.max())
        self.is_whole &= bool((values == np.round(values)).all())
        zeros = pc.match_substring_regex(text, r"^0\d")
        self.has_leading_zeros |= bool(pc.any(zeros).as_py())
        if len(self.words) <= _MOST_WORDS:
            self.words |= set(pc.unique(text.filter(pa.array(~missing))).to_pylist())

    @property
    def n_odd(self) -> int:
        """Cells that are neither empty nor a number or a bound."""
        return self.n_rows - self.n_missing - self.n_numbers - self.n_bounds

    @property
    def kind(self) -> str:
        """What the cells seem to be: float64, datetime64[ns] or str."""
        held = self.n_rows - self.n_missing
        if held and self.n_dates == held:
            return "datetime64[ns]"
        is_name = bool(_NAMES.search(self.name.lower())) and self.is_whole
        if not self.n_numbers or self.has_leading_zeros or is_name:
            return "str"
        return "float64" if self.n_odd <= _MOST_ODD * held else "str"

    @property
    def bounds(self) -> tuple[float, float]:
        """A range ten times as wide as what was seen."""
        low = 0.0 if self.low >= 0 else -_rounded_up(-10 * self.low)
        return low, _rounded_up(10 * self.high) if self.high > 0 else 0.0


def draft_schema(path: str, reading: ReadingOptions = AS_FOUND) -> str:
    """Write the YAML of a schema that a file keeps to, as far as its cells tell.

    Columns that the schema ``drinking-water`` knows have its names, units and bounds; the others
    have ten times the range that was seen. A line that rests on a guess says so in a comment.

    Raises
    ------
    InputError, UsageError
        As reading the file raises them.
    """
    known = load_schema("drinking-water")
    with open_samples(path, known, reading) as table:
        facts = _look(table, reading)
        claims = [found[0] for column in table.columns if (found := known.header.column_of(column))]
        columns = [_draft_column(each, known, claims, table.units) for each in facts.values()]
    label = _find_label(facts, columns, known)
    name = re.sub(r"\W+", "-", path.rsplit("/", 1)[-1].split(".")[0]).strip("-") or "own"
    return "\n".join(
        [*_head(name, path, columns, label, known), "columns:", *_body(columns, label)]
    )


@dataclass(frozen=True, kw_only=True)
class DraftColumn:
    """A column of the draft: what it is called there, and what is told of it."""

    facts: ColumnFacts
    name: str
    unit: str
    unit_is_guessed: bool
    bounds: tuple[float, float]
    is_known: bool

    @property
    def is_measured(self) -> bool:
        """Whether it holds numbers."""
        return self.is_known or self.facts.kind == "float64"


def _look(table: Table, reading: ReadingOptions) -> dict[str, ColumnFacts]:
    facts = {column: ColumnFacts(name=column) for column in table.columns}
    marks = table.marks or NumberMarks(reading.decimal or ".", reading.thousands or "")
    if table.marks is None and (sample := table.sample()) is not None:
        numeric = {each: each for each in table.columns if _looks_numeric(sample.columns[each])}
        is_continental = table.dialect.sep == ";"
        marks = find_marks(sample, numeric, table.path, reading, is_continental=is_continental)
    for batch in table.batches():
        for column, cells in batch.columns.items():
            facts[column].add(cells, marks)
    return facts


def _looks_numeric(cells: pa.Array) -> bool:
    digits = pc.match_substring_regex(cells.cast(pa.string()), r"^\s*[<>]?\s*-?[\d.,]+\s*$")
    return bool(pc.sum(digits).as_py()) and not _dated(cells)


def _dated(cells: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(cells.cast(pa.string()), _ISO)).as_py())


def _draft_column(
    facts: ColumnFacts, known: TableSchema, claims: Sequence[str], units: Mapping[str, str]
) -> DraftColumn:
    name, told = known.header.column_of(facts.name) or ("", units.get(facts.name, ""))
    bare = known.header.without_unit(facts.name)
    is_open = fold_name(bare) in map(fold_name, known.unit_needed)
    is_known = bool(name) and name != known.label and claims.count(name) == 1 and not is_open
    if is_known and facts.kind == "float64":
        in_range = next(each for each in known.columns[name].checks if each.name == "in_range")
        low, high = (float(in_range.statistics[key]) for key in ("min_value", "max_value"))
        return DraftColumn(
            facts=facts,
            name=name,
            unit=known.units[name],
            unit_is_guessed=not told,
            bounds=(low, high),
            is_known=True,
        )
    plain = facts.name
    match = _IN_BRACKETS.match(facts.name)
    if match and match[1] and parse_unit(match[2]):
        plain, told = match[1], match[2]
    unit = told if told and parse_unit(told) else ""
    return DraftColumn(
        facts=facts,
        name=plain,
        unit=unit,
        unit_is_guessed=False,
        bounds=facts.bounds,
        is_known=False,
    )


def _find_label(
    facts: Mapping[str, ColumnFacts], columns: Sequence[DraftColumn], known: TableSchema
) -> DraftColumn | None:
    """Find a column of two classes: by its name, or as the last one of zeros and ones or words."""
    two = [each for each in columns if not each.is_known and _is_label(each.facts, known)]
    named = [each for each in two if known.header.column_of(each.facts.name) == (known.label, "")]
    return next(iter([*named, *reversed(two)]), None)


def _is_label(facts: ColumnFacts, known: TableSchema) -> bool:
    folded = {fold_name(word) if not word.strip().isdigit() else word for word in facts.words}
    words = {fold_name(word): value for word, value in known.label_values.items()}
    return {words.get(word, {"0": 0, "1": 1}.get(word)) for word in folded} == {0, 1}


def _head(
    name: str,
    path: str,
    columns: Sequence[DraftColumn],
    label: DraftColumn | None,
    known: TableSchema,
) -> Iterator[str]:
    yield f"# Drafted from {json.dumps(path, ensure_ascii=False)}. A line marked guess: is to be"
    yield "# confirmed or changed by someone who knows the data."
    yield "schema_type: dataframe"
    yield f"name: {_text(name)}"
    yield "metadata:"
    if label is not None:
        yield f"  label: {_text(label.name)}  # guess: two classes, 1 being the good one"
    measured = [each for each in columns if each.is_measured and each is not label]
    yield "  measurements:  # guess: the columns of numbers"
    yield from (f"    - {_text(each.name)}" for each in measured)
    yield f"  min_measurements: {min(1, len(measured))}  # guess"
    yield "  units:" if any(each.unit for each in measured) else "  units: {}"
    for each in measured:
        why = "guess: the file tells none" if each.unit_is_guessed else "as the file tells"
        if each.unit:
            why = why if not each.is_known or each.unit_is_guessed else "converted from the file's"
            yield f"    {_text(each.name)}: {_text(each.unit)}  # {why}"
        else:
            yield f"    # {_text(each.name)}: guess: none; the file tells no unit"
    if label is not None and any(not word.strip().isdigit() for word in label.facts.words):
        values = {fold_name(word): value for word, value in known.label_values.items()}
        yield "  label_values:  # guess: what its words mean"
        for word in sorted(label.facts.words):
            if fold_name(word) in values and not word.strip().isdigit():
                yield f"    {_text(word)}: {values[fold_name(word)]}"
    aliases = [each for each in columns if fold_name(each.name) != fold_name(_bare(each, known))]
    yield "  aliases:" if aliases else "  aliases: {}"
    for each in aliases:
        yield f"    {_text(each.name)}: [{_text(_bare(each, known))}]  # guess: that is what it is"


def _bare(column: DraftColumn, known: TableSchema) -> str:
    return known.header.without_unit(column.facts.name) if column.is_known else column.name


def _body(columns: Sequence[DraftColumn], label: DraftColumn | None) -> Iterator[str]:
    for each in columns:
        facts, is_label = each.facts, each is label
        yield f"  {_text(each.name)}:"
        kind = "float64" if each.is_measured or is_label else facts.kind
        odd = (
            f"; cells that are no number: {facts.n_odd}" if each.is_measured and facts.n_odd else ""
        )
        yield f"    dtype: {kind}  # guess{odd}"
        yield f"    nullable: true  # empty cells: {facts.n_missing}"
        if not each.is_measured or is_label:
            yield "    required: false  # guess"
        if is_label:
            yield "    isin: [0, 1]"
        elif each.is_measured:
            seen = f"seen: {_number(facts.low)} to {_number(facts.high)}"
            low, high = map(_number, each.bounds)
            yield f"    in_range: {{min_value: {low}, max_value: {high}}}  # guess; {seen}"


def _text(text: str) -> str:
    """Write a text so that YAML reads just that, on one line and without surprises."""
    return (
        json.dumps(text, ensure_ascii=False)
        if not re.fullmatch(r"[A-Za-z]\w+", text)
        else (json.dumps(text) if text.lower() in _YAML_WORDS else text)
    )


_YAML_WORDS = {"yes", "no", "on", "off", "true", "false", "null"}


def _number(value: float) -> str:
    return np.format_float_positional(value, trim="-") if math.isfinite(value) else "none"


def _rounded_up(value: float) -> float:
    step = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / step) * step
