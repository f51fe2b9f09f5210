"""The record of a scoring job: its sums are those of the files, and a failed job has none."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from waterflow_cli import __version__
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.registry.location import load_model
from waterflow_cli.scoring.job import ScoringSummary, score_files, write_manifest
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables.outputs import OutputGroup
from waterflow_cli.tables.reading_options import AS_FOUND

HEADER = "id,ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes"
HEADER += ",Turbidity"
GOOD = "7,200,20000,7,300,400,14,66,4"


@pytest.fixture(scope="module")
def model(store_uri):
    return load_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture
def score(cli, store_uri):
    """Score from the command line with the model of the session's store, and record it."""

    def run(*arguments, output="out.csv", manifest="job.json"):
        where = ("-o", output, "--manifest", manifest, "--tracking-uri", store_uri)
        return cli("score", *arguments, *where)

    return run


@pytest.fixture
def two_files(workdir):
    """Five rows in two files, one of them invalid."""
    Path("a.csv").write_text(f"{HEADER}\nS1,{GOOD}\nS2,{GOOD}\n")
    Path("b.csv").write_text(f"{HEADER}\nS1,{GOOD}\nS2,x{GOOD[1:]}\nS3,{GOOD}\n")


def describe(path):
    content = Path(path).read_bytes()
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_manifest(path="job.json"):
    return json.loads(Path(path).read_text(encoding="ascii"))


def test_manifest_holds_the_sums_of_the_files_as_they_are(score, two_files):
    outcome = score("b.csv", "a.csv", "--rejects", "rejects.csv")
    assert outcome.code == 0, outcome.err
    manifest = read_manifest()
    assert manifest["inputs"] == [describe("b.csv"), describe("a.csv")]
    assert manifest["outputs"] == [describe("out.csv"), describe("rejects.csv")]


def test_manifest_of_a_folder_holds_each_of_its_files(score, two_files):
    assert score("a.csv", "b.csv", output="out/").code == 0
    manifest = read_manifest()
    assert manifest["inputs"] == [describe("a.csv"), describe("b.csv")]
    assert manifest["outputs"] == [describe("out/a.csv"), describe("out/b.csv")]


def test_manifest_holds_what_was_counted(score, two_files):
    outcome = score("a.csv", "b.csv", "--json")
    assert outcome.code == 0
    manifest, report = read_manifest(), json.loads(outcome.out)
    assert (manifest["rows"], manifest["rows_scored"], manifest["rows_invalid"]) == (5, 4, 1)
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text(), newline="")))
    judged = [row["verdict"] for row in rows if row["status"] == "scored"]
    assert manifest["verdicts"] == report["verdicts"]
    assert {name: n for name, n in manifest["verdicts"].items() if n} == {
        name: judged.count(name) for name in set(judged)
    }


def test_manifest_holds_the_model_and_what_it_ran_on(score, two_files, model):
    before = datetime.now(UTC)
    assert score("a.csv").code == 0
    manifest = read_manifest()
    assert manifest["version"] == 1
    assert manifest["model"] == {
        "label": "waterflow/1",
        "plugin": model.plugin,
        "sha256": model.digest,
    }
    assert len(model.digest) == 64
    assert manifest["waterflow"] == __version__
    assert manifest["python"] == sys.version.split()[0]
    assert manifest["libraries"]["scikit-learn"] == version("scikit-learn")
    assert all(found == version(name) for name, found in manifest["libraries"].items())
    created = datetime.fromisoformat(manifest["created"])
    assert before - timedelta(seconds=1) <= created <= datetime.now(UTC)


def test_manifest_holds_the_options_that_decide_the_output(score, two_files):
    options = ("--prefix", "wf_", "--columns", "id", "--on-invalid", "drop", "--max-invalid", "50")
    renamed = HEADER.replace("ph", "acid")
    Path("c.csv").write_text(f"{renamed}\nS1,{GOOD}\n")
    outcome = score(
        *("c.csv", "--rename", "acid=ph", *options, "--rejects", "rejects.jsonl"),
        *("--jobs", "2", "--batch-rows", "3"),
    )
    assert outcome.code == 0, outcome.err
    reading = {**asdict(AS_FOUND), "renames": {"acid": "ph"}, "na": []}
    del reading["samplings"]
    assert read_manifest()["options"] == {
        "reading": reading,
        "prefix": "wf_",
        "columns": "id",
        "on_invalid": "drop",
        "max_invalid": 50.0,
        "rejects": "rejects.jsonl",
        "explain": 0,
        "excel": None,
    }


def test_options_that_change_no_result_change_no_manifest(score, two_files):
    manifests = []
    for arguments in (("--jobs", "1"), ("--jobs", "2", "--batch-rows", "1")):
        assert score("a.csv", "b.csv", *arguments, "--force").code == 0
        manifests.append(read_manifest())
        del manifests[-1]["created"]
    assert manifests[0] == manifests[1]


def test_what_went_through_a_pipe_has_no_sum(score, two_files, monkeypatch):
    with Path("a.csv").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        outcome = score("-", output="-")
    assert outcome.code == 0, outcome.err
    manifest = read_manifest()
    nothing = [{"path": "-", "bytes": None, "sha256": None}]
    assert manifest["inputs"] == manifest["outputs"] == nothing
    assert manifest["rows"] == 2


def test_manifest_can_go_to_standard_output(score, two_files):
    outcome = score("a.csv", manifest="-")
    assert outcome.code == 0
    assert json.loads(outcome.out)["outputs"] == [describe("out.csv")]
    outcome = score("a.csv", output="-", manifest="-")
    assert outcome.code == 2
    assert "-: is both -o and --manifest; name two files." in outcome.err
    assert score("a.csv", "--json", manifest="-", output="x.csv").code == 2


def test_pipe_with_a_name_is_recorded_as_a_pipe(model, two_files):
    """As a shell passes it for ``<(command)``."""
    ours, theirs = os.pipe()
    os.write(theirs, Path("a.csv").read_bytes())
    os.close(theirs)
    path = f"/dev/fd/{ours}"
    score_files(model, [path], "out.csv", ScoringOptions(manifest="job.json"))
    os.close(ours)
    assert read_manifest()["inputs"] == [{"path": path, "bytes": None, "sha256": None}]


def test_named_pipe_is_not_waited_for_once_it_was_read(model, two_files):
    os.mkfifo("pipe")
    options = ScoringOptions(manifest="job.json")
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(score_files, model, ["pipe"], "out.csv", options)
        Path("pipe").write_bytes(Path("a.csv").read_bytes())
        waits = not wait([job], timeout=3).done
        if waits:  # an end for the thread
            Path("pipe").write_bytes(b"")
    assert not waits
    assert job.result().n_rows == 2
    assert read_manifest()["inputs"] == [{"path": "pipe", "bytes": None, "sha256": None}]


def test_manifest_that_exists_is_refused_before_any_row_is_scored(score, two_files, workdir):
    Path("job.json").write_text("precious\n")
    # Scoring would end with exit code 1, or 3.
    for arguments in (("b.csv", "--on-invalid", "fail"), ("no_such.csv",)):
        outcome = score(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert "job.json: exists already." in outcome.err
    assert Path("job.json").read_text() == "precious\n"
    assert sorted(path.name for path in workdir.iterdir()) == ["a.csv", "b.csv", "job.json"]
    assert score("b.csv", "--force").code == 0
    assert read_manifest()["rows"] == 3


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("out.csv", "is both -o and --manifest"),
        ("rejects.csv", "is both --rejects and --manifest"),
        ("b.csv", "is an input"),
        (".", "is a folder"),
        ("no/job.json", "there is no folder no"),
    ],
)
def test_manifest_that_cannot_be_is_refused_before_any_row_is_scored(
    manifest, message, score, two_files, workdir
):
    outcome = score("b.csv", "--rejects", "rejects.csv", "--force", manifest=manifest)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert sorted(path.name for path in workdir.iterdir()) == ["a.csv", "b.csv"]


def test_manifest_may_not_be_a_file_of_the_folder(score, two_files):
    outcome = score("a.csv", "b.csv", output="out/", manifest="out/b.csv")
    assert outcome.code == 2
    assert "out/b.csv: is both -o and --manifest" in outcome.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("b.csv", "--on-invalid", "fail"), 1),
        (("b.csv", "--max-invalid", "1"), 1),
        (("a.csv", "no_such.csv"), 3),
        (("a.csv", "--columns", "nothing"), 2),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_job_that_fails_writes_no_manifest(arguments, code, force, score, two_files, workdir):
    if force:
        Path("job.json").write_text("precious\n")
    outcome = score(*arguments, *(["--force"] if force else []))
    assert outcome.code == code
    if force:
        assert Path("job.json").read_text() == "precious\n"
    kept = ["a.csv", "b.csv", *(["job.json"] if force else [])]
    assert sorted(path.name for path in workdir.iterdir()) == kept


def test_file_that_is_gone_is_named(model, workdir):
    options, summary = ScoringOptions(manifest="job.json"), ScoringSummary(model=model.label)
    with pytest.raises(InputError, match=r"^gone\.csv: cannot be read again for the manifest \(No"):
        write_manifest(OutputGroup(force=False), model, summary, options, ["gone.csv"])
    assert list(workdir.iterdir()) == []
    Path("job.json").write_text("precious\n")
    with pytest.raises(UsageError, match=r"^job\.json: exists already"):
        write_manifest(OutputGroup(force=False), model, summary, options, [])


def test_name_that_is_no_utf_8_is_recorded(score, two_files):
    name = os.fsdecode(b"r\xff.csv")
    Path("a.csv").rename(name)
    outcome = score(name)
    assert outcome.code == 0, outcome.err
    (found,) = read_manifest()["inputs"]
    assert found == {**describe(name), "path": "r\\udcff.csv"}
