"""The one pass over a file that an exploration takes: its rows as numbers, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, encode_texts
from waterflow_cli.common.paths import path_text
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.samples.columns import DATE_NAMES, SITE_NAMES, choose_column
from waterflow_cli.samples.dates import DATE_CHARACTERS, DateReader
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch, Finding
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.limit_checks import Codes, LimitChecker, Standing
from waterflow_cli.validation.limits import Limit, LimitProfile
from waterflow_cli.validation.row_checker import RowChecker

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema

_N_SHOWN = 5
_MOST_MONTHS = 24


@dataclass(frozen=True)
class Texts:
    """A column of texts, each kept once.

    Attributes
    ----------
    column : str
        As the header writes it.
    values : list of str
        The different texts.
    codes : ndarray of int64, shape (n_rows,)
        Which of them a row has; -1 for none.
    """

    column: str
    values: Sequence[str]
    codes: IntArray


@dataclass(frozen=True)
class Findings:
    """What breaks the schema.

    Attributes
    ----------
    n_rows : int
        Rows that break a rule.
    n_rows_left_out : int
        Those of them that are left out as a whole, for the rule speaks of the row.
    by_rule : dict of (str, str) to int
        By column and rule.
    first : tuple of Finding
        The first few.
    """

    n_rows: int
    n_rows_left_out: int
    by_rule: Mapping[tuple[str, str], int]
    first: Sequence[Finding]


@dataclass(frozen=True)
class Samples:
    """A file's rows, as an exploration needs them.

    Attributes
    ----------
    reading : str
        How the file was read.
    header : tuple of str
        Its columns as written.
    columns : dict of str to str
        Schema column to column of the file.
    n_rows : int
        All rows, with those that were left out.
    X : dict of str to ndarray of float64, shape (n_kept,)
        Measurements that the file has; NaN where missing or left out.
    missing : dict of str to ndarray of bool, shape (n_kept,)
    left_out : dict of str to int
        Cells that break a rule.
    censored : dict of str to (int, int)
        Cells below and above a bound.
    label : ndarray of float64, shape (n_kept,), optional
        1, 0 or NaN.
    lines : ndarray of int64, shape (n_kept,)
        Physical lines.
    limits : sequence of Limit
        What the measurements were held against.
    standings : sequence of ndarray of int8, each of shape (n_kept,)
        For each limit, a `waterflow_cli.validation.limit_checks.Standing` for each row.
    cells : CellCounts
        What the cells of each column are, in all rows.
    alarms : sequence of str
        Columns that look a thousand times off.
    """

    path: str
    reading: str
    header: Sequence[str]
    columns: Mapping[str, str]
    n_rows: int
    findings: Findings
    X: Mapping[str, FloatArray]
    missing: Mapping[str, BoolArray]
    left_out: Mapping[str, int]
    censored: Mapping[str, tuple[int, int]]
    label: FloatArray | None
    lines: IntArray
    site: Texts | None
    date: Texts | None
    limits: Sequence[Limit] = ()
    standings: Sequence[Codes] = ()
    cells: CellCounts = field(default_factory=CellCounts)
    alarms: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.lines)


def read_samples(
    path: str,
    schema: TableSchema,
    reading: ReadingOptions = AS_FOUND,
    *,
    site: str | None = None,
    date: str | None = None,
    profiles: Sequence[LimitProfile] = (),
    report: Report = say_nothing,
) -> Samples:
    """Read a file once, and keep what its rows say as numbers.

    Parameters
    ----------
    site, date : str, optional
        Columns of the file; default: found by their names.
    profiles : sequence of LimitProfile
        What the measurements are held against.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a required column.
    UsageError
        If it has no column that was named.
    """
    with open_samples(path, schema, reading) as table:
        checker = RowChecker(schema, table, reading)
        collector = _Collector(
            schema,
            checker.columns,
            LimitChecker(profiles, schema.measurements),
            site=choose_column("--site", site, SITE_NAMES, table, checker.columns),
            date=choose_column("--date", date, DATE_NAMES, table, checker.columns),
        )
        n_rows = 0
        cells = CellCounts()
        for batch in table.batches():
            checked = checker.check(batch)
            collector.add(checked)
            cells.add(CellCounts.of(checked, schema))
            n_rows += len(batch)
            report(n_rows, table.share_read())
        samples = collector.finish(path_text(path), checker.reading, table.columns, n_rows)
        return replace(samples, cells=cells, alarms=cells.alarms(schema))


@dataclass
class _TextCollector:
    """Gathers a column of texts over the batches."""

    column: str
    n_characters: int | None = None
    known: dict[str, int] = field(default_factory=dict)
    codes: list[IntArray] = field(default_factory=list)

    def add(self, cells: pa.Array, kept: BoolArray) -> None:
        """Take the cells of some rows."""
        texts, codes = encode_texts(cells, self.n_characters)
        # The last place stands for none.
        places = [*(self.known.setdefault(text, len(self.known)) for text in texts), -1]
        self.codes.append(np.array(places, dtype=np.int64)[codes][kept])

    def finish(self) -> Texts:
        """Put the batches together."""
        return Texts(self.column, list(self.known), np.concatenate(self.codes))


class _Collector:
    """Gathers what the batches hold."""

    def __init__(
        self,
        schema: TableSchema,
        columns: Mapping[str, str],
        limits: LimitChecker,
        *,
        site: str | None,
        date: str | None,
    ) -> None:
        self._columns, self._limits = columns, limits
        self._standings: list[list[Codes]] = [[] for _ in limits.no_counts().limits]
        self._names = [name for name in schema.measurements if name in columns]
        label = schema.label if schema.label in columns else None
        self._label = label if label and schema.columns[label].kind.is_numeric else None
        self._numbers: dict[str, list[FloatArray]] = {name: [] for name in self._wanted()}
        self._missing: dict[str, list[BoolArray]] = {name: [] for name in self._names}
        self._left_out: Counter[str] = Counter()
        self._censored = {name: np.zeros(2, dtype=np.int64) for name in self._names}
        self._lines: list[IntArray] = []
        self._texts = {
            "site": _TextCollector(site) if site is not None else None,
            "date": _TextCollector(date, DATE_CHARACTERS) if date is not None else None,
        }
        self._by_rule: Counter[tuple[str, str]] = Counter()
        self._first: list[Finding] = []
        self._n_invalid = self._n_dropped = 0

    def _wanted(self) -> list[str]:
        return [*self._names, *([self._label] if self._label else [])]

    def add(self, checked: CheckedBatch) -> None:
        """Take the rows of a batch that the rules about rows leave."""
        kept, bad = self._count_findings(checked)
        for name in self._wanted():
            values = np.where(bad[name], np.nan, checked.numbers[name])
            self._numbers[name].append(values[kept])
        for name in self._names:
            self._missing[name].append(checked.missing[name][kept])
            self._left_out[name] += int((bad[name] & ~checked.missing[name] & kept).sum())
            if name in checked.censored:
                cells = checked.censored[name]
                self._censored[name] += [(cells.below & kept).sum(), (cells.above & kept).sum()]
        for parts, limit, codes in self._hold_against_limits(checked):
            if limit.column in bad:
                codes = np.where(bad[limit.column], np.int8(Standing.NOT_MEASURED), codes)
            parts.append(codes[kept])
        self._lines.append(checked.batch.lines[kept])
        for texts in self._texts.values():
            if texts is not None:
                texts.add(checked.batch.columns[texts.column], kept)

    def _hold_against_limits(
        self, checked: CheckedBatch
    ) -> Iterator[tuple[list[Codes], Limit, Codes]]:
        flags = self._limits.check(checked)
        return zip(self._standings, flags.limits, flags.codes, strict=True)

    def _count_findings(self, checked: CheckedBatch) -> tuple[BoolArray, dict[str, BoolArray]]:
        """Count what is wrong; say which rows stay, and which cells of them are bad."""
        kept = np.ones(len(checked.batch), dtype=bool)
        bad = {name: np.zeros(len(kept), dtype=bool) for name in self._wanted()}
        shown = {column: name for name, column in self._columns.items()}
        for broken in checked.by_rule:
            self._by_rule[broken.column, broken.rule.code] += len(broken.rows)
            name = shown.get(broken.column)
            if name is None:
                kept[broken.rows] = False
            elif name in bad:
                bad[name][broken.rows] = True
        self._n_invalid += int(checked.invalid.sum())
        self._n_dropped += int((~kept).sum())
        if checked.by_rule and len(self._first) < _N_SHOWN:
            self._first += checked.findings(_N_SHOWN - len(self._first))
        return kept, bad

    def finish(self, path: str, reading: str, header: Sequence[str], n_rows: int) -> Samples:
        """Put the batches together."""
        numbers = {name: np.concatenate(self._numbers.pop(name)) for name in self._wanted()}
        label = numbers.pop(self._label) if self._label else None
        texts = {kind: each.finish() if each else None for kind, each in self._texts.items()}
        findings = Findings(
            self._n_invalid, self._n_dropped, dict(self._by_rule), tuple(self._first)
        )
        return Samples(
            path=path,
            reading=reading,
            header=tuple(header),
            columns=dict(self._columns),
            n_rows=n_rows,
            findings=findings,
            X=numbers,
            missing={name: np.concatenate(parts) for name, parts in self._missing.items()},
            left_out={name: self._left_out[name] for name in self._names},
            censored={name: (int(n[0]), int(n[1])) for name, n in self._censored.items()},
            label=label,
            lines=np.concatenate(self._lines),
            site=texts["site"],
            date=texts["date"],
            limits=tuple(self._limits.no_counts().limits),
            standings=tuple(np.concatenate(parts) for parts in self._standings),
        )


def find_periods(texts: Iterable[str]) -> list[str | None]:
    """Give the month of each date, or its year where months would be many or are not sure.

    Years stand first or last. Where they stand last and every date could be read both ways
    (03/04/2024), months are not guessed.

    >>> find_periods(["2024-03-05", "2024-04-01 10:00", "soon"])
    ['2024-03', '2024-04', None]
    >>> find_periods(["03/04/2024"]), find_periods(["03/04/2024", "21/04/2024"])
    (['2024'], ['2024-04', '2024-04'])
    """
    texts = list(texts)
    reader = DateReader()
    reader.learn(texts)
    dates = [reader.read(text) for text in texts]
    dated = [each if each and (each.month or not each.is_sure) else None for each in dates]
    months = {each[:2] for each in dated if each}
    is_sure = all(each.is_sure for each in dated if each)
    form = "{:04d}-{:02d}" if is_sure and len(months) <= _MOST_MONTHS else "{:04d}"
    return [form.format(*each) if each else None for each in dated]
