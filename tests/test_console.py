"""What people see: on a terminal, in a pipe, without color, quiet, verbose."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import LINE_WIDTH, printable
from waterflow_cli.console import Console, json_text

COLOR = re.compile(r"\x1b\[[0-9;]*m")


def run_on_terminal(*arguments, **environment):
    """Run a command on a terminal of its own, and return all that it shows there."""
    ours, theirs = pty.openpty()
    names = ("NO_COLOR", "TERM", "FORCE_COLOR", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    process = subprocess.Popen(
        [sys.executable, "-m", "waterflow_cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"TERM": "xterm-256color", **kept, **environment},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    os.close(ours)
    process.wait()
    return shown.decode().replace("\r\n", "\n")


def test_errors_are_colored_on_a_terminal(workdir):
    assert run_on_terminal("validate", "no_such.csv").startswith("\x1b[31mError: \x1b[0m")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {"NO_COLOR": "1"}),
        pytest.param((), {"TERM": "dumb"}, marks=pytest.mark.slow),
        pytest.param(("--no-color",), {}, marks=pytest.mark.slow),
    ],
    ids=["NO_COLOR", "TERM=dumb", "--no-color"],
)
def test_nothing_is_colored_when_nobody_wants_it(arguments, environment, workdir):
    shown = run_on_terminal("validate", "no_such.csv", *arguments, **environment)
    assert shown.startswith("Error: no_such.csv: no such file.")
    assert "\x1b" not in shown
    shown = run_on_terminal(*arguments, "schemas", "list", **environment)
    assert "Water sample" in shown
    assert "\x1b" not in shown


def test_empty_no_color_is_none(workdir):
    assert COLOR.search(run_on_terminal("validate", "no_such.csv", NO_COLOR=""))


def test_nothing_is_colored_in_a_pipe(cli):
    outcome = cli("validate", "no_such.csv")
    assert "\x1b" not in outcome.err
    assert "\x1b" not in cli("schemas", "list").out
    assert cli("schemas", "list", "--no-color").out == cli("schemas", "list").out


@pytest.fixture
def findings(workdir):
    """A file whose names and values would do mischief if they were taken for markup."""
    schema = (
        'columns:\n  "[red]x[/red]": {dtype: float64, le: 14}\n  note: {dtype: str, isin: [a]}\n'
    )
    (workdir / "[bold]s.yaml").write_text(schema)
    note = "[link=file:///etc/passwd]y[/] \x1b]0;title\x07 \x9b31m two\u2028lines " + "z" * 100
    rows = ["[red]x[/red],note", f'15,"{note}"', '1,"first\nsecond"']
    (workdir / "[blue]data.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return ("validate", "[blue]data.csv", "--schema", "[bold]s.yaml")


def test_names_from_the_data_are_shown_as_they_are(cli, findings):
    outcome = cli(*findings)
    assert outcome.code == 1
    for text in ("[blue]data.csv", "[red]x[/red]", "[link=file:///etc/passwd]y[/]"):
        assert text in outcome.out
    assert "[red]x[/red] less_than_or_equal_to 1" in outcome.err
    assert "(schema [bold]s)" in outcome.err


def test_text_from_the_data_commands_no_terminal(cli, findings):
    outcome = cli(*findings)
    assert r"\x1b]0;title\x07 \x9b31m two\u2028lines" in outcome.out
    assert r"first\nsecond" in outcome.out
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert all(line.isprintable() for line in outcome.err.splitlines())


def test_tables_are_not_folded_in_a_pipe(cli, findings):
    outcome = cli(*findings)
    header, line, *rows = outcome.out.splitlines()
    assert header.split() == ["file", "line", "column", "value", "rule", "message"]
    assert set(line) <= {"─", " "}
    assert len(rows) == 3
    assert any("z" * 100 in row for row in rows)
    assert not any(row.endswith(" ") for row in rows)


@pytest.mark.slow
def test_tables_are_folded_on_a_terminal(findings):
    shown = COLOR.sub("", run_on_terminal(*findings, COLUMNS="60"))
    assert "z" * 100 not in shown
    assert max(len(line) for line in shown.splitlines() if "z" in line) <= 60


def test_errors_stay_in_their_lines_whatever_is_named(cli, workdir):
    outcome = cli("validate", "no\nsuch\x07.csv")
    assert outcome.code == 3
    assert outcome.err.splitlines()[0] == r"Error: no\nsuch\x07.csv: no such file."
    (workdir / "x.csv").write_text('"a\nb","c\nd"\n1,2\n')
    outcome = cli("validate", "x.csv")
    assert outcome.code == 3
    assert r"it has: a\nb, c\nd" in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert len(cli("no\nsuch\ncommand").err.splitlines()) == 2


@pytest.mark.parametrize("arguments", [("-q", "simulate"), ("simulate", "--quiet")])
def test_quiet_says_nothing_that_is_no_result(arguments, cli):
    outcome = cli(*arguments, "--rows", "3", "-o", "out.csv")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_quiet_still_shows_errors(cli):
    outcome = cli("-q", "validate", "no_such.csv")
    assert outcome.code == 3
    assert "no such file" in outcome.err


def test_quiet_still_shows_results(cli, findings):
    outcome = cli(*findings, "-q")
    assert "[red]x[/red]" in outcome.out
    assert outcome.err == ""


def test_quiet_still_shows_warnings(cli, tmp_path, monkeypatch):
    info = tmp_path / "site" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waterflow.models]\nbroken = no_such_module:plugin\n")
    monkeypatch.syspath_prepend(str(info.parent))
    outcome = cli("plugins", "list", "--quiet")
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: ")
    assert "no_such_module" in outcome.err


def test_verbose_says_which_model_was_verified(cli, samples, store_uri):
    arguments = ("score", samples, "-o", "out.csv", "--tracking-uri", store_uri, "--force")
    assert "verified" not in cli(*arguments).err
    assert "Loaded waterflow/1, every file verified." in cli(*arguments, "-v").err


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_and_the_message(place, cli):
    arguments = ["validate", "no_such.csv"]
    arguments.insert(0 if place == "before" else 1, "--debug")
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("Traceback (most recent call last):")
    assert "FileNotFoundError" in outcome.err
    assert "Error: no_such.csv: no such file." in outcome.err


def test_debug_shows_no_traceback_of_a_no(cli, findings):
    outcome = cli(*findings, "--debug")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err


def test_json_is_one_object_with_a_version(capsys):
    Console(as_json=True).json({"b": 1})
    assert json.loads(capsys.readouterr().out) == {"version": 1, "b": 1}


def test_json_stays_json_whatever_it_holds():
    content = {
        "nan": float("nan"),
        "list": [float("inf"), 1.5, {"x": -float("inf")}],
        "é": "\udce9",
    }
    text = json_text(content)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(text, parse_constant=refuse) == {
        "version": 1,
        "nan": None,
        "list": [None, 1.5, {"x": None}],
        "é": "\udce9",
    }
    assert text.isascii()


def test_each_kind_of_text_has_its_stream(capsys):
    for verbosity, said in ((-1, "we"), (0, "nwe"), (1, "ndwe")):
        console = Console(verbosity)
        console.result("result")
        console.note("n")
        console.detail("d")
        console.warn("w")
        console.error("e", "hint")
        captured = capsys.readouterr()
        assert captured.out == "result\n"
        lines = captured.err.replace("Warning: ", "").replace("Error: ", "").splitlines()
        assert lines == [*said, "hint"]


def test_error_without_hint_is_one_line(capsys):
    Console().error("what")
    assert capsys.readouterr().err == "Error: what\n"


def test_table_about_progress_goes_to_stderr_unless_quiet(capsys):
    Console().table("", ("name",), [["a"]], err=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.replace("─", "").split() == ["name", "a"]
    Console(verbosity=-1).table("", ("name",), [["a"]], err=True)
    assert capsys.readouterr().err == ""


def test_table_aligns_numbers_right_and_shows_its_title(capsys):
    Console().table("[b]Title[/b]", (">n", "[i]name"), [["1", "a"], ["100", "bc"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "[b]Title[/b]"
    assert lines[2].split() == ["n", "[i]name"]
    one, hundred = lines[4], lines[5]
    assert one.index("1") == hundred.index("100") + 2
    assert one.index("a") == hundred.index("b")


def test_table_without_rows_is_its_header(capsys):
    Console().table("", ("a", "b"), [])
    assert capsys.readouterr().out.splitlines()[0].split() == ["a", "b"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_table_for_a_closed_stream_is_dropped(stream, monkeypatch, capsys):
    monkeypatch.setattr(sys, stream, None)
    Console().table("", ("a",), [["1"]], err=stream == "stderr")
    assert capsys.readouterr() == ("", "")


class Broken:
    """A stream of which nothing can be written."""

    def __init__(self, error):
        self.error = error
        self.encoding = "utf-8"

    def isatty(self):
        return False

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error


def test_stream_that_fails_is_an_error_only_for_results(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Broken(BrokenPipeError()))
    monkeypatch.setattr(sys, "stdout", Broken(OSError(5, "Input/output error")))
    console = Console(verbosity=1, as_json=True)
    console.note("n")
    console.warn("w")
    console.error("e", "h")
    console.table("", ("a",), [["1"]], err=True)
    for write in (
        lambda: console.result("r"),
        lambda: console.json({}),
        lambda: console.table("", ("a",), [["1"]]),
    ):
        with pytest.raises(UsageError, match=r"^Standard output cannot be written \(Input/output"):
            write()
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        console.result("r")


@given(st.text())
def test_printable_text_is_one_line_and_keeps_what_can_be_shown(text):
    shown = printable(text)
    assert shown.replace("\xa0", "").isprintable()
    assert len(shown.splitlines()) <= 1
    assert len(shown.encode()) <= LINE_WIDTH
    if text.isprintable() and len(text.encode()) <= LINE_WIDTH:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.csv\xa0: non", "a.csv\xa0: non"),
        ("«\xa0ph\xa0»", "«\xa0ph\xa0»"),
        ("p\xa0H", r"p\xa0H"),
        ("ph\xa0", r"ph\xa0"),
    ],
)
def test_no_break_space_is_shown_unless_french_sets_it(text, shown):
    assert printable(text) == shown
