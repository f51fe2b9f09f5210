"""The program as a process: signals, pipes, streams that are closed or full, foreign names."""

from __future__ import annotations

import errno
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from marks import slow

import waterflow_cli.samples.simulation
import waterflow_cli.tables.outputs
from waterflow_cli import __version__
from waterflow_cli.common.errors import UsageError
from waterflow_cli.main import main
from waterflow_cli.samples.simulation import write_simulation

WATERFLOW = (sys.executable, "-m", "waterflow_cli")
SIMULATE = ("simulate", "--rows", "2000000", "--quiet", "-o")
needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no device that is always full"
)
INTERRUPTED = "Error: Interrupted; outputs and models are as they were before."


def run(*arguments, **options):
    """Run a command as a process, in the working folder of the test."""
    return subprocess.run(
        [*WATERFLOW, *arguments], capture_output=True, text=True, check=False, **options
    )


def run_shell(command, **environment):
    line = command.replace("waterflow", f"'{sys.executable}' -m waterflow_cli")
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def default_interrupts():
    # A runner in the background of a shell leaves SIGINT ignored, and Python then keeps it so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(*arguments, before=default_interrupts):
    process = subprocess.Popen(
        [*WATERFLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_part(process, folder):
    """Wait until the output is being written, under another name than its own."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(part.stat().st_size for part in folder.glob(".*.part")):
            return
        time.sleep(0.01)
    pytest.fail("no output was begun: " + process.communicate()[1])


@pytest.fixture
def scoring(workdir, store_uri):
    """A command that scores for seconds."""
    write_simulation(str(workdir.parent / "samples.csv"), 900_000, seed=5)
    source = str(workdir.parent / "samples.csv")
    return ("score", source, "--tracking-uri", store_uri, "--jobs", "1", "--quiet", "-o")


@pytest.fixture
def command(request):
    return SIMULATE if request.param == "simulate" else request.getfixturevalue("scoring")


@pytest.mark.parametrize(
    ("number", "command"),
    [
        pytest.param(signal.SIGINT, "simulate", id="SIGINT-simulate"),
        pytest.param(signal.SIGTERM, "simulate", id="SIGTERM-simulate"),
        pytest.param(signal.SIGHUP, "simulate", id="SIGHUP-simulate", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "score", id="SIGINT-score", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "score", id="SIGTERM-score", marks=pytest.mark.slow),
    ],
    indirect=["command"],
)
def test_signal_leaves_what_was_there_before(number, command, workdir):
    output = workdir / "out.csv"
    output.write_text("precious\n")
    with started(*command, "out.csv", "--force") as process:
        wait_for_part(process, workdir)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err.strip()) == ("", INTERRUPTED)
    assert [path.name for path in workdir.iterdir()] == ["out.csv"]
    assert output.read_text() == "precious\n"


@pytest.mark.slow
@pytest.mark.parametrize("existing", [True, False])
def test_kill_leaves_what_was_there_before(existing, workdir):
    if existing:
        (workdir / "out.csv").write_text("precious\n")
    with started(*SIMULATE, "out.csv", "--force") as process:
        wait_for_part(process, workdir)
        process.kill()
        process.communicate(timeout=60)
    left = {path.name: path for path in workdir.iterdir() if not path.name.endswith(".part")}
    assert list(left) == (["out.csv"] if existing else [])
    if existing:
        assert left["out.csv"].read_text() == "precious\n"


@pytest.mark.slow
def test_command_under_nohup_survives_the_end_of_the_terminal(workdir):
    def ignore_hangup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    arguments = ("simulate", "--rows", "300000", "--quiet", "-o", "out.csv")
    with started(*arguments, before=ignore_hangup) as process:
        wait_for_part(process, workdir)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [path.name for path in workdir.iterdir()] == ["out.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_ends_quietly(unbuffered, workdir):
    command = "waterflow simulate --rows 2000000 -o - | head -n 1; exit ${PIPESTATUS[0]}"
    done = run_shell(command, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sample_id,")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["schemas show", "validate bad.csv -q --schema ph.yaml", *slow("--help", "schemas list")],
)
def test_result_into_a_closed_pipe_ends_quietly(command, workdir):
    (workdir / "bad.csv").write_text("ph\n15\n")
    (workdir / "ph.yaml").write_text("columns:\n  ph: {dtype: float64, le: 14}\n")
    done = run_shell(f"waterflow {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_work_goes_on_when_nobody_reads_stderr_any_more(workdir):
    done = run_shell("waterflow simulate --rows 300000 -o out.csv 2> >(true)")
    assert done.returncode == 0
    assert (workdir / "out.csv").read_text().count("\n") == 300_001


@needs_full_device
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "command",
    [
        *("simulate --rows 5 -o -", "schemas list --json", "validate good.csv --format csv"),
        *slow("simulate --rows 200000 -o -", "schemas list", "schemas show", "--help", "--version"),
    ],
)
def test_full_disk_behind_stdout_is_an_error_of_use(command, unbuffered, workdir, samples):
    (workdir / "good.csv").write_bytes(samples.read_bytes())
    done = run_shell(f"waterflow {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    error, *hint = done.stderr.splitlines()
    assert error.startswith("Error: ")
    assert error.endswith("(No space left on device).")
    assert len(hint) <= 1


@needs_full_device
def test_full_disk_behind_stderr_changes_no_result(workdir, samples):
    done = run_shell(f"waterflow validate '{samples}' --json 2> /dev/full")
    assert done.returncode == 0
    assert json.loads(done.stdout)["passed"]
    assert run_shell("waterflow validate no_such.csv 2> /dev/full").returncode == 3


@pytest.mark.parametrize("command", ["schemas list", "schemas show", "--version"])
def test_closed_stdout_is_no_defect(command):
    done = run_shell(f"waterflow {command} >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["simulate -o -", "validate good.csv --json"])
def test_rows_for_a_closed_stdout_are_refused(command, workdir, samples):
    (workdir / "good.csv").write_bytes(samples.read_bytes())
    done = run_shell(f"waterflow {command} >&-")
    assert done.returncode == 2
    assert "Standard output is closed" in done.stderr


def test_closed_stdin_is_an_input_that_cannot_be_read(workdir):
    done = run_shell("waterflow validate - <&-")
    assert (done.returncode, done.stdout) == (3, "")
    assert "standard input is closed" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", *slow("latin-1", "utf-8")])
def test_no_locale_stops_a_command(encoding, workdir):
    (workdir / "eau_é水.csv").write_text("ph\n15\n")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    (workdir / "ph.yaml").write_text("columns:\n  ph: {dtype: float64, le: 14, title: µ}\n")
    for more in ((), ("--json",)):
        done = subprocess.run(
            [*WATERFLOW, "validate", "eau_é水.csv", "--schema", "ph.yaml", *more],
            capture_output=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 1, done.stderr
        if more == ("--json",):
            assert json.loads(done.stdout)["findings"][0]["file"] == "eau_é水.csv"


def test_file_name_that_is_no_utf8_is_a_name_like_any_other(cli, samples, store_uri):
    name = os.fsdecode(b"caf\xe9.csv")
    Path(name).write_bytes(samples.read_bytes() + b"S0,x,2020-01-01,15,,,,,,,,,\n")
    done = run("validate", name, "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["findings"][0]["file"] == name
    for form in ("text", "csv", "html"):
        assert cli("validate", name, "--format", form, "-o", f"findings.{form}").code == 1
        assert r"caf\udce9.csv" in Path(f"findings.{form}").read_text("utf-8")
    arguments = ("-o", "scored.csv", "--rejects", "rejects.csv", "--tracking-uri", store_uri)
    outcome = cli("score", name, name, *arguments)
    assert outcome.code == 0, outcome.err
    assert r"caf\udce9.csv" in Path("scored.csv").read_text("utf-8")
    assert Path("rejects.csv").read_text("utf-8").splitlines()[1].startswith(r"caf\udce9.csv,402,")


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ((), ("--help",)),
        (("help",), ("--help",)),
        (("help", "models", "promote"), ("models", "promote", "--help")),
        (("-V",), ("--version",)),
    ],
)
def test_help_and_version_have_short_ways(arguments, asked, cli):
    outcome = cli(*arguments)
    assert outcome == cli(*asked)
    assert (outcome.code, outcome.err) == (0, "")


def test_version_is_a_result(cli):
    outcome = cli("--version")
    assert (outcome.code, outcome.out, outcome.err) == (
        0,
        f"waterflow, version {__version__}\n",
        "",
    )


def test_help_is_a_result_of_each_command(cli):
    for arguments in ((), ("score",), ("models", "promote")):
        for option in ("-h", "--help"):
            outcome = cli(*arguments, option)
            assert (outcome.code, outcome.err) == (0, "")
            assert outcome.out.startswith(f"Usage: {' '.join(('waterflow', *arguments))}")


@pytest.fixture
def simulate_by(cli, monkeypatch):
    """Run `simulate` with its one core call replaced."""

    def run_with(replacement):
        monkeypatch.setattr(
            waterflow_cli.samples.simulation, "write_simulation", lambda *_, **__: replacement()
        )
        return cli("simulate", "-o", "out.csv")

    return run_with


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BrokenPipeError(), 0, ""),
        (OSError(28, "No space left on device"), 2, "Nothing more can be written (No space"),
        (OSError(5, "Input/output error"), 2, "The system failed (Input/output error)."),
        (OSError(2, "No such file or directory"), 70, "met a defect of its own"),
        (click.ClickException("what"), 2, "Error: what"),
        (click.UsageError("what"), 2, "Error: what\nSee: waterflow simulate --help"),
        (MemoryError(), 70, "met a defect of its own: MemoryError"),
        (SystemExit(7), 7, ""),
        (EOFError(), 70, "met a defect of its own: EOFError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_error_has_its_code_wherever_it_comes_from(error, code, says, simulate_by):
    def fail():
        raise error

    outcome = simulate_by(fail)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert bool(says) == bool(outcome.err)
    assert len(outcome.err.splitlines()) <= 3


def test_signal_in_this_process_interrupts(simulate_by):
    outcome = simulate_by(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert outcome.code == 130
    assert INTERRUPTED in outcome.err


def test_what_a_library_makes_of_an_interruption_is_one(simulate_by):
    def fail():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            raise OSError(errno.EBADF, "Bad file descriptor")

    outcome = simulate_by(fail)
    assert outcome.code == 130
    assert INTERRUPTED in outcome.err


def publish_and(act, monkeypatch):
    """Do something after each output that got its name."""

    def publish(*args, **named):
        published(*args, **named)
        act()

    published = waterflow_cli.tables.outputs.publish
    monkeypatch.setattr(waterflow_cli.tables.outputs, "publish", publish)


def test_signal_after_the_first_output_waits_for_the_second_and_both_are_named(
    cli, workdir, monkeypatch
):
    Path("in.csv").write_text("ph\n7\n99\n")
    Path("ph.yaml").write_text("columns:\n  ph: {dtype: float64, le: 14}\n")
    publish_and(lambda: os.kill(os.getpid(), signal.SIGHUP), monkeypatch)
    done = cli(
        *("validate", "in.csv", "--schema", "ph.yaml"), *("--good", "good.csv", "--bad", "bad.csv")
    )
    assert done.code == 130
    assert done.err.strip().splitlines() == [
        "Error: Interrupted; in place are: good.csv, bad.csv.",
        "All else is as it was before.",
    ]
    assert {path.name for path in workdir.iterdir()} == {"in.csv", "ph.yaml", "good.csv", "bad.csv"}


def test_failure_after_an_output_is_out_names_what_is_in_place(cli, workdir, monkeypatch):
    def fail():
        raise UsageError("what")

    publish_and(fail, monkeypatch)
    done = cli("simulate", "--rows", "5", "-o", "out.csv")
    assert done.code == 2
    assert done.err.splitlines() == ["Error: what", "Warning: In place all the same: out.csv."]
    assert [path.name for path in workdir.iterdir()] == ["out.csv"]


def test_interrupt_that_the_collector_drops_is_heard_later_and_shows_no_traceback(simulate_by):
    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    outcome = simulate_by(lambda: Dying() and None)
    assert "Traceback" not in outcome.err


def test_signals_that_were_ignored_stay_ignored(cli):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli("--version").code == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@needs_full_device
def test_what_is_left_for_a_full_stdout_is_dropped(monkeypatch, workdir):
    def write_and_fail(*_args, **_options):
        sys.stdout.write("left")
        raise UsageError("what")

    monkeypatch.setattr(waterflow_cli.samples.simulation, "write_simulation", write_and_fail)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match="2"):
            main(["simulate", "-o", "out.csv"])
        # Closing writes what is left once more, as Python does at its exit.


def test_closed_stdout_in_this_process_is_no_defect(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit, match="0"):
        main(["schemas", "list"])


def test_shell_can_ask_for_completions(cli, monkeypatch):
    monkeypatch.setenv("_WATERFLOW_COMPLETE", "bash_source")
    outcome = cli()
    assert outcome.code == 0
    assert "_waterflow_completion" in outcome.out


def test_module_is_the_program(monkeypatch, capfd):
    importlib.import_module("waterflow_cli.__main__")
    assert capfd.readouterr().out == ""
    monkeypatch.delitem(sys.modules, "waterflow_cli.__main__")  # runpy would warn of it
    monkeypatch.setattr(sys, "argv", ["waterflow", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("waterflow_cli", run_name="__main__")
    assert __version__ in capfd.readouterr().out


def test_arguments_come_from_the_command_line_by_default(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["waterflow", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert __version__ in capfd.readouterr().out


def test_warnings_of_libraries_stay_hidden_where_a_thread_resets_the_filters():
    # scikit-learn's trees do so in each thread, and warn where they find no filter.
    script = """
import warnings
from waterflow_cli.main import main
try:
    main(["--version"])
finally:
    warnings.resetwarnings()
    warnings.warn("of a library")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""
