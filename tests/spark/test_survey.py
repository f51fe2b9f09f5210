"""Parts of a file, cut at any lines, hold the rows of the file as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.spark.files import InputFile, path_of
from waterflow_cli.spark.inputs import can_be_parted
from waterflow_cli.spark.survey import (
    TextFile,
    end_of_row,
    lay_out,
    parts_within_a_row,
    survey,
    surveys_of,
)
from waterflow_cli.spark.worker import Job, opener_of, read_ends, read_parts, survey_parts
from waterflow_cli.tables import reading
from waterflow_cli.tables.encodings import SAMPLE_BYTES
from waterflow_cli.tables.numbers import PLAIN_MARKS
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.validation.pass_over import PassOptions

NAME, URI = "river.csv", "file:///data/river.csv"
PATH = path_of(URI, is_escaped=True)
SCHEMA = load_schema("water")


@dataclass
class Read:
    """The rows of some text, until an error: line, cells, finding and raw text of each."""

    rows: list
    dialects: list
    errors: list

    @property
    def is_empty(self):
        return any("has a header and no rows" in error for error in self.errors)


def read_batches(table, batches):
    for batch in batches:
        cells = [column.to_pylist() for column in batch.columns.values()]
        raws = batch.raw_rows(np.arange(len(batch)))
        for row, line in enumerate(batch.lines.tolist()):
            # A blank line with quotes in it goes with the row above, if that is in its block.
            raw = re.sub(r'[\s"]+\Z', "", raws[row])
            yield line, [column[row] for column in cells], batch.findings.get(row), raw


def read_whole(data, options=AS_FOUND):
    found = Read([], [], [])
    with open_samples(NAME, SCHEMA, options, opener=opener_of(data)) as table:
        try:
            found.rows += read_batches(table, table.batches())
        except InputError as exc:
            found.errors.append(str(exc))
        found.dialects.append((str(table.dialect), table.remarks()))
    return found


def lines_of(data):
    """Cut text as Hadoop does: at LF, whatever else stands there."""
    ended = data if data.endswith(b"\n") else data + b"\n"
    return [line + b"\n" for line in ended.split(b"\n")[:-1]]


def as_spark_gives(part, start, n_at_once):
    """Put a part's lines into batches: path and first byte stand in its first row alone."""
    rows = [
        (URI if not number else None, start if not number else None, line[:-1])
        for number, line in enumerate(part)
    ]
    schema = pa.schema([("path", pa.string()), ("start", pa.int64()), ("data", pa.binary())])
    for first in range(0, len(rows), n_at_once):
        columns = zip(*rows[first : first + n_at_once], strict=True)
        yield pa.record_batch(
            [pa.array(each, kind) for each, kind in zip(columns, schema.types, strict=True)],
            schema=schema,
        )


def cut(data, cuts, n_above):
    """Cut text below its header into parts of whole lines, by first byte."""
    lines, parts = lines_of(data), {}
    n_bytes = len(b"".join(data.splitlines(keepends=True)[:n_above]))
    starts = list(accumulate(map(len, lines), initial=0))
    bounds = [number for number in {*cuts} if number < len(lines) and starts[number] >= n_bytes]
    for first, last in pairwise(sorted({0, *bounds, len(lines)})):
        parts[starts[first]] = lines[first:last]
    return parts


def described(table, is_told=False):
    return TextFile(
        file=InputFile(NAME, URI, 0),
        columns=table.columns,
        dialect=table.dialect,
        units=table.units,
        names=table.names,
        marks=PLAIN_MARKS,
        is_told=is_told,
    )


def read_in_parts(data, cuts, options=AS_FOUND, n_at_once=100):
    """Read text in parts as the Spark engine does, without Spark."""
    is_told = options.encoding is not None or not data[:SAMPLE_BYTES].isascii()
    with open_samples(NAME, SCHEMA, options, opener=opener_of(data)) as table:
        text = described(table, is_told)
    parts = cut(data, cuts, text.n_above)

    def run(call):
        for start, part in parts.items():
            for batch in call(as_spark_gives(part, start, n_at_once)):
                yield from batch.to_pylist()

    surveys = surveys_of(run(partial(survey_parts, {PATH: text})))
    found = run(partial(read_ends, {PATH: text}, parts_within_a_row(surveys)))
    ends = {row["start"]: row["end"] for row in found}
    return read_tables(lay_out(text, surveys[PATH], ends), parts, n_at_once, options)


def read_tables(text, parts, n_at_once, options=AS_FOUND):
    found, job = Read([], [], []), Job(schema=SCHEMA, options=PassOptions(reading=options))
    for start, part in parts.items():
        tables = read_parts({PATH: text}, job, as_spark_gives(part, start, n_at_once))
        try:
            for table, origin in tables:
                assert origin == (0, list(parts).index(start) + 1)
                for parse in table.tasks(reading.Position(0, 0)):
                    found.rows += read_batches(table, [parse()])
                found.dialects.append((str(table.dialect), table.remarks()))
        except InputError as exc:
            found.errors.append(str(exc))
    return found


def check_equal(data, cuts, options=AS_FOUND, n_at_once=100):
    """Check that the parts of some text hold what it holds as a whole."""
    try:
        whole = read_whole(data, options)
    except InputError:  # its start is at fault, and is read in one way alone
        return
    parts = read_in_parts(data, cuts, options, n_at_once)
    if whole.is_empty:
        assert (parts.rows, parts.errors) == ([], [])
        return
    assert parts.errors[:1] == whole.errors
    if not whole.errors:
        assert parts.rows == whole.rows
        assert set(map(str, parts.dialects)) == set(map(str, whole.dialects))


CELLS = (
    *("7", "", " ", "2024", "7e0", "é", "µg/l", "–", "x\0", "\ufeff", "\x85", "\u2028", "'"),
    *('"', 'a"b', 'x""', '""', '"q"', '"a""b"', '"q"x', '"e"f"', '"q" ', ' "g', '"""', '""""'),
    *('"q,r"', '"two\nlines"', '"two\r\nlines"', '"two\rlines"', '"\n"', '"\n\n,\n"', '"a""\nb"'),
    *('"""\n"', '"x\n"""', '"é\n–"', 'stray"\n', 'x"\n"', '"q\n"x', '"q\n"x"\n"', 'Note : "\n"'),
)
ENDS = ("\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "  \n", "\r\r\n", "\t\n")
LONG = st.builds(
    lambda word, end, number: '"' + (word + end) * number + '"',
    st.sampled_from(["", "x", ",", '""', '"",""', "é"]),
    st.sampled_from(["\n", "\r\n", "\n\r"]),
    st.integers(2, 30),
)
ABOVE = ("", "", "", "sep=,\n", "Résultats 2024\n\n", "\n", 'A "title"\n', '"A title,\nlong"\n')
UNITS = ("", "", "", ",,mg/L\r\n", "\n,,mg/L\n", '"","","mg/L"\n')
NOTES = (
    *("", "", "", "", "Source : labo\n", "\nSource : labo\n", "\n* noté\r\n\r\n# fin", "\n\nfin\n"),
    *("\n\r\n \n", ";;;\n\nfin;;\n", "\nnote, with a cell\n", '\n"a note"\n', "\nfin\r\n\n"),
    "\n" + "une note assez longue\n" * 250,
)
ROWS = st.lists(
    st.tuples(
        st.lists(st.one_of(st.sampled_from(CELLS), LONG), min_size=1, max_size=4),
        st.sampled_from(ENDS),
    ),
    max_size=25,
)
QUOTED = ('7,"a\n', '8,b",\n', "x,y,z\n", '"', "\n", '""\n')
CUTS = st.lists(st.integers(0, 60), max_size=8)
SOME_AT_ONCE = st.sampled_from([1, 2, 7, 1000])


@st.composite
def texts(draw):
    """Tables of three columns, and what people and machines do to them."""
    header = draw(st.sampled_from(["id,ph,Sulfate\n", "id,ph,Sulfate\r\n", '"id\n",ph,Sulfate\n']))
    rows = "".join(",".join(cells) + end for cells, end in draw(ROWS))
    around = draw(st.sampled_from(ABOVE)), header, draw(st.sampled_from(UNITS))
    text = "".join([*around, rows, draw(st.sampled_from(NOTES))])
    return text[: len(text) - draw(st.sampled_from([0, 0, 0, 1, 2]))]


def encoded(text, encoding):
    return text.encode(encoding, "replace")


@tried_on(250)
@given(
    text=texts(),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "cp1252"]),
    cuts=CUTS,
    n_at_once=SOME_AT_ONCE,
)
def test_parts_hold_the_rows_of_the_whole(text, encoding, cuts, n_at_once):
    check_equal(encoded(text, encoding), cuts, n_at_once=n_at_once)


@tried_on(100)
@given(text=texts(), encoding=st.sampled_from(["utf-8", "cp1252"]))
def test_each_line_can_be_a_part(text, encoding):
    check_equal(encoded(text, encoding), range(2000))


@tried_on(100)
@given(
    rows=st.lists(
        st.sampled_from(['7,"a\n', '8,b",\n', "x,y,z\n", '"', "\n", '""\n']), max_size=40
    ),
    cuts=CUTS,
    block_bytes=st.sampled_from([1, 5, 40]),
)
def test_rows_of_quotes_alone_are_the_same_in_any_blocks(rows, cuts, block_bytes):
    data = ("id,ph,Sulfate\n" + "".join(rows)).encode()
    with pytest.MonkeyPatch.context() as patch:
        defaults = reading.open_table.__wrapped__.__kwdefaults__
        patch.setitem(defaults, "block_bytes", block_bytes)
        check_equal(data, cuts)


@tried_on(100)
@given(
    text=texts(),
    cuts=CUTS,
    bad=st.sampled_from([b"\x81\n", b"\xff,\xfe\n", b"\xc3\xa9,\n", b"\xe2\x80\n"]),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
)
def test_byte_of_another_encoding_is_found_on_the_same_line(text, cuts, bad, encoding):
    data = encoded(text.replace('"', "").replace("\0", ""), encoding)
    check_equal(data + b"\n" + bad, cuts)


@tried_on(100)
@given(text=texts(), cuts=CUTS, encoding=st.sampled_from(["cp1252", "utf-8", "iso8859-15"]))
def test_named_encoding_is_that_of_each_part(text, cuts, encoding):
    check_equal(encoded(text, encoding), cuts, ReadingOptions(encoding=encoding))


@tried_on(100)
@given(
    above=st.sampled_from(['"\n', 'a,"b\n', '"a\n"b\n', 'x"\n"\n', "a\rb\r"]),
    text=texts(),
    cuts=CUTS,
)
def test_quotes_above_a_named_header_line_are_none(above, text, cuts):
    data = (above + "id,ph,Sulfate\n" + text).encode()
    n_above = len(above.encode().splitlines())
    check_equal(data, cuts, ReadingOptions(header_line=n_above + 1))


@tried_on(100)
@given(text=texts(), cuts=CUTS, sep=st.sampled_from([";", "\t", "|"]))
def test_any_separator_serves(text, cuts, sep):
    check_equal(text.replace(",", sep).encode(), cuts, ReadingOptions(sep=sep))


# --- some cases by name ---------------------------------------------------------------------------

HEAD = b"id,ph,Sulfate\n"


def in_parts(data, *cuts):
    check_equal(data, cuts)
    return read_in_parts(data, cuts)


def test_cell_over_many_parts_is_one_cell():
    found = in_parts(HEAD + b'S1,7,"' + b"a\n" * 9 + b'"\nS2,7,8\n', *range(12))
    assert [(line, cells[0]) for line, cells, _, _ in found.rows] == [(2, "S1"), (12, "S2")]
    assert found.rows[0][1][2] == "a\n" * 9


def test_part_of_nothing_but_the_inside_of_a_cell_has_no_row():
    found = in_parts(HEAD + b'S1,7,"a\nS2,7,8\nS3,7,8\n"\n', 2, 3, 4)
    assert len(found.rows) == 1


def test_open_quote_is_named_by_the_line_where_it_opens():
    data = HEAD + b"S1,7,8\n" * 4 + b'S2,"7,8\n' + b"S3,7,8\n" * 4
    for cuts in [(3,), (5,), (6,), (7, 8), range(20)]:
        found = in_parts(data, *cuts)
        assert found.errors == ["river.csv, line 6: a quoted cell opens here and is never closed."]


def test_first_part_of_blank_lines_is_no_fault():
    found = in_parts(HEAD + b"\n" * 9 + b"S1,7,8\n", 5, 10)
    assert [line for line, *_ in found.rows] == [11]


def test_header_in_a_later_part_is_not_read_in_parts():
    data = b"a title\n\n\n" + HEAD + b"S1,7,8\n"
    with open_samples(NAME, SCHEMA, opener=opener_of(data)) as table:
        assert not can_be_parted(table.dialect, data, 10)
        assert can_be_parted(table.dialect, data, 30)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp037", "shift_jis"])
def test_text_whose_lines_cannot_be_told_apart_is_not_read_in_parts(encoding):
    data = "id,ph,Sulfate\nS1,7,8\n".encode(encoding)
    options = ReadingOptions(encoding=encoding)
    with open_samples(NAME, SCHEMA, options, opener=opener_of(data)) as table:
        assert not can_be_parted(table.dialect, data, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_encoding_is_found_beyond_the_start_of_the_file(encoding):
    plain = b"S1,7,8\n" * 300_000
    data = HEAD + plain + "Sé,7,8\n".encode(encoding) + plain[:700]
    found = in_parts(data, 100_000, 299_000, 300_050)
    assert found.rows[300_000][1][0] == "Sé"
    assert {dialect for dialect, _ in found.dialects} == {f"{encoding}, separator ','"}


def test_notes_over_several_parts_are_left_out():
    data = HEAD + b"S1,7,8\n" * 3 + b"\nSource : labo\nnote\nnote\n"
    found = in_parts(data, 4, 6, 7)
    assert len(found.rows) == 3
    assert {str(remarks) for _, remarks in found.dialects} == {
        "['notes below the rows not read (lines 5 to 8)']"
    }


def test_input_that_lost_a_line_since_the_survey_is_refused():
    data = HEAD + b"S1,7,8\n" * 9
    with open_samples(NAME, SCHEMA, opener=opener_of(data)) as table:
        text = described(table)
    surveys = {0: survey([data], ","), len(data): survey([data], ",")}
    text = lay_out(text, surveys, {})
    for start, lines in [(0, 9), (0, 11), (5, 10)]:
        part = {start: lines_of(data + b"S1,7,8\n")[:lines]}
        found = read_tables(text, part, 100)
        assert found.errors == ["river.csv: was changed while it was read."]


def test_end_of_a_row_is_searched_no_further_than_a_row_may_be_long():
    pieces, n_given = Random(1).randbytes(50).hex().encode() + b"\n", 0

    def given_pieces():
        nonlocal n_given
        for _ in range(1000):
            n_given += 1
            yield pieces * 10_000

    found = end_of_row(given_pieces(), ",")
    assert reading.MAX_ROW_BYTES < len(found) < reading.MAX_ROW_BYTES + 2_000_000
    assert n_given < 20
