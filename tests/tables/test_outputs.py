"""Outputs are whole or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from marks import slow

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.json import path_text
from waterflow_cli.tables.outputs import OutputGroup, check_outputs, open_output
from waterflow_cli.tables.writing import open_table_writer


def write_table(path, columns, **options):
    with (
        open_output(str(path), force=False, **options) as sink,
        open_table_writer(str(path), sink) as writer,
    ):
        writer.write(columns)


def write_while(path, meanwhile, *, force=False):
    """Write an output, and let something happen before it is published."""
    with open_output(path, force=force) as sink:
        sink.write(b"mine")
        meanwhile()


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "path", ["out.csv", "out.csv.gz", "out.csv.zst", "out.jsonl", "out.parquet"]
)
def test_error_midway_leaves_what_was_there_before(path, force, workdir):
    if force:
        Path(path).write_text("precious\n")

    def fail_midway():
        with open_output(path, force=force) as sink, open_table_writer(path, sink) as writer:
            writer.write({"a": pa.array(["x"] * 100_000)})
            raise InputError("in.csv", "damaged")

    with pytest.raises(InputError, match="damaged"):
        fail_midway()
    assert files_in(workdir) == ([path] if force else [])
    if force:
        assert Path(path).read_text() == "precious\n"


def test_interruption_midway_leaves_nothing(workdir):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_while("out.csv", interrupt)
    assert files_in(workdir) == []


def test_output_appears_only_at_the_end(workdir):
    with open_output("out.csv", force=False) as sink:
        sink.write(b"all of it")
        sink.flush()
        assert not Path("out.csv").exists()
        (part,) = files_in(workdir)
        assert part.startswith(".out.csv.")
        assert part.endswith(".part")
    assert files_in(workdir) == ["out.csv"]
    assert Path("out.csv").read_bytes() == b"all of it"


def test_replaced_output_keeps_its_old_content_until_the_end(workdir):
    Path("out.csv").write_text("old")
    with open_output("out.csv", force=True) as sink:
        sink.write(b"new")
        assert Path("out.csv").read_text() == "old"
    assert Path("out.csv").read_text() == "new"
    assert files_in(workdir) == ["out.csv"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_the_users_mask(mask, workdir):
    before = os.umask(mask)
    try:
        write_table("out.csv", {"a": pa.array(["x"])})
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("out.csv").stat().st_mode) == 0o666 & ~mask


def test_output_that_appears_meanwhile_is_not_replaced(workdir):
    with pytest.raises(UsageError, match=r"^out\.csv: exists already\.$"):
        write_while("out.csv", lambda: Path("out.csv").write_text("theirs"))
    assert Path("out.csv").read_text() == "theirs"
    assert files_in(workdir) == ["out.csv"]


def test_folder_that_appears_meanwhile_is_an_error(workdir):
    with pytest.raises(UsageError, match=r"^out\.csv: cannot be written \("):
        write_while("out.csv", lambda: Path("out.csv").mkdir(), force=True)
    assert files_in(workdir) == ["out.csv"]


def test_output_appears_where_the_file_system_knows_no_hard_links(workdir, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_table("out.csv", {"a": pa.array(["x"])})
    assert Path("out.csv").read_text() == "a\nx\n"
    assert files_in(workdir) == ["out.csv"]


def test_dangling_link_is_not_replaced(workdir):
    Path("out.csv").symlink_to("nowhere.csv")
    with pytest.raises(UsageError, match="exists already"):
        write_table("out.csv", {"a": pa.array(["x"])})
    assert Path("out.csv").is_symlink()
    assert files_in(workdir) == ["out.csv"]


def test_longest_name_of_a_file_can_be_written(workdir):
    name = "é" * 125 + ".csv"
    write_table(name, {"a": pa.array(["x"])})
    assert files_in(workdir) == [name]


def test_folder_that_cannot_be_written_is_refused(workdir, monkeypatch):
    (workdir / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match="the folder closed is not writable"):
        write_table("closed/out.csv", {"a": pa.array(["x"])})


def test_input_is_known_under_all_its_names(workdir):
    Path("in.csv").write_text("a\n1\n")
    Path("hard.csv").hardlink_to("in.csv")
    Path("soft.csv").symlink_to("in.csv")
    for name in ("in.csv", "./in.csv", str(workdir / "in.csv"), "hard.csv", "soft.csv"):
        with pytest.raises(UsageError, match="is an input; the output must be another file"):
            write_table(name, {"a": pa.array(["x"])}, inputs=["-", "no_such.csv", "in.csv"])
    assert Path("in.csv").read_text() == "a\n1\n"


def test_file_that_is_no_input_is_replaced_by_force(workdir):
    Path("in.csv").write_text("a\n1\n")
    Path("out.csv").write_text("old")
    with open_output("out.csv", force=True, inputs=["-", "no_such.csv", "in.csv"]) as sink:
        sink.write(b"new")
    assert Path("out.csv").read_text() == "new"


def test_outputs_that_are_one_file_are_refused(workdir):
    (workdir / "sub").mkdir()
    check_outputs((("-o", "a.csv"), ("--good", "sub/a.csv"), ("--bad", None)), force=False)
    for other in ("a.csv", "./a.csv", "sub/../a.csv", str(workdir / "a.csv")):
        with pytest.raises(UsageError, match=r"is both -o and --bad; name two files\.$"):
            check_outputs((("-o", "a.csv"), ("--bad", other)), force=False)
    check_outputs((("-o", "-"), ("--bad", None)), force=False)
    with pytest.raises(UsageError, match=r"^-: is both -o and --bad"):
        check_outputs((("-o", "-"), ("--bad", "-")), force=False)


def test_name_that_is_no_utf8_is_shown_as_text():
    assert path_text(os.fsdecode(b"caf\xe9/\xc3\xa9.csv")) == r"caf\udce9/é.csv"
    assert path_text("plain.csv") == "plain.csv"


def test_stdout_takes_rows_as_csv(capfdbinary):
    sys.stdout.write("before\n")
    write_table("-", {"a": pa.array(["é"])})
    sys.stdout.write("after\n")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == "before\na\né\nafter\n".encode()


def test_closed_stdout_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match=r"^Standard output is closed\.$"):
        write_table("-", {"a": pa.array(["x"])})


def test_errors_of_the_body_pass_through_stdout(capfd):
    with pytest.raises(InputError, match="damaged"), open_output("-", force=False):
        raise InputError("in.csv", "damaged")
    with pytest.raises(BrokenPipeError), open_output("-", force=False):
        raise BrokenPipeError


def test_full_standard_output_is_an_error_of_use():
    command = ("simulate", "--rows", "2000", "-o", "-")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "waterflow_cli", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "Error: Standard output cannot be written (No space left on device).\n"


# A limit on the size of files stands for a full disk: writes beyond it fail with an OSError.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from waterflow_cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "path", ["out.csv", *slow("out.csv.gz", "out.csv.zst", "out.jsonl", "out.parquet")]
)
@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_is_an_error_of_use_and_leaves_what_was_there(path, existing, workdir):
    if existing:
        Path(path).write_text("precious\n")
    limit = 20_000 if existing else 100
    command = ("simulate", "--rows", "20000", "-o", path, *(("--force",) if existing else ()))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    error, hint = done.stderr.splitlines()
    assert error == f"Error: {path}: cannot be written (File too large)."
    assert hint == "Nothing was left under that name by this command."
    assert files_in(workdir) == ([path] if existing else [])
    if existing:
        assert Path(path).read_text() == "precious\n"


# --- parts of killed commands --------------------------------------------------------------------


def leave_part(name, content="half"):
    """Write what a command that was killed leaves."""
    Path(name).write_text(content)


def test_parts_of_killed_commands_are_removed_by_the_next(workdir):
    for name in (".out.csv.abcd_123.part", ".out.csv.00000000.part"):
        leave_part(name)
    others = [".out.csv.gz.abcd_123.part", ".out.csv.kept.part", "out.csv.abcd_123.part", ".x.part"]
    for name in others:
        leave_part(name)
    write_table("out.csv", {"a": pa.array(["x"])})
    assert files_in(workdir) == sorted([*others, "out.csv"])


def test_part_that_another_command_writes_is_left_alone(workdir):
    def run_another():
        write_table("out.csv", {"a": pa.array(["theirs"])})
        assert len(files_in(workdir)) == 2

    with pytest.raises(UsageError, match="exists already"):
        write_while("out.csv", run_another)
    assert Path("out.csv").read_text() == "a\ntheirs\n"
    assert files_in(workdir) == ["out.csv"]


def test_outputs_of_a_group_appear_together_or_not_at_all(workdir):
    def write_two(fail):
        with OutputGroup(force=False) as group:
            for name in ("a.csv", "b.csv"):
                with group.open(name) as sink:
                    sink.write(b"x")
                assert not Path(name).exists()
            if fail:
                raise InputError("in.csv", "damaged")

    with pytest.raises(InputError, match="damaged"):
        write_two(fail=True)
    assert files_in(workdir) == []
    write_two(fail=False)
    assert files_in(workdir) == ["a.csv", "b.csv"]
