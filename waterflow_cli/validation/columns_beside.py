"""Columns that limits ask for and the schema of a file does not hold, read beside it.

What they hold is compared with limits and nothing else: no row fails for it, and no model sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message, joined, tr
from waterflow_cli.samples.cells import CellReader, describe_columns, make_readers
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.headers import Header
from waterflow_cli.validation.limit_checks import Results
from waterflow_cli.validation.limits import EVERY_PARAMETER, LimitProfile

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.numbers import NumberMarks
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.tables.table import Table
    from waterflow_cli.validation.batches import CheckedBatch


@dataclass(frozen=True)
class ColumnsBeside:
    """The readers of such columns of a table.

    Attributes
    ----------
    columns : dict of str to str
        Column of the schema ``drinking-water`` to column of the file.
    unread : dict of str to str
        Those of which the file does not say what they hold, each with the reason.
    """

    columns: Mapping[str, str]
    readers: Mapping[str, CellReader]
    unread: Mapping[str, str]

    @classmethod
    def of(
        cls,
        table: Table,
        taken: Iterable[str],
        profiles: Iterable[LimitProfile],
        reading: ReadingOptions,
        marks: NumberMarks,
    ) -> ColumnsBeside:
        """Find the columns of a table that limits ask for, other than some that are taken."""
        asked = {
            term.column
            for profile in profiles
            for limit in profile.limits
            for way in limit.ways
            for term in way.terms
        }
        schema, free = load_schema(EVERY_PARAMETER), set(table.columns) - set(taken)
        names = {name: each for name, each in schema.wanted().items() if name in asked}
        header = Header(names, {old: new for old, new in reading.renames.items() if old in free})
        found = ((header.column_of(each), each) for each in table.columns if each in free)
        claims: dict[str, list[str]] = {}
        for named, column in found:
            if named is not None:
                claims.setdefault(named[0], []).append(column)
        plain = replace(reading, nondetect="half", units={}, loq={})
        readers: dict[str, CellReader] = {}
        unread: dict[str, str] = {}
        for name, columns in claims.items():
            if len(columns) > 1:
                unread[name] = tr("two columns: {names}", names=shorten(columns))
                continue
            view = replace(table, columns=columns, names=header, marks=marks)
            try:
                (readers[name],) = make_readers(_only(schema, name), view, plain).values()
            except InputError as exc:
                unread[name] = exc.problem
        return cls({name: claims[name][0] for name in readers}, readers, unread)

    def results(self, checked: CheckedBatch) -> dict[str, Results]:
        """Read the columns of a batch."""
        found = {}
        for name, column in self.columns.items():
            cells = self.readers[name].read(checked.batch.columns[column])
            held, bounds = ~(cells.missing | cells.bad | np.isnan(cells.values)), cells.censored
            if bounds is not None:
                held |= bounds.below | bounds.above
                bounds = bounds.within(checked.whole)
            whole = checked.whole
            found[name] = Results(cells.values, held & whole, bounds, cells.bad & whole)
        return found

    def describe(self) -> Iterator[str]:
        """Say which columns are read for the limits alone, and from which unit."""
        if parts := describe_columns(self.columns, self.readers):
            yield from (Message("; for the limits also "), joined(parts))


def _only(schema: TableSchema, name: str) -> TableSchema:
    """Give a schema of one of its columns."""
    return replace(schema, columns={name: schema.columns[name]}, measurements=(name,), label=None)
