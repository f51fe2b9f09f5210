"""An open table and its batches of rows, whatever file they come from, and what a row may break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import marked, marked_forms, tr, trn
from waterflow_cli.tables.headers import Header, HeaderMatch

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import IntArray
    from waterflow_cli.tables.csv_blocks import Position
    from waterflow_cli.tables.dialect import Dialect
    from waterflow_cli.tables.numbers import NumberMarks

NO_NAMES = Header({})
# So many first rows tell what the columns of a file hold.
_FIRST_ROWS = 1000


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
        Rule("not_json", marked("the line is no JSON object (character {at})")),
        Rule("unknown_key", marked("'{key}' is a key of no object in the first MiB, so no column")),
        Rule("repeated_key", marked("two members are called '{key}'")),
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


@dataclass(frozen=True)
class CellNames:
    """What the cells of a sheet are called.

    Attributes
    ----------
    sheet : str
        Its name; empty for a text file.
    letters : dict of str to str
        The sheet's name of each column.
    across : sequence of str
        The sheet's name of the column that each row comes from, where a table lay on its side.
    """

    sheet: str
    letters: Mapping[str, str] = field(default_factory=dict)
    across: Sequence[str] = ()

    def name(self, column: str, row: int, line: int) -> str:
        """Name a cell by its column, its row in the batch and its line; or a row, or a column."""
        letter = self.across[row] if self.across else self.letters.get(column, "")
        place = f"{letter}{line}"
        if not column or not letter:
            place = f"{letter}:{letter}" if letter else f"{line}:{line}"
        if not self.sheet:
            return place
        is_plain = self.sheet.isidentifier() and self.sheet.isascii()
        sheet = self.sheet if is_plain else "'" + self.sheet.replace("'", "''") + "'"
        return f"{sheet}!{place}"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a table, as they were written.

    Attributes
    ----------
    columns : dict of str to pyarrow.Array, each of shape (n_rows,)
        By header name, in the file's order: text for CSV, the file's own types for Parquet.
    lines : ndarray of int64, shape (n_rows,)
        Physical lines, the header being line 1. In Parquet a row's line is its number plus 1.
    findings : dict of int to RowFinding
        Rows that are no rows of the table (ragged, NUL bytes), by position in the batch.
    raw : bytes
        The text of the rows; empty for Parquet.
    end : Position, optional
        Where the rows after these start.
    left_out : dict of str to int
        By column: how many rows end before it, and were given an empty cell there.
    is_as_written : bool
        Whether each row of the text has as many cells as the header.
    cell_lines : dict of str to ndarray of int64, each of shape (n_rows,)
        Physical lines of the cells, by column, where they come from other lines than their row.
    cells : CellNames, optional
        What the cells are called, where they are those of a sheet.
    """

    columns: dict[str, pa.Array]
    lines: IntArray
    findings: dict[int, RowFinding] = field(default_factory=dict)
    raw: bytes = b""
    first_line: int = 0
    end: Position | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    is_as_written: bool = True
    cell_lines: Mapping[str, IntArray] = field(default_factory=dict)
    cells: CellNames | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def plain_rows(self) -> pa.Array | None:
        """Give the rows as they stand in the file, each with its LF, without copying them.

        None where a row may not be what a writer makes of its cells: in Parquet, and where the
        text holds quotes, CR, or lines that are no rows of the table.
        """
        if not self.raw or self.findings or not self.is_as_written:
            return None
        if b'"' in self.raw or b"\r" in self.raw:
            return None
        ends = np.flatnonzero(np.frombuffer(self.raw, dtype=np.uint8) == ord("\n")) + 1
        if len(ends) != len(self) or ends[-1] != len(self.raw):
            return None
        bounds = np.concatenate(([0], ends)).astype(np.int32)
        return pa.StringArray.from_buffers(len(self), pa.py_buffer(bounds), pa.py_buffer(self.raw))

    def raw_rows(self, rows: IntArray) -> list[str]:
        """Give the text of some rows as it stands in the file, without the line end."""
        if not self.raw:
            return [
                ",".join(_cell_text(column[int(row)]) for column in self.columns.values())
                for row in rows
            ]
        texts = self.raw.splitlines(keepends=True)
        ends = np.append(self.lines[1:], self.first_line + len(texts)) - self.first_line
        starts = self.lines - self.first_line
        return [_row_text(texts[starts[row] : ends[row]]) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Table:
    """An open input.

    Attributes
    ----------
    path : str
        As the user typed it.
    columns : list of str
        The header as written.
    units : dict of str to str
        By column: its unit, where the file has a row of units.
    sample : callable
        Gives the first rows, None where they have their numbers as such.
    names : Header
        What its columns may be called, and what they are.
    marks : NumberMarks, optional
        What the numbers are written with, where that is known already.
    share_read : callable
        Tells how much of the file was read: 0 to 1, None if that cannot be known.
    has_own_cells : bool
        Whether its cells are a file's, and not results that were put into them.
    remarks : callable
        Says what else there is to know of how the file is read, at its end.
    whole_text : bytes, optional
        All of a text file, header and titles too, where that is a few MiB at most.
    turned : callable
        Gives the table with a row for each sample, where it lies on its side, and None otherwise.
    """

    path: str
    columns: list[str]
    _dialect: Callable[[], Dialect]
    _blocks: Callable[[Position | None], Iterator[Callable[[], Batch]]]
    units: Mapping[str, str] = field(default_factory=dict)
    sample: Callable[[], Batch | None] = field(default=lambda: None)
    names: Header = NO_NAMES
    marks: NumberMarks | None = None
    has_own_cells: bool = True
    share_read: Callable[[], float | None] = field(default=lambda: None)
    remarks: Callable[[], list[str]] = field(default=list)
    whole_text: bytes | None = None
    turned: Callable[[], Table | None] = field(default=lambda: None)

    @property
    def dialect(self) -> Dialect:
        """How the file is written, as far as it is known."""
        return self._dialect()

    @cached_property
    def match(self) -> HeaderMatch:
        """Which of its columns is which; see `Header.match`."""
        return self.names.match(self.columns, self.path)

    def units_of(self, name: str) -> Iterator[str]:
        """Give the units that the file tells of a column of the schema: by its name, by a row."""
        yield from filter(
            None, (self.match.units.get(name), self.units.get(self.match.columns[name]))
        )

    @cached_property
    def first_rows(self) -> Batch | None:
        """Some rows, the same ones however the table is read; None where `sample` gives none."""
        if (sample := self.sample()) is None or len(sample) <= _FIRST_ROWS:
            return sample
        # Copies, for a view would be pickled with the whole of what it looks at.
        columns = {
            name: pa.concat_arrays([column[:_FIRST_ROWS]])
            for name, column in sample.columns.items()
        }
        return Batch(columns=columns, lines=sample.lines[:_FIRST_ROWS])

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; a table can be read once.

        Raises
        ------
        InputError
            If the file cannot be read to its end, or has no row.
        """
        for parse in self.tasks():
            yield parse()

    def tasks(self, start: Position | None = None) -> Iterator[Callable[[], Batch]]:
        """Yield the batches as calls that parse them, for workers to run in any order.

        Parameters
        ----------
        start : Position, optional
            Where an earlier batch of the same table ended; the rows before it are passed over.
        """
        empty = start is None
        for task in self._blocks(start):
            empty = False
            yield task
        if empty:
            raise no_rows(self.path)


def table_of(
    columns: Sequence[str],
    make_batch: Callable[[], Batch],
    path: str,
    dialect: Dialect,
    names: Header,
    marks: NumberMarks | None = None,
) -> Table:
    """Present one batch, which is made once the header is matched, as an open table."""
    return Table(
        path=path,
        columns=list(columns),
        _dialect=lambda: dialect,
        _blocks=lambda _: iter([make_batch]),
        names=names,
        marks=marks,
    )


def no_rows(path: str) -> InputError:
    """Build the error for a file that has no row."""
    return InputError(path, "has a header and no rows.", hint=tr("At least one row is expected."))


def _row_text(texts: list[bytes]) -> str:
    """Join the lines of a row, without the blank lines that may follow it."""
    lines = [text.decode("utf-8") for text in texts]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return "".join(lines).rstrip("\r\n")


def _cell_text(cell: pa.Scalar) -> str:
    return str(cell) if cell.is_valid else ""


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column of a Parquet file holds text, however it is stored."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(value) for test in tests)


def plain_column(column: pa.Array) -> pa.Array:
    """Give a column of a Parquet file or a frame without dictionaries, and text as `string`."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    # Text comes as string_view and, from pandas, as large_string; one kind of it is enough.
    kind = column.type
    is_other_text = pa.types.is_string_view(kind) or pa.types.is_large_string(kind)
    return column.cast(pa.string()) if is_other_text else column
