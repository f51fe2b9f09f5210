"""What becomes of each row does not depend on how the rows are cut, shared out and packed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from itertools import product
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from marks import slow

from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.registry.location import load_model
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables import reading
from waterflow_cli.tables.reading_options import ReadingOptions

GOOD = ["7", "200", "20000", "7", "300", "400", "14", "66", "4"]
HEADER = ["id", "ph", "Hardness", "Solids", "Chloramines", "Sulfate", "Conductivity"]
HEADER += ["Organic_carbon", "Trihalomethanes", "Turbidity"]
VALID = ["7", "", "NA", " 8 ", "007", "7e0", "3.5"]
INVALID = ["x", "-1", '5"', "1e999", "two\nlines", "a,b", '"', "1\r\n2"]


@pytest.fixture(scope="module")
def model(store_uri):
    return load_model("@champion", name="waterflow", tracking_uri=store_uri)


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKINGS = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """One table of 150 rows with a bit of everything, in each packing; its name tells nothing."""
    random, text = Random(7), io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADER)
    for number in range(150):
        row = [f"S{number}", *GOOD]
        row[random.randrange(1, 10)] = random.choice([*VALID, *VALID, *INVALID])
        row[0] += random.choice(["", "", 'é "quoted"', "\nline", "\0"])
        writer.writerow(row[: random.choice([10, 10, 10, 10, 10, 9])])
        text.write(random.choice(["", "", "", "\r\n", "  \n"]))
    paths = {}
    for suffix, pack in PACKINGS.items():
        paths[suffix] = tmp_path_factory.mktemp("packed") / "in.csv"
        paths[suffix].write_bytes(pack(text.getvalue().encode()))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "jsonl", *slow("csv.gz", "csv.zst", "parquet")])
def test_no_byte_depends_on_batches_jobs_or_the_packing_of_the_input(
    kind, packed, model, tmp_path, monkeypatch
):
    # A small file is otherwise one batch, whatever --batch-rows says.
    monkeypatch.setattr(reading, "_SAMPLE_BYTES", 512)
    output, rejects = str(tmp_path / f"out.{kind}"), str(tmp_path / f"rejects.{kind}")
    written = {}
    sizes = {1: [""], 7: list(PACKINGS), 1000: list(PACKINGS)}
    for batch_rows, jobs in product(sizes, (1, 2)):
        for packing in sizes[batch_rows]:
            monkeypatch.chdir(packed[packing].parent)
            options = ScoringOptions(rejects=rejects, force=True, jobs=jobs, batch_rows=batch_rows)
            summary = score_files(model, ["in.csv"], output, options)
            assert summary.n_rows == 150
            assert summary.n_scored > 40
            assert summary.n_invalid > 40
            contents = Path(output).read_bytes(), Path(rejects).read_bytes()
            written[batch_rows, jobs, packing] = contents
    expected = written[1000, 1, ""]
    assert [combination for combination in written if written[combination] != expected] == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_parquet_input_gives_the_same_bytes_in_any_batches(jobs, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = {name: [float(cell)] * 100 for name, cell in zip(HEADER[1:], GOOD, strict=True)}
    columns["ph"] = [number / 5 for number in range(100)]
    pq.write_table(pa.table(columns), "in.parquet", row_group_size=30)
    written = set()
    for batch_rows in (1, 7, 1000, None):
        options = ScoringOptions(force=True, jobs=jobs, batch_rows=batch_rows, rejects="r.jsonl")
        score_files(model, ["in.parquet"], "out.parquet", options)
        written.add((Path("out.parquet").read_bytes(), Path("r.jsonl").read_bytes()))
    assert len(written) == 1


# --- law: rows in = rows scored + rows invalid ----------------------------------------------------


# What the cells are is not to be found out from so few.
PLAIN = ReadingOptions(encoding="utf-8", sep=",", decimal=".", nondetect="error")
IDS = st.text(st.sampled_from("ab é,\"\n\r;'\t\\"), max_size=4).map(lambda text: f"S{text}")
NUL_IDS = st.sampled_from(["S\0", "\0S"])
ROWS = st.tuples(
    st.one_of(IDS, IDS, IDS, NUL_IDS),
    st.lists(st.sampled_from([*VALID, *VALID, *INVALID]), max_size=2),
    # Of one cell alone, a last row would be a note.
    st.sampled_from([9, 9, 9, 9, 1, 5, 8, 10, 12]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["", "", "", "\n", " \n", "\t\r\n", "\r\n\r\n"]),
)


def write_rows(rows):
    """Write rows of an id and some cells, each with its own quotes and blank lines after it."""
    text = io.StringIO(newline="")
    for name, odd, n_cells, quoting, blank in [("id", HEADER[1:], 9, 0, ""), *rows]:
        cells = (odd + GOOD[len(odd) : 9] + ["more"] * 3)[:n_cells]
        csv.writer(text, quoting=quoting, lineterminator="\r\n").writerow([name, *cells])
        text.write(blank)
    return text.getvalue()


class Row(NamedTuple):
    line: int
    cells: list[str]

    @property
    def is_valid(self):
        if len(self.cells) != 10 or "\0" in "".join(self.cells):
            return False
        return all(cell in VALID or cell in GOOD for cell in self.cells[1:])


def count_rows(text):
    """Read the rows by Python's csv module; what is blank is none."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, line = [], 1
    for cells in reader:
        if "".join(cells).strip():
            rows.append(Row(line, cells))
        line = reader.line_num + 1
    return rows[1:]


@tried_on(120)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=10),
    on_invalid=st.sampled_from(["mark", "drop", "fail"]),
    batch_rows=st.one_of(st.none(), st.integers(1, 12)),
    jobs=st.sampled_from([1, 2]),
    packing=st.sampled_from(list(PACKINGS)),
)
def test_rows_in_are_rows_scored_and_rows_invalid(
    model, rows, on_invalid, batch_rows, jobs, packing
):
    # A file without any value of what a model learned most from is refused as a whole.
    rows = [("whole", [], 9, csv.QUOTE_MINIMAL, ""), *rows]
    text = write_rows(rows)
    expected = count_rows(text)
    assert len(expected) == len(rows)
    valid = [row for row in expected if row.is_valid]
    invalid = [row for row in expected if not row.is_valid]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_SAMPLE_BYTES", 64)
        source, output, rejects = (
            Path(folder, name) for name in ("in.csv", "out.csv", "rejects.jsonl")
        )
        source.write_bytes(PACKINGS[packing](text.encode()))
        options = ScoringOptions(
            reading=PLAIN,
            on_invalid=on_invalid,
            rejects=str(rejects),
            jobs=jobs,
            batch_rows=batch_rows,
        )
        if on_invalid == "fail" and invalid:
            with pytest.raises(DataRefusedError, match=rf"in\.csv, line {invalid[0].line}\b"):
                score_files(model, [str(source)], str(output), options)
            assert [path.name for path in Path(folder).iterdir()] == ["in.csv"]
            return
        summary = score_files(model, [str(source)], str(output), options)
        assert summary.n_rows == len(expected) == summary.n_scored + summary.n_invalid
        assert (summary.n_scored, summary.n_invalid) == (len(valid), len(invalid))
        written = count_rows(output.read_bytes().decode())
        kept = expected if on_invalid == "mark" else valid
        assert [row.cells[:10] for row in written] == [(row.cells + [""] * 10)[:10] for row in kept]
        assert [row.cells[10] for row in written] == [
            "scored" if row.is_valid else "invalid" for row in kept
        ]
        found = [json.loads(line) for line in rejects.read_text().splitlines()]
        assert [each["line"] for each in found] == [row.line for row in invalid]
        raws = [next(csv.reader(io.StringIO(each["raw"], newline=""))) for each in found]
        assert raws == [row.cells for row in invalid]
