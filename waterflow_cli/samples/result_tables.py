"""Turn a table with one row for each result into one with a row for each sample.

All results that count are kept in memory, as some 30 bytes each and the text of the value: exports
are not always sorted by sample, so a sample is complete only at the end of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, IntArray, as_bools
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import Message, counted, tr, trn
from waterflow_cli.samples.number_marks import find_marks
from waterflow_cli.samples.result_columns import find_columns, remarks_on_columns
from waterflow_cli.samples.result_values import (
    READ,
    ValueReader,
    as_text,
    by_text,
    same_results,
    trimmed,
)
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.numbers import NUMBER_PATTERN, NumberMarks, missing_text
from waterflow_cli.tables.table import ROW_RULES, Batch, RowFinding, Table
from waterflow_cli.tables.units import has_sizes

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions

BATCH_ROWS = 1 << 16
_NONE = -1
_SEPARATOR = "\x1f"
_LISTS = ("sample", "within", "keep")
_NUMBER = re.compile(NUMBER_PATTERN)


@dataclass
class _Samples:
    """The samples seen so far, in the order of their first rows."""

    numbers: dict[str, int] = field(default_factory=dict)
    lines: list[IntArray] = field(default_factory=list)
    kept: dict[str, list[pa.Array]] = field(default_factory=dict)

    def number(self, keys: pa.Array, lines: IntArray, kept: Mapping[str, pa.Array]) -> IntArray:
        """Give each row the number of its sample; a new one takes over its first row's columns."""
        encoded = keys.dictionary_encode()
        codes = encoded.indices.to_numpy()
        n_before, known = len(self.numbers), self.numbers
        own = np.array(
            [known.setdefault(key, len(known)) for key in encoded.dictionary.to_pylist()]
        )
        first_rows = np.unique(codes, return_index=True)[1][own >= n_before]
        self.lines.append(lines[first_rows])
        for name, column in kept.items():
            self.kept.setdefault(name, []).append(column.take(pa.array(first_rows)))
        return np.asarray(own[codes], dtype=np.int64)


class _Results(NamedTuple):
    """Results that count: sample, quantity, text in the schema's unit, line."""

    sample: IntArray
    quantity: IntArray
    text: pa.Array
    line: IntArray


class ResultTable:
    """Reads an open table with one row for each result, as the `results` of a profile say.

    Raises
    ------
    InputError
        If a column of the profile is not there.
    UsageError
        If ``--unit`` is to hold for results that name their units.
    """

    def __init__(
        self, table: Table, profile: Profile, schema: TableSchema, options: ReadingOptions
    ) -> None:
        assert profile.results is not None
        self._table, self._profile, self._schema = table, profile, schema
        self._options = options
        self._where = find_columns(table, profile)
        if options.units and "unit" in self._where:
            raise UsageError(
                "--unit: each result of {path} names its own unit.",
                tr("For those that name none, a profile of one's own says it under [units]."),
                path=table.path,
            )
        # Quantities are the schema's columns, and the parameters of differences.
        wanted = dict(schema.units)
        for name, parts in profile.differences.items():
            wanted.update((part, schema.units[name]) for part in parts if name in schema.units)
        parts = [part for pair in profile.differences.values() for part in pair]
        self._quantities = list(dict.fromkeys([*schema.columns, *parts]))
        self._samples, self._findings = _Samples(), dict[int, RowFinding]()
        self._counts: Counter[str] = Counter()
        self.marks = self._find_marks(options)
        self._on_columns = remarks_on_columns(table, profile, self._where, schema.header)
        self._values = ValueReader(
            profile=profile,
            quantities=self._quantities,
            wanted=wanted,
            unit_aliases={
                **schema.unit_aliases,
                **profile.unit_aliases,
                **options.unit_aliases,
            },
            where=self._where,
            marks=self.marks,
        )

    def read(self) -> Table:
        """Read all results, and present them as a table with one row for each sample.

        Raises
        ------
        InputError
            If a row is no row of the table or names no sample, or no result is of a known
            parameter.
        """
        results = self._take_all()
        if not self._counts["known"]:
            raise InputError(
                self._table.path,
                trn(
                    "its {n} result is of no known parameter.",
                    "none of its {n} results is of a known parameter.",
                    self._counts["results"],
                ),
                hint=tr("Name another profile, or a copy of this one: waterflow profiles show"),
            )
        columns = {name: _joined(parts) for name, parts in self._samples.kept.items()}
        lines = np.concatenate(self._samples.lines)
        cells, cell_lines = self._pivot(results, lines)
        wide = Batch(
            columns={**columns, **cells},
            lines=lines,
            findings=self._findings,
            cell_lines=cell_lines,
        )
        self._refuse_unitless(cells)
        # A column of units was followed; without one, the values are as they were written.
        units = {} if "unit" in self._where else self._profile.units
        return Table(
            path=self._table.path,
            columns=list(wide.columns),
            _dialect=lambda: self._table.dialect,
            _blocks=partial(_tasks, wide),
            units={name: unit for name, unit in units.items() if name in cells},
            names=self._schema.header,
            marks=self.marks,
            remarks=self._remarks,
        )

    def _refuse_unitless(self, cells: Mapping[str, pa.Array]) -> None:
        """Refuse values of which a column of units would have told what nothing else tells."""
        assert self._profile.results is not None
        if not (column := self._profile.results.unit) or "unit" in self._where:
            return
        for name, texts in cells.items():
            is_told = name in self._profile.units or name in self._options.units
            if (
                not is_told
                and has_sizes(self._schema.units.get(name, ""))
                and not missing_text(texts).all()
            ):
                raise InputError(
                    self._table.path,
                    "nothing tells the unit of {name}: column '{column}' is not in the header.",
                    name=name,
                    column=column,
                    line=self._table.dialect.header_line,
                    hint=tr("Say which one it is: --unit {name}=UNIT", name=name),
                )

    def _find_marks(self, options: ReadingOptions) -> NumberMarks:
        """Tell the marks by those of the first rows that count."""
        sample = self._table.sample()
        said = NumberMarks(options.decimal or ".", options.thousands or "")
        if sample is None:
            return said
        rows = pa.array(self._quantities_of(sample) != _NONE)
        names = {key: name for key, name in self._where.items() if key in ("value", "limit")}
        cells = {name: sample.columns[name].filter(rows) for name in names.values()}
        known = replace(sample, columns=cells, lines=sample.lines[rows.to_numpy(False)])
        return find_marks(known, names, self._table.path, options) if len(known) else said

    def _take_all(self) -> _Results:
        parts = (self._take(batch) for batch in self._table.batches())
        sample, quantity, text, line = zip(*parts, strict=True)
        return _Results(
            np.concatenate(sample), np.concatenate(quantity), _joined(text), np.concatenate(line)
        )

    def _take(self, batch: Batch) -> _Results:
        """Find the results of a batch that count, and put them into the schema's units."""
        self._refuse_findings(batch)
        named = [*self._columns("sample"), *self._columns("within")]
        keys = [trimmed(batch.columns[name]) for name in named]
        counts = ~self._left_out(batch)
        self._refuse_nameless(keys, counts, batch)
        rows = pa.array(np.flatnonzero(counts))
        kept = [name for key in _LISTS for name in self._columns(key)]
        sample = self._samples.number(
            pc.binary_join_element_wise(*keys, "", _SEPARATOR).take(rows),
            batch.lines[counts],
            {name: as_text(batch.columns[name]).take(rows) for name in kept},
        )
        quantity = self._quantities_of(batch)[counts]
        known = quantity != _NONE
        self._counts["results"] += len(batch)
        self._counts["left out"] += len(batch) - len(sample)
        self._counts["known"] += int(known.sum())
        self._counts["other"] += int((~known).sum())
        return self._read_values(
            batch, np.flatnonzero(counts)[known], quantity[known], sample[known]
        )

    def _read_values(
        self, batch: Batch, rows: IntArray, quantity: IntArray, sample: IntArray
    ) -> _Results:
        """Read the values of some rows, and note what is wrong with their units."""
        at = pa.array(rows)
        cells = {
            key: trimmed(batch.columns[name].take(at))
            for key, name in self._where.items()
            if key in READ
        }
        line = batch.lines[rows]
        text, problems, counts = self._values.read(cells, quantity)
        self._counts += counts
        for rule, bad, measured, values in problems:
            for row, index in zip(bad.tolist(), measured.tolist(), strict=True):
                told = {"name": self._quantities[index], "line": line[row], **values}
                self._findings.setdefault(int(sample[row]), RowFinding(rule, told))
        # A result without a value must not stand in the way of one that has it.
        filled = as_bools(pc.not_equal(text, ""))
        return _Results(
            sample[filled], quantity[filled], text.filter(pa.array(filled)), line[filled]
        )

    def _refuse_findings(self, batch: Batch) -> None:
        if batch.findings:
            row, finding = min(batch.findings.items())
            problem = ROW_RULES[finding.rule].describe(finding.values)
            shown = Message("{problem}; in a table of results each row counts.", problem=problem)
            self._refuse(shown, int(batch.lines[row]))

    def _refuse_nameless(self, keys: list[pa.Array], counts: BoolArray, batch: Batch) -> None:
        """Refuse results that name no sample: together they would make one that never was."""
        for name, key in zip(self._columns("sample"), keys, strict=False):
            rows = np.flatnonzero(missing_text(key) & counts)
            if len(rows):
                problem = Message("column {column}: the result names no sample.", column=name)
                self._refuse(problem, int(batch.lines[rows[0]]))

    def _refuse(self, problem: Message, line: int) -> NoReturn:
        path = self._table.path
        hint = tr("Mend the row in {path}, or take it out.", path=path)
        raise InputError(path, problem, line=line, hint=hint)

    def _columns(self, key: str) -> list[str]:
        return [column for found, column in self._where.items() if found.startswith(f"{key} ")]

    def _left_out(self, batch: Batch) -> BoolArray:
        """Say which rows the profile leaves out."""
        out = np.zeros(len(batch), dtype=bool)
        for column, patterns in self._profile.leave_out.items():
            if shown := self._where.get(f"leave_out {column}"):
                out |= by_text(batch.columns[shown], partial(_fits, patterns)) > 0
        return out

    def _quantities_of(self, batch: Batch) -> IntArray:
        """Tell the quantity of each row by its parameter, else by the parameter's name."""
        quantity = by_text(batch.columns[self._where["parameter"]], self._by_parameter)
        if "parameter_name" in self._where:
            by_name = by_text(batch.columns[self._where["parameter_name"]], self._by_name)
            quantity = np.where(quantity == _NONE, by_name, quantity)
        if "fraction" in self._where:
            fraction = trimmed(batch.columns[self._where["fraction"]])
            for name in self._profile.fractions.keys() & self._quantities:
                counted = pa.array(self._profile.fractions[name], pa.string())
                others = ~as_bools(pc.is_in(fraction, value_set=counted))
                quantity[(quantity == self._quantities.index(name)) & others] = _NONE
        return quantity

    def _by_parameter(self, text: str) -> int:
        name = self._profile.parameters.get(text, text)
        if name not in self._quantities and text.isdecimal():  # 01302 is SANDRE's 1302
            bare = text.lstrip("0")
            name = self._profile.parameters.get(bare, bare)
        if name in self._quantities:
            return self._quantities.index(name)
        return self._by_name(text) if "parameter_name" not in self._where else _NONE

    def _by_name(self, text: str) -> int:
        """Find a name of the schema; with a unit or anything else behind it, it is another one."""
        name, rest = self._schema.header.column_of(text) or ("", "")
        return self._quantities.index(name) if name and not rest else _NONE

    def _pivot(
        self, results: _Results, sample_lines: IntArray
    ) -> tuple[dict[str, pa.Array], dict[str, IntArray]]:
        """Put each result into its sample's row; the second of two is compared with the first."""
        n_quantities = len(self._quantities)
        place = results.sample * n_quantities + results.quantity
        held, first = np.unique(place, return_index=True)
        at = np.full(len(sample_lines) * n_quantities, _NONE)
        at[held] = first
        self._compare_repeated(results, place, at)
        grid = at.reshape(-1, n_quantities)
        cells, lines = {}, {}
        for index, name in enumerate(self._quantities):
            rows = grid[:, index]
            is_held = rows != _NONE
            # What nobody measured has a column too: it is missing in every sample.
            if name in self._schema.measurements or is_held.any():
                cells[name] = pc.fill_null(results.text.take(pa.array(rows, mask=~is_held)), "")
                lines[name] = sample_lines.copy()
                lines[name][is_held] = results.line[rows[is_held]]
        self._add_differences(cells, lines)
        return {name: cells[name] for name in self._schema.columns if name in cells}, lines

    def _compare_repeated(self, results: _Results, place: IntArray, at: IntArray) -> None:
        """Count results that repeat an earlier one; others than it are findings of their sample."""
        repeated = np.flatnonzero(at[place] != np.arange(len(place)))
        first = at[place[repeated]]
        one, other = (results.text.take(pa.array(rows)) for rows in (first, repeated))
        same = same_results(one, other, self.marks)
        self._counts["repeated"] = int(same.sum())
        for index in np.flatnonzero(~same).tolist():
            row = int(repeated[index])
            values = {
                "name": self._quantities[results.quantity[row]],
                "one": one[index],
                "first": results.line[first[index]],
                "other": other[index],
                "second": results.line[row],
            }
            sample = int(results.sample[row])
            self._findings.setdefault(sample, RowFinding("conflicting_results", values))

    def _add_differences(self, cells: dict[str, pa.Array], lines: dict[str, IntArray]) -> None:
        """Compute the quantities that are one parameter less another, where both are numbers."""
        for name, pair in self._profile.differences.items():
            if not cells.keys() >= set(pair) or name not in self._schema.columns:
                continue
            empty = pa.repeat("", len(cells[pair[0]]))
            own, one, other = cells.get(name, empty), *(cells[each] for each in pair)
            is_wanted = pc.and_(pc.equal(own, ""), pc.not_equal(one, ""))
            rows = pc.and_(is_wanted, pc.not_equal(other, ""))
            pairs = zip(one.filter(rows).to_pylist(), other.filter(rows).to_pylist(), strict=True)
            found = [_difference(whole, part, self.marks) for whole, part in pairs]
            cells[name] = pc.replace_with_mask(own, rows, pa.array(found, pa.string()))
            of_whole = lines[pair[0]]
            lines[name] = np.where(as_bools(rows), of_whole, lines.get(name, of_whole))

    def _remarks(self) -> list[str]:
        counts = self._counts
        told = {
            "other": Message("{n} of other parameters", n=counts["other"]),
            "left out": Message("{n} left out by the profile", n=counts["left out"]),
            "repeated": Message("{n} repeated", n=counts["repeated"]),
            "unitless": Message("{n} without a unit, taken in the usual one", n=counts["unitless"]),
            "rejected": Message("{n} rejected by their qualifier", n=counts["rejected"]),
        }
        own = [
            f"{name} ({unit})"
            for name, unit in self._values.wanted.items()
            if name in self._schema.columns and name not in self._schema.units
        ]
        return [
            *self._table.remarks(),
            Message(
                "{samples} of {results} ({profile})",
                samples=counted("{n} sample", "{n} samples", len(self._samples.numbers)),
                results=counted("{n} result", "{n} results", counts["results"]),
                profile=self._profile.name,
            ),
            *(text for name, text in told.items() if counts[name]),
            *self._on_columns,
            *([Message("units of the file kept: {names}", names=", ".join(own))] if own else []),
        ]


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    return pa.chunked_array(parts, pa.string()).combine_chunks()


def _tasks(wide: Batch, start: Position | None) -> Iterator[Callable[[], Batch]]:
    """Yield parts of the table of samples as calls; positions count samples."""
    found = np.array(sorted(wide.findings), dtype=np.int64)
    for first in range(start.offset if start else 0, len(wide), BATCH_ROWS):
        last = min(first + BATCH_ROWS, len(wide))
        own = found[np.searchsorted(found, first) : np.searchsorted(found, last)]
        yield partial(_slice, wide, first, last, own.tolist())


def _slice(wide: Batch, first: int, last: int, found: list[int]) -> Batch:
    return Batch(
        columns={name: each.slice(first, last - first) for name, each in wide.columns.items()},
        lines=wide.lines[first:last],
        findings={sample - first: wide.findings[sample] for sample in found},
        end=Position(last, last),
        cell_lines={name: each[first:last] for name, each in wide.cell_lines.items()},
    )


def _fits(patterns: Sequence[str], text: str) -> int:
    """Say 1 where a text is like one of some patterns, in any case, else 0."""
    return int(any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns))


def _difference(one: str, other: str, marks: NumberMarks) -> str:
    """Subtract two results, exactly; empty where one is no plain number, or the part is larger."""
    whole, part = (
        text.replace(",", ".") if marks.decimal == "," else text for text in (one, other)
    )
    if not _NUMBER.match(whole) or not _NUMBER.match(part):
        return ""
    rest = Decimal(whole) - Decimal(part)
    return str(rest).replace(".", marks.decimal) if rest >= 0 else ""
