"""How far a job came: lines in a log, a bar on a terminal, and nothing for who did not ask."""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import select
import struct
import sys
import termios
from pathlib import Path

import pytest

from waterflow_cli import console as console_module
from waterflow_cli.common import progress
from waterflow_cli.common.progress import InputProgress, ProgressLines, say_nothing
from waterflow_cli.console import Console


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_line_comes_every_five_seconds_at_most(clock):
    said = []
    lines = ProgressLines("rows", said.append)
    for seconds in (0.0, 4.9, 5.0, 5.1, 9.9, 10.0, 30.0, 30.1):
        clock.now = 1000 + seconds
        lines(int(seconds * 100), None)
    assert said == [
        "500 rows, 100 a second.",
        "1000 rows, 100 a second.",
        "3000 rows, 100 a second.",
    ]


@pytest.mark.parametrize(
    ("share", "line"),
    [
        (None, "800 rows, 80 a second."),
        (0.0, "800 rows, 80 a second."),
        (0.25, "800 rows, 80 a second, 25%, 30 s left."),
        (0.5, "800 rows, 80 a second, 50%, 10 s left."),
        (1.0, "800 rows, 80 a second, 100%, 0 s left."),
    ],
)
def test_line_says_how_long_the_rest_takes_where_that_is_known(share, line, clock):
    said = []
    lines = ProgressLines("rows", said.append)
    clock.now += 10
    lines(800, share)
    assert said == [line]


# --- shares ---------------------------------------------------------------------------------------


@pytest.fixture
def three_files(workdir):
    for name, size in (("a", 100), ("b", 300), ("c", 600)):
        Path(name).write_bytes(bytes(size))
    return ["a", "b", "c"]


def share_said(inputs, n_done, share):
    """Give what is said once some inputs are read, and a share of the next."""
    told = []
    progress = InputProgress(inputs, lambda *said: told.append(said))
    progress.n_done = n_done
    progress(7, share)
    ((n_rows, said),) = told
    assert n_rows == 7
    return said


def test_share_weighs_each_input_by_its_bytes(three_files):
    steps = ((0, 0.0), (0, 0.5), (1, 0.0), (1, 1.0), (2, 0.5))
    found = [share_said(three_files, *step) for step in steps]
    assert found == pytest.approx([0, 0.05, 0.1, 0.4, 0.7])
    assert share_said(three_files, 3, 0.0) == 1


def test_share_is_unknown_where_an_input_has_no_size(three_files):
    assert share_said(three_files, 1, None) is None
    assert share_said(["-"], 0, None) is None
    assert share_said(["-"], 0, 0.5) is None
    assert share_said(["no_such", "a\0b"], 0, 0.5) is None
    assert share_said(["no_such", "a"], 1, 0.5) == 0.5


def test_nothing_is_said_to_nobody(capfd):
    say_nothing(5, 0.5)
    assert capfd.readouterr() == ("", "")


# --- on the console -------------------------------------------------------------------------------


def report_some(console):
    with console.progress("rows") as report:
        report(0, 0.0)
        report(1200, 0.25)
        report(4800, 1.0)


@pytest.fixture
def terminal(monkeypatch):
    """Call it with a console for what some reports on it show on a terminal."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(console_module, "_SECONDS_BEFORE_BAR", 0.0)
    stream = os.fdopen(theirs, "w", encoding="utf-8")

    def show(console, reporting=None):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            (reporting or report_some)(console)
        stream.flush()
        content = b""
        while select.select([ours], [], [], 0.1)[0]:
            content += os.read(ours, 1 << 16)
        return content.decode()

    yield show
    stream.close()
    os.close(ours)


@pytest.mark.parametrize("verbosity", [0, 1])
def test_terminal_shows_rows_and_rows_a_second(verbosity, terminal):
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal(Console(verbosity)))
    assert re.search(r"4,800 rows, [\d,]+ a second", text)
    assert "━" in text


def report_and_fail(console):
    def fail():
        with console.progress("rows") as report:
            report(10, 0.5)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()


@pytest.mark.parametrize("reporting", [report_some, report_and_fail])
def test_bar_leaves_no_trace_on_the_terminal(reporting, terminal):
    shown = terminal(Console(), reporting)
    # The last that happens: back to the bar's line, and erase it; the cursor can be seen again.
    assert re.search(r"\x1b\[1A\x1b\[2K$", shown.rpartition("rows")[2])
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0


def test_share_that_is_unknown_shows_rows_all_the_same(terminal):
    def report_rows(console):
        with console.progress("rows") as report:
            report(7, None)
            report(77, None)

    assert "77 rows" in terminal(Console(), report_rows)


def test_bar_without_color_holds_no_color(terminal):
    shown = terminal(Console(color=False))
    assert "4,800 rows" in shown
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m", shown)
    assert re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m", terminal(Console()))


def test_quiet_terminal_stays_empty(terminal):
    assert terminal(Console(verbosity=-1)) == ""


def test_dumb_terminal_stays_empty(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert terminal(Console()) == ""


def report_slowly(console, clock):
    with console.progress("rows") as report:
        for n_done in (1000, 2000, 3000):
            clock.now += 4
            report(n_done, n_done / 4000)


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_log_holds_no_trace_of_progress(verbosity, clock, capfd):
    report_slowly(Console(verbosity), clock)
    assert capfd.readouterr() == ("", "")


def test_log_holds_lines_for_the_verbose(clock, capfd):
    report_slowly(Console(verbosity=1), clock)
    assert capfd.readouterr() == ("", "2000 rows, 250 a second, 50%, 8 s left.\n")


def test_closed_stderr_is_told_nothing(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    report_some(Console(verbosity=1))
    assert capfd.readouterr() == ("", "")


# --- in a job -------------------------------------------------------------------------------------


@pytest.fixture
def large(samples, workdir):
    """Two files of some batches each."""
    header, *rows = samples.read_bytes().splitlines(keepends=True)
    Path("a.csv").write_bytes(header + b"".join(rows) * 8)
    Path("b.csv.gz").write_bytes(gzip.compress(header + b"".join(rows) * 4))
    return ["a.csv", "b.csv.gz"]


def test_verbose_scoring_says_how_far_it_came_up_to_the_end(cli, store_uri, large, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    where = ("-o", "out.csv", "--tracking-uri", store_uri, "--batch-rows", "300", "--jobs", "2")
    outcome = cli("score", *large, *where, "-v")
    assert (outcome.code, outcome.out) == (0, "")
    lines = re.findall(r"^(\d+) rows, \d+ a second, (\d+)%, \d+ s left\.$", outcome.err, re.M)
    rows, shares = zip(*(map(int, line) for line in lines), strict=True)
    assert len(rows) > 4
    assert list(rows) == sorted(rows)
    assert list(shares) == sorted(shares)
    assert (rows[-1], shares[-1]) == (4800, 100)
    outcome = cli("score", *large, *where, "--force")
    assert "a second" not in outcome.err


def test_short_job_shows_no_bar(terminal, monkeypatch):
    monkeypatch.setattr(console_module, "_SECONDS_BEFORE_BAR", 60.0)
    assert terminal(Console()) == ""
