"""Notes below the rows of a table: sources, legends, signatures."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from waterflow_cli.tables.csv_blocks import Block, Position, RowSyntax
from waterflow_cli.tables.row_ends import count_lines

# Notes are looked for in this much of a file's end, however it is cut into blocks.
TAIL_BYTES = 4096
# "Source : ARS Bretagne", "* mesuré sur site", "# end"
_LABELLED = re.compile(r"\s*([#*]|[^\W\d_][^:;,\t|]{0,40}:)")
_STARTS_AS_NUMBER = re.compile(r"\s*[<>≤≥+-]*\s*[.,]?\d")


def without_notes(blocks: Iterable[Block], rows: RowSyntax, notes: list[int]) -> Iterator[Block]:
    """Yield blocks, leaving out the notes that stand below the last row.

    A note is a line without a separator in a table of several columns, after a blank line or with
    a label. Such lines elsewhere are rows, and wrong ones.

    Parameters
    ----------
    notes : list of int
        Is given the physical lines that were left out.
    """
    held: deque[Block] = deque()
    n_bytes = 0
    for block in blocks:
        held.append(block)
        n_bytes += len(block.data)
        while n_bytes - len(held[0].data) >= TAIL_BYTES:
            n_bytes -= len(held[0].data)
            yield held.popleft()
    if not held or len(rows.columns) < 2:
        yield from held
        return
    last_line = held[-1].line + count_lines(held[-1].data)
    first_note = last_line - count_note_lines(b"".join(block.data for block in held), rows.sep)
    notes.extend(range(first_note, last_line))
    for block in held:
        if block.line < first_note:
            yield cut_block(block, first_note)


def count_note_lines(data: bytes, sep: str) -> int:
    """Count the lines at the end of a file's text that are notes, and empty ones above them.

    The data are all of the text, or more than `TAIL_BYTES` of its end.
    """
    # Cut as bytes: in text there are more line ends than in a CSV file.
    lines = [line.decode("utf-8", errors="replace") for line in data[-TAIL_BYTES:].splitlines()]
    if len(data) > TAIL_BYTES:
        lines = lines[1:]  # it starts within a line
    first = len(lines)
    while first and _may_be_note(lines[first - 1], sep):
        first -= 1
    # Of these lines, notes are those below an empty one, and labelled ones.
    while first < len(lines) and lines[first].strip() and not _LABELLED.match(lines[first]):
        first += 1
    return len(lines) - first if any(map(str.strip, lines[first:])) else 0


def _may_be_note(line: str, sep: str) -> bool:
    """Say whether a line is one cell of text, or empty; with the file's separators it is a row."""
    return sep not in line and '"' not in line and not _STARTS_AS_NUMBER.match(line)


def cut_block(block: Block, line: int) -> Block:
    """Keep the lines of a block that stand above a line."""
    if block.end.line <= line:
        return block
    kept = block.data.splitlines(keepends=True)[: line - block.line]
    data = b"".join(kept)
    end = Position(block.end.offset - len(block.data) + len(data), line)
    return Block(data, block.line, end)
