"""Draft a profile from an example file, and say what the file does not tell."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

import numpy as np

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.columns import DATE_NAMES, SITE_NAMES, IdColumn
from waterflow_cli.samples.nondetects import find_nondetects
from waterflow_cli.samples.opening import header_names, open_as_written, recognised
from waterflow_cli.samples.profiles import Profile, is_of_results
from waterflow_cli.samples.results.values import by_text, trimmed
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.numbers import NumberMarks, is_missing_text, parse_numbers
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.table import Table
from waterflow_cli.tables.units import has_sizes, parse_unit

# What columns are called, as `fold_name` leaves it.
_VALUE = re.compile("result|valeur|value|messwert|concentration|reading")
_PLACE = re.compile(
    "place|lieu|location|station|site|point|commune|sample(?!dat|tim|type)|echantillon"
)
_TIME = re.compile("date|time|heure|collected|sampledat")
_LIMIT_UNIT = re.compile("(limit|lo[qd]|mdl|mrl|rl).*(unit|uom)")
_NAMES = {
    "speciation": re.compile("speciation|speciati|expressedas"),
    "fraction": re.compile("fraction|totalordissolved|filtered"),
    "limit": re.compile("limit|lo[qd]|^l[qd]$|mdl|mrl|^rl$|pql"),
    "qualifier": re.compile(
        "qual|flag|remark|remarque|sign|cens|^nd$|nondet|detect|lessthan|condition"
    ),
}
_MEANT = {"<": "below", "nd": "below", "u": "below", ">": "above"}
_SHOWN = 8


@dataclass
class Draft:
    """A profile's text, and what a user has to settle, as texts for people."""

    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The TOML."""
        return "\n".join(self.lines).rstrip() + "\n"

    def ask(self, question: str) -> None:
        """Put a question, in the text too."""
        self.questions.append(question)
        shown = "".join(each if each.isprintable() else "?" for each in question)
        self.lines.append(f"# ? {shown}")


def draft_profile(path: str, schema: TableSchema, reading: ReadingOptions) -> Draft:
    """Draft a profile from the first rows of a file; each guess is marked.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with open_as_written(path, header_names(schema, reading), reading) as table:
        known = recognised(table, schema)
        if known is not None:
            said = tr("The header is that of the profile {name}; this is a copy.", name=known.name)
            return Draft([f"# {said}", *known.text.splitlines()])
        example = _Example(table, schema)
        draft = Draft([f"title = {_quoted(PurePath(path).stem)}", 'source = ""', ""])
        is_wide = schema.header.count_known(table.columns) > 1 or not example.is_of_results
        (_draft_samples if is_wide else _draft_results)(draft, example)
    return draft


class _Example:
    """The first rows of a file, column by column."""

    def __init__(self, table: Table, schema: TableSchema) -> None:
        if table.first_rows is None:
            raise InputError(table.path, "holds no text to draft a profile from.")
        self.table, self.schema = table, schema
        self.cells = {name: trimmed(cells) for name, cells in table.first_rows.columns.items()}

    @cached_property
    def texts(self) -> Mapping[str, list[str]]:
        """What each column says, without repeats."""
        found = {name: cells.unique().to_pylist() for name, cells in self.cells.items()}
        return {
            name: [text for text in texts if not is_missing_text(text)]
            for name, texts in found.items()
        }

    @property
    def is_of_results(self) -> bool:
        """Whether names of measurements stand in a column, or the columns are called so."""
        found = (
            len(set(filter(None, map(self.measurement, texts)))) for texts in self.texts.values()
        )
        return is_of_results(self.table.columns) or max(found, default=0) > 1

    def measurement(self, text: str) -> str | None:
        """Name the measurement that a text stands for."""
        name, rest = self.schema.header.column_of(text) or ("", "")
        return name if name and not rest else None

    def most(self, columns: Sequence[str], tells: Callable[[str], object]) -> str | None:
        """Find the column of which the most texts tell something, if any does."""
        counts = {name: sum(map(bool, map(tells, self.texts[name]))) for name in columns}
        best = max(counts, key=counts.__getitem__, default=None)
        return best if best is not None and counts[best] else None

    def share_of_numbers(self, column: str) -> float:
        """Tell how many filled cells are numbers or bounds: 0 to 1."""
        cells = self.cells[column]
        marks = [NumberMarks("."), NumberMarks(",")]
        plain = np.max([np.isfinite(parse_numbers(cells, each).values) for each in marks], axis=0)
        bounds = np.max([np.isfinite(find_nondetects(cells, each).bound) for each in marks], axis=0)
        n_filled = int(by_text(cells, lambda text: not is_missing_text(text)).sum())
        return float((plain | bounds).sum()) / n_filled if n_filled else 0.0


def _draft_results(draft: Draft, example: _Example) -> None:
    draft.lines.append("[results]")
    sample = _key(example)
    draft.lines.append(f"sample = {_listed(sample)}  # guess")
    draft.ask(tr("Do these columns name one sample together: {names}?", names=shorten(sample)))
    free = [name for name in example.cells if name not in sample]
    parameter = example.most(free, example.measurement)
    if parameter is None:
        parameter = free[0] if free else sample[0]
        draft.ask(tr("Which column holds the parameter? No text of any is a known name."))
    free = [name for name in free if name != parameter]
    value = _value(example, free)
    if value is None:
        value = free[0] if free else parameter
        draft.ask(tr("Which column holds the result?"))
    parts = {"parameter": parameter, "value": value, **_others(example, free, value)}
    draft.lines += [f"{key} = {_quoted(name)}  # guess" for key, name in parts.items()]
    rest = [name for name in free if name not in parts.values()]
    if rest:
        draft.ask(tr("Not read: {names}. Does one change what a value means?", names=shorten(rest)))
    if "unit" not in parts:
        draft.ask(tr("No column tells the units: which ones are they, by measurement?"))
        draft.lines += ["", "[units]"]
        draft.lines += [
            f"# {name} = {_quoted(unit)}" for name, unit in example.schema.units.items()
        ]
    else:
        _draft_units(draft, example.texts[parts["unit"]])
    _draft_parameters(draft, example, parameter)
    if "qualifier" in parts:
        _draft_words(draft, example.texts[parts["qualifier"]])


def _key(example: _Example) -> list[str]:
    """Guess the columns that name a sample: its id, else its place and time."""
    columns = list(example.cells)
    if found := IdColumn().find(columns):
        return [found]
    by_fold = {fold_name(column): column for column in columns}
    key: list[str] = []
    for names, like in ((SITE_NAMES, _PLACE), (DATE_NAMES, _TIME)):
        alike = (column for folded, column in by_fold.items() if like.search(folded))
        known = (by_fold[name] for name in names if name in by_fold)
        key += [name for name in (next(known, None) or next(alike, None),) if name]
    return key or columns[:1]


def _value(example: _Example, free: Sequence[str]) -> str | None:
    """Guess the column of results: one of numbers with such a name, else one of numbers."""
    shares = {name: example.share_of_numbers(name) for name in free}
    numbers = [name for name, share in shares.items() if share > 0.5]
    named = [name for name in numbers if _VALUE.search(fold_name(name))]
    return next(iter(named or numbers[:1]), None)


def _others(example: _Example, free: Sequence[str], value: str) -> dict[str, str]:
    """Guess the columns that say more of a result."""
    rest = [name for name in free if name != value]
    found = {}
    limit_units = [name for name in rest if _LIMIT_UNIT.search(fold_name(name))]
    if limit_units:
        found["limit_unit"] = limit_units[0]
    if unit := example.most([name for name in rest if name not in limit_units], parse_unit):
        found["unit"] = unit
    for part, names in _NAMES.items():
        others = [name for name in rest if name not in found.values()]
        if match := next((name for name in others if names.search(fold_name(name))), None):
            found[part] = match
    return found


def _draft_units(draft: Draft, texts: Sequence[str]) -> None:
    if unknown := [text for text in texts if parse_unit(text) is None]:
        draft.lines += ["", "[unit_aliases]"]
        draft.ask(tr("Which units are these: {names}?", names=shorten(unknown, _SHOWN)))
        draft.lines += [f'# {_quoted(text)} = ""' for text in unknown]


def _draft_parameters(draft: Draft, example: _Example, parameter: str) -> None:
    texts = example.texts[parameter]
    unknown = [text for text in texts if example.measurement(text) is None]
    draft.lines += ["", "[parameters]"]
    for text in texts:
        if name := example.measurement(text):
            draft.lines.append(f"{_quoted(text)} = {_quoted(name)}")
    if unknown:
        draft.ask(tr("Is one of these a measurement: {names}?", names=shorten(unknown, _SHOWN)))
        draft.lines += [f'# {_quoted(text)} = ""' for text in unknown]


def _draft_words(draft: Draft, texts: Sequence[str]) -> None:
    meant: dict[str, list[str]] = {"below": [], "above": []}
    for text in texts:
        if key := _MEANT.get(text.lower()):
            meant[key].append(text)
    unknown = [text for text in texts if text.lower() not in _MEANT]
    draft.lines += ["", "[qualifiers]"]
    for key, words in meant.items():
        listed = f"{key} = {_listed(words)}"
        draft.lines.append(f"{listed}  # guess" if words else f"# {key} = []")
    draft.lines += ["# reject = []", "# ignore = []"]
    if unknown:
        draft.ask(
            tr(
                "What do these say of a result: {names}? Below or above a limit, rejected, or "
                "measured (ignore)?",
                names=shorten(unknown, _SHOWN),
            )
        )


def _draft_samples(draft: Draft, example: _Example) -> None:
    schema, match = example.schema, example.table.match
    draft.lines.append("[columns]")
    draft.lines += [
        f"# {_quoted(column)} is read as {name}" for name, column in match.columns.items()
    ]
    missing = [name for name in schema.measurements if name not in match.columns]
    taken = set(match.columns.values())
    numbers = [
        name for name in example.cells if name not in taken and example.share_of_numbers(name) > 0.5
    ]
    if missing:
        draft.ask(
            tr(
                "Which columns hold {missing}? Numbers are in: {names}.",
                missing=shorten(missing),
                names=shorten(numbers) or "-",
            )
        )
        draft.lines += [f'# {_quoted(name)} = ""' for name in numbers]
    draft.lines += ["", "[units]"]
    told = {
        *match.units,
        *(name for name, column in match.columns.items() if column in example.table.units),
    }
    untold = [
        name for name in match.columns if has_sizes(schema.units.get(name, "")) and name not in told
    ]
    if untold:
        draft.ask(tr("Nothing tells the units of {names}: are they these?", names=shorten(untold)))
        draft.lines += [f"# {name} = {_quoted(schema.units[name])}" for name in untold]


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    """Write a text as TOML does."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def unread_parameters(
    path: str, profile: Profile, schema: TableSchema, reading: ReadingOptions
) -> Counter[str]:
    """Count the results of parameters that neither a profile nor the schema knows, by name."""
    counts: Counter[str] = Counter()
    if profile.results is None:
        return counts
    named = [name for name in (profile.results.parameter_name, profile.results.parameter) if name]
    with open_as_written(path, profile.header, reading) as table:
        by_fold = {fold_name(column): column for column in table.columns}
        columns = [column for name in named if (column := profile.column_in(by_fold, name))]
        for batch in table.batches():
            names, codes = (
                trimmed(batch.columns[column]).to_pylist() for column in (columns[0], columns[-1])
            )
            counts.update(
                name or code
                for code, name in zip(codes, names, strict=True)
                if not {code, code.lstrip("0")} & {*profile.parameters, *schema.columns}
                and not schema.header.column_of(name)
            )
    return counts
