"""What a script sees when something is wrong: the exit code, three lines at most, nothing left."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import waterflow_cli.samples.simulation
from waterflow_cli.common.messages import clipped
from waterflow_cli.main import main

COMMANDS = ("validate", "train", "score")


class Fault(NamedTuple):
    """A faulty input: how it is made, each command's exit code, and what its message says."""

    make: Callable[[Path, list[str]], object]
    validate: int
    train: int
    score: int
    says: tuple[str, ...]
    line: int | None = None
    name: str = "faulty.csv"


def rewrite(path, lines):
    path.write_text("\n".join(lines) + "\n", "utf-8")


def relabelled(label):
    """Make a file of which each label is what a function of its number says."""

    def make(path, lines):
        cut = [line.rpartition(",") for line in lines[1:]]
        labelled = [f"{row},{label(number)}" for number, (row, _, _) in enumerate(cut)]
        rewrite(path, [lines[0], *labelled])

    return make


def without_column(name):
    def make(path, lines):
        position = lines[0].split(",").index(name)
        rows = [line.split(",") for line in lines]
        rewrite(path, [",".join(row[:position] + row[position + 1 :]) for row in rows])

    return make


def with_solids(line, header):
    """Take the decimals away, and write thousands that may be something else."""
    cells = [cell.partition(".")[0] for cell in line.split(",")]
    cells[header.split(",").index("Solids")] = '"1,234"'
    return ",".join(cells)


def bad_cell(path, lines):
    rows = [line.split(",") for line in lines]
    rows[3][rows[0].index("Hardness")] = "hard"
    rewrite(path, [",".join(row) for row in rows])


FAULTS = {
    "no_such_file": Fault(lambda path, lines: None, 3, 3, 3, ("no such file", "Check the name")),
    "folder": Fault(
        lambda path, lines: path.mkdir(), 3, 3, 3, ("is a folder", "Name the files in it")
    ),
    "empty": Fault(
        lambda path, lines: path.write_bytes(b""), 3, 3, 3, ("is empty", "at least one row")
    ),
    "header_only": Fault(
        lambda path, lines: rewrite(path, lines[:1]),
        *(3, 3, 3),
        ("has a header and no rows", "At least one row"),
    ),
    "binary": Fault(
        lambda path, lines: path.write_bytes(b"\x89BIN\r\n\x1a\n" + bytes(range(256)) * 9),
        *(3, 3, 3),
        ("byte 0x81 is neither UTF-8 nor cp1252", "--encoding"),
        line=5,
    ),
    "two_encodings": Fault(
        lambda path, lines: path.write_bytes(
            "\n".join([*lines[:3], "é" + lines[3]]).encode() + b"\n\xe9" + lines[4].encode()
        ),
        *(3, 3, 3),
        ("byte 0xE9 is not UTF-8",),
        line=5,
    ),
    "mixed_decimals": Fault(
        lambda path, lines: rewrite(
            path,
            [
                line.replace(",", ";").replace(".", "," if n % 2 else ".")
                for n, line in enumerate(lines)
            ],
        ),
        *(3, 3, 3),
        ("has a decimal comma", "a decimal point", "--decimal comma or --decimal point"),
        line=2,
    ),
    "unclear_thousands": Fault(
        lambda path, lines: rewrite(
            path, [lines[0], *[with_solids(line, lines[0]) for line in lines[1:]]]
        ),
        *(3, 3, 3),
        ("column Solids: '1,234' is 1.234 or 1234", "--decimal , or --thousands ,"),
        line=2,
    ),
    "unknown_unit": Fault(
        lambda path, lines: rewrite(
            path, [lines[0].replace("Sulfate", "Sulfate (grains/gallon)"), *lines[1:]]
        ),
        *(3, 3, 3),
        ("'grains/gallon' is no known unit", "--unit Sulfate=UNIT"),
        line=1,
    ),
    "truncated_gzip": Fault(
        lambda path, lines: path.write_bytes(gzip.compress("\n".join(lines).encode())[:-500]),
        *(3, 3, 3),
        ("gzip data is damaged or cut short", "Fetch or compress the file again"),
        name="faulty.csv.gz",
    ),
    "missing_column": Fault(
        without_column("Sulfate"), 3, 3, 0, ("Sulfate", "not found in the header", "--rename"), 1
    ),
    "most_columns_missing": Fault(
        lambda path, lines: rewrite(path, ["id,ph,Potability", *("1,7,0", "2,7,1") * 50]),
        *(3, 3, 4),
        ("Hardness", "Turbidity"),
    ),
    "duplicate_column": Fault(
        lambda path, lines: rewrite(path, [lines[0].replace("site", "ph"), *lines[1:]]),
        *(3, 3, 3),
        ("two columns 'ph', at positions 2 and 4", "a name of its own"),
        line=1,
    ),
    "no_label": Fault(
        without_column("Potability"), 0, 3, 0, ("column Potability", "Labelled rows"), 1
    ),
    "one_class": Fault(
        relabelled(lambda number: 0), 0, 1, 0, ("column Potability: only the class 0", "both")
    ),
    "three_classes": Fault(
        relabelled(lambda number: number % 3),
        *(1, 1, 0),
        ("column Potability", "'2' is not one of 0, 1", "--on-invalid drop"),
        line=4,
    ),
    "label_missing_in_some_rows": Fault(
        relabelled(lambda number: "" if number % 7 == 2 else number % 2),
        *(0, 1, 0),
        ("column Potability", "the label is missing", "--on-invalid drop"),
        line=4,
    ),
    "five_rows": Fault(
        lambda path, lines: rewrite(path, lines[:6]), 0, 1, 0, ("1 row; at least 20 of each class",)
    ),
    "bad_cell": Fault(
        bad_cell,
        *(1, 1, 0),
        ("column Hardness", "'hard' is not a number", "--on-invalid drop"),
        line=4,
    ),
}
CASES = [
    pytest.param(command, name, id=f"{command}-{name}") for command in COMMANDS for name in FAULTS
]


@pytest.fixture(scope="module")
def sample_lines(samples):
    return samples.read_text("utf-8").splitlines()


@pytest.fixture
def command_line(store_uri, tmp_path):
    """Each command with what it needs beside its input."""
    unused = f"sqlite:///{tmp_path / 'unused.db'}"
    return {
        "validate": lambda path: ("validate", path),
        "train": lambda path: ("train", path, "--plugin", "logreg", "--tracking-uri", unused),
        "score": lambda path: ("score", path, "-o", "scored.csv", "--tracking-uri", store_uri),
        "simulate": lambda _: ("simulate", "--rows", "5", "-o", "simulated.csv"),
    }


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_refused(outcome, code, *says):
    """Check the form that every error has."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert 1 <= len(lines) <= 3, outcome.err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in outcome.err
    for words in says:
        assert clipped(words) in outcome.err, outcome.err


@pytest.mark.parametrize(("command", "name"), CASES)
def test_faulty_input_ends_with_the_code_of_the_contract(
    command, name, cli, command_line, sample_lines, workdir, tmp_path
):
    fault = FAULTS[name]
    path = workdir / fault.name
    fault.make(path, sample_lines)
    before = files_below(tmp_path)
    outcome = cli(*command_line[command](fault.name))
    code = getattr(fault, command)
    refused = code and not (command == "validate" and code == 1)
    if refused:
        line = f", line {fault.line}" if fault.line else ""
        assert_refused(outcome, code, fault.name + line, *fault.says)
        assert files_below(tmp_path) == before
    else:
        assert outcome.code == code, outcome.err
        assert "Error" not in outcome.err
        assert "Traceback" not in outcome.err


def test_findings_of_validate_are_its_result_and_no_error(cli, sample_lines, workdir):
    bad_cell(workdir / "river.csv", sample_lines)
    outcome = cli("validate", "river.csv")
    assert outcome.code == 1
    *_, finding = outcome.out.splitlines()
    assert finding.split()[:5] == ["river.csv", "4", "Hardness", "hard", "not_a_number"]
    assert "400 rows, 1 does not pass: 1 finding, 1 shown" in outcome.err


WRONG_USAGE = {
    "no_command": (("--quiet",), "Missing command."),
    "no_subcommand": (("models",), "which command?"),
    "unknown_command": (("scroe",), "No command 'scroe'. Did you mean 'score'?"),
    "unknown_subcommand": (("models", "lst"), "Did you mean 'list'?"),
    "unknown_option_of_all": (("--colour", "validate", "x"), "No such option '--colour'"),
    "unknown_option": (("validate", "x", "--shema", "y"), "--schema"),
    "validate_without_argument": (("validate",), "Missing argument 'FILE...'"),
    "score_without_argument": (("score", "-o", "x.csv"), "Missing argument 'FILE...'"),
    "score_without_output": (("score", "x.csv"), "Missing option '-o' / '--output'"),
    "train_without_plugin": (("train", "x.csv"), "Missing option '--plugin'"),
    "simulate_without_output": (("simulate",), "Missing option '-o' / '--output'"),
    "promote_without_version": (("models", "promote"), "Missing argument 'VERSION'"),
    "option_without_value": (("train", "--plugin"), "'--plugin' requires an argument"),
    "two_arguments": (("train", "a.csv", "b.csv", "--plugin", "rf"), "b.csv: one file of labelled"),
    "unknown_plugin": (("train", "x.csv", "--plugin", "logrge"), "Did you mean 'logreg'?"),
    "unknown_plugin_checked": (("plugins", "check", "logrge"), "Did you mean 'logreg'?"),
    "unknown_parameter": (
        ("train", "x.csv", "--plugin", "logreg", "--param", "max_itre=5"),
        "Did you mean 'max_iter'?",
    ),
    "parameter_without_value": (
        ("train", "x.csv", "--plugin", "logreg", "--param", "max_iter"),
        "NAME=VALUE is expected",
    ),
    "unknown_threshold": (
        ("train", "x.csv", "--plugin", "rf", "--threshold", "f2"),
        "no such rule",
    ),
    "threshold_out_of_range": (
        ("train", "x.csv", "--plugin", "rf", "--threshold", "2"),
        "from 0 to 1",
    ),
    "unknown_balance": (("train", "x", "--plugin", "rf", "--balance", "smot"), "'smot' is not one"),
    "test_size_out_of_range": (("train", "x", "--plugin", "rf", "--test-size", "0.9"), "0.05<=x"),
    "negative_seed": (("simulate", "-o", "-", "--seed", "-1"), "'--seed'"),
    "no_rows": (("simulate", "-o", "-", "--rows", "0"), "'--rows'"),
    "no_jobs": (("score", "x.csv", "-o", "y.csv", "--jobs", "0"), "'--jobs'"),
    "unknown_format": (("validate", "x.csv", "--format", "xml"), "'xml' is not one of"),
    "unknown_schema": (("validate", "x.csv", "--schema", "watr"), "Did you mean 'water'?"),
    "unknown_schema_shown": (("schemas", "show", "watr"), "Did you mean 'water'?"),
    "missing_schema_file": (("validate", "x.csv", "--schema", "x.yaml"), "Schema x.yaml"),
    "bad_rename": (("validate", "x.csv", "--rename", "acidity"), "FROM=TO is expected"),
    "unknown_separator": (("validate", "x.csv", "--sep", "x"), "one of ,, ;, |, tab is expected"),
    "unknown_decimal": (("validate", "x.csv", "--decimal", ";"), "point, comma is expected"),
    "unknown_thousands": (("score", "x", "-o", "y.csv", "--thousands", "' '"), "is expected"),
    "unknown_nondetect": (("validate", "x.csv", "--nondetect", "third"), "'third' is not one of"),
    "bad_loq": (("validate", "x.csv", "--loq", "ph"), "COLUMN=VALUE, a number above 0 is expected"),
    "loq_that_is_no_number": (("validate", "x.csv", "--loq", "ph=x"), "a number above 0"),
    "loq_of_zero": (("validate", "x.csv", "--loq", "ph=0"), "a number above 0"),
    "loq_that_is_nan": (("validate", "x.csv", "--loq", "ph=nan"), "a number above 0"),
    "bad_unit": (("validate", "x.csv", "--unit", "ph"), "COLUMN=UNIT is expected"),
    "header_line_zero": (("validate", "x.csv", "--header-line", "0"), "'--header-line'"),
    "pattern_of_nothing": (("validate", "*.csv"), "No file matches '*.csv'"),
    "signal_out_of_range": (("simulate", "-o", "-", "--signal", "2"), "between 0.5 and 0.99"),
    "json_and_format": (("validate", "x", "--json", "--format", "csv"), "neither --format nor -o"),
    "json_and_findings_file": (("validate", "x", "--json", "-o", "y"), "--format json -o FILE"),
    "json_and_rows_on_stdout": (("simulate", "-o", "-", "--json"), "both write to stdout"),
    "json_and_scores_on_stdout": (("score", "x", "-o", "-", "--json"), "both go to stdout"),
    "json_and_rejects_on_stdout": (
        ("score", "x", "-o", "y.csv", "--rejects", "-", "--json"),
        "both go to stdout",
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--encoding", "klingon"), "--encoding klingon: no such encoding"),
        (("--encoding", "base64"), "--encoding base64: no such encoding"),
        (("--unit", "Sulfate=furlong"), "'furlong' is no known unit"),
        (("--unit", "Sulfite=mg/L"), "Did you mean 'Sulfate'?"),
        (("--loq", "Sulfite=5"), "Did you mean 'Sulfate'?"),
        (("--decimal", "comma", "--thousands", "comma"), "are the same mark"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_option_that_does_not_fit_the_file_is_wrong_usage(
    options, says, command, cli, command_line, sample_lines, workdir, tmp_path
):
    rewrite(workdir / "river.csv", sample_lines)
    before = files_below(tmp_path)
    assert_refused(cli(*command_line[command]("river.csv"), *options), 2, says)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage_ends_with_2_and_a_pointer(name, cli, tmp_path):
    arguments, says = WRONG_USAGE[name]
    before = files_below(tmp_path)
    assert_refused(cli(*arguments), 2, says)
    assert files_below(tmp_path) == before


@pytest.mark.slow
def test_bad_value_of_a_parameter_is_refused_and_the_run_is_marked_failed(
    cli, samples, tmp_path, workdir
):
    import mlflow

    uri = f"sqlite:///{tmp_path / 'own.db'}"
    arguments = ("train", samples, "--plugin", "logreg", "--tracking-uri", uri)
    outcome = cli(*arguments, "--param", "max_iter=-5")
    assert (outcome.code, outcome.out) == (2, "")
    *_, creating, fitting, error = outcome.err.splitlines()
    assert creating == f"Creating the tracking store {uri}"
    assert fitting.startswith("Measuring logreg by ")
    assert error.startswith("Error: --param: The 'max_iter' parameter must be")
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("waterflow").experiment_id])
    assert run.info.status == "FAILED"
    assert not client.search_registered_models()
    assert files_below(workdir) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "samples.csv", "-o", "scored.csv"),
        ("models", "list"),
        ("models", "promote", "1"),
    ],
    ids=lambda arguments: arguments[0] + arguments[1],
)
def test_without_a_model_nothing_is_created_and_the_code_is_4(arguments, cli, samples, workdir):
    (workdir / "samples.csv").write_bytes(samples.read_bytes())
    assert_refused(cli(*arguments), 4, "no model is registered here yet", "waterflow train")
    assert files_below(workdir) == ["samples.csv"]


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("@nobody", "has no @nobody"),
        ("99", "has no version 99"),
        ("models:/elsewhere/1", "'elsewhere' has no version 1"),
        ("models:/m-00000000000000000000000000000000", "cannot be used"),
        ("runs:/00000000000000000000000000000000/model", "cannot be used"),
        ("champion", "No model 'champion'"),
        ("folder", "No model 'folder'"),
    ],
)
def test_model_that_is_not_there_ends_with_4(reference, says, cli, samples, store_uri, workdir):
    (workdir / "folder").mkdir()
    outcome = cli(
        *("score", samples, "-o", "scored.csv"),
        *("--tracking-uri", store_uri, "--model", reference),
    )
    assert_refused(outcome, 4, says)
    assert files_below(workdir) == ["folder"]


def test_changed_model_folder_ends_with_4(cli, samples, store_uri, workdir):
    import shutil

    from waterflow_cli.registry.overview import list_versions

    (version,) = list_versions("waterflow", store_uri)
    store = Path(store_uri.removeprefix("sqlite:///")).parent
    (found,) = store.rglob("MLmodel")
    shutil.copytree(found.parent, workdir / "folder")
    decision = workdir / "folder" / "data" / "waterflow" / "decision.json"
    decision.write_text(decision.read_text().replace('"threshold": 0', '"threshold": 1'))
    outcome = cli("score", samples, "-o", "scored.csv", "--model", "folder")
    assert_refused(outcome, 4, "decision.json", "is not what was saved", "refused, not loaded")
    assert version["version"] == 1
    assert files_below(workdir)[-1].startswith("folder")


SOIL = """\
name: soil
metadata: {label: Fertile}
columns:
  Clay: {dtype: float64, nullable: true, in_range: {min_value: 0, max_value: 100}}
  Nitrogen: {dtype: float64, nullable: true}
  Fertile: {dtype: float64, required: false, isin: [0, 1]}
"""


@pytest.fixture(scope="module")
def soil_store(tmp_path_factory):
    """A store with a model of a user's own columns and label."""
    folder = tmp_path_factory.mktemp("soil")
    (folder / "soil.yaml").write_text(SOIL)
    rows = [f"{clay % 83},{clay % 7},{int(clay % 83 > 40)}" for clay in range(200)]
    rewrite(folder / "soil.csv", ["Clay,Nitrogen,Fertile", *rows])
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    arguments = ("soil.csv", "--schema", "soil.yaml", "--plugin", "logreg", "--balance", "none")
    paths = [str(folder / name) if name.startswith("soil.") else name for name in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(["train", *paths, "--tracking-uri", uri, "--quiet"])
    assert stopped.value.code == 0
    return folder


@pytest.mark.slow
def test_model_of_other_columns_ends_with_4_and_scores_its_own_table(
    soil_store, cli, samples, workdir
):
    uri = f"sqlite:///{soil_store / 'mlflow.db'}"
    outcome = cli("score", samples, "-o", "scored.csv", "--tracking-uri", uri)
    assert_refused(outcome, 4, "waterflow/1", samples.name, "Clay, Nitrogen", "models list")
    assert files_below(workdir) == []
    rewrite(workdir / "half.csv", ["Nitrogen", "1"])
    outcome = cli("score", "half.csv", "-o", "scored.csv", "--tracking-uri", uri)
    assert_refused(outcome, 4, "half.csv: it lacks Clay, 100% of what the model learned")
    outcome = cli("score", soil_store / "soil.csv", "-o", "scored.csv", "--tracking-uri", uri)
    assert outcome.code == 0
    assert "200 scored" in outcome.err


@pytest.fixture
def outputs(workdir, samples):
    """A folder with an input and things that stand where an output could."""
    (workdir / "samples.csv").write_bytes(samples.read_bytes())
    (workdir / "taken.csv").write_text("precious\n")
    (workdir / "folder.csv").mkdir()
    (workdir / "link.csv").symlink_to("samples.csv")
    (workdir / "hard.csv").hardlink_to("samples.csv")
    os.mkfifo(workdir / "pipe.csv")
    return workdir


OUTPUTS = {
    "folder_missing": ("nowhere/out.csv", "there is no folder nowhere"),
    "below_a_file": ("taken.csv/out.csv", "cannot be written (Not a directory)"),
    "folder": ("folder.csv", "is a folder"),
    "exists": ("taken.csv", "exists already"),
    "device": ("/dev/null", "is no regular file, and will not be replaced"),
    "pipe": ("pipe.csv", "is no regular file, and will not be replaced"),
    "name_too_long": ("x" * 300 + ".csv", "cannot be written (File name too long)"),
}
INPUTS = {
    "input": "samples.csv",
    "input_by_another_path": "../work/./samples.csv",
    "input_by_symlink": "link.csv",
    "input_by_hard_link": "hard.csv",
}
WRITERS = {
    "validate-o": ("validate", "--format", "csv", "-o"),
    "validate-good": ("validate", "--good"),
    "validate-bad": ("validate", "--bad"),
    "score-o": ("score", "-o"),
    "score-rejects": ("score", "-o", "scored.csv", "--rejects"),
    "score-manifest": ("score", "-o", "scored.csv", "--manifest"),
    "simulate-o": ("simulate", "--rows", "5", "-o"),
}


def write_to(output, writer, cli, store_uri, *more):
    command, *options = WRITERS[writer]
    inputs = () if command == "simulate" else ("samples.csv",)
    store = ("--tracking-uri", store_uri) if command == "score" else ()
    return cli(command, *inputs, *options, output, *store, *more)


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        (name, writer)
        for name in OUTPUTS
        for writer in WRITERS
        if (name, writer) != ("folder", "score-o")  # which takes one file for each input
    ],
)
def test_output_that_cannot_be_written_is_refused(name, writer, cli, store_uri, outputs):
    path, says = OUTPUTS[name]
    before = files_below(outputs)
    more = ("--force",) if name == "device" else ()
    if (name, writer) == ("device", "simulate-o"):
        says = "names no format"  # it looks at the suffix first
    assert_refused(write_to(path, writer, cli, store_uri, *more), 2, path, says)
    assert files_below(outputs) == before
    assert (outputs / "taken.csv").read_text() == "precious\n"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "simulate-o"])
@pytest.mark.parametrize("name", INPUTS)
def test_input_is_never_the_output(name, writer, cli, store_uri, outputs, samples):
    before = files_below(outputs)
    outcome = write_to(INPUTS[name], writer, cli, store_uri, "--force")
    assert_refused(outcome, 2, INPUTS[name], "is an input", "Choose another name")
    assert files_below(outputs) == before
    assert (outputs / "samples.csv").read_bytes() == samples.read_bytes()
    assert (outputs / "link.csv").is_symlink()


@pytest.mark.parametrize("writer", WRITERS)
def test_existing_output_is_replaced_with_force(writer, cli, store_uri, outputs):
    assert write_to("taken.csv", writer, cli, store_uri, "--force").code == 0
    assert "," in (outputs / "taken.csv").read_text()
    assert not [name for name in files_below(outputs) if name.endswith(".part")]


@pytest.mark.parametrize("writer", ["validate-good", "score-o", "score-rejects", "simulate-o"])
def test_suffix_that_names_no_format_is_refused(writer, cli, store_uri, outputs):
    before = files_below(outputs)
    several = ("out.xls", "out", "out.gz", "out.csv.bz2", "out.parquet.gz")
    for path in several if writer == "simulate-o" else several[:1]:
        assert_refused(
            write_to(path, writer, cli, store_uri), 2, path, "names no format", ".parquet"
        )
    assert files_below(outputs) == before


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("score", ("-o", "out.csv", "--rejects", "../work/out.csv")),
        ("validate", ("--good", "out.csv", "--bad", "./out.csv")),
        ("validate", ("--good", "out.csv", "-o", "out.csv")),
        ("validate", ("--bad", "-")),
    ],
)
def test_two_outputs_are_two_files(command, options, cli, command_line, outputs):
    before = files_below(outputs)
    path = "samples.csv"
    store = () if command == "validate" else command_line["score"](path)[-2:]
    outcome = cli(command, path, *options, *store, "--force")
    assert_refused(outcome, 2, "is both", "name two files")
    assert files_below(outputs) == before


def test_input_whose_name_is_too_long_cannot_be_read(cli, workdir):
    path = "x" * 300 + ".csv"
    outcome = cli("validate", path, "-o", "findings.csv")
    assert_refused(outcome, 3, path, "cannot be opened (File name too long)")
    (workdir / "taken.csv").write_text("precious\n")
    assert_refused(cli("validate", path, "-o", "taken.csv", "--force"), 3, path)
    assert (workdir / "taken.csv").read_text() == "precious\n"


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


BROKEN_PLUGIN = {
    "import": "raise RuntimeError('no engine')",
    "params": """
from waterflow_cli.pipelines import EstimatorPlugin
class Broken(EstimatorPlugin):
    def default_params(self):
        raise RuntimeError("no engine")
plugin = Broken(summary="Broken", estimator="sklearn.linear_model:LogisticRegression")
""",
}


@pytest.mark.parametrize("name", BROKEN_PLUGIN)
def test_plugin_that_fails_ends_with_5_and_is_named(name, cli, samples, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[waterflow.models]\nbroken = broken_{name}:plugin\n")
    (site / f"broken_{name}.py").write_text(BROKEN_PLUGIN[name])
    monkeypatch.syspath_prepend(str(site))
    outcome = cli("train", samples, "--plugin", "broken")
    assert files_below(tmp_path / "work") == []
    assert_refused(outcome, 5, f"broken_{name}:plugin", "broken 1.0", "RuntimeError: no engine")


def test_defect_ends_with_70_and_asks_for_a_report(cli, monkeypatch, workdir):
    def fail(*_args, **_options):
        raise ZeroDivisionError("one\nof ours")

    monkeypatch.setattr(waterflow_cli.samples.simulation, "write_simulation", fail)
    outcome = cli("simulate", "-o", "out.csv")
    assert_refused(outcome, 70, "ZeroDivisionError: one of ours", "Please report it", "--debug")
    outcome = cli("simulate", "-o", "out.csv", "--debug")
    assert outcome.code == 70
    assert "Traceback" in outcome.err


def test_interruption_ends_with_130(cli, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(waterflow_cli.samples.simulation, "write_simulation", interrupt)
    outcome = cli("simulate", "-o", "out.csv")
    assert (outcome.code, outcome.out) == (130, "")
    message = "Error: Interrupted; outputs and models are as they were before."
    assert outcome.err == f"\n{message}\n"  # the first ends the line with ^C


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("models",), 2, "which command?"),
        (("validate", "no_such.csv"), 3, "no_such.csv: no such file"),
        slow(("train", "no_such.csv", "--plugin", "logrge"), 2, "Did you mean 'logreg'?"),
        slow(("train", "five.csv", "--plugin", "logreg"), 1, "at least 20 of each class"),
        slow(("score", "five.csv", "-o", "out.csv"), 4, "no model is registered here yet"),
        (("validate", "five.csv"), 0, "5 rows, all pass"),
    ],
)
def test_process_ends_with_the_same_code_and_message(arguments, code, says, workdir, sample_lines):
    rewrite(workdir / "five.csv", sample_lines[:6])
    done = subprocess.run(
        [sys.executable, "-m", "waterflow_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert files_below(workdir) == ["five.csv"]
