"""What this machine knows to be wrong is refused before Spark is started, with the right code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli

HEADER = "site,ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,"
HEADER += "Organic_carbon,Trihalomethanes,Turbidity\n"
ROW = "A,7,200,20000,7,300,400,14,66,4\n"
UNIQUE = "schema_type: dataframe\nversion: 0.0\ncolumns:\n"
UNIQUE += "  id: {dtype: str, unique: true}\n  ph: {dtype: float}\n"
SCORE = [
    ("-o out.nosuch", 2, "names no format"),
    ("-o out.xyz --single-file", 2, "names no format"),
    ("-o out.csv.zst", 2, "no .zst parts"),
    ("-o out --rejects out.x", 2, "names no format"),
    ("-o there.csv", 2, "is a file, and a folder of parts"),
    ("-o there.csv --single-file", 2, "exists already"),
    ("-o finished", 2, "exists already"),
    ("-o home --force", 2, "no Spark job has finished"),
    ("-o in.csv --single-file --force", 2, "is an input"),
    ("-o more/a.csv more/a.csv --force", 2, "is an input"),
    ("-o out --rejects out/bad", 2, "lies within"),
    ("-o out --rejects out", 2, "name two files"),
    ("-o out --manifest there.csv", 2, "exists already"),
    ("-o out --manifest nowhere/m.json", 2, "there is no folder"),
    ("-o s3a://KEY:hush@bucket/out", 2, "holds a password"),
    ("-o out.csv --single-file --partition-by site", 2, "--partition-by makes folders"),
    ("-o out --partition-by verdit", 2, "no column 'verdit'"),
    ("-o out --partition-by site,site", 2, "named twice"),
    ("-o out --columns nosuch", 2, "no column 'nosuch'"),
    ("-o out --explain 99", 2, "--explain 99"),
    ("-o out --resume", 2, "--resume is for --engine local"),
    ("-o out --master foo", 4, "Spark knows no such master"),
    ("-o out --spark-conf spark.sql.files.maxPartitionBytes=x", 2, "no size"),
    ("-o out --spark-conf nosuch=1", 2, "spark.NAME=VALUE"),
    ("-o out --model nosuch", 4, "No model 'nosuch'"),
    ("-o out --model 99", 4, "99"),
    ("-o out --limits nosuch", 2, "nosuch"),
    ("-o out --nosuch", 2, "--nosuch"),
]
BOTH = [
    ("in.csv", 2, "is named twice"),
    ("nowhere.csv", 3, "no such file"),
    ("nowhere*.csv", 2, "No file matches"),
    ("-", 2, "standard input"),
    ("empty", 3, "is a folder without files"),
    ("nested", 3, "holds the folder"),
    ("_hidden.csv", 3, "passes over files"),
    ("damaged.zip", 3, "damaged"),
    ("s3a://KEY:hush@bucket/a.csv", 2, "holds a password"),
]
FIRST = [
    ("other.csv", 3, "other.csv"),
    ("in.csv --profile nosuch", 2, "No profile 'nosuch'"),
    ("in.csv --encoding nosuch", 2, "nosuch"),
    ("in.csv --unit ph=mg/L", 2, "mg/L"),
    ("in.csv --rename nosuch=ph", 2, "nosuch"),
    ("noise.csv", 3, "noise.csv"),
]
VALIDATE = [
    ("in.csv --good there.csv --single-file", 2, "exists already"),
    ("in.csv --bad out.x", 2, "names no format"),
    ("in.csv -o there.csv", 2, "exists already"),
    ("in.csv more --good out", 2, "--good and --bad split one file"),
    ("in.csv --schema nosuch", 2, "nosuch"),
    ("in.csv --schema unique.yaml", 2, "must be unique"),
]


@pytest.fixture
def spark_is_not_started(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.csv").write_text(HEADER + ROW)
    Path("there.csv").write_text("precious\n")
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("_hidden.csv").write_text(HEADER + ROW)
    Path("has_status.csv").write_text("status," + HEADER + "x," + ROW)
    Path("damaged.zip").write_bytes(b"PK\x03\x04" + b"x" * 50)
    Path("noise.csv").write_bytes(bytes(range(256)) * 8)
    Path("unique.yaml").write_text(UNIQUE)
    for folder in ("finished", "home", "empty", "nested/inner", "more"):
        Path(folder).mkdir(parents=True)
    Path("finished/_SUCCESS").touch()
    Path("home/letter.txt").touch()
    Path("more/a.csv").write_text(HEADER + ROW)

    def started(*_args: object, **_options: object) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr("waterflow_cli.spark.session.launch_jvm", started)
    monkeypatch.setattr("waterflow_cli.spark.session.find_java", started)
    monkeypatch.setattr("waterflow_cli.spark.session._is_spark_running", lambda: False)


def refused(cli: Cli, *args: str) -> tuple[int, str]:
    before = sorted(Path().rglob("*"))
    done = cli(*args)
    assert sorted(Path().rglob("*")) == before
    assert "hush" not in done.err
    assert len(done.err.splitlines()) <= 3
    return done.code, done.err


@pytest.mark.usefixtures("spark_is_not_started")
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [(f"in.csv {text}", *rest) for text, *rest in SCORE]
    + [(f"in.csv {text} -o out", *rest) for text, *rest in BOTH]
    + [(f"{text} -o out", *rest) for text, *rest in FIRST]
    + [("has_status.csv -o out", 2, "'status'")],
)
def test_scoring_is_refused(options, code, words, cli, store_uri):
    if "other.csv" in options:
        code = 4  # the model is not made for it
    args = ["score", "--engine", "spark", "--tracking-uri", store_uri, *options.split()]
    found, said = refused(cli, *args)
    assert (found, words in said) == (code, True), said


@pytest.mark.usefixtures("spark_is_not_started")
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [(f"in.csv {text}", *rest) for text, *rest in BOTH] + FIRST + VALIDATE,
)
def test_validation_is_refused(options, code, words, cli):
    found, said = refused(cli, "validate", "--engine", "spark", *options.split())
    assert (found, words in said) == (code, True), said


@pytest.mark.usefixtures("spark_is_not_started")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", ["in.csv", "more"])
def test_what_may_not_be_read_is_refused(name, cli):
    Path(name).chmod(0)
    done = cli("validate", "--engine", "spark", name)
    Path(name).chmod(0o755)
    assert (done.code, "Permission denied" in done.err) == (3, True)


@pytest.mark.usefixtures("spark_is_not_started")
@pytest.mark.parametrize(
    "files", [["in.csv"], ["more"], ["s3a://bucket/a.csv"], ["in.csv", "more"]]
)
def test_the_rest_is_left_to_spark(files, cli):
    done = cli("validate", "--engine", "spark", *files)
    assert (done.code, "Spark was started" in done.err) == (70, True)
