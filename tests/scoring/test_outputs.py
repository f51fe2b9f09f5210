"""A job that was stopped goes on from the rows that it kept, and writes the same bytes."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from marks import slow

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import DataRefusedError, InputError, ModelError, UsageError
from waterflow_cli.common.messages import use_language
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.scoring import outputs as job_outputs
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.outputs import (
    Checkpoint,
    ResumableOutputs,
    describe_input,
    drop_kept_rows,
)
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables import outputs, reading
from waterflow_cli.tables.reading_options import ReadingOptions

N_ROWS, BATCH_ROWS = 120, 20
INPUTS = ("in.", "one.", "two.")
FORMATS = ("out.csv", "out.tsv", "out.jsonl", "out.csv.gz", "out.csv.zst", "out.parquet")
GZIPPED = ((False, 1), (True, 1), (True, 2))
RESUME = ScoringOptions(resume=True, batch_rows=BATCH_ROWS)
ANEW = r"^To start anew, run once without --resume; the rows kept for out\.csv are then dropped\.$"


@pytest.fixture(scope="module")
def model(store_uri):
    return load_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture
def table(samples, workdir, monkeypatch):
    """A table of 120 rows as ``in.csv``, of which every ninth is invalid; read in small batches."""
    monkeypatch.setattr(reading, "_SAMPLE_BYTES", 1000)
    header, *lines = samples.read_text().splitlines()[: 1 + N_ROWS]
    at = header.split(",").index("ph")
    for number in range(0, N_ROWS, 9):
        cells = lines[number].split(",")
        cells[at] = "acid"
        lines[number] = ",".join(cells)
    write_lines("in.csv", header, lines)
    return header, lines


def write_lines(path, header, lines):
    Path(path).write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture
def files(workdir):
    """Tell which files the working folder holds beside those there when the test began."""

    def list_files():
        return sorted(
            str(path.relative_to(workdir))
            for path in workdir.rglob("*")
            if path.is_file() and not (path.parent == workdir and path.name.startswith(INPUTS))
        )

    return list_files


def stop_after(n_batches):
    """Give a report that interrupts the job after some batches."""
    calls = []

    def report(n_rows, share):
        calls.append(n_rows)
        if len(calls) == n_batches:
            raise KeyboardInterrupt

    return report


def interrupt(model, inputs, output, options, n_batches):
    with pytest.raises(KeyboardInterrupt):
        score_files(model, inputs, output, options, stop_after(n_batches))


def take(paths):
    """Read files and remove them: the next run may then write them again."""
    content = {str(path): Path(path).read_bytes() for path in paths}
    for path in paths:
        Path(path).unlink()
    return content


def journal_of(path="out.csv"):
    return Path(path).with_name(f".{Path(path).name}.journal.part")


def kept_of(path="out.csv"):
    return Path(path).with_name(f".{Path(path).name}.kept.part")


def plain_run(model, inputs, output, options):
    """Score without --resume; give what was written, and the counts."""
    summary = score_files(model, inputs, output, replace(options, resume=False))
    return take(summary.outputs), summary.counts


# --- undisturbed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rejects", [None, "rejects.csv", "rejects.jsonl.gz"])
@pytest.mark.parametrize("output", FORMATS)
def test_undisturbed_job_writes_what_a_plain_one_does(output, rejects, model, table, files):
    options = replace(RESUME, rejects=rejects)
    expected, counts = plain_run(model, ["in.csv"], output, options)
    assert list(expected) == [output, *([rejects] if rejects else [])]
    summary = score_files(model, ["in.csv"], output, options)
    assert files() == sorted(expected)
    assert take(expected) == expected
    assert (summary.counts, summary.n_resumed) == (counts, 0)
    assert counts["rows"] == N_ROWS
    assert counts["rows_invalid"] == 14


@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "folder/"])
def test_undisturbed_job_of_several_inputs_writes_what_a_plain_one_does(
    output, model, table, files
):
    halve(table)
    options = replace(RESUME, rejects="rejects.csv")
    expected, counts = plain_run(model, ["one.csv", "two.csv"], output, options)
    summary = score_files(model, ["one.csv", "two.csv"], output, options)
    assert files() == sorted(expected)
    assert take(expected) == expected
    assert summary.counts == counts


def halve(table):
    header, lines = table
    write_lines("one.csv", header, lines[: N_ROWS // 2])
    write_lines("two.csv", header, lines[N_ROWS // 2 :])


def test_permissions_are_those_of_any_new_file(model, table, workdir):
    Path("plain.csv").touch()
    score_files(model, ["in.csv"], "out.csv", RESUME)
    assert Path("out.csv").stat().st_mode == Path("plain.csv").stat().st_mode


# --- interrupted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("n_batches", [3, *slow(1, 5)])
@pytest.mark.parametrize("output", FORMATS)
def test_interrupted_job_goes_on_to_the_same_bytes(output, n_batches, jobs, model, table, files):
    options = replace(RESUME, rejects="rejects.csv", jobs=jobs)
    expected, counts = plain_run(model, ["in.csv"], output, options)
    interrupt(model, ["in.csv"], output, options, n_batches)
    parts = [f".{output}.journal.part", f".{output}.kept.part", ".rejects.csv.kept.part"]
    assert files() == sorted(parts)
    summary = score_files(model, ["in.csv"], output, options)
    assert files() == sorted(expected)
    assert take(expected) == expected
    assert summary.counts == counts
    assert (n_batches - 1) * BATCH_ROWS < summary.n_resumed < N_ROWS


@pytest.mark.parametrize("output", ["out.csv", "out.jsonl.gz", "out.parquet", "folder/"])
def test_job_interrupted_after_each_batch_goes_on_to_the_same_bytes(output, model, table, files):
    halve(table)
    inputs, options = ["one.csv", "two.csv"], replace(RESUME, rejects="rejects.csv")
    expected, counts = plain_run(model, inputs, output, options)
    n_stops = 0
    summary = None
    while summary is None:
        try:
            summary = score_files(model, inputs, output, options, stop_after(1))
        except KeyboardInterrupt:
            n_stops += 1
            assert n_stops < N_ROWS
            assert not set(expected) & set(files())
    assert n_stops >= 6
    assert summary.n_resumed == N_ROWS
    assert files() == sorted(expected)
    assert take(expected) == expected
    assert summary.counts == counts


@pytest.mark.parametrize("source", ["in.csv.gz", "in.parquet", "in.crlf.csv"])
def test_job_over_any_kind_of_input_goes_on(source, model, table, files):
    if source.endswith(".gz"):
        Path(source).write_bytes(gzip.compress(Path("in.csv").read_bytes()))
    elif source.endswith(".parquet"):
        pq.write_table(pa_csv.read_csv("in.csv"), source)
    else:
        text = Path("in.csv").read_text().replace("\n", "\r\n\r\n")
        Path(source).write_bytes(text.encode("utf-8-sig"))
    expected, counts = plain_run(model, [source], "out.csv", RESUME)
    interrupt(model, [source], "out.csv", RESUME, 3)
    summary = score_files(model, [source], "out.csv", RESUME)
    assert 0 < summary.n_resumed < N_ROWS
    assert files() == ["out.csv"]
    assert take(expected) == expected
    assert summary.counts == counts


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("batch_rows", [7, 33, None])
def test_job_goes_on_with_other_jobs_and_batches(batch_rows, source, model, table, files):
    pq.write_table(pa_csv.read_csv("in.csv"), "in.parquet")
    expected, counts = plain_run(model, [source], "out.parquet", RESUME)
    interrupt(model, [source], "out.parquet", RESUME, 2)
    options = replace(RESUME, batch_rows=batch_rows, jobs=2)
    summary = score_files(model, [source], "out.parquet", options)
    assert summary.n_resumed > 0
    assert take(expected) == expected
    assert summary.counts == counts


def test_rows_that_are_dropped_are_no_obstacle_to_go_on(model, table, files):
    """The first batches hold no valid row, so the output holds not even a header by then."""
    header, lines = table
    at = header.split(",").index("ph")
    bad = [",".join([*cells[:at], "acid", *cells[at + 1 :]]) for cells in map(split, lines[:50])]
    write_lines("in.csv", header, [*bad, *lines[50:]])
    options = replace(RESUME, on_invalid="drop", rejects="rejects.csv")
    expected, counts = plain_run(model, ["in.csv"], "out.csv", options)
    interrupt(model, ["in.csv"], "out.csv", options, 1)
    summary = score_files(model, ["in.csv"], "out.csv", options)
    assert summary.n_resumed > 0
    assert take(expected) == expected
    assert summary.counts == counts


def split(line):
    return line.split(",")


def test_existing_output_stays_until_the_resumed_job_replaces_it(model, table, files):
    expected, _ = plain_run(model, ["in.csv"], "out.csv", RESUME)
    Path("out.csv").write_text("precious\n")
    options = replace(RESUME, force=True)
    interrupt(model, ["in.csv"], "out.csv", options, 3)
    assert Path("out.csv").read_text() == "precious\n"
    with pytest.raises(UsageError, match=r"^out\.csv: exists already\.$"):
        score_files(model, ["in.csv"], "out.csv", RESUME)
    assert Path("out.csv").read_text() == "precious\n"
    assert score_files(model, ["in.csv"], "out.csv", options).n_resumed > 0
    assert files() == ["out.csv"]
    assert take(expected) == expected


def test_manifest_of_a_resumed_job_is_that_of_a_plain_one(model, table, files):
    options = replace(RESUME, manifest="manifest.json")
    score_files(model, ["in.csv"], "out.csv", replace(options, resume=False))
    plain = json.loads(take(["out.csv", "manifest.json"])["manifest.json"])
    interrupt(model, ["in.csv"], "out.csv", options, 3)
    assert not Path("manifest.json").exists()
    score_files(model, ["in.csv"], "out.csv", options)
    resumed = json.loads(Path("manifest.json").read_text())
    differing = {name for name in plain if plain[name] != resumed[name]}
    assert differing <= {"written", "created", "finished", "started", "date", "time"}


# --- interrupted while the outputs appear ---------------------------------------------------------


PUBLISHING = (job_outputs.__file__, outputs.__file__)
FINISH = ResumableOutputs.finish


class PublishingInterrupt:
    """Raises KeyboardInterrupt before the n-th line that runs from `finish` on.

    Lines of job_outputs.py and outputs.py count, so that each point between two steps is met. What
    comes before publishing is not traced, which would take three times as long.
    """

    def __init__(self, n_lines):
        self.n_left, self.where = n_lines, ""

    def __call__(self, frame, event, arg):
        code = frame.f_code
        if code.co_filename not in PUBLISHING:
            return None
        if event == "line":
            self.n_left -= 1
            if self.n_left == 0:
                self.where = f"{Path(code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self

    def finish(self, outputs):
        """Stand in the place of `ResumableOutputs.finish`."""
        sys.settrace(self)
        return FINISH(outputs)


def interrupt_publishing(n_lines, *arguments):
    """Score, with an interruption; tell where that was, nowhere if the job ended before."""
    stop, before = PublishingInterrupt(n_lines), sys.gettrace()
    try:
        with patch.object(ResumableOutputs, "finish", lambda self: stop.finish(self)):
            score_files(*arguments)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        effects.end_begun()  # as at the end of a command
    return stop.where


# An interruption in the line before a file is closed leaves that to the collector.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("output", "force", "n_times"),
    [
        *(("out.csv", False, 1), ("out.csv", True, 1), ("out.csv", False, 2)),
        *(("out.csv.gz", *each) for each in GZIPPED),
    ],
)
def test_interruption_anywhere_in_publishing_ends_with_the_same_bytes(
    output, force, n_times, model, table, workdir
):
    """Also where the run that went on is interrupted at the same point again."""
    options = replace(RESUME, rejects="rejects.csv", force=force, batch_rows=None)
    expected, counts = plain_run(model, ["in.csv"], output, options)
    arguments = (model, ["in.csv"], output, options)
    failures, where, n_lines = {}, "start", 0

    def is_done():
        return {path.name for path in workdir.iterdir()} == {"in.csv", *expected}

    while where:
        n_lines += 1
        for path in workdir.iterdir():
            if path.name != "in.csv":
                path.unlink()
        if force:
            Path(output).write_text("precious\n")
        failure = None
        try:
            for number in range(n_times):
                # Where all was done but for the end of the process, there is nothing to go on from.
                if number and is_done():
                    break
                found = interrupt_publishing(n_lines, *arguments)
                where = where if number else found
                if Path(output).exists():
                    allowed = (expected[output], b"precious\n") if force else (expected[output],)
                    assert Path(output).read_bytes() in allowed
            if not is_done():
                assert score_files(*arguments).counts == counts
            left = {path.name: path.read_bytes() for path in workdir.iterdir()}
            left.pop("in.csv")
            failure = None if left == expected else f"left {sorted(left)}"
        except (UsageError, KeyError, AssertionError) as exc:
            failure = f"{type(exc).__name__}: {exc}".splitlines()[0]
        if failure:
            failures[where] = failure
    assert n_lines > 20
    assert failures == {}


# --- what is kept is damaged ----------------------------------------------------------------------


def flip_byte(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["out.csv", "rejects.csv"])
@pytest.mark.parametrize("damage", ["first byte", "last byte", "shortened", "emptied", "removed"])
def test_damaged_rows_are_not_gone_on_from(damage, name, model, table, files):
    options = replace(RESUME, rejects="rejects.csv")
    expected, counts = plain_run(model, ["in.csv"], "out.csv", options)
    interrupt(model, ["in.csv"], "out.csv", options, 3)
    kept = kept_of(name)
    if damage.endswith("byte"):
        flip_byte(kept, 0 if damage == "first byte" else -1)
    elif damage == "removed":
        kept.unlink()
    else:
        kept.write_bytes(kept.read_bytes()[:-1] if damage == "shortened" else b"")
    summary = score_files(model, ["in.csv"], "out.csv", options)
    assert summary.n_resumed == 0
    assert files() == sorted(expected)
    assert take(expected) == expected
    assert summary.counts == counts


def test_rows_beyond_the_last_checkpoint_are_dropped(model, table, files):
    expected, counts = plain_run(model, ["in.csv"], "out.csv", RESUME)
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    with kept_of().open("ab") as kept:
        kept.write(b"S9,7.0,half a ro")
    summary = score_files(model, ["in.csv"], "out.csv", RESUME)
    assert summary.n_resumed > 0
    assert take(expected) == expected
    assert summary.counts == counts


@pytest.mark.parametrize("n_lost", [1, 20])
def test_half_written_line_of_the_journal_is_no_entry(n_lost, model, table, files):
    expected, counts = plain_run(model, ["in.csv"], "out.csv", RESUME)
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    journal_of().write_bytes(journal_of().read_bytes()[:-n_lost])
    summary = score_files(model, ["in.csv"], "out.csv", RESUME)
    assert 0 < summary.n_resumed < 3 * BATCH_ROWS
    assert files() == ["out.csv"]
    assert take(expected) == expected
    assert summary.counts == counts


def test_progress_after_a_half_written_line_is_not_lost(model, table, files):
    expected, _ = plain_run(model, ["in.csv"], "out.csv", RESUME)
    interrupt(model, ["in.csv"], "out.csv", RESUME, 2)
    with journal_of().open("ab") as journal:
        journal.write(b'{"n_inputs": 0, "posi')
    interrupt(model, ["in.csv"], "out.csv", RESUME, 2)
    summary = score_files(model, ["in.csv"], "out.csv", RESUME)
    assert take(expected) == expected
    assert summary.n_resumed > 3 * BATCH_ROWS


@pytest.mark.parametrize("content", [b"", b"\n", b'{"waterflow": "1', b"\x00\x00\x00\n"])
def test_journal_without_a_beginning_starts_anew(content, model, table, files):
    expected, _ = plain_run(model, ["in.csv"], "out.csv", RESUME)
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    journal_of().write_bytes(content)
    assert score_files(model, ["in.csv"], "out.csv", RESUME).n_resumed == 0
    assert files() == ["out.csv"]
    assert take(expected) == expected


# --- another job than was begun -------------------------------------------------------------------


def refused(kind, message, model, inputs, options, files):
    """Check that a job is refused with the way out, and that what is kept stays."""
    before = {name: Path(name).read_bytes() for name in files()}
    with pytest.raises(kind, match=message) as caught:
        score_files(model, inputs, "out.csv", options)
    assert caught.value.hint is not None
    assert re.search(ANEW, caught.value.hint)
    assert {name: Path(name).read_bytes() for name in files()} == before


def test_input_of_another_size_is_refused(model, table, files):
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    with Path("in.csv").open("a") as file:
        file.write(table[1][0] + "\n")
    message = r"^in\.csv: changed since the job was begun\.$"
    refused(InputError, message, model, ["in.csv"], RESUME, files)
    summary = score_files(model, ["in.csv"], "out.csv", replace(RESUME, resume=False))
    assert summary.n_rows == N_ROWS + 1
    assert files() == ["out.csv"]


def test_input_written_again_is_refused_though_its_size_is_the_same(model, table, files):
    halve(table)
    interrupt(model, ["one.csv", "two.csv"], "out.csv", RESUME, 1)
    flip_byte(Path("two.csv"), -2)
    message = r"^two\.csv: changed since the job was begun\.$"
    refused(InputError, message, model, ["one.csv", "two.csv"], RESUME, files)


@pytest.mark.parametrize(
    ("now", "named"), [(["one.csv"], "two"), (["two.csv", "one.csv"], "two")], ids=["one", "turned"]
)
def test_other_inputs_are_refused(now, named, model, table, files):
    halve(table)
    interrupt(model, ["one.csv", "two.csv"], "out.csv", RESUME, 1)
    refused(InputError, rf"^{named}\.csv: changed since", model, now, RESUME, files)


def test_another_model_is_refused(model, table, files):
    expected, _ = plain_run(model, ["in.csv"], "out.csv", RESUME)
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    other = replace(model, digest="0" * 64)
    message = rf"^out\.csv was begun with another model \({model.digest}\)\.$"
    refused(ModelError, message, other, ["in.csv"], RESUME, files)
    assert plain_run(other, ["in.csv"], "out.csv", RESUME)[0] == expected
    assert files() == []


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": "wf_"},
        {"columns": "ids"},
        {"on_invalid": "drop"},
        {"max_invalid": 50.0},
        {"rejects": "rejects.csv"},
        {"reading": ReadingOptions(renames={"a": "b"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_options_are_refused(change, model, table, files):
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    message = r"^out\.csv was begun with other options, or another version\.$"
    options = replace(RESUME, **change)
    refused(UsageError, message, model, ["in.csv"], options, files)


def test_another_language_is_refused_for_reasons_are_written_in_one(model, table, files):
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    use_language("fr")
    with pytest.raises(UsageError, match=r"^out\.csv .* --lang en\.$"):
        score_files(model, ["in.csv"], "out.csv", RESUME)
    use_language("en")
    assert score_files(model, ["in.csv"], "out.csv", RESUME).n_resumed > 0


def test_plain_run_drops_what_was_kept(model, table, files):
    options = replace(RESUME, rejects="rejects.csv")
    expected, _ = plain_run(model, ["in.csv"], "out.csv", options)
    interrupt(model, ["in.csv"], "out.csv", options, 3)
    assert plain_run(model, ["in.csv"], "out.csv", options)[0] == expected
    assert files() == []
    assert score_files(model, ["in.csv"], "out.csv", options).n_resumed == 0


def test_plain_run_drops_what_was_kept_for_outputs_that_it_has_not(model, table, files):
    """The hint says to run once without --resume, not to repeat the options of then."""
    interrupt(model, ["in.csv"], "out.csv", replace(RESUME, rejects="rejects.csv"), 3)
    score_files(model, ["in.csv"], "out.csv", replace(RESUME, resume=False))
    assert files() == ["out.csv"]


def test_refused_plain_run_drops_nothing(model, table, files):
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    Path("out.csv").write_text("theirs\n")
    with pytest.raises(UsageError, match="exists already"):
        score_files(model, ["in.csv"], "out.csv", replace(RESUME, resume=False))
    Path("out.csv").unlink()
    assert score_files(model, ["in.csv"], "out.csv", RESUME).n_resumed > 0


# --- refused before any work ----------------------------------------------------------------------


def test_standard_input_cannot_be_gone_on_with(model, workdir, files):
    with pytest.raises(UsageError, match=r"^--resume: standard input cannot be read again"):
        score_files(model, ["-"], "out.csv", RESUME)
    assert files() == []


@pytest.mark.parametrize("paths", [("-", None), ("out.csv", "-")])
def test_standard_output_cannot_be_gone_on_with(paths, model, table, files):
    output, rejects = paths
    with pytest.raises(UsageError, match=r"^--resume: standard output cannot be gone on with"):
        score_files(model, ["in.csv"], output, replace(RESUME, rejects=rejects))
    assert files() == []


def test_missing_input_is_refused(model, workdir, files):
    with pytest.raises(InputError, match=r"^no\.csv: cannot be opened \(No such file"):
        score_files(model, ["no.csv"], "out.csv", RESUME)
    assert files() == []


def test_existing_output_is_refused_and_leaves_no_work_file(model, table, files):
    Path("out.csv").write_text("precious\n")
    batches = []
    with pytest.raises(UsageError, match=r"^out\.csv: exists already\.$"):
        score_files(model, ["in.csv"], "out.csv", RESUME, lambda *done: batches.append(done))
    assert batches == []
    assert Path("out.csv").read_text() == "precious\n"
    assert files() == ["out.csv"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("in.csv", r"^in\.csv: is an input"),
        ("none/out.csv", r"^none/out\.csv: cannot be written"),
        ("out.xls", r"^out\.xls: its suffix names no format"),
        ("out.json", r"^out\.json: its suffix names no format"),
        ("out.ndjson", r"^out\.ndjson: its suffix names no format"),
    ],
)
def test_output_that_cannot_be_written_is_refused_and_leaves_no_work_file(
    output, message, model, table, files, workdir
):
    with pytest.raises(UsageError, match=message):
        score_files(model, ["in.csv"], output, replace(RESUME, force=True))
    assert [path.name for path in workdir.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("option", ["rejects", "manifest"])
def test_outputs_that_are_one_file_are_refused(option, model, table, files):
    options = replace(RESUME, force=True, **{option: "./out.csv"})
    with pytest.raises(UsageError, match=rf"is both -o and --{option}; name two files\.$"):
        score_files(model, ["in.csv"], "out.csv", options)
    assert files() == []


def test_schema_with_unique_values_cannot_be_gone_on_with(model, table, files):
    text = model.schema.text.replace(
        "columns:\n", "columns:\n  id: {dtype: str, required: false, unique: true}\n", 1
    )
    unique = replace(model, schema=parse_schema(text, "unique"))
    assert unique.schema.has_unique
    with pytest.raises(UsageError, match=r"^--resume: the model's schema has values that must be"):
        score_files(unique, ["in.csv"], "out.csv", RESUME)
    assert files() == []


@pytest.mark.parametrize("n_batches", [0, 1])
@pytest.mark.parametrize("change", [{"on_invalid": "fail"}, {"max_invalid": 1.0}])
def test_refused_table_leaves_no_work_file(change, n_batches, model, table, files):
    header, lines = table
    good = [line for line in lines if "acid" not in line]
    write_lines("in.csv", header, [*good, *lines[:10]])
    options = replace(RESUME, rejects="rejects.csv", **change)
    if n_batches:
        interrupt(model, ["in.csv"], "out.csv", options, n_batches)
    with pytest.raises(DataRefusedError, match=r"'acid' is not a number|rows are invalid: "):
        score_files(model, ["in.csv"], "out.csv", options)
    assert files() == []


def test_table_that_is_none_of_the_models_leaves_no_work_file(model, workdir, files):
    Path("in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ModelError, match=r"is not made for in\.csv"):
        score_files(model, ["in.csv"], "out.csv", RESUME)
    assert files() == []


# --- two at the same time -------------------------------------------------------------------------


def meanwhile(do):
    """Give a report that does something once, after the second batch, and keeps its error."""
    errors = []

    def report(n_rows, share):
        report.n_calls += 1
        if report.n_calls == 2:
            try:
                do()
            except UsageError as exc:
                errors.append(exc)

    report.n_calls, report.errors = 0, errors
    return report


@pytest.mark.parametrize("resume", [True, False])
def test_second_job_on_one_output_is_refused_and_disturbs_nothing(resume, model, table, files):
    expected, _ = plain_run(model, ["in.csv"], "out.csv", RESUME)
    second = replace(RESUME, resume=resume)
    report = meanwhile(lambda: score_files(model, ["in.csv"], "out.csv", second))
    score_files(model, ["in.csv"], "out.csv", RESUME, report)
    (error,) = report.errors
    assert error.message == "out.csv: another command is writing it."
    assert files() == ["out.csv"]
    assert take(expected) == expected


def test_second_job_on_one_file_of_rejects_is_refused_and_disturbs_nothing(model, table, files):
    options = replace(RESUME, rejects="rejects.csv")
    expected, _ = plain_run(model, ["in.csv"], "out.csv", options)
    report = meanwhile(lambda: score_files(model, ["in.csv"], "other.csv", options))
    score_files(model, ["in.csv"], "out.csv", options, report)
    (error,) = report.errors
    assert error.message == "rejects.csv: another command is writing it."
    assert take(expected) == expected


# --- by itself ------------------------------------------------------------------------------------


def test_input_is_described_by_its_size_and_time(workdir):
    Path("in.csv").write_text("a\n1\n")
    assert describe_input("in.csv") == {
        "path": "in.csv",
        "bytes": 4,
        "modified_ns": Path("in.csv").stat().st_mtime_ns,
    }


def test_dropping_what_nobody_kept_does_nothing(workdir, files):
    drop_kept_rows("out.csv")
    assert files() == []


def open_job():
    job = {"model": "m", "options": {}, "inputs": []}
    return ResumableOutputs(["out.csv"], job, force=False)


def write_rows(opened, *cells):
    with opened.writer("out.csv") as writer:
        for number, cell in enumerate(cells):
            writer.write({"a": pa.array([cell])})
            opened.save(Checkpoint(number, None, {"rows": number + 1}))


def test_checkpoint_that_was_saved_is_where_the_next_run_starts(workdir, files):
    def write_and_stop():
        with open_job() as opened:
            assert opened.start is None
            write_rows(opened, "x", "y")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert kept_of().read_text() == "a\nx\ny\n"
    with open_job() as opened:
        assert opened.start == Checkpoint(1, None, {"rows": 2})
        write_rows(opened, "z")
        opened.finish()
        opened.publish()
    assert files() == ["out.csv"]
    assert Path("out.csv").read_text() == "a\nx\ny\nz\n"


def test_counts_are_kept_as_numbers(model, table, files):
    interrupt(model, ["in.csv"], "out.csv", RESUME, 3)
    entries = [json.loads(line) for line in journal_of().read_bytes().splitlines()]
    job, *checkpoints = entries
    assert job["inputs"] == [describe_input("in.csv")]
    assert job["model"] == model.digest
    assert [entry["n_inputs"] for entry in checkpoints] == [0, 0, 0]
    for entry in checkpoints:
        assert sum(Counter(entry["counts"]["verdicts"]).values()) == entry["counts"]["rows_scored"]
    assert checkpoints[-1]["kept"]["out.csv"]["length"] == kept_of().stat().st_size
