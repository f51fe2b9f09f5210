"""Tables of databases as outputs: whole or not at all, and never over another without --force."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import UsageError
from waterflow_cli.tables.databases.reading import open_database
from waterflow_cli.tables.databases.writing import check_target, write_table
from waterflow_cli.tables.outputs import OutputGroup
from waterflow_cli.tables.table import NO_NAMES
from waterflow_cli.tables.writing import open_table_writer

KINDS = ["sqlite", "duckdb"]


def write(address: str, columns: dict[str, list[object]], *, force: bool = False) -> None:
    with (
        OutputGroup(force=force) as outputs,
        outputs.open(address) as sink,
        open_table_writer(address, sink) as writer,
    ):
        writer.write({name: pa.array(cells) for name, cells in columns.items()})


def read(address: str) -> dict[str, list[str]]:
    with open_database(address, NO_NAMES) as table:
        cells: dict[str, list[str]] = {name: [] for name in table.columns}
        for batch in table.batches():
            for name, column in batch.columns.items():
                cells[name] += ["" if each is None else str(each) for each in column.to_pylist()]
    return cells


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_written_replaced_with_force_alone_and_the_same_each_time(kind, tmp_path):
    address = f'{kind}:{tmp_path / "lab.db"}?a b"c'
    rows = {"id": ["é", "x", None], "p": [0.1, None, 1e-9], "n": [1, 2, 3]}
    write(address, rows)
    expected = {"id": ["é", "x", ""], "p": ["0.1", "", "1e-09"], "n": ["1", "2", "3"]}
    assert read(address) == expected
    with pytest.raises(UsageError, match="exists already") as caught:
        write(address, {"id": ["y"]})
    assert "--force" in str(caught.value.hint)
    assert read(address) == expected
    write(address, {"id": ["y"]}, force=True)
    assert read(address) == {"id": ["y"]}
    write(f"{address}2", {"id": ["z"]})
    assert read(address) == {"id": ["y"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_midway_leaves_what_was_there(kind, tmp_path):
    address = f"{kind}:{tmp_path / 'lab.db'}?t"
    part = tmp_path / "part"
    rows = pa.table({"a": [str(number**7) for number in range(40_000)]})
    pq.write_table(rows, part, row_group_size=20_000, compression="none", use_dictionary=False)
    data = bytearray(part.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = b"\xff" * 9000
    part.write_bytes(data)
    with pytest.raises((UsageError, OSError)):
        write_table(part, address, force=False)
    assert not (tmp_path / "lab.db").exists()
    write(address, {"id": ["y"]})
    with pytest.raises((UsageError, OSError)):
        write_table(part, address, force=True)
    assert read(address) == {"id": ["y"]}


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_one_for_sql_and_lists_are_refused(kind, tmp_path):
    address = f"{kind}:{tmp_path / 'lab.db'}?t"
    with pytest.raises(UsageError, match="differ by their case alone"):
        write(address, {"a": ["x"], "A": ["y"]})
    if kind == "sqlite":
        with pytest.raises(UsageError, match="cannot be written into the database"):
            write(address, {"a": [[1]]})
    assert not (tmp_path / "lab.db").exists()


def test_nothing_is_written_where_the_command_fails(tmp_path):
    address = f"sqlite:{tmp_path / 'lab.db'}?t"

    def fail() -> None:
        with OutputGroup(force=False) as outputs:
            with outputs.open(address) as sink, open_table_writer(address, sink) as writer:
                writer.write({"id": pa.array(["x"])})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_target_is_checked_before_any_work(tmp_path):
    address = f"sqlite:{tmp_path / 'lab.db'}?t"
    check_target(address, force=False)
    write(address, {"id": ["x"]})
    for path, force, inputs, problem in (
        (address, False, (), "exists already"),
        (address, True, (f"sqlite:{tmp_path}/../{tmp_path.name}/lab.db?t",), "is an input"),
        (f"sqlite:{tmp_path / 'lab.db'}?SELECT 1", True, (), "not into a query"),
        (f"sqlite:{tmp_path / 'no' / 'lab.db'}?t", True, (), "there is no folder"),
        (f"sqlite:{tmp_path / 'lab.db'}", True, (), "names no table"),
    ):
        with pytest.raises(UsageError, match=problem):
            check_target(path, force=force, inputs=inputs)
    check_target(address, force=True, inputs=(f"{address}2",))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@tried_on(60)
@given(
    st.lists(st.tuples(TEXTS, st.floats(allow_nan=False)), min_size=1, max_size=5),
    TEXTS.filter(str.strip),
    st.sampled_from(KINDS),
)
def test_what_is_written_is_read_back(tmp_path_factory, rows, table, kind):
    table = f"t{table.strip()}"
    address = f"{kind}:{tmp_path_factory.mktemp('law') / 'lab.db'}?{table}"
    texts, numbers = (list(column) for column in zip(*rows, strict=True))
    write(address, {"a": texts, "b": numbers})
    assert read(address) == {"a": texts, "b": [str(number) for number in numbers]}
