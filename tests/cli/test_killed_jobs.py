"""Real processes that are stopped, killed, or starved of space: whole outputs or none."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waterflow_cli.samples.simulation import write_simulation

pytestmark = pytest.mark.slow

N_ROWS = 30_000
BATCHES = ("--batch-rows", "500", "--jobs", "2")
TIMEOUT_S = 60
COMMAND = (sys.executable, "-m", "waterflow_cli", "score")

# A limit on the size of files stands for a full disk: writes beyond it fail with an OSError.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from waterflow_cli.main import main
main(sys.argv[2:])
"""

# Ends the process at once, as a kill does, before the n-th line of publishing.
KILLED_IN_PUBLISHING = """
import os, signal, sys
from waterflow_cli import main
from waterflow_cli.scoring import outputs as job_outputs
from waterflow_cli.tables import outputs
left, began = int(sys.argv[1]), False
def trace(frame, event, arg):
    global left, began
    began = began or frame.f_code.co_qualname == "ResumableOutputs.finish"
    if not began or frame.f_code.co_filename not in (job_outputs.__file__, outputs.__file__):
        return None
    if event == "line":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace
sys.settrace(trace)
main.main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file of 30,000 samples."""
    path = tmp_path_factory.mktemp("big") / "in.csv"
    write_simulation(str(path), N_ROWS, seed=5, signal=0.9)
    return path


@pytest.fixture
def start(workdir, source, store_uri):
    """Start to score the file, which is put into the working folder, as ``in.csv``."""
    Path("in.csv").symlink_to(source)
    running = []

    def start_score(*options, output="out.csv", source="in.csv", command=COMMAND):
        process = subprocess.Popen(
            [*command, source, "-o", output, *BATCHES, "--tracking-uri", store_uri, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Under nohup, which a test run may be, HUP would be ignored here too.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield start_score
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def score(cli, store_uri):
    """Score to the end in this process, as what comes after a process that was stopped."""

    def run(*options, output="out.csv", source="in.csv"):
        store = ("--tracking-uri", store_uri)
        done = cli("score", source, "-o", output, *BATCHES, *store, *options)
        assert done.code == 0, done.err
        return done.err

    return run


@pytest.fixture(scope="module")
def expected(tmp_path_factory, source, store_uri):
    """What an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "in.csv").symlink_to(source)
    command = [*COMMAND, "in.csv", "-o", "out.csv", *BATCHES, "--tracking-uri", store_uri]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "out.csv").read_bytes()


def end_of(process):
    """Wait for a process: its exit code, and what it said."""
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in said
    assert "defect of its own" not in said
    return process.returncode, said


def wait_until(happened, process):
    """Poll until something happened; False if the process ended before."""
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)
    return True


def size_of(pattern):
    """Give the size of the one file of that pattern; 0 where there is none."""
    try:
        return sum(path.stat().st_size for path in Path().glob(pattern))
    except FileNotFoundError:
        return 0


def wait_for_middle(process, pattern=".out.csv.????????.part", n_bytes=20_000):
    """Wait until a part of the rows is written, and not all."""
    assert wait_until(lambda: size_of(pattern) > n_bytes, process), end_of(process)


def count_lines(path):
    try:
        return Path(path).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def files_in(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


# --- killed again and again, with --resume --------------------------------------------------------


def test_killed_job_goes_on_until_it_ends_with_the_same_bytes(start, expected):
    chance, n_kills = random.Random(1), 0
    while True:
        process = start("--resume")
        before = count_lines(".out.csv.journal.part")
        n_more = chance.randint(10, 50)
        if not wait_until(
            lambda before=before, n_more=n_more: (
                count_lines(".out.csv.journal.part") >= before + n_more
            ),
            process,
        ):
            break
        time.sleep(chance.random() * 0.01)
        process.kill()
        code, _ = end_of(process)
        if code == 0:  # it was quicker
            break
        n_kills += 1
        assert n_kills < 20
    assert process.returncode == 0
    assert n_kills > 0
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


def test_job_killed_at_any_time_ends_with_the_same_bytes(start, score, expected):
    """Also in the moments before it reads the first row, and after it wrote the last."""
    chance = random.Random(7)
    for _ in range(4):
        process = start("--resume")
        time.sleep(chance.uniform(0.02, 1.2))
        process.kill()
        if end_of(process)[0] == 0:
            break
        assert set(files_in()) <= {
            *("in.csv", "out.csv", ".out.csv.journal.part", ".out.csv.kept.part")
        }
    if not Path("out.csv").exists() or len(files_in()) > 2:
        score("--resume")
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


@pytest.mark.parametrize(
    ("output", "n_lines"), [("out.csv", 8), ("out.csv", 20), ("out.csv.gz", 12)]
)
def test_job_killed_while_its_outputs_appear_ends_with_the_same_bytes(
    output, n_lines, start, score, source, expected
):
    """With a small table: only the end of the job matters."""
    n_rows = 200
    small = source.read_bytes().splitlines(keepends=True)[: 1 + n_rows]
    Path("small.csv").write_bytes(b"".join(small))
    options = ("--resume", "--rejects", "rejects.csv")
    driver = (sys.executable, "-c", KILLED_IN_PUBLISHING, str(n_lines), "score")
    process = start(*options, source="small.csv", output=output, command=driver)
    assert end_of(process)[0] == -signal.SIGKILL
    score(*options, source="small.csv", output=output)
    content = Path(output).read_bytes()
    content = gzip.decompress(content) if output.endswith(".gz") else content
    assert content.splitlines() == expected.splitlines()[: 1 + n_rows]
    assert files_in() == sorted(["in.csv", "small.csv", output, "rejects.csv"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_job_says_how_to_go_on_and_does(number, start, score, expected):
    process = start("--resume")
    assert wait_until(lambda: count_lines(".out.csv.journal.part") > 3, process)
    process.send_signal(number)
    code, said = end_of(process)
    assert code == 130
    assert "Finished rows are kept: the same command goes on from them." in said
    assert "Error: Interrupted" in said
    assert files_in() == [".out.csv.journal.part", ".out.csv.kept.part", "in.csv"]
    assert "rows of an earlier run" in score("--resume")
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


def test_second_process_on_one_output_is_refused(start, expected):
    first = start("--resume")
    wait_for_middle(first, ".out.csv.kept.part", 1)
    first.send_signal(signal.SIGSTOP)
    code, said = end_of(start("--resume"))
    assert (code, "another command is writing it" in said) == (2, True)
    first.send_signal(signal.SIGCONT)
    assert end_of(first)[0] == 0
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


# --- plain runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "existing"),
    [(signal.SIGTERM, True), (signal.SIGHUP, True), (signal.SIGINT, True), (signal.SIGTERM, False)],
)
def test_stopped_run_leaves_what_was_there(number, existing, start, score, expected):
    options = ("--force",) if existing else ()
    if existing:
        Path("out.csv").write_text("precious\n")
    process = start(*options)
    wait_for_middle(process)
    process.send_signal(number)
    code, said = end_of(process)
    assert code == 130
    assert "Error: Interrupted; outputs and models are as they were before." in said
    assert files_in() == ["in.csv", *(["out.csv"] if existing else [])]
    if existing:
        assert Path("out.csv").read_text() == "precious\n"
    score(*options)
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


@pytest.mark.parametrize("resume", [False, True])
def test_killed_run_leaves_the_output_of_before_and_the_next_clears_up(
    resume, start, score, expected
):
    Path("out.csv").write_text("precious\n")
    options = ("--force", *(("--resume",) if resume else ()))
    process = start(*options)
    wait_for_middle(process, ".out.csv.kept.part" if resume else ".out.csv.????????.part")
    process.kill()
    assert end_of(process)[0] == -signal.SIGKILL
    assert Path("out.csv").read_text() == "precious\n"
    assert len(files_in()) == (4 if resume else 3)
    score("--force")
    assert files_in() == ["in.csv", "out.csv"]
    assert Path("out.csv").read_bytes() == expected


# --- full disks and closed pipes ------------------------------------------------------------------


@pytest.fixture
def small_disk(workdir):
    """A real file system of one MiB."""
    disk = workdir / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root only ({mounted.stderr.strip()})")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("output", ["disk/out.csv", "disk/out.parquet"])
def test_full_disk_ends_the_run_and_leaves_nothing(output, start, small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (900 << 10))
    code, said = end_of(start(output=output))
    assert code == 2
    assert f"Error: {output}: cannot be written (No space left on device)." in said
    assert files_in(small_disk) == ["filler"]


def test_full_disk_ends_the_run_and_leaves_the_output_of_before(start, small_disk):
    (small_disk / "out.csv").write_text("precious\n")
    code, said = end_of(start("--force", output="disk/out.csv"))
    assert code == 2
    assert "Nothing was left under that name by this command." in said
    assert files_in(small_disk) == ["out.csv"]
    assert (small_disk / "out.csv").read_text() == "precious\n"


def test_job_on_a_full_disk_goes_on_when_there_is_space(start, score, small_disk, expected):
    (small_disk / "filler").write_bytes(b"x" * (500 << 10))
    code, said = end_of(start("--resume", output="disk/out.csv"))
    assert code == 2
    assert "No space left on device" in said
    assert not (small_disk / "out.csv").exists()
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    assert "rows of an earlier run" in score("--resume", output="disk/out.csv")
    assert files_in(small_disk) == ["out.csv"]
    assert (small_disk / "out.csv").read_bytes() == expected


@pytest.mark.parametrize("output", ["out.csv.zst"])
def test_limit_on_the_size_of_files_ends_the_run_and_leaves_nothing(output, start):
    command = (sys.executable, "-c", LIMITED, "100000", "score")
    code, said = end_of(start(output=output, command=command))
    assert code == 2
    assert f"Error: {output}: cannot be written (File too large)." in said
    assert files_in() == ["in.csv"]


@pytest.mark.parametrize("output", ["out.csv.gz"])
def test_limit_on_the_size_of_files_stops_a_job_that_then_goes_on(output, start, score, expected):
    command = (sys.executable, "-c", LIMITED, "1000000", "score")
    code, said = end_of(start("--resume", output=output, command=command))
    assert code == 2
    assert f"Error: {output}: cannot be written (File too large)." in said
    assert not Path(output).exists()
    assert "rows of an earlier run" in score("--resume", output=output)
    assert files_in() == ["in.csv", output]


def test_reader_that_has_seen_enough_ends_the_run_quietly(start, expected):
    process = start(output="-")
    head = subprocess.run(["head", "-1"], stdin=process.stdout, capture_output=True, check=True)
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(TIMEOUT_S) == 0
    assert head.stdout == expected.split(b"\n")[0] + b"\n"
    assert said == ""
    assert files_in() == ["in.csv"]


# --- inputs that change ---------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_input_cut_short_while_it_is_read_is_refused(resume, start, score, source):
    Path("grows.csv").write_bytes(source.read_bytes())
    Path("out.csv").write_text("precious\n")
    process = start("--force", *(("--resume",) if resume else ()), source="grows.csv")
    wait_for_middle(process, ".out.csv.kept.part" if resume else ".out.csv.????????.part", 1)
    os.truncate("grows.csv", Path("grows.csv").stat().st_size // 2)
    code, said = end_of(process)
    assert code == 3
    assert "Error: grows.csv: was changed while it was read." in said
    assert Path("out.csv").read_text() == "precious\n"
    score("--force", source="grows.csv")
    assert files_in() == ["grows.csv", "in.csv", "out.csv"]


def test_input_that_grows_while_it_is_read_is_refused(start, source):
    Path("grows.csv").write_bytes(source.read_bytes())
    process = start(source="grows.csv")
    wait_for_middle(process, n_bytes=1)
    with Path("grows.csv").open("ab") as file:
        file.write(source.read_bytes().splitlines(keepends=True)[-1])
    code, said = end_of(process)
    assert code == 3
    assert "Error: grows.csv: was changed while it was read." in said
    assert files_in() == ["grows.csv", "in.csv"]


def test_input_changed_after_a_kill_is_refused(start, score, source):
    Path("grows.csv").write_bytes(source.read_bytes())
    process = start("--resume", source="grows.csv")
    wait_for_middle(process, ".out.csv.kept.part")
    process.kill()
    assert end_of(process)[0] == -signal.SIGKILL
    os.truncate("grows.csv", Path("grows.csv").stat().st_size // 2)
    code, said = end_of(start("--resume", source="grows.csv"))
    assert code == 3
    assert said.splitlines() == [
        "Error: grows.csv: changed since the job was begun.",
        "To start anew, run once without --resume; the rows kept for out.csv are then dropped.",
    ]
    score(source="grows.csv")
    assert files_in() == ["grows.csv", "in.csv", "out.csv"]
