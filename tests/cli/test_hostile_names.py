"""Names and cells that are made to harm who reads of them: in pages, on terminals, in logs."""

from __future__ import annotations

import csv
import re
import shutil
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Cli, Outcome
from servers import Running, running

from waterflow_cli.console import Console
from waterflow_cli.serving.served_model import ModelWatch

SCRIPT = "<script>alert(1)</script>"
TERMINAL = "\x1b]0;owned\x07\x1b[31m\x9b2J"
BIDI = "\u202egnp.\u2066\u200f"
HOSTILE = f"{SCRIPT}{TERMINAL}{BIDI}'\"&{{{{7*7}}}}=cmd|' /C calc'!A0"
# No / in what names a file, and nothing that a pattern of the shell would be.
NAME = f"<img src=x onerror=alert(1)>{TERMINAL.replace('[', '')}{BIDI}"
HANDLERS = re.compile(r"on[a-z]+|srcdoc|formaction")


class Page(HTMLParser):
    """Collects what a browser would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.runs: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.runs += [name for name, _ in attrs if HANDLERS.fullmatch(name)]
        self.runs += [value for _, value in attrs if value and "javascript:" in value.lower()]
        source = dict(attrs).get("src") or "data:image/"
        self.runs += [source] if not source.startswith("data:image/") else []


def commands(text: str) -> set[str]:
    """Give the characters that command a terminal, or turn the direction of what is read."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} - {"\n"}


def check_said(done: Outcome) -> None:
    assert done.code in (0, 1), done.err
    assert commands(done.out + done.err) == set()


def check_page(path: Path) -> None:
    text = path.read_text("utf-8")
    page = Page(text)
    assert commands(text) == set()
    assert (page.runs, page.tags & {"script", "iframe", "object"}) == ([], set())
    assert "49" not in re.findall(r"\{\{.*?\}\}|>49<", text)  # no template in a template


@pytest.fixture
def hostile(samples: Path, workdir: Path) -> str:
    """A table whose file, headers, sites and cells are hostile."""
    with samples.open() as source:
        rows = list(csv.DictReader(source))
    name = f"{NAME}.csv"
    with Path(name).open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow([*rows[0], HOSTILE, f"remark {BIDI}"])
        for number, row in enumerate(rows):
            row["site"] = f"{HOSTILE} {number % 4}"
            if number % 50 == 0:
                row["ph"] = f"{number}{HOSTILE}"
            writer.writerow([*row.values(), HOSTILE, f"a{BIDI}"])
    return name


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "fr"])
def test_validation_and_exploration(language, cli: Cli, hostile, monkeypatch):
    monkeypatch.setenv("WATERFLOW_LANG", language)
    check_said(cli("validate", hostile))
    check_said(cli("validate", hostile, "--format", "text", "-o", "findings.txt"))
    assert commands(Path("findings.txt").read_text("utf-8")) == set()
    check_said(cli("validate", hostile, "--format", "html", "-o", "findings.html"))
    check_said(cli("validate", hostile, "--format", "html", "-o", f"{NAME}.html", "-q"))
    check_page(Path("findings.html"))
    check_said(cli("explore", hostile, "-o", "page.html", "--against", hostile))
    check_page(Path("page.html"))
    for wrong in ([f"{NAME}none"], [hostile, "--schema", HOSTILE], [hostile, "--profile", HOSTILE],
                  [hostile, "--rename", f"{HOSTILE}=ph"], [hostile, "--limits", NAME],
                  [hostile, f"--{HOSTILE}"], [hostile, "--encoding", HOSTILE]):  # fmt: skip
        done = cli("validate", *wrong)
        assert done.code in (2, 3)
        assert commands(done.err) == set()
    assert commands(cli(HOSTILE).err) == set()


def test_training_scoring_and_monitoring(cli: Cli, hostile):
    for name in (SCRIPT.replace("/", ""), TERMINAL, BIDI):  # MLflow would take any
        refused = cli("train", hostile, "--plugin", "logreg", "--name", f"a{name}")
        assert (refused.code, commands(refused.err)) == (2, set())
    named = ("--name", "river")
    trained = cli(
        "train", hostile, "--plugin", "logreg", "--cv", "3x1", "--group", "site", *named,
        "--on-invalid", "drop", "--report", "report.html", "-v",
    )  # fmt: skip
    check_said(trained)
    check_page(Path("report.html"))
    for page in Path("mlartifacts").rglob("*.html"):
        check_page(page)
    for command in (("list", *named), ("show", "1", *named), ("history", *named)):
        check_said(cli("models", *command))
    reference = ("--model", "1", *named)
    check_said(cli("score", hostile, "-o", "out.csv", "--manifest", "m.json", *reference))
    check_said(
        cli("score", hostile, "-o", "out.csv", "--force", "--rejects", "bad.csv", *reference)
    )
    check_said(cli("monitor", hostile, "-o", "monitor.html", "--by", "site", *reference))
    check_page(Path("monitor.html"))
    with Path("out.csv").open(newline="") as scored, Path(hostile).open(newline="") as source:
        for after, before in zip(csv.reader(scored), csv.reader(source), strict=True):
            assert after[: len(before)] == before  # verbatim: a formula stays what was written


def test_plugins(cli: Cli, tmp_path, monkeypatch):
    info = tmp_path / "lib" / "hostile-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {SCRIPT}{BIDI}\nVersion: 1.0\n")
    entry = f"{SCRIPT}{BIDI}\x1b[31m = {BIDI}nowhere:model"
    (info / "entry_points.txt").write_text(f"[waterflow.models]\n{entry}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    for command in (("list",), ("check", f"{SCRIPT}{BIDI}\x1b[31m"), ("check", HOSTILE)):
        done = cli("plugins", *command)
        assert commands(done.out + done.err) == set()


def test_the_log_of_a_server(capfd, store_uri):
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)
    with running(watch) as server:
        _ask_for_odd_paths(server)
        console = Console(verbosity=1)
        for request, status in server.accesses:
            console.detail("{request} {status}", request=request, status=status)
    assert commands(capfd.readouterr().err) == set()
    assert len(server.accesses) == 2


def _ask_for_odd_paths(server: Running) -> None:
    for path in ("/%1b]0;owned%07%1b[31m%e2%80%ae%0a%0d", "/<script>"):
        reply = server.ask("GET", path)
        assert reply.status == 404
        assert reply.headers["content-type"] == "application/problem+json"
        assert commands(reply.body.decode()) == set()


def test_a_copy_of_the_hostile_file_is_read_alike(cli: Cli, hostile):
    shutil.copy(hostile, "plain.csv")
    one, other = (cli("validate", each, "--format", "csv", "-q") for each in (hostile, "plain.csv"))
    assert one.code == other.code == 1
    assert one.out.count("\n") == other.out.count("\n") == 9
