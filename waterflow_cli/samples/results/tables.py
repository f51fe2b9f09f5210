"""Turn a table with one row for each result into one with a row for each sample.

All results that count are kept in memory, as some 30 bytes each and the text of the value: exports
are not always sorted by sample, so a sample is complete only at the end of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, IntArray, as_bools, repeated
from waterflow_cli.common.errors import InputError, UsageError, did_you_mean
from waterflow_cli.common.messages import Message, tr, trn
from waterflow_cli.samples.number_marks import find_marks
from waterflow_cli.samples.results.choices import (
    FINDING,
    PREFER,
    Choice,
    Conflict,
    Results,
    add_differences,
    choose,
    parse_choice,
)
from waterflow_cli.samples.results.layout import (
    RowsThatCount,
    Samples,
    find_columns,
    fits,
    remarks_on_columns,
)
from waterflow_cli.samples.results.report import of_results, of_samples
from waterflow_cli.samples.results.values import (
    READ,
    ValueReader,
    as_text,
    by_text,
    trimmed,
)
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.numbers import NUMBER_PATTERN, NumberMarks, missing_text
from waterflow_cli.tables.table import ROW_RULES, Batch, RowFinding, Table
from waterflow_cli.tables.units import has_sizes

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile
    from waterflow_cli.samples.results.samplings import Samplings
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions

BATCH_ROWS = 1 << 16
_NONE = -1
_SEPARATOR = "\x1f"
_LISTS = ("sample", "within", "keep")
_NUMBER = re.compile(NUMBER_PATTERN)


class ResultTable:
    """Reads an open table with one row for each result, as the `results` of a profile say.

    Attributes
    ----------
    counts : Counter of str
        What became of the rows, once they are read: ``results`` are those ``used``, those ``left
        out`` and those of `report.NOT_USED`.

    Raises
    ------
    InputError
        If a column of the profile is not there.
    UsageError
        If ``--unit`` is to hold for results that name their units.
    """

    def __init__(
        self,
        table: Table,
        profile: Profile,
        schema: TableSchema,
        options: ReadingOptions,
        *,
        is_recognised: bool = False,
    ) -> None:
        assert profile.results is not None
        self._table, self._profile, self._schema = table, profile, schema
        self._options, self._is_recognised = options, is_recognised
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
        self._differences = {
            name: pair for name, pair in profile.differences.items() if name in schema.columns
        }
        self._quantities = list(dict.fromkeys([*schema.columns, *parts]))
        self._samples, self._findings = Samples(), dict[int, RowFinding]()
        self.counts: Counter[str] = Counter()
        self._rows = RowsThatCount(profile, self._where)
        self._choice = self._find_choice(options.duplicates or profile.results.duplicates)
        self.marks = self._find_marks(options)
        self._on_columns = remarks_on_columns(table, profile, self._where, schema.header)
        self._on_samplings: list[Message] = []
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
            absent=tuple(map(str.lower, options.na)),
        )

    def read(self, samplings: Samplings | None = None) -> Table:
        """Read all results, and present them as a table with one row for each sample.

        Parameters
        ----------
        samplings : Samplings, optional
            What another file tells of the samples.

        Raises
        ------
        InputError
            If a row is no row of the table or names no sample, or no result is of a known
            parameter.
        """
        results = self._take_all()
        if self.counts["other"] + self.counts["left out"] == self.counts["results"]:
            raise InputError(
                self._table.path,
                trn(
                    "its {n} result is of no known parameter.",
                    "none of its {n} results is of a known parameter.",
                    self.counts["results"],
                ),
                hint=tr("Name another profile, or a copy of this one: waterflow profiles show"),
            )
        columns = {name: _joined(parts) for name, parts in self._samples.kept.items()}
        lines = np.concatenate(self._samples.lines)
        cells, cell_lines = self._pivot(results, lines)
        columns |= cells
        if samplings is not None:
            told, self._on_samplings = samplings.tell(self._keys(columns, len(lines)))
            columns = {**columns, **told, **columns}  # a table's own ones stay
        wide = Batch(
            columns=columns,
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
            has_own_cells=False,
            remarks=self._remarks,
        )

    def _keys(self, columns: Mapping[str, pa.Array], n_samples: int) -> list[pa.Array]:
        """Give what names the samples, in the order of the profile; a file may lack a part."""
        assert self._profile.results is not None
        shown = [self._where.get(f"sample {k}") for k in range(len(self._profile.results.sample))]
        return [columns[name] if name else repeated("", n_samples) for name in shown]

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

    def _find_choice(self, text: str) -> Choice:
        """Tell which of several results counts, and where it is said which is preferred."""
        choice = parse_choice(text) or Choice(FINDING)
        if choice.way != PREFER:
            return choice
        by_fold = {fold_name(column): column for column in self._table.columns}
        if fold_name(choice.column) not in by_fold:
            raise UsageError(
                tr(
                    "--duplicates {text}: {path} has no column '{column}'.",
                    text=text,
                    path=self._table.path,
                    column=choice.column,
                )
                + did_you_mean(choice.column, self._table.columns)
            )
        self._where["preferred"] = by_fold[fold_name(choice.column)]
        return choice

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

    def _take_all(self) -> Results:
        parts = (self._take(batch) for batch in self._table.batches())
        place, text, line, preferred = zip(*parts, strict=True)
        return Results(
            np.concatenate(place), _joined(text), np.concatenate(line), np.concatenate(preferred)
        )

    def _take(self, batch: Batch) -> Results:
        """Find the results of a batch that count, and put them into the schema's units."""
        self._refuse_findings(batch)
        named = [*self._columns("sample"), *self._columns("within")]
        keys = [trimmed(batch.columns[name]) for name in named]
        counts = self._rows.of(batch)
        self._refuse_nameless(keys, counts, batch)
        incomplete = self._rows.incomplete(keys, counts)
        rows = pa.array(np.flatnonzero(counts))
        kept = [name for key in _LISTS for name in self._columns(key)]
        sample = self._samples.number(
            pc.binary_join_element_wise(*keys, "", _SEPARATOR).take(rows),
            batch.lines[counts],
            {name: as_text(batch.columns[name]).take(rows) for name in kept},
        )
        for row, column in incomplete.items():
            told = {"column": column, "line": int(batch.lines[row])}
            of = int(sample[np.count_nonzero(counts[:row])])
            self._findings.setdefault(of, RowFinding("partial_key", told))
        quantity = self._quantities_of(batch)[counts]
        known = quantity != _NONE
        self.counts["results"] += len(batch)
        self.counts["left out"] += len(batch) - len(sample)
        self.counts["other"] += int((~known).sum())
        return self._read_values(
            batch, np.flatnonzero(counts)[known], quantity[known], sample[known]
        )

    def _read_values(
        self, batch: Batch, rows: IntArray, quantity: IntArray, sample: IntArray
    ) -> Results:
        """Read the values of some rows, and note what is wrong with their units."""
        at = pa.array(rows)
        cells = {
            key: trimmed(batch.columns[name].take(at))
            for key, name in self._where.items()
            if key in READ
        }
        line = batch.lines[rows]
        text, problems, counts = self._values.read(cells, quantity)
        self.counts += counts
        for rule, bad, measured, values in problems:
            for row, index in zip(bad.tolist(), measured.tolist(), strict=True):
                told = {"name": self._quantities[index], "line": line[row], **values}
                self._findings.setdefault(int(sample[row]), RowFinding(rule, told))
        # A result without a value must not stand in the way of one that has it.
        filled = as_bools(pc.not_equal(text, ""))
        place = sample * len(self._quantities) + quantity
        kept = self._preferred(batch, at)[filled]
        return Results(place[filled], text.filter(pa.array(filled)), line[filled], kept)

    def _preferred(self, batch: Batch, rows: pa.Array) -> BoolArray:
        """Say which of some rows the user prefers, where there are several results."""
        if "preferred" not in self._where:
            return np.zeros(len(rows), dtype=bool)
        cells = batch.columns[self._where["preferred"]].take(rows)
        return by_text(cells, partial(fits, [self._choice.value])) > 0

    def _refuse_findings(self, batch: Batch) -> None:
        if batch.findings:
            row, finding = min(batch.findings.items())
            problem = ROW_RULES[finding.rule].describe(finding.values)
            shown = Message("{problem}; in a table of results each row counts.", problem=problem)
            self._refuse(shown, int(batch.lines[row]))

    def _refuse_nameless(self, keys: list[pa.Array], counts: BoolArray, batch: Batch) -> None:
        """Refuse results that name no sample: together they would make one that never was."""
        names = self._columns("sample")
        lacks = [missing_text(cells) for _, cells in zip(names, keys, strict=False)]
        rows = np.flatnonzero(np.logical_and.reduce(lacks) & counts)
        if len(rows):
            problem = Message("column {column}: the result names no sample.", column=names[0])
            self._refuse(problem, int(batch.lines[rows[0]]))

    def _refuse(self, problem: Message, line: int) -> NoReturn:
        path = self._table.path
        hint = tr("Mend the row in {path}, or take it out.", path=path)
        raise InputError(path, problem, line=line, hint=hint)

    def _columns(self, key: str) -> list[str]:
        return [column for found, column in self._where.items() if found.startswith(f"{key} ")]

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
        self, results: Results, sample_lines: IntArray
    ) -> tuple[dict[str, pa.Array], dict[str, IntArray]]:
        """Put each result into its sample's row; of several the chosen one."""
        n_quantities = len(self._quantities)
        n_places = len(sample_lines) * n_quantities
        chosen = choose(results, n_places, self._choice, self.marks)
        self.counts += chosen.counts
        self._note_conflicts(results, chosen.conflicts)
        grid = chosen.row.reshape(-1, n_quantities)
        cells, lines = {}, {}
        for index, name in enumerate(self._quantities):
            rows = grid[:, index]
            is_held = rows != _NONE
            # What nobody measured has a column too: it is missing in every sample.
            if name in self._schema.measurements or is_held.any():
                cells[name] = pc.fill_null(chosen.text.take(pa.array(rows, mask=~is_held)), "")
                lines[name] = sample_lines.copy()
                lines[name][is_held] = results.line[rows[is_held]]
        parts = add_differences(cells, lines, self._differences, self.marks)
        for name, is_held in zip(self._quantities, (grid != _NONE).T, strict=True):
            if name not in self._schema.columns:  # of use as a part alone
                is_used = is_held & parts.get(name, False)
                self.counts["uncomputed"] += int((is_held & ~is_used).sum())
                is_held = is_used
            self.counts["used"] += int(is_held.sum())
        return {name: cells[name] for name in self._schema.columns if name in cells}, lines

    def _note_conflicts(self, results: Results, conflicts: Sequence[Conflict]) -> None:
        """Make different results of one sample findings of it."""
        for one, other in conflicts:
            sample, quantity = divmod(int(results.place[one]), len(self._quantities))
            values = {
                "name": self._quantities[quantity],
                "one": results.text[one],
                "first": results.line[one],
                "other": results.text[other],
                "second": results.line[other],
            }
            self._findings.setdefault(sample, RowFinding("conflicting_results", values))

    def _remarks(self) -> list[str]:
        own = [
            f"{name} ({unit})"
            for name, unit in self._values.wanted.items()
            if name in self._schema.columns and name not in self._schema.units
        ]
        return [
            *self._table.remarks(),
            of_samples(
                len(self._samples.numbers),
                self.counts["results"],
                self._profile.name,
                is_recognised=self._is_recognised,
            ),
            *of_results(self.counts, self._choice.text),
            *self._rows.remarks(),
            *self._on_columns,
            *([Message("units of the file kept: {names}", names=", ".join(own))] if own else []),
            *self._on_samplings,
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
