"""JSON lines, and lists of JSON objects, as tables: a row for each object, a column for each key.

JSON lines are cut at line ends, which no JSON string holds, and each piece is decoded by any
thread. A list is decoded object by object as it is read, so neither has to fit into memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.tables.csv_blocks import (
    BLOCK_BYTES,
    MAX_ROW_BYTES,
    Block,
    Position,
    decode_block,
)
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.encodings import SAMPLE_BYTES, TextStream
from waterflow_cli.tables.headers import Header, check_header
from waterflow_cli.tables.json_records import (
    DECODER,
    Fraction,
    Record,
    RecordBatches,
    decode_line,
    past_blanks,
    record_of,
)
from waterflow_cli.tables.numbers import NumberMarks
from waterflow_cli.tables.row_ends import count_lines, last_line_end
from waterflow_cli.tables.table import Batch, Table

if TYPE_CHECKING:
    from waterflow_cli.tables.reading_options import ReadingOptions

_LINES, _LIST = marked("JSON lines"), marked("JSON")
_JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*["{\[\]])')
# Members of an answer that hold its rows: Hub'Eau says data.
_ROWS = ("data", "rows", "records", "results")
_OF_ROWS = re.compile(rb'"(?:%s)"\s*:\s*\[\s*[{\]]' % "|".join(_ROWS).encode())
_HINT = marked("A table is a list of objects, or one object on each line.")


def holds_json(start: bytes) -> bool:
    """Say whether text that starts so is JSON."""
    return _JSON.match(start) is not None


def open_json(
    text: TextStream,
    start: bytes,
    path: str,
    names: Header,
    options: ReadingOptions,
    *,
    batch_rows: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Table:
    """Open JSON whose first bytes were read; see `open_table`.

    The columns are the keys of the objects in the first MiB. An object with another one is a
    finding.

    Raises
    ------
    InputError
        If it holds no objects.
    """
    if not (text.is_at_end or b"\n" in start):
        start += text.read(MAX_ROW_BYTES)
    source: _Lines | _List
    if _is_linewise(start, is_whole=text.is_at_end):
        source = _Lines(text, start, path)
    else:
        source = _List(text, start, path)
    records = source.sample
    columns = list(dict.fromkeys(chain.from_iterable(each.members for each in records)))
    if not columns:
        raise InputError(path, "is JSON, and no table.", hint=tr(_HINT))
    check_header(columns, path, records[0].line)
    rows = RecordBatches(columns)
    return Table(
        path=path,
        columns=columns,
        _dialect=lambda: Dialect(
            encoding=text.encoding,
            sep="",
            header_line=records[0].line,
            first_line=records[0].line,
            layout=source.layout,
            doubtful=text.doubtful,
        ),
        _blocks=partial(source.tasks, rows, batch_rows, block_bytes),
        sample=lambda: rows.batch(records),
        names=names,
        marks=_marks_of(records, names, options),
        remarks=lambda: [*source.remarks(), *rows.remarks()],
    )


def _is_linewise(start: bytes, *, is_whole: bool) -> bool:
    """Tell JSON lines from a list, an object that holds one, and objects over several lines."""
    first, *others = (line for line in islice(start.split(b"\n"), 50) if line.strip())
    if not first.lstrip().startswith(b"{"):
        return False
    if others:
        return others[0].startswith(b"{") and not first.rstrip().endswith((b",", b"[", b":", b"{"))
    return is_whole and not _OF_ROWS.search(start)


def _marks_of(
    records: Sequence[Record], names: Header, options: ReadingOptions
) -> NumberMarks | None:
    """Give the decimal point where numbers of JSON have it; None where only text can tell."""
    if options.decimal or options.thousands:
        return None
    values = (
        value
        for record in records
        for name, value in record.members.items()
        if type(value) is Fraction and names.column_of(name)
    )
    return NumberMarks() if next(values, None) is not None else None


class _Lines:
    """JSON lines: an object on each line that is not blank."""

    layout = _LINES

    def __init__(self, text: TextStream, start: bytes, path: str) -> None:
        self._text, self._start, self._path = text, start, path
        cut = len(start) if text.is_at_end else last_line_end(start)
        if not cut:
            raise _too_long(path, 1)
        self.sample = self._parse(Block(start[:cut], 1, Position(cut, 1 + count_lines(start))))

    def remarks(self) -> list[str]:
        """Say nothing more."""
        return []

    def tasks(
        self,
        rows: RecordBatches,
        batch_rows: int | None,
        block_bytes: int,
        position: Position | None,
    ) -> Iterator[Callable[[], Batch]]:
        """Yield the batches as calls; see `Table.tasks`."""
        if batch_rows is not None:
            n_bytes = len(self._start) / max(1, count_lines(self._start))
            block_bytes = max(1, round(batch_rows * n_bytes))
        position = position or Position(0, 1)
        ahead = self._pass_over(position.offset)
        for block in self._blocks(ahead, position, min(block_bytes, MAX_ROW_BYTES), rows.most):
            if block.data.strip():
                yield partial(self._batch, rows, block)

    def _batch(self, rows: RecordBatches, block: Block) -> Batch:
        return rows.batch(self._parse(block), block.end, block)

    def _parse(self, block: Block) -> list[Record]:
        text = decode_block(block, self._path)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = enumerate(text.split("\n"), block.line)
        return [decode_line(line, number) for number, line in lines if line.strip()]

    def _pass_over(self, n_bytes: int) -> bytes:
        ahead, self._start = self._start, b""
        while len(ahead) < n_bytes and (more := self._text.read(BLOCK_BYTES)):
            n_bytes, ahead = n_bytes - len(ahead), more
        return ahead[n_bytes:]

    def _blocks(
        self, ahead: bytes, position: Position, n_bytes: int, n_lines: int
    ) -> Iterator[Block]:
        """Cut the text after its line ends, into pieces of so many lines at most."""
        carry = b""
        pieces = (ahead[at : at + n_bytes] for at in range(0, len(ahead), n_bytes))
        for piece in chain(pieces, iter(partial(self._text.read, n_bytes), b"")):
            carry += piece
            cut = last_line_end(carry)
            whole, carry = carry[:cut], carry[cut:]
            for data in _by_lines(whole, n_lines):
                block = _block(data, position)
                yield block
                position = block.end
            if len(carry) > MAX_ROW_BYTES:
                raise _too_long(self._path, position.line)
        if carry:
            yield _block(carry, position)


def _by_lines(data: bytes, n_lines: int) -> Iterator[bytes]:
    if count_lines(data) <= n_lines:
        yield data
        return
    lines = data.splitlines(keepends=True)
    yield from (b"".join(lines[at : at + n_lines]) for at in range(0, len(lines), n_lines))


def _block(data: bytes, start: Position) -> Block:
    end = Position(start.offset + len(data), start.line + count_lines(data))
    return Block(data, start.line, end)


def _too_long(path: str, line: int) -> InputError:
    return InputError(
        path, "the row is longer than {limit} MiB.", limit=MAX_ROW_BYTES >> 20, line=line
    )


class _List:
    """Objects one after the other: in a list, in one that an object holds, or by themselves."""

    layout = _LIST

    def __init__(self, text: TextStream, start: bytes, path: str) -> None:
        self._unread: list[str] = []
        self._objects = _Cursor(text, start, path).objects(self._unread)
        self.sample: list[Record] = []
        n_characters = 0
        for record in self._objects:
            self.sample.append(record)
            n_characters += len(record.text)
            if n_characters >= SAMPLE_BYTES:
                break

    def remarks(self) -> list[str]:
        """Name what stands beside the list."""
        if not self._unread:
            return []
        return [Message("not read: {names}", names=shorten(self._unread))]

    def tasks(
        self,
        rows: RecordBatches,
        batch_rows: int | None,
        block_bytes: int,
        position: Position | None,
    ) -> Iterator[Callable[[], Batch]]:
        """Yield the batches as calls; see `Table.tasks`. An offset counts objects."""
        most = min(batch_rows or rows.most, rows.most)
        n_passed = position.offset if position else 0
        waiting: list[Record] = []
        n_characters = 0
        for number, record in enumerate(chain(self.sample, self._objects), 1):
            if number <= n_passed:
                continue
            waiting.append(record)
            n_characters += len(record.text)
            if len(waiting) >= most or (batch_rows is None and n_characters >= block_bytes):
                yield partial(rows.batch, waiting, Position(number, record.line))
                waiting, n_characters = [], 0
        if waiting:
            yield partial(rows.batch, waiting, Position(number, waiting[-1].line))


class _Cursor:
    """A place in JSON text, which is read as it moves on and forgotten behind it."""

    def __init__(self, text: TextStream, start: bytes, path: str) -> None:
        self._text, self._path = text, path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ahead, self._at, self._line = "", 0, 1
        self._is_kept = False
        self._take(start)

    def objects(self, unread: list[str]) -> Iterator[Record]:
        """Yield all objects; add the names of what stands beside the list that holds them."""
        if self._peek() == "[":
            yield from self._list()
        elif self._enter_rows(unread):
            yield from self._list()
            while self._step(",}") == ",":
                unread.append(self._name())
                self._value()
        else:
            while self._peek() == "{":
                yield self._element()
        if self._peek():
            raise self._damaged(self._at)

    def _enter_rows(self, unread: list[str]) -> bool:
        """Go to the list of rows within an object, where it holds one; else stay before it."""
        start, names = (self._at, self._line), list[str]()
        self._is_kept = True
        self._step("{")
        while self._peek() == '"':
            name = self._name()
            if name in _ROWS and self._peek() == "[" and self._peek_beyond() in "{]":
                unread += names
                self._is_kept = False
                return True
            self._value()
            names.append(name)
            if self._step(",}") == "}":
                break
        self._is_kept = False
        self._at, self._line = start
        return False

    def _list(self) -> Iterator[Record]:
        self._step("[")
        if self._peek() == "]":
            self._step("]")
            return
        yield self._element()
        while self._step(",]") == ",":
            yield self._element()

    def _element(self) -> Record:
        self._peek()
        line, (value, text) = self._line, self._value()
        if isinstance(value, dict):
            return record_of(line, value, text)
        raise InputError(
            self._path,
            "the list holds {text}, and no object.",
            text=shorten([text]),
            line=line,
            hint=tr(_HINT),
        )

    def _name(self) -> str:
        if self._peek() != '"':
            raise self._damaged(self._at)
        name, _ = self._value()
        self._step(":")
        return str(name)

    def _step(self, expected: str) -> str:
        """Pass over one of some characters."""
        found = self._peek()
        if not found or found not in expected:
            raise self._damaged(self._at)
        self._at += 1
        return found

    def _peek(self) -> str:
        """Pass over blanks, and give the character after them; none at the end."""
        while True:
            end = past_blanks(self._ahead, self._at)
            self._line += self._ahead.count("\n", self._at, end)
            self._at = end
            if end < len(self._ahead):
                return self._ahead[end]
            if not self._more():
                return ""

    def _peek_beyond(self) -> str:
        """Give what follows the next character, while nothing that was read is forgotten."""
        while (end := past_blanks(self._ahead, self._at + 1)) == len(self._ahead):
            if not self._more():
                break
        return self._ahead[end : end + 1]

    def _value(self) -> tuple[Any, str]:
        """Pass over a value, and give it and its text."""
        self._peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._ahead, self._at)
            except json.JSONDecodeError as exc:
                if not self._more():
                    raise self._damaged(exc.pos) from exc
                continue
            except RecursionError as exc:
                raise self._damaged(self._at) from exc
            # A number may go on in what was not read yet.
            if end == len(self._ahead) and self._ahead[-1] not in '}]"' and self._more():
                continue
            text = self._ahead[self._at : end]
            self._line += text.count("\n")
            self._at = end
            return value, text

    def _more(self) -> bool:
        """Read on; say whether there was more."""
        n_ahead = len(self._ahead) - self._at
        if n_ahead > MAX_ROW_BYTES:
            raise _too_long(self._path, self._line)
        data = self._text.read(max(BLOCK_BYTES, n_ahead))
        self._take(data)
        return bool(data)

    def _take(self, data: bytes) -> None:
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as exc:
            problem = "byte 0x{byte:02X} is not UTF-8."
            byte, line = exc.object[exc.start], self._line + self._ahead.count("\n", self._at)
            line += exc.object.count(b"\n", 0, exc.start)
            raise InputError(self._path, problem, byte=byte, line=line) from exc
        if self._is_kept:
            self._ahead += more
        else:
            self._ahead, self._at = self._ahead[self._at :] + more, 0

    def _damaged(self, at: int) -> InputError:
        line = self._line + self._ahead.count("\n", self._at, at)
        return InputError(
            self._path,
            "the JSON is damaged or cut short here.",
            line=line,
            hint=tr(_HINT),
        )
