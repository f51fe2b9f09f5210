"""The one pass over a file that an exploration takes: its rows as numbers, and what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, encode_texts
from waterflow_cli.common.json import path_text
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.samples.columns import DATE_NAMES, SITE_NAMES, choose_column
from waterflow_cli.samples.dates import DATE_CHARACTERS, DateReader
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.limit_checks import Codes, LimitFlags, LimitStatus
from waterflow_cli.validation.limits import Limit
from waterflow_cli.validation.pass_over import PLAIN, Pass, PassOptions, pass_over
from waterflow_cli.validation.report import ValidationReport

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


@dataclass(kw_only=True)
class Findings(ValidationReport):
    """What breaks the schema, and how many rows a broken rule about rows leaves out as a whole."""

    n_left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A file's rows, as an exploration needs them.

    Attributes
    ----------
    header : tuple of str
        Its columns as written.
    columns : dict of str to str
        Schema column to column of the file.
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
    limits : sequence of (Limit, ndarray of int8, shape (n_kept,))
        What the measurements were held against, and with what
        `waterflow_cli.validation.limit_checks.LimitStatus` for each row.
    alarms : sequence of str
        Columns that look a thousand times off.
    """

    path: str
    reading: str
    header: Sequence[str]
    columns: Mapping[str, str]
    findings: Findings
    X: Mapping[str, FloatArray]
    missing: Mapping[str, BoolArray]
    left_out: Mapping[str, int]
    censored: Mapping[str, tuple[int, int]]
    label: FloatArray | None
    lines: IntArray
    site: Texts | None
    date: Texts | None
    limits: Sequence[tuple[Limit, Codes]]
    alarms: Sequence[str]

    def __len__(self) -> int:
        return len(self.lines)


def read_samples(
    path: str,
    schema: TableSchema,
    options: PassOptions = PLAIN,
    *,
    site: str | None = None,
    date: str | None = None,
    report: Report = say_nothing,
) -> Samples:
    """Read a file once, and keep what its rows say as numbers.

    Parameters
    ----------
    options : PassOptions
        How the file is read, and the limits that its measurements are held against.
    site, date : str, optional
        Columns of the file; default: found by their names.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a required column.
    UsageError
        If it has no column that was named.
    """
    found = Findings(schema=schema.name, max_findings=_N_SHOWN)
    with pass_over(path, schema, options, found, report) as file:
        collector = _Collector(
            file,
            site=choose_column("--site", site, SITE_NAMES, file.table, file.columns),
            date=choose_column("--date", date, DATE_NAMES, file.table, file.columns),
        )
        for checked in file.batches():
            found.note(checked)
            found.n_left_out += collector.add(checked)
        return collector.finish(path_text(path), found)


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
    """Gathers what the batches of a file hold."""

    def __init__(self, file: Pass, *, site: str | None, date: str | None) -> None:
        self._file, schema, columns = file, file.schema, file.columns
        self._names = [name for name in schema.measurements if name in columns]
        label = schema.label if schema.label in columns else None
        self._label = label if label and schema.columns[label].kind.is_numeric else None
        # By what they are, and of which column or limit: a part of each batch.
        self._parts: defaultdict[tuple[str, str | int | Limit], list[Any]] = defaultdict(list)
        self._left_out: Counter[str] = Counter()
        self._censored = {name: np.zeros(2, dtype=np.int64) for name in self._names}
        self._texts = {
            "site": _TextCollector(site) if site is not None else None,
            "date": _TextCollector(date, DATE_CHARACTERS) if date is not None else None,
        }

    def add(self, checked: CheckedBatch) -> int:
        """Take the rows of a batch that the rules about rows leave; say how many they do not."""
        kept, bad = self._split(checked)
        for name, mask in bad.items():
            values = np.where(mask, np.nan, checked.numbers[name])
            self._parts["numbers", name].append(values[kept])
        for name in self._names:
            self._parts["missing", name].append(checked.missing[name][kept])
            self._left_out[name] += int((bad[name] & ~checked.missing[name] & kept).sum())
            if name in checked.censored:
                cells = checked.censored[name]
                self._censored[name] += [(cells.below & kept).sum(), (cells.above & kept).sum()]
        self._parts["lines", 0].append(checked.batch.lines[kept])
        for texts in self._texts.values():
            if texts is not None:
                texts.add(checked.batch.columns[texts.column], kept)
        if checked.flags is not None:
            self._add_limit_codes(checked.flags, kept, bad)
        return int((~kept).sum())

    def _add_limit_codes(
        self, flags: LimitFlags, kept: BoolArray, bad: Mapping[str, BoolArray]
    ) -> None:
        for limit, codes in zip(flags.limits, flags.codes, strict=True):
            if limit.column in bad:
                unread = np.int8(LimitStatus.NOT_MEASURED)
                codes = np.where(bad[limit.column], unread, codes)[kept]
                self._parts["limit_codes", limit].append(codes)

    def _split(self, checked: CheckedBatch) -> tuple[BoolArray, dict[str, BoolArray]]:
        """Say which rows stay, and which of their numbers are bad."""
        wanted = [*self._names, *([self._label] if self._label else [])]
        kept = np.ones(len(checked.batch), dtype=bool)
        bad = {name: np.zeros(len(kept), dtype=bool) for name in wanted}
        shown = {column: name for name, column in self._file.columns.items()}
        for broken in checked.by_rule:
            name = shown.get(broken.column)
            if name is None:
                kept[broken.rows] = False
            elif name in bad:
                bad[name][broken.rows] = True
        return kept, bad

    def _join(self, kind: str) -> dict[Any, Any]:
        """Put the parts of one kind together, and let go of them."""
        own = [name for of, name in self._parts if of == kind]
        return {name: np.concatenate(self._parts.pop((kind, name))) for name in own}

    def finish(self, path: str, found: Findings) -> Samples:
        """Put the batches together, and what was found in them."""
        numbers = self._join("numbers")
        label = numbers.pop(self._label) if self._label else None
        texts = {kind: each.finish() if each else None for kind, each in self._texts.items()}
        return Samples(
            path=path,
            reading=self._file.reading,
            header=tuple(self._file.table.columns),
            columns=dict(self._file.columns),
            findings=found,
            X=numbers,
            missing=self._join("missing"),
            left_out={name: self._left_out[name] for name in self._names},
            censored={name: (int(n[0]), int(n[1])) for name, n in self._censored.items()},
            label=label,
            lines=self._join("lines")[0],
            site=texts["site"],
            date=texts["date"],
            limits=list(self._join("limit_codes").items()),
            alarms=list(found.cells.alarms(self._file.schema)),
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
