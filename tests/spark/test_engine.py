"""Spark gives the rows, the values, the findings and the refusals of the local engine."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from dialects import hubeau, wqp
from paths import FAULTY

from waterflow_cli.common.errors import (
    EngineError,
    InputError,
    ModelError,
    UsageError,
    WaterflowError,
)
from waterflow_cli.common.messages import use_language
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.samples.french_control import RESULTS, SAMPLINGS, write_french_control
from waterflow_cli.samples.opening import expand_inputs, find_inputs
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.spark import engine
from waterflow_cli.spark.engine import SparkEngine
from waterflow_cli.spark.files import HadoopFiles
from waterflow_cli.spark.inputs import SparkInputs
from waterflow_cli.spark.jobs import ship_model
from waterflow_cli.spark.outputs import FolderOutput
from waterflow_cli.spark.remote import expected_versions
from waterflow_cli.spark.session import SparkOptions, open_session
from waterflow_cli.spark.settings import OutputLayout
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.limits import load_limits
from waterflow_cli.validation.report import ValidationOptions, validate_files

pytestmark = [
    pytest.mark.spark,
    # The session outlives the tests in which it is opened, and with it what it lets pass.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning"),
]

WATER = load_schema("water")
NAMES = ["ph", "Hardness", "Solids", "Chloramines", "Sulfate", "Conductivity"]
NAMES += ["Organic_carbon", "Trihalomethanes", "Turbidity"]
GOOD = ["7", "200", "20000", "7", "300", "400", "14", "66", "4"]
ODD = ["", "NA", "x", "-1", "<0.5", "< 2", "1e999", '5"', "two\nlines", "a,b", '"', "1\r\n2", "\0"]
PLAIN = ScoringOptions()
SINGLE, FOLDER = OutputLayout(is_single=True), OutputLayout()
SMALL = 30_000


@dataclass
class Engines:
    """Both engines with one model."""

    spark: SparkEngine
    fetched: object
    model: object

    def score_here(self, paths, output, options=PLAIN):
        return score_files(self.model, expand_inputs(tuple(paths)), output, options)

    def score_there(self, paths, output, options=PLAIN, layout=SINGLE):
        return self.spark.score(self.fetched, self.model, paths, output, options, layout)

    def score_both(self, paths, options=PLAIN, kind=".csv"):
        """Score with both into one file each; check that they are equal, and give the local one."""
        here, there = f"here{kind}", f"there{kind}"
        rejects = (
            [None, None] if options.rejects is None else [f"h_{options.rejects}", options.rejects]
        )
        local = self.score_here(paths, here, replace(options, rejects=rejects[0]))
        remote = self.score_there(paths, there, replace(options, rejects=rejects[1]))
        assert remote.counts == local.counts
        assert remote.dialects == local.dialects
        assert remote.n_rows == remote.n_scored + remote.n_invalid > 0
        assert Path(there).read_bytes() == Path(here).read_bytes()
        if rejects[0]:
            assert Path(rejects[1]).read_bytes() == Path(rejects[0]).read_bytes()
        return local

    def refuse_both(self, paths, options=PLAIN):
        """Have both refuse with the same words, and leave nothing."""
        before = sorted(Path().iterdir())
        errors = []
        for score in (self.score_here, self.score_there):
            with pytest.raises(WaterflowError) as caught:
                score(paths, "refused.csv", options)
            errors.append(caught.value)
        here, there = errors
        assert type(there) is type(here)
        assert (str(there), there.hint, there.exit_code) == (str(here), here.hint, here.exit_code)
        assert sorted(Path().iterdir()) == before
        return here


@pytest.fixture(scope="module")
def session(spark_cluster):
    conf = {"spark.sql.files.maxPartitionBytes": str(SMALL), "spark.executor.memory": "700m"}
    with open_session(SparkOptions(spark_cluster.url, conf)) as opened:
        yield opened


@pytest.fixture(scope="module")
def fetched(store_uri):
    return fetch_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture
def engines(session, fetched, workdir):
    return Engines(SparkEngine(session), fetched, fetched.load())


@pytest.fixture
def split(monkeypatch):
    """Have a part be of so many bytes."""

    def set_split(n_bytes):
        monkeypatch.setattr(SparkInputs, "_plan_split", lambda self: n_bytes)

    return set_split


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "big.csv"
    write_simulation(str(path), 100_000, seed=11, signal=0.9)
    return path


def write_dirty(path, n_rows=3000, seed=1, end="\r\n"):
    """A table with a bit of everything; some 5 % of the rows are invalid."""
    random, text = Random(seed), io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(["id", *NAMES])
    for number in range(n_rows):
        row = [f"S{number}", *GOOD]
        row[1] = str(random.randrange(10, 140) / 10)
        if random.random() < 0.08:
            row[random.randrange(1, 10)] = random.choice(ODD)
        if random.random() < 0.02:
            row[0] += random.choice(['é "quoted"', "\nline", "\n\n\n", '"', ",", "\r"])
        writer.writerow(row[: random.choice([10] * 60 + [9, 11])])
        text.write(random.choice([""] * 50 + [end, f"  {end}"]))
    Path(path).write_bytes(text.getvalue().encode())


def write_plain(path, n_rows, first=0, header=("id", *NAMES)):
    rows = [
        [f"S{number}", f"{number % 14}.5", *GOOD[1:]] for number in range(first, first + n_rows)
    ]
    Path(path).write_text("".join(",".join(row) + "\n" for row in [header, *rows]))


def parts_of(folder):
    """The texts of a folder's parts, each with its own header: header, and all rows, sorted."""
    files = [path for path in sorted(Path(folder).rglob("part-*")) if path.stat().st_size]
    texts = [
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in files
    ]
    assert len(texts) > 1
    heads = {text.splitlines()[0] for text in texts}
    return heads, sorted(line for text in texts for line in text.splitlines()[1:])


def is_finished(folder):
    names = {path.name for path in Path(folder).iterdir()}
    return "_SUCCESS" in names and "_waterflow-unfinished" not in names


# --- the same rows --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.real_data
def test_public_table_is_scored_alike(engines, real_table):
    Path("in.csv").symlink_to(real_table)
    summary = engines.score_both(["in.csv"])
    assert summary.n_rows == 3276


@pytest.mark.slow
def test_simulated_rows_are_scored_alike(engines, simulated, split):
    split(1 << 20)
    Path("in.csv").symlink_to(simulated)
    summary = engines.score_both(["in.csv"])
    assert summary.n_rows == 100_000
    engines.score_there(["in.csv"], "folder", layout=FOLDER)
    assert is_finished("folder")
    header, *rows = Path("here.csv").read_bytes().splitlines()
    assert parts_of("folder") == ({header}, sorted(rows))


@pytest.mark.slow
def test_million_rows_are_scored_alike(engines, split):
    split(8 << 20)
    write_simulation("in.csv", 1_000_000, seed=12, signal=0.9)
    assert engines.score_both(["in.csv"]).n_rows == 1_000_000


@pytest.mark.parametrize("n_bytes", [15_000, 70_000])
@pytest.mark.parametrize("on_invalid", ["mark", "drop"])
def test_dirty_rows_are_scored_and_rejected_alike(n_bytes, on_invalid, engines, split):
    split(n_bytes)
    write_dirty("in.csv")
    options = ScoringOptions(on_invalid=on_invalid, rejects="rejects.csv")
    summary = engines.score_both(["in.csv"], options)
    assert summary.n_rows == 3000
    assert 100 < summary.n_invalid < 500


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rejects_are_a_folder_too(end, engines):
    write_dirty("in.csv", 1500, end=end)
    options = ScoringOptions(rejects="rejects.jsonl")
    engines.score_here(["in.csv"], "here.csv", replace(options, rejects="here.jsonl"))
    engines.score_there(["in.csv"], "there", options, FOLDER)
    assert is_finished("rejects.jsonl")
    parts = [path.read_bytes() for path in Path("rejects.jsonl").glob("part-*")]
    found = sorted(line for part in parts for line in part.splitlines())
    assert found == sorted(Path("here.jsonl").read_bytes().splitlines())


@pytest.mark.parametrize("suffix", ["", ".csv.gz"])
def test_no_part_is_without_a_header(suffix, engines, split):
    split(10_000)
    write_plain("in.csv", 1000)
    with Path("in.csv").open("a") as file:
        file.write("bad,x,200,20000,7,300,400,14,66,4\n")
    options = ScoringOptions(rejects=f"rejects{suffix}")
    engines.score_there(["in.csv"], f"out{suffix}", options, FOLDER)
    (part,) = Path(f"rejects{suffix}").glob("part-*")
    text = gzip.decompress(part.read_bytes()) if suffix else part.read_bytes()
    assert len(text.splitlines()) == 2


def test_french_file_is_scored_alike(engines):
    text = "Résultats 2024\r\n\r\n" + ";".join(["Prélèvement", "Site", *NAMES]) + "\r\n"
    text += ";".join(["", "", "", "", "mg/L", "", "mg/L", "mS/cm", "", "", ""]) + "\r\n"
    random = Random(2)
    for number in range(1500):
        ph, solids = f"{random.uniform(5, 9):.2f}".replace(".", ","), random.randrange(1000, 50_000)
        row = [f"Prélèvement {number}", "°f", ph, "196,5", f"{solids:,}".replace(",", "\u00a0")]
        text += ";".join([*row, "7,1", "<0,5", "0,426", "14,2", "66,4", "3,9"]) + "\r\n"
    text += "\r\nSource : laboratoire X\r\n* mesuré sur site\r\n"
    Path("in.csv").write_bytes(text.encode("cp1252"))
    summary = engines.score_both(["in.csv"], ScoringOptions(rejects="rejects.csv"))
    (dialect,) = summary.dialects.values()
    assert summary.n_rows == 1500
    assert all(told in dialect for told in ("cp1252", "decimal ','", "line 3", "notes below"))


PACKINGS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", [*PACKINGS, ".zip", "utf-16", "utf-8-sig", "cr"])
def test_files_of_any_packing_are_scored_alike(suffix, engines):
    write_dirty("plain.csv", 1200, end="\n")
    data = Path("plain.csv").read_bytes()
    if suffix == ".zip":
        with zipfile.ZipFile("in.csv.zip", "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("plain.csv", data)
    elif suffix in PACKINGS:
        Path(f"in.csv{suffix}").write_bytes(PACKINGS[suffix](data))
    else:
        text = data.decode() if suffix != "cr" else data.decode().replace("\n", "\r")
        Path("in.csv").write_bytes(text.encode("utf-8" if suffix == "cr" else suffix))
    (path,) = map(str, Path().glob("in.csv*"))
    assert engines.score_both([path]).n_rows >= 1200


@pytest.fixture
def typed():
    """A Parquet file of many types, much larger than a part."""
    n_rows, rows = 6000, np.random.default_rng(3)
    columns = {
        "id": pa.array([f"S{number}" if number % 7 else None for number in range(n_rows)]),
        "n": pa.array(range(n_rows), pa.int32()),
        "small": pa.array([number % 100 for number in range(n_rows)], pa.uint8()),
        "site": pa.array([f"é{number % 5}" for number in range(n_rows)]).dictionary_encode(),
        "day": pa.array([date(2024, 1, 1 + number % 28) for number in range(n_rows)]),
        "at": pa.array(
            [datetime(2024, 1, 1, number % 24) for number in range(n_rows)], pa.timestamp("us")
        ),
        "zoned": pa.array(
            [datetime(2024, 1, 1, number % 24, tzinfo=UTC) for number in range(n_rows)],
            pa.timestamp("us", "Europe/Paris"),
        ),
        "exact": pa.array(range(n_rows), pa.timestamp("ns")),
        "zoned_exact": pa.array(range(n_rows), pa.timestamp("ns", "UTC")),
        "flag": pa.array([bool(number % 2) for number in range(n_rows)]),
        # Names that the engine could use itself, and names that Spark would take for others.
        "path": pa.array(["p"] * n_rows),
        "row_index": pa.array(range(n_rows)),
        "a`b.c": pa.array(["x"] * n_rows),
        "Flag": pa.array(["another"] * n_rows),
        "large": pa.array(["x"] * n_rows, pa.large_string()),
    }
    for name, cell in zip(NAMES, GOOD, strict=True):
        kind = pa.float32() if name == "Turbidity" else pa.float64()
        columns[name] = pa.array(float(cell) * rows.uniform(0.9, 1.1, n_rows), kind)
    columns["ph"] = pa.array(
        [None if number % 11 == 0 else number % 16 for number in range(n_rows)]
    )
    pq.write_table(pa.table(columns), "in.parquet", row_group_size=500)


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_parquet_in_row_groups_is_scored_alike(kind, engines, typed):
    summary = engines.score_both(["in.parquet"], ScoringOptions(rejects="rejects.csv"), kind)
    assert summary.n_rows == 6000
    assert summary.n_invalid > 100


def test_parquet_folder_holds_the_values_and_types_of_the_local_file(engines, typed):
    # Spark's timestamps end with the microseconds.
    kept = ",".join(name for name in pq.read_schema("in.parquet").names if "exact" not in name)
    options = ScoringOptions(columns=kept)
    engines.score_here(["in.parquet"], "here.parquet", options)
    engines.score_there(["in.parquet"], "there.parquet", options, FOLDER)
    here = pq.read_table("here.parquet")
    there = ds.dataset("there.parquet", exclude_invalid_files=True).to_table().sort_by("n")
    assert there.column_names == here.column_names
    assert there.cast(here.schema).equals(here)
    differing = [f.name for f in here.schema if there.schema.field(f.name).type != f.type]
    # Spark knows no unsigned numbers, and its timestamps with a zone are in UTC.
    assert set(differing) <= {"small", "zoned"}


@pytest.mark.parametrize("n_rows", [30, 3000], ids=["whole", "row groups"])
def test_nanoseconds_become_the_microseconds_that_spark_has(n_rows, engines):
    times = pa.array(range(0, n_rows * 1000, 1000), pa.timestamp("ns"))
    cells = {name: pa.array([float(cell)] * n_rows) for name, cell in zip(NAMES, GOOD, strict=True)}
    pq.write_table(pa.table({"at": times, **cells}), "in.parquet", row_group_size=300)
    engines.score_there(["in.parquet"], "there.parquet", layout=FOLDER)
    there = ds.dataset("there.parquet", exclude_invalid_files=True).to_table().sort_by("at")
    assert there["at"].combine_chunks().equals(times.cast(pa.timestamp("us")))


def test_folder_of_parquet_from_text_holds_the_rows_of_the_local_file(engines):
    write_dirty("in.csv", 1500)
    engines.score_here(["in.csv"], "here.parquet")
    engines.score_there(["in.csv"], "there.parquet", layout=FOLDER)
    order = [("id", "ascending"), ("ph", "ascending"), ("reason", "ascending")]
    here = pq.read_table("here.parquet").sort_by(order)
    there = ds.dataset("there.parquet", exclude_invalid_files=True).to_table().sort_by(order)
    assert there.schema.remove_metadata() == here.schema.remove_metadata()
    assert there.to_pylist() == here.to_pylist()


@pytest.mark.parametrize("kind", [".tsv", ".jsonl", ".parquet", ".csv.gz", ".csv.zst"])
def test_single_output_has_the_bytes_of_the_local_one(kind, engines):
    write_dirty("in.csv", 1200)
    engines.score_both(["in.csv"], kind=kind)


def test_compressed_folder_holds_the_same_rows(engines):
    write_plain("in.csv", 1500)
    engines.score_here(["in.csv"], "here.csv")
    engines.score_there(["in.csv"], "there.csv.gz", layout=FOLDER)
    header, *rows = Path("here.csv").read_bytes().splitlines()
    assert parts_of("there.csv.gz") == ({header}, sorted(rows))


def test_several_files_name_their_source_in_order(engines):
    Path("in").mkdir()
    write_plain("in/b.csv", 2000)
    write_plain("in/a.csv", 30, first=5000)
    write_plain("last.csv", 900, first=6000)
    paths = ["in/b.csv", "in/a.csv", "last.csv"]
    assert engines.score_both(paths).n_rows == 2930
    forced = ScoringOptions(force=True)
    assert engines.score_both(["in/*.csv", "last.csv"], forced).n_rows == 2930
    engines.score_here(["in/a.csv", "in/b.csv"], "folder_here.csv")
    engines.score_there(["in"], "folder_there.csv")
    assert Path("folder_there.csv").read_bytes() == Path("folder_here.csv").read_bytes()


def test_text_and_parquet_files_go_together(engines):
    write_plain("a.csv", 1500)
    table = {"id": ["P"] * 9, **{name: [cell] * 9 for name, cell in zip(NAMES, GOOD, strict=True)}}
    pq.write_table(pa.table(table), "b.parquet")
    write_plain("c.csv", 20)
    assert engines.score_both(["a.csv", "b.parquet", "c.csv"]).n_rows == 1529


@pytest.mark.parametrize(
    "name", ["a b.csv", "50%.csv", "%20.csv", "[a].csv", "été.csv", "a+b#?.csv"]
)
def test_names_that_urls_would_escape_are_read_in_parts(name, engines):
    write_plain(name, 1000)
    write_plain("other.csv", 5)
    assert engines.score_both([name, "other.csv"]).n_rows == 1005


def test_values_become_folders(engines):
    write_plain("plain.csv", 1200)
    sites = ["a", "b/c", "d=e", "é %20", "", "x:y", "..", "f"]
    lines = Path("plain.csv").read_text().splitlines()
    with Path("in.csv").open("w") as file:
        for number, line in enumerate(lines):
            file.write(f"{line},{'site' if not number else sites[number % len(sites)]}\n")
    engines.score_here(["in.csv"], "here.parquet")
    layout = OutputLayout(keys=("site", "verdict"))
    engines.score_there(["in.csv"], "there.csv", layout=layout)
    engines.score_there(["in.csv"], "there.parquet", layout=layout)
    here = pq.read_table("here.parquet")
    for output, kind in [("there.csv", "csv"), ("there.parquet", "parquet")]:
        files = sorted(Path(output).rglob("part-*"))
        assert {file.relative_to(output).parts[0].partition("=")[0] for file in files} == {"site"}
        names = pa.schema([("site", pa.string()), ("verdict", pa.string())])
        keys = ds.HivePartitioning(names, segment_encoding="uri")
        found = ds.dataset(output, format=kind, partitioning=keys, exclude_invalid_files=True)
        table = found.to_table(columns=["id", "site", "verdict"]).sort_by("id")
        expected = here.select(["id", "site", "verdict"]).sort_by("id").to_pylist()
        assert [{**row, "site": row["site"] or ""} for row in table.to_pylist()] == expected


@pytest.mark.parametrize("name", ["file", "part", "batch", "rows", "value", "a`b", "BATCH"])
def test_any_column_can_part_the_rows(name, engines):
    write_plain("in.csv", 30, header=(name, *NAMES))
    layout = OutputLayout(keys=(name,))
    summary = engines.score_there(["in.csv"], "there.csv", layout=layout)
    assert len(list(Path("there.csv").glob("*=S*"))) == summary.n_rows == 30


def test_rows_keep_their_order_within_a_folder(engines, split):
    split(1 << 20)
    write_plain("in.csv", 30_000)
    layout = OutputLayout(keys=("ph",))
    engines.score_there(["in.csv"], "there.csv", layout=layout)
    for file in Path("there.csv").rglob("part-*"):
        numbers = [int(line.split(",")[0][1:]) for line in file.read_text().splitlines()[1:]]
        assert numbers == sorted(numbers)


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ScoringOptions(explain=2),
        ScoringOptions(columns="ids", prefix="wf_"),
        ScoringOptions(columns="ph,id"),
        ScoringOptions(reading=ReadingOptions(nondetect="zero"), rejects="rejects.tsv"),
        ScoringOptions(reading=ReadingOptions(nondetect="error"), max_invalid=50.0),
        ScoringOptions(reading=ReadingOptions(profile="kaggle")),
        ScoringOptions(limits=load_limits(["who", "eu"], WATER)),
        ScoringOptions(reading=ReadingOptions(units={"Sulfate": "g/L"}, renames={"id": "sample"})),
    ],
    ids=["explain", "ids", "columns", "zero", "error", "kaggle", "limits", "units"],
)
def test_options_mean_the_same(options, engines):
    write_dirty("in.csv", 600)
    engines.score_both(["in.csv"], options)


def test_reasons_are_in_the_language_of_the_command(engines):
    write_dirty("in.csv", 600)
    use_language("fr")
    engines.score_both(["in.csv"], ScoringOptions(rejects="rejects.csv"))
    assert "n'est pas un nombre" in Path("there.csv").read_text().replace("’", "'")


@pytest.mark.parametrize(("profile", "write"), [("hubeau", hubeau), ("wqp", wqp), (None, wqp)])
def test_tables_of_results_are_scored_alike(profile, write, engines):
    rows = [NAMES, *([f"{5 + number % 4}.5", *GOOD[1:]] for number in range(300))]
    Path("in.csv").write_bytes(write(rows))
    options = ScoringOptions(reading=ReadingOptions(profile=profile), rejects="rejects.csv")
    assert engines.score_both(["in.csv"], options).n_rows == 300


def test_results_are_joined_with_their_samplings_alike(engines, split):
    write_french_control(".", 300, seed=1, signal=0.9, force=False)
    split(10_000)
    inputs, reading = find_inputs((SAMPLINGS, RESULTS), ReadingOptions())
    assert engines.score_both(inputs, ScoringOptions(reading=reading)).n_rows == 300
    assert b"dateprel" in Path("there.csv").read_bytes().splitlines()[0]


def test_no_output_takes_the_place_of_samplings(engines):
    write_french_control(".", 20, seed=1, signal=0.9, force=False)
    Path(SAMPLINGS).rename("plv.csv")
    options = ScoringOptions(reading=ReadingOptions(samplings=("plv.csv",)), force=True)
    with pytest.raises(UsageError, match="is an input"):
        engines.score_there([RESULTS], "plv.csv", options)


def test_manifest_names_inputs_outputs_and_counts(engines):
    write_dirty("in.csv", 600)
    engines.score_both(["in.csv"])
    options = ScoringOptions(manifest="manifest.json", force=True)
    engines.score_there(["in.csv"], "there.csv", options)
    engines.score_here(["in.csv"], "there.csv", replace(options, manifest="here.json"))
    here, there = (json.loads(Path(name).read_text()) for name in ("here.json", "manifest.json"))
    assert (there["inputs"], there["outputs"]) == (here["inputs"], here["outputs"])


# --- validate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_findings", [0, 20, 1000])
def test_report_is_that_of_the_local_engine(max_findings, engines):
    write_dirty("in.csv")
    limits = load_limits(["who", "fr"], WATER)
    options = ValidationOptions(limits=limits, max_findings=max_findings)
    here = validate_files(["in.csv"], WATER, options)
    there = engines.spark.validate(["in.csv"], WATER, options, layout=FOLDER)
    assert there.summary() == here.summary()
    assert len(there.findings) == min(max_findings, here.n_findings)


def test_report_on_several_files_is_in_their_order(engines):
    for number, name in enumerate(["b.csv", "a.csv", "c.csv"]):
        write_dirty(name, [900, 40, 500][number], seed=number)
    names = ["b.csv", "a.csv", "c.csv"]
    options = ValidationOptions(max_findings=300)
    here = validate_files(names, WATER, options)
    there = engines.spark.validate(names, WATER, options, layout=FOLDER)
    assert there.summary() == here.summary()


def test_good_and_bad_rows_are_split_alike(engines):
    write_dirty("in.csv", 1500)
    validate_files(["in.csv"], WATER, ValidationOptions(good="good.csv", bad="bad.jsonl"))
    split = ValidationOptions(good="g.csv", bad="b.jsonl")
    engines.spark.validate(["in.csv"], WATER, split, layout=SINGLE)
    assert Path("g.csv").read_bytes() == Path("good.csv").read_bytes()
    assert Path("b.jsonl").read_bytes() == Path("bad.jsonl").read_bytes()
    engines.spark.validate(["in.csv"], WATER, ValidationOptions(bad="folder.jsonl"), layout=FOLDER)
    parts = [path.read_bytes() for path in Path("folder.jsonl").glob("part-*")]
    found = sorted(line for part in parts for line in part.splitlines())
    assert found == sorted(Path("bad.jsonl").read_bytes().splitlines())


# --- the same refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "empty.csv",
            "header_only.csv",
            "duplicate_names.csv",
            "open_quote.csv",
            "damaged.csv.gz",
        ),
        *("open_quote_in_header.csv", "encoding_changes.csv", "no_encoding.csv", "damaged.parquet"),
        *(
            "two_members.zip",
            "encrypted.zip",
            "two_separators.csv",
            "image.csv",
            "unknown_unit.csv",
        ),
        *("mixed_decimals.csv", "utf16_cut_short.csv"),
    ],
)
def test_faulty_file_is_refused_alike(name, engines):
    shutil.copy(FAULTY / name, ".")
    engines.refuse_both([name])


def test_a_column_that_is_not_there_is_scored_alike(engines):
    write_plain("in.csv", 2000)
    text = Path("in.csv").read_text()
    Path("in.csv").write_text(text.replace("Conductivity", "Clarity_of_no_schema", 1))
    summary = engines.score_both(["in.csv"])
    assert summary.cells.absent(NAMES, summary.n_rows) == ["Conductivity"]


@pytest.mark.parametrize("cells", ["7,,,,,,,,", "7"])
def test_a_lack_of_most_of_what_the_model_learned_is_refused_alike(cells, engines):
    names = NAMES[: cells.count(",") + 1]
    Path("in.csv").write_text("\n".join([",".join(("id", *names)), *[f"S,{cells}"] * 200, ""]))
    error = engines.refuse_both(["in.csv"])
    assert error.exit_code == 4
    assert "it lacks Hardness" in str(error)


@pytest.mark.parametrize("fault", [b'S,"7,200\n', b"\xe9\x81,7\n", b"\xc3\xa9,7\n\xe9,8\n"])
def test_fault_in_a_later_part_is_refused_with_its_line(fault, engines):
    write_plain("in.csv", 1500)
    with Path("in.csv").open("ab") as file:
        file.write(fault)
        file.write(b"S,7,200,20000,7,300,400,14,66,4\n" * 900)
    assert "line 150" in str(engines.refuse_both(["in.csv"]))


def test_header_that_differs_is_refused_alike(engines):
    write_plain("a.csv", 1500)
    write_plain("b.csv", 1500, header=("site", *NAMES))
    assert "its header differs from that of a.csv" in str(engines.refuse_both(["a.csv", "b.csv"]))


@pytest.mark.parametrize(
    "options",
    [
        ScoringOptions(on_invalid="fail"),
        ScoringOptions(max_invalid=1.0),
        ScoringOptions(reading=ReadingOptions(encoding="no-such")),
        ScoringOptions(columns="ph,nosuch"),
        ScoringOptions(reading=ReadingOptions(profile="nosuch")),
        ScoringOptions(reading=ReadingOptions(units={"ph": "mg/L"})),
        ScoringOptions(explain=99),
    ],
    ids=["fail", "max_invalid", "encoding", "columns", "profile", "unit", "explain"],
)
def test_options_are_refused_alike(options, engines):
    write_dirty("in.csv", 1500)
    engines.refuse_both(["in.csv"], options)


def test_file_that_exists_is_kept(engines):
    write_plain("in.csv", 10)
    Path("out.csv").write_text("precious\n")
    with pytest.raises(UsageError, match=r"out\.csv: exists already\."):
        engines.score_there(["in.csv"], "out.csv")
    for force in (False, True):
        with pytest.raises(
            UsageError, match="is a file, and a folder of parts will not replace it"
        ):
            engines.score_there(["in.csv"], "out.csv", ScoringOptions(force=force), FOLDER)
    assert Path("out.csv").read_text() == "precious\n"
    engines.score_there(["in.csv"], "out.csv", ScoringOptions(force=True))
    assert len(list(Path().glob("*out.csv*"))) == 1


def test_folder_that_exists_is_replaced_by_force_alone(engines):
    write_plain("in.csv", 10)
    engines.score_there(["in.csv"], "out", layout=FOLDER)
    with pytest.raises(UsageError, match="out: exists already"):
        engines.score_there(["in.csv"], "out", layout=FOLDER)
    engines.score_there(["in.csv"], "out", ScoringOptions(force=True, prefix="b_"), FOLDER)
    part = next(Path("out").glob("part-*"))
    assert "b_status" in part.read_text()
    assert [path.name for path in Path().iterdir() if "out" in path.name] == ["out"]


def test_input_behind_a_link_is_never_replaced(engines):
    write_plain("in.csv", 10)
    engines.score_there(["in.csv"], "scored", layout=FOLDER)
    Path("link").symlink_to("scored")
    with pytest.raises(UsageError, match="is an input; the output must be another file"):
        engines.score_there(["link"], "scored", ScoringOptions(force=True, prefix="b_"), FOLDER)
    assert is_finished("scored")


def test_command_that_came_later_goes_on_alone(engines, monkeypatch):
    write_plain("in.csv", 10)
    write = FolderOutput.write

    def late(self, rows):
        write(self, rows)
        (Path("out") / "._waterflow-unfinished.crc").unlink()
        (Path("out") / "_waterflow-unfinished").write_bytes(b"another command's")

    monkeypatch.setattr(FolderOutput, "write", late)
    with pytest.raises(UsageError, match="another command has begun to write there"):
        engines.score_there(["in.csv"], "out", layout=FOLDER)
    assert (Path("out") / "_waterflow-unfinished").exists()
    assert not (Path("out") / "_SUCCESS").exists()


@pytest.mark.parametrize("layout", [SINGLE, FOLDER])
def test_output_is_never_an_input(layout, engines):
    Path("in").mkdir()
    write_plain("in/a.csv", 10)
    for output in ["in/a.csv", "in"][: 1 if layout is SINGLE else 2]:
        with pytest.raises(UsageError, match="is an input; the output must be another file"):
            engines.score_there(["in/a.csv"], output, ScoringOptions(force=True), layout)
    assert [str(path) for path in Path().rglob("*.csv")] == ["in/a.csv"]


@pytest.mark.parametrize(("source", "output"), [("file", "path"), ("path", "file")])
def test_input_is_known_by_any_of_its_names(source, output, engines):
    write_plain("in.csv", 10)
    before = Path("in.csv").read_bytes()
    names = {"path": "in.csv", "file": Path("in.csv").absolute().as_uri()}
    force = ScoringOptions(force=True)
    with pytest.raises(UsageError, match="is an input; the output must be another file"):
        engines.score_there([names[source]], names[output], force)
    if output == "path":
        for findings, bad in (("in.csv", None), ("-", "in.csv")):
            chosen = ValidationOptions(force=True, bad=bad)
            with pytest.raises(UsageError, match="is an input; the output must be another file"):
                engines.spark.validate(
                    [names[source]], WATER, chosen, findings=findings, layout=SINGLE
                )
    assert Path("in.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("output", "rejects"), [("out", "file:"), ("out", "out/rejects"), ("out/a", "out")]
)
def test_outputs_lie_apart(output, rejects, engines):
    write_plain("in.csv", 10)
    rejects = Path("out").absolute().as_uri() if rejects == "file:" else rejects
    with pytest.raises(UsageError, match=r"lies within .*; name two places\."):
        engines.score_there(["in.csv"], output, ScoringOptions(rejects=rejects), FOLDER)
    assert not Path("out").exists()


def test_file_that_is_named_twice_is_refused(engines):
    Path("in").mkdir()
    write_plain("in/a.csv", 10)
    with pytest.raises(UsageError, match=r"in/a\.csv: is named twice\."):
        engines.score_there(["in", "in/a.csv"], "out.csv")


def test_output_that_cannot_take_its_place_leaves_the_old_one(engines, monkeypatch):
    write_plain("in.csv", 10)
    engines.score_there(["in.csv"], "out", layout=FOLDER)
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    rename = HadoopFiles.rename

    def fails(self, path, other):
        if path.endswith(".out.part"):
            raise UsageError("no")
        rename(self, path, other)

    monkeypatch.setattr(HadoopFiles, "rename", fails)
    with pytest.raises(UsageError, match="no"):
        engines.score_there(["in.csv"], "out", ScoringOptions(force=True), FOLDER)
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_folder_of_another_kind_is_never_replaced(engines):
    write_plain("in.csv", 10)
    Path("home").mkdir()
    Path("home/letter.txt").write_text("precious")
    with pytest.raises(UsageError, match="is a folder that no Spark job has finished"):
        engines.score_there(["in.csv"], "home", ScoringOptions(force=True), FOLDER)
    assert Path("home/letter.txt").read_text() == "precious"


def test_values_that_must_be_unique_are_refused(engines, tmp_path):
    write_plain("in.csv", 10)
    text = "columns:\n  id: {dtype: str, unique: true}\n  ph: {dtype: float}\n"
    schema_file = tmp_path / "unique.yaml"
    schema_file.write_text("schema_type: dataframe\nversion: 0.0\n" + text)
    with pytest.raises(UsageError, match="must be unique"):
        engines.spark.validate(["in.csv"], load_schema(str(schema_file)), layout=FOLDER)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("site", "site"), "'site' is named twice"),
        (("id",), "'x+' in the column 'id' makes no name"),
    ],
)
def test_rows_that_cannot_be_parted_are_refused(keys, message, engines):
    rows = [["id", "site", *NAMES], ["x" * 300, "A", *GOOD]]
    Path("in.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match=message):
        engines.score_there(["in.csv"], "out", layout=OutputLayout(keys=keys))
    assert not Path("out").exists()


def test_column_that_is_not_there_cannot_part_the_rows(engines):
    write_plain("in.csv", 10)
    with pytest.raises(UsageError, match=r"has no column 'verdit'\. Did you mean 'verdict'"):
        engines.score_there(["in.csv"], "out", layout=OutputLayout(keys=("verdit",)))
    assert not Path("out").exists()


# --- what goes wrong on the way -------------------------------------------------------------------


@pytest.mark.slow
def test_executor_killed_in_mid_job_costs_no_row(engines, simulated, split, spark_cluster):
    split(200_000)
    Path("in.csv").symlink_to(simulated)
    engines.score_here(["in.csv"], "here.csv")
    tracker = engines.spark._spark.sparkContext.statusTracker()
    victims = []

    def kill():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            # The survey has more stages before it; this one scores.
            if any(each and each.numCompletedTasks > 8 and each.numTasks > 40 for each in stages):
                victims.append(spark_cluster.kill_executor())
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = engines.score_there(["in.csv"], "there.csv")
    killer.join()
    assert victims
    assert (summary.n_rows, summary.n_invalid) == (100_000, 0)
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()


class AlwaysHalf:
    """What scores by an estimator that has no portable form."""

    def expect(self, n_rows):
        """Prepare nothing."""

    def __call__(self, X):
        return np.full(len(X), 0.5)


@pytest.mark.parametrize(
    ("names", "is_portable", "refused"),
    [
        (("scikit-learn", "pandas", "numba"), True, False),
        (("numpy",), True, True),
        (("scikit-learn",), False, True),
    ],
)
def test_only_versions_that_decide_what_comes_out_are_compared(
    names, is_portable, refused, engines, monkeypatch
):
    def expected_here(*, portable):
        expected = expected_versions(portable=portable)
        return {name: "0.1" if name in names else each for name, each in expected.items()}

    monkeypatch.setattr(engine, "expected_versions", expected_here)
    if not is_portable:
        asked = replace(engines.model.decision, scores=AlwaysHalf())
        engines.model = replace(engines.model, decision=asked)
    write_plain("in.csv", 10)
    if not refused:
        engines.score_both(["in.csv"])
        return
    with pytest.raises(EngineError, match=rf"{names[0]} \S+ instead of 0\.1"):
        engines.score_there(["in.csv"], "out.csv")
    assert not Path("out.csv").exists()


def test_model_changed_on_its_way_is_refused(engines, monkeypatch):
    from pyspark import SparkFiles

    write_plain("in.csv", 2000)

    def ship_another(spark, fetched, model):
        shipped = ship_model(spark, fetched, model)
        (archive,) = Path(SparkFiles.getRootDirectory()).glob(f"*/{shipped.file}")
        with zipfile.ZipFile(archive) as packed, zipfile.ZipFile("tampered.zip", "w") as changed:
            for name in packed.namelist():
                content = packed.read(name)
                is_told = name.endswith("decision.json")
                changed.writestr(name, content.replace(b"0.", b"0.0", 1) if is_told else content)
        spark.sparkContext.addFile(str(Path("tampered.zip").absolute()))
        # Executors that loaded the model once need it no more.
        return replace(shipped, file="tampered.zip", label="waterflow/tampered")

    monkeypatch.setattr(engine, "ship_model", ship_another)
    with pytest.raises(ModelError, match=r"decision\.json") as caught:
        engines.score_there(["in.csv"], "out.csv")
    assert caught.value.exit_code == 4
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("change", ["grow", "shrink"])
def test_input_changed_after_the_survey_is_refused(change, engines, monkeypatch):
    write_plain("in.csv", 3000)
    survey = SparkInputs.survey

    def changed(self):
        survey(self)
        text = Path("in.csv").read_bytes()
        line = b"S,7,200,20000,7,300,400,14,66,4\n"
        cut = text.index(b"\n", 40_000) + 1
        grown = text[:cut] + line * 3 + text[cut:]
        Path("in.csv").write_bytes(grown if change == "grow" else text[:cut])

    monkeypatch.setattr(SparkInputs, "survey", changed)
    with pytest.raises(InputError, match=r"in\.csv: was changed while it was read\."):
        engines.score_there(["in.csv"], "out.csv")
    assert not Path("out.csv").exists()


# --- command lines --------------------------------------------------------------------------------

COMMAND = (sys.executable, "-m", "waterflow_cli")


@pytest.fixture
def start(workdir, store_uri):
    """Start to score ``in.csv`` on a Spark of its own."""
    running = []

    def start_score(*options, env=None):
        process = subprocess.Popen(
            [
                *COMMAND,
                "score",
                "in.csv",
                "--engine",
                "spark",
                "--tracking-uri",
                store_uri,
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start_score
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


LOCAL = ("--master", "local[2]", "--spark-conf", "spark.sql.files.maxPartitionBytes=200000")


def wait_for_rows(process, folder):
    """Wait until some rows are written."""
    deadline = time.monotonic() + 60
    while not list(Path(folder).rglob("part-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_command_leaves_no_success_and_the_next_completes(start, simulated, engines):
    Path("in.csv").symlink_to(simulated)
    process = start("-o", "out", *LOCAL)
    wait_for_rows(process, "out")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert Path("out/_waterflow-unfinished").exists()
    assert not Path("out/_SUCCESS").exists()
    process = start("-o", "out", *LOCAL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert is_finished("out")
    engines.score_here(["in.csv"], "here.csv")
    header, *rows = Path("here.csv").read_bytes().splitlines()
    assert parts_of("out") == ({header}, sorted(rows))
    # The same with --force over a finished output: what was there stays.
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    process = start("-o", "out", "--force", *LOCAL)
    wait_for_rows(process, ".out.part")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_executors_without_waterflow_are_named_with_the_cure(start):
    write_plain("in.csv", 10)
    venv.create("bare", with_pip=False, symlinks=True)
    began = time.monotonic()
    python = str(Path("bare/bin/python").absolute())
    process = start("-o", "out", "--master", "local[1]", env={"PYSPARK_PYTHON": python})
    _, said = process.communicate(timeout=90)
    assert process.returncode == 4, said
    assert "The executors lack" in said
    assert "--ship-env" in said
    assert time.monotonic() - began < 60
    assert not Path("out").exists()


def test_command_prints_what_it_prints_here(cli, store_uri):
    write_dirty("in.csv", 300)
    options = ("--tracking-uri", store_uri, "--json")
    here = cli("score", "in.csv", "-o", "out.csv", *options)
    there = cli(
        "score",
        "in.csv",
        "-o",
        "out.csv",
        "--force",
        *options,
        "--engine",
        "spark",
        "--single-file",
    )
    assert there.code == here.code == 0, there.err
    assert there.out == here.out
    checked = [cli("validate", "in.csv", "--json", *more) for more in [(), ("--engine", "spark")]]
    assert checked[0].code == checked[1].code == 1
    assert checked[0].out == checked[1].out
    assert checked[0].err == checked[1].err
