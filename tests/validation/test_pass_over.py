"""One pass over a file: opened, matched, checked, counted and worked on, in one place."""

from __future__ import annotations

import ast
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import ROOT

from waterflow_cli.common.errors import InputError
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.serving.judging import CSV, JSON, judge
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.served_model import ServedModel
from waterflow_cli.spark.files import InputFile
from waterflow_cli.spark.formats import NO_ROWS
from waterflow_cli.spark.jobs import ValidationJob
from waterflow_cli.spark.worker import Task, read_files, run_task
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.reading import open_table
from waterflow_cli.validation import pass_over as pass_over_module
from waterflow_cli.validation.limits import load_limits
from waterflow_cli.validation.pass_over import Pass, PassOptions, RowCounts, pass_over
from waterflow_cli.validation.report import ValidationOptions

SCHEMA = parse_schema(
    """
columns:
  ph: {dtype: float64, nullable: true, checks: {in_range: {min_value: 0, max_value: 14}}}
  Sulfate: {dtype: float64, nullable: true, required: false}
  Potability: {dtype: float64, nullable: true, required: false}
metadata: {label: Potability}
""",
    "s.yaml",
)
URI = "file:///data/river.csv"
UNIQUE = parse_schema("columns: {id: {dtype: str, unique: true}, ph: {dtype: float64}}", "u.yaml")


@pytest.fixture
def river(workdir):
    rows = "".join(f"{ph},{sulfate}\n" for ph, sulfate in [(7, 100), (99, ""), ("", 300), (6, 9)])
    (workdir / "river.csv").write_text("ph,Sulfate\n" + rows)
    return "river.csv"


# --- what stands once -----------------------------------------------------------------------------


@pytest.fixture
def matched(monkeypatch):
    """Count by file how often its header is matched."""
    counts, match = Counter(), Header.match

    def counting(self, columns, path):
        counts[path] += 1
        return match(self, columns, path)

    monkeypatch.setattr(Header, "match", counting)
    return counts


@pytest.fixture
def own_samples(samples, workdir):
    (workdir / "in.csv").write_bytes(samples.read_bytes())
    return "in.csv"


@pytest.mark.parametrize(
    "command",
    [
        ("validate", "--good", "good.csv", "--bad", "bad.csv", "--limits", "epa"),
        ("validate", "--jobs", "3", "--batch-rows", "50"),
        ("score", "-o", "out.csv", "--limits", "who", "--batch-rows", "50"),
        ("score", "-o", "out.csv", "--resume", "--rejects", "rejects.csv"),
        ("monitor", "--labels", "--by", "site", "--no-log"),
        ("evaluate",),
    ],
)
def test_header_of_a_file_is_matched_once(command, cli, own_samples, store_uri, matched):
    name, *options = command
    store = () if name == "validate" else ("--tracking-uri", store_uri)
    done = cli(name, own_samples, *store, *options)
    assert done.code == 0, done.err
    assert matched == {own_samples: 1}


def test_header_of_a_file_that_is_explored_is_matched_once(cli, own_samples, matched):
    table = pd.read_csv(own_samples).head(30)
    table.drop(columns="Potability").to_csv("plain.csv", index=False)  # no search for a signal
    assert cli("explore", "plain.csv", "--limits", "epa").code == 0
    assert matched == {"plain.csv": 1}


def test_header_of_a_file_that_a_task_of_spark_reads_is_matched_once(river, matched):
    job = ValidationJob(schema=SCHEMA, options=ValidationOptions(max_findings=5))
    counted = []

    class Driver:
        def add(self, term):
            counted.extend(term)

    task = Task(
        job=job,
        row_format=NO_ROWS,
        counts=Driver(),
        first_file=river,
        header=None,
    )
    file = InputFile(river, URI, Path(river).stat().st_size)
    read = partial(read_files, {file.path: file})
    content = {"path": [URI], "data": [Path(river).read_bytes()]}
    assert list(run_task(task, read, iter([pa.RecordBatch.from_pydict(content)]))) == []
    assert matched == {river: 1}
    ((_, report),) = counted
    assert (report.n_rows, report.n_invalid) == (4, 1)


def test_header_of_a_body_that_is_served_is_matched_once(own_samples, store_uri, matched):
    served = ServedModel(load_model("@champion", name="waterflow", tracking_uri=store_uri))
    body = Path(own_samples).read_bytes()
    answer = judge(served, body, CSV, JSON, ServingOptions())
    assert answer.n_rows == 400
    assert matched == {"body": 1}


def test_header_of_a_past_output_is_matched_once(cli, own_samples, store_uri, matched):
    assert cli("score", own_samples, "-o", "out.csv", "--tracking-uri", store_uri).code == 0
    assert cli("replay", "out.csv", "--model", "@champion", "--tracking-uri", store_uri).code == 0
    assert matched == {own_samples: 1, "out.csv": 1}


@pytest.mark.slow
def test_header_of_training_rows_is_matched_once(cli, own_samples, workdir, matched):
    store = ("--tracking-uri", f"sqlite:///{workdir / 'own.db'}")
    assert cli("train", own_samples, "--plugin", "logreg", "--cv", "3x1", *store, "-q").code == 0
    assert matched == {own_samples: 1}
    matched.clear()
    (workdir / "new.csv").write_bytes((workdir / "in.csv").read_bytes())
    retrained = cli("retrain", "--with", "new.csv", *store, "-q")
    assert retrained.code in (0, 1), retrained.err
    assert matched["new.csv"] == 1
    assert set(matched.values()) == {1}


def calls_of(name):
    """List the modules in which something of a name is called or read."""
    found = set()
    for path in (ROOT / "waterflow_cli").rglob("*.py"):
        text = path.read_text("utf-8")
        nodes = ast.walk(ast.parse(text)) if name in text else ()
        if any(name in (getattr(node, "attr", ""), getattr(node, "id", "")) for node in nodes):
            found.add(path.relative_to(ROOT / "waterflow_cli").as_posix())
    return found


def test_batches_are_handed_to_workers_in_one_place():
    assert calls_of("map_in_order") == {"validation/pass_over.py"}


def test_unique_values_are_a_reason_for_one_worker_in_one_place():
    refusing = {"scoring/job.py", "spark/engine.py"}  # --resume, and executors
    keeping = {"serving/served_model.py"}  # no checker from request to request
    assert calls_of("has_unique") - refusing - keeping == {"validation/pass_over.py"}


def test_files_are_opened_in_one_place_and_by_tasks_of_spark():
    by_tasks = {"spark/worker.py", "spark/inputs.py", "spark/preflight.py"}
    # A schema is drafted where there is none yet to go over the rows with.
    others = {"samples/schema_draft.py"}
    assert calls_of("open_samples") - by_tasks - others == {"validation/pass_over.py"}


# --- what it does ---------------------------------------------------------------------------------


def test_rows_are_checked_counted_and_held_against_limits(river):
    options = PassOptions(limits=load_limits(["epa"]))
    with pass_over(river, SCHEMA, options) as file:
        (checked,) = file.batches()
    assert checked.invalid.tolist() == [False, True, False, False]
    assert checked.flags.texts().to_pylist() == [
        "",
        "ph above 8.5 (epa)",
        "Sulfate above 250 mg/L (epa)",
        "ph below 6.5 (epa)",
    ]
    counts = file.counts
    assert (counts.n_rows, counts.n_invalid) == (4, 1)
    assert counts.cells.missing == {"ph": 1, "Sulfate": 1}
    assert counts.dialects == {river: "utf-8, separator ','"}
    assert counts.limits.measured == {"ph": 3, "Sulfate": 3}


def test_without_limits_none_are_counted(river):
    with pass_over(river, SCHEMA) as file:
        (checked,) = file.batches()
    assert checked.flags is None
    assert file.counts.limits is None


def test_a_models_measurements_are_missing_where_the_file_lacks_them(workdir):
    (workdir / "ph.csv").write_text("ph\n7\n8\n")
    for measurements, missing in ((None, {"ph": 0}), (("ph", "Sulfate"), {"ph": 0, "Sulfate": 2})):
        with pass_over("ph.csv", SCHEMA, PassOptions(measurements=measurements)) as file:
            (checked,) = file.batches()
        assert file.counts.cells.missing == missing
    assert np.isnan(checked.numbers["Sulfate"]).all()


def test_counts_go_on_over_files(river):
    counts, told = RowCounts(), []
    for _ in range(2):
        with pass_over(
            river, SCHEMA, counts=counts, report=lambda *said: told.append(said)
        ) as file:
            assert len(list(file.batches())) == 1
    assert counts.n_rows == 8
    assert [n_rows for n_rows, _ in told] == [4, 8]


def test_what_was_counted_is_told_when_the_work_with_a_batch_is_done(river):
    told = []
    with pass_over(
        river, SCHEMA, PassOptions(batch_rows=1), report=lambda *said: told.append(said)
    ) as file:
        for n_before, _ in enumerate(file.batches()):
            assert len(told) == n_before
    assert told[-1] == (4, 1.0)


@given(jobs=st.integers(1, 4), batch_rows=st.integers(1, 5))
@tried_on(40)
def test_workers_and_batches_change_nothing(jobs, batch_rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "law.csv"
    if not path.exists():
        path.write_text("ph,Sulfate\n" + "".join(f"{n % 17},{n}\n" for n in range(40)))
    options = PassOptions(jobs=jobs, batch_rows=batch_rows, limits=load_limits(["who", "epa"]))
    with pass_over(str(path), SCHEMA, options) as file:
        lines = np.concatenate(list(file.map(lambda checked: checked.batch.lines)))
    with pass_over(str(path), SCHEMA, PassOptions(limits=options.limits)) as plain:
        list(plain.batches())
    assert lines.tolist() == list(range(2, 42))
    assert file.counts == plain.counts


def test_rows_whose_values_must_be_unique_are_checked_by_one_worker(workdir, monkeypatch):
    (workdir / "ids.csv").write_text("id,ph\n" + "a,7\n" * 3)
    asked = []

    def map_with(call, items, jobs):
        asked.append(jobs)
        return map(call, items)

    monkeypatch.setattr(pass_over_module, "map_in_order", map_with)
    for schema in (UNIQUE, parse_schema("columns: {ph: {dtype: float64}}", "p.yaml")):
        with pass_over("ids.csv", schema, PassOptions(jobs=4)) as file:
            list(file.batches())
    assert asked == [1, 4]


def test_pass_goes_on_where_another_ended(river):
    with pass_over(river, SCHEMA, PassOptions(batch_rows=1)) as file:
        first, *others = (checked.batch for checked in file.batches())
    with pass_over(river, SCHEMA) as file:
        (checked,) = file.map(lambda checked: checked, first.end)
    rest = np.concatenate([batch.lines for batch in others])
    assert checked.batch.lines.tolist() == rest.tolist()
    assert file.counts.n_rows == len(rest) == 4 - len(first)


def test_table_without_a_required_column_is_refused_before_its_rows(workdir):
    (workdir / "no_ph.csv").write_text("Sulfate,x\n")
    with pass_over("no_ph.csv", SCHEMA) as file:
        assert file.table.match.columns == {"Sulfate": "Sulfate"}
        with pytest.raises(InputError, match="column ph not found in the header"):
            next(file.batches())


def test_table_without_the_label_is_refused_with_the_hint(river):
    with (
        pass_over(river, SCHEMA) as file,
        pytest.raises(
            InputError, match=r"line 1: column Potability \(the label\) not found"
        ) as caught,
    ):
        file.require_label("Look again.")
    assert caught.value.hint == "Look again."


def test_open_table_can_be_passed_over_too(river):
    schema = load_schema()
    with open_table(river, schema.header) as table:
        file = Pass(table, SCHEMA)
        assert [len(checked.batch) for checked in file.batches()] == [4]
