"""JSON lines and lists of objects: the same rows whatever the layout and the size of a batch."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.arrays import arrow_texts
from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.cells import marks_of
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables import json_records
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.reading_options import AS_FOUND
from waterflow_cli.tables.writing import JsonLinesWriter

SCHEMA = load_schema()
WRAPPED = '{"count": 2, "data": [%s], "next": null}'


def read(
    text: str | bytes, path: Path, *, block_bytes: int = 1 << 20, batch_rows: int | None = None
) -> tuple[dict[str, list[str]], list[int], dict[int, Any], str, list[str]]:
    """Give cells, lines, findings by row, how it was read, and remarks."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    lines: list[int] = []
    findings: dict[int, Any] = {}
    with open_table(
        str(path), SCHEMA.header, block_bytes=block_bytes, batch_rows=batch_rows
    ) as table:
        cells: dict[str, list[str]] = {name: [] for name in table.columns}
        for batch in table.batches():
            findings |= {len(lines) + row: (f.rule, f.values) for row, f in batch.findings.items()}
            lines += batch.lines.tolist()
            for name, column in batch.columns.items():
                cells[name] += column.to_pylist()
    return cells, lines, findings, str(table.dialect), table.remarks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.dat"


def test_json_lines_keep_the_text_of_numbers_and_words(path):
    text = '{"id": "A é", "ph": 7.10, "Solids": 1e3}\n{"id": "=1", "ph": "<0,5", "Solids": null}\n'
    cells, lines, findings, how, _ = read(text, path)
    assert cells == {"id": ["A é", "=1"], "ph": ["7.10", "<0,5"], "Solids": ["1e3", ""]}
    assert (lines, findings, how) == ([1, 2], {}, "JSON lines, utf-8")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[{"ph": 7.10, "id": true}, {"ph": -0.0}]', [1, 1]),
        ('[\n{"ph": 7.10, "id": true},\n{"ph": -0.0}\n]\n', [2, 3]),
        ('[\n  {\n    "ph": 7.10,\n    "id": true\n  },\n  {\n    "ph": -0.0\n  }\n]', [2, 6]),
        ('{\n"ph": 7.10,\n"id": true}\n{\n"ph": -0.0\n}\n', [1, 4]),
        (WRAPPED % '{"ph": 7.10, "id": true},\n {"ph": -0.0}', [1, 2]),
        ('{"ph": 7.10, "id": true}\r\n\r\n{"ph": -0.0}', [1, 3]),
        ('{"ph": 7.10, "id": true}\r{"ph": -0.0}\r', [1, 2]),
    ],
)
def test_objects_in_a_list_or_one_after_the_other_are_rows_too(path, text, lines):
    cells, found, findings, _, _ = read(text, path)
    assert cells == {"ph": ["7.10", "-0.0"], "id": ["true", ""]}
    assert (found, findings) == (lines, {})


def test_what_stands_beside_a_list_of_rows_is_named(path):
    assert read(WRAPPED % '{"ph": 7}', path)[4] == ["not read: count, next"]


def test_lists_and_objects_in_a_cell_are_their_text_and_named(path):
    text = '{"ph": 7, "place": {"a": 1.50, "b": [1]}, "tags": [ 1, 2 ]}\n{"ph": 8, "place": "x"}\n'
    cells, _, _, _, remarks = read(text, path)
    assert cells["place"] == ['{"a": 1.50, "b": [1]}', "x"]
    assert cells["tags"] == ["[ 1, 2 ]", ""]
    assert remarks == ["lists and objects in place, tags as their text"]


def test_lines_that_are_no_object_are_findings_with_their_place(path):
    text = '{"ph": 7}\n{"ph": 7\n7\n[1]\n{"ph": 8} {"ph": 9}\n'
    text += '{"ph": "a\\u0000"}\n{"ph": "\\ud800"}\n'
    cells, lines, findings, _, _ = read(text + "[" * 9000, path)
    assert lines == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {row: rule for row, (rule, _) in findings.items()} == {
        **dict.fromkeys((1, 2, 3, 4, 6, 7), "not_json"),
        5: "nul_byte",
    }
    assert findings[4][1] == {"at": 10}
    assert cells["ph"] == ["7", *[""] * 7]


def test_a_member_that_comes_twice_is_a_finding(path):
    findings = read('{"ph": 7, "id": 1, "ph": 7.5}\n{"ph": 8}\n', path)[2]
    assert findings == {0: ("repeated_key", {"key": "ph"})}


@pytest.mark.parametrize("is_list", [False, True])
def test_a_key_below_the_first_megabyte_is_a_finding(path, is_list, monkeypatch):
    for module in ("reading", "json_files", "encodings"):
        monkeypatch.setattr(f"waterflow_cli.tables.{module}.SAMPLE_BYTES", 1000)
    rows = ['{"ph": 7}'] * 200 + ['{"ph": 7, "lead": 5}']
    text = f"[{', '.join(rows)}]" if is_list else "\n".join(rows)
    _, lines, findings, _, _ = read(text, path)
    assert len(lines) == len(rows)
    assert findings == {len(rows) - 1: ("unknown_key", {"key": "lead"})}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[]", None, "is JSON, and no table."),
        ("[[7, 8]]\n", 1, r"the list holds \[7, 8\], and no object."),
        ('[{"ph": 7},\n8]', 2, "the list holds 8, and no object."),
        ('[{"ph": 7},\n{"ph": ', 2, "damaged or cut short"),
        ('[{"ph": 7},\n{"ph": 8}\n', 3, "damaged or cut short"),
        ('[{"ph": 7}]\n{"ph": 8}', 2, "damaged or cut short"),
        ('[{"ph": 7}\n{"ph": 8}]', 2, "damaged or cut short"),
        ("{}\n{}\n", None, "is JSON, and no table."),
        ('{"ph": 7, "": 8, "a\\\\": 1}\n' * 2 + "\n", None, ""),
    ],
)
def test_json_that_is_no_table_is_refused_with_its_line(path, text, line, problem):
    if not problem:
        read(text, path)
        return
    with pytest.raises(InputError, match=problem) as caught:
        read(text, path)
    assert caught.value.line == line


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(path):
    for text in (b'{"ph": 7}\n{"ph": "\xe2\x82"}\n', b'[{"ph": 7},\n{"ph": "\xe2\x82"}]'):
        with pytest.raises(InputError, match="byte 0x") as caught:
            read(
                b'{"a": "\xc3\xa9"}\n'.join([b"", b""]) * 0 + text.replace(b"7", b'"\xc3\xa9"'),
                path,
            )
        assert caught.value.line == 2


def test_other_encodings_and_compressions_are_read(path):
    text = '{"ph": "7", "lieu": "Évian"}\n' * 3
    for data in (text.encode("utf-16"), text.encode("utf-8-sig"), gzip.compress(text.encode())):
        assert read(data, path)[0]["lieu"] == ["Évian"] * 3
    assert read(text.encode("cp1252"), path)[3] == "JSON lines, cp1252"


def test_a_number_of_json_has_a_decimal_point_whatever_texts_look_like(path):
    path.write_text('{"Solids": 20.791, "ph": "7,1"}\n' * 3)
    with open_table(str(path), SCHEMA.header) as table:
        assert marks_of(SCHEMA, table, AS_FOUND).decimal == "."
    path.write_text('{"Solids": "20.791,5", "ph": "7,1"}\n' * 3)
    with open_table(str(path), SCHEMA.header) as table:
        assert marks_of(SCHEMA, table, AS_FOUND).decimal == ","


def test_few_bytes_with_many_keys_make_small_batches(path, monkeypatch):
    monkeypatch.setattr(json_records, "_MOST_CELLS", 1000)
    keys = json.dumps({f"k{n}": n for n in range(100)})
    path.write_text(keys + "\n" + "{}\n" * 500)
    with open_table(str(path)) as table:
        assert max(map(len, table.batches())) <= 10


def test_reading_goes_on_where_a_batch_ended(path):
    for text in ('{"ph": %d}\n', '{"ph": %d},\n'):
        rows = "".join(text % n for n in range(300))
        path.write_text(rows if "," not in text else "[" + rows.rstrip(",\n") + "]")
        with open_table(str(path), batch_rows=70) as table:
            ends = [batch.end for batch in table.batches()]
        assert len(ends) > 2
        with open_table(str(path), batch_rows=70) as table:
            rest = [cell for task in table.tasks(ends[1]) for cell in task().columns["ph"]]
        assert [str(each) for each in rest] == [str(n) for n in range(300 - len(rest), 300)]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
CELLS = st.none() | TEXTS | st.from_regex(r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,4})?", fullmatch=True)
ROWS = st.lists(st.dictionaries(TEXTS, CELLS, max_size=4), min_size=1, max_size=6)


@tried_on(300)
@given(ROWS, st.integers(1, 200), st.sampled_from([None, 1, 3]), st.booleans(), st.data())
def test_any_layout_and_any_size_of_a_batch_give_the_same_rows(
    tmp_path_factory, rows, block_bytes, batch_rows, is_escaped, data
):
    path = tmp_path_factory.mktemp("law") / "in.json"
    written = [json.dumps(row, ensure_ascii=is_escaped) for row in rows]
    layouts = ["\n".join(written), f"[{', '.join(written)}]", WRAPPED % ",\n".join(written)]
    text = data.draw(st.sampled_from(layouts))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        with pytest.raises(InputError, match="no table"):
            read(text, path)
        return
    cells, _, findings, _, _ = read(text, path, block_bytes=block_bytes, batch_rows=batch_rows)
    assert not findings
    assert cells == {name: [row.get(name) or "" for row in rows] for name in columns}


@tried_on(100)
@given(ROWS)
def test_what_is_written_as_json_lines_is_read_back(tmp_path_factory, rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return
    path = tmp_path_factory.mktemp("law") / "out.jsonl"
    with path.open("wb") as sink:
        texts = {name: arrow_texts([row.get(name) for row in rows]) for name in columns}
        JsonLinesWriter(sink).write(texts)
    cells, *_ = read(path.read_bytes(), path)
    assert cells == {name: [row.get(name) or "" for row in rows] for name in columns}
