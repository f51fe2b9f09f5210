"""The documents tell the truth: their commands run, and print what they show.

With WATERFLOW_WRITE_DOCS=1 the outputs in README.md and the reference in docs/commands.md are
written anew instead of compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from paths import ROOT

from waterflow_cli.main import cli

README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "commands.md"
DATABASES = ROOT / "docs" / "databases.md"
CI = ROOT / ".ci" / "run"
WRITE = os.environ.get("WATERFLOW_WRITE_DOCS") == "1"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DEMO = "$ waterflow demo\n"
SETUP = re.compile(r"^python3 -m venv .*$", re.MULTILINE)
RUN_ID = re.compile(r"[0-9a-f]{32}")
# The last digit of a probability is that of the machine's own exponential function.
PROBABILITY = re.compile(r"\b0\.\d{14,}")


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment of a user with no settings of their own, and this project's commands."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WATERFLOW_", "MLFLOW_", "COVERAGE_", "COV_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "XDG_CONFIG_HOME": str(folder / "xdg"), "TERM": "dumb"}


def run_shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=clean_environment(folder) | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run_block(block: str, folder: Path) -> str:
    """Run a block's commands, and return the block with what they print."""
    lines = []
    for command in re.findall(r"^\$ (waterflow .*)$", block, re.MULTILINE):
        # The demo prints the commands that it runs; they are part of its output.
        if lines and f"{lines[0]}\n" == DEMO:
            break
        lines += [f"$ {command}", run_shell(command, folder).stdout.rstrip("\n")]
    return "\n".join(lines) + "\n"


def plain(block: str) -> str:
    """Take out of a block what is another with each run or machine."""
    rounded = PROBABILITY.sub(lambda match: f"{float(match[0]):.13f}", block)
    return RUN_ID.sub("<id>", rounded)


@pytest.mark.slow
def test_readme_shows_what_its_commands_print(tmp_path: Path) -> None:
    text = README.read_text("utf-8")
    for name, table in re.findall(r"^```csv (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(table, "utf-8")
    blocks = BLOCK.findall(text)
    if not WRITE:  # its output is held against that of the first command
        blocks = [block for block in blocks if not block.startswith(DEMO)]
    printed = [run_block(block, tmp_path) for block in blocks]
    if WRITE:
        outputs = iter(printed)
        README.write_text(BLOCK.sub(lambda _: f"```console\n{next(outputs)}```", text), "utf-8")
        return
    assert [plain(block) for block in printed] == [plain(block) for block in blocks]


@pytest.mark.slow
def test_page_on_databases_shows_what_its_commands_print(tmp_path: Path) -> None:
    text = DATABASES.read_text("utf-8")
    (block,) = BLOCK.findall(text)
    printed = run_block(block, tmp_path)
    if WRITE:
        DATABASES.write_text(BLOCK.sub(lambda _: f"```console\n{printed}```", text), "utf-8")
        return
    assert printed == block


def copy_project(folder: Path) -> Path:
    """Copy what git would clone: tracked files, and new ones that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("the project is no git clone here, so a fresh clone cannot be made of it")
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return folder


@pytest.mark.slow
def test_first_readme_command_installs_and_ends_with_the_demo_that_it_shows(tmp_path: Path) -> None:
    text = README.read_text("utf-8")
    command = SETUP.findall(text)[0]
    # Not compiled, which pip reads as compile = 0: the demo imports few of the modules.
    done = run_shell(command, copy_project(tmp_path / "clone"), PIP_NO_COMPILE="0")
    assert done.returncode == 0, done.stdout
    shown = next(block for block in BLOCK.findall(text) if block.startswith(DEMO))
    assert plain(done.stdout).endswith(plain(shown.removeprefix(DEMO)))


def test_ci_runs_the_second_readme_command() -> None:
    text = README.read_text("utf-8")
    search = re.search(r"^command=\$\(grep -E '(.*)' README\.md\)$", CI.read_text("utf-8"), re.M)
    assert search
    assert re.findall(search[1], text, re.MULTILINE) == [SETUP.findall(text)[1]]


def walk_commands(context: click.Context) -> Iterator[click.Context]:
    """Yield a context for a command and for each below it; the settings are handed down."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            inner = context.command.get_command(context, name)
            yield from walk_commands(click.Context(inner, info_name=name, parent=context))


def render_reference() -> str:
    parts = ["# Commands\n\nMade from the `--help` texts; see CONTRIBUTING.md.\n"]
    settings = {**cli.context_settings, "max_content_width": 90, "terminal_width": 90}
    for context in walk_commands(click.Context(cli, info_name="waterflow", **settings)):
        help_text = context.command.get_help(context)
        parts.append(f"## {context.command_path}\n\n```text\n{help_text}\n```\n")
    return "\n".join(parts)


def test_reference_of_commands_is_up_to_date() -> None:
    if WRITE:
        REFERENCE.write_text(render_reference(), "utf-8")
    assert REFERENCE.read_text("utf-8") == render_reference()


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_dependency_has_a_reason_and_an_exact_version() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = "\n".join(config["options.extras_require"].values())
    named = re.findall(
        r"^([a-z][a-z0-9-]*)(?=\[|>)",
        f"{config['options']['install_requires']}\n{extras}",
        re.MULTILINE,
    )
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    pinned = (ROOT / "constraints.txt").read_text("utf-8").lower()
    for name in set(named) - {"waterflow-cli"}:
        assert re.search(rf"\b{name}\b", reasons), f"{name} has no reason"
        assert f"\n{name}==" in pinned, f"{name} has no exact version"
