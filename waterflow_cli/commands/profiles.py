"""``waterflow profiles``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import list_bundled, note_reading
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.tables.reading_options import ReadingOptions

# Rules that a row breaks where its profile does not say enough.
_OF_PROFILE = {
    *("conflicting_results", "partial_key", "missing_unit", "unknown_qualifier"),
    "unknown_unit",
}


@options.common
@click.group(short_help="List, show, check and draft the profiles of sources.")
def profiles() -> None:
    """List, show, check and draft profiles: how a source of files lays out its results."""


@options.command("list", of=profiles, short_help="List the bundled profiles.")
def list_profiles(console: Console) -> None:
    """List the bundled profiles; any TOML file of one's own can be named in their place."""
    from waterflow_cli.samples.profiles import bundled_profiles, load_profile

    entries = [
        {
            "name": each.name,
            "title": each.title,
            "source": each.source,
            "rows": "samples" if each.results is None else "results",
            "sha256": each.sha256,
        }
        for each in map(load_profile, bundled_profiles())
    ]
    list_bundled(console, "profiles", entries)


@options.command("show", of=profiles, short_help="Print a profile.", json=False)
@click.argument("name", metavar="NAME|FILE.toml")
def show_profile(console: Console, *, name: str) -> None:
    """Print the TOML of the profile NAME, to read or to copy and change."""
    from waterflow_cli.samples.profiles import load_profile

    console.result(load_profile(name).text.rstrip())


@options.command("new", of=profiles, short_help="Draft a profile from a file.", json=False)
@click.argument("file")
@options.schema
@options.reading
@options.output("Where to write the profile.", default="-", show_default=False)
@options.force
def new_profile(
    console: Console,
    *,
    file: str,
    schema_name: str,
    reading: ReadingOptions,
    output: str,
    force: bool,
) -> None:
    """Draft a profile from the first rows of FILE, each guess marked, and say what is not told."""
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.tables.outputs import check_outputs, open_output
    from waterflow_cli.validation.profile_drafts import draft_profile

    check_outputs((("-o", output),), force=force, inputs=[file])
    draft = draft_profile(file, load_schema(schema_name), reading)
    with open_output(output, force=force) as stream:
        stream.write(draft.text.encode())
    for question in draft.questions:
        console.note(question)
    if output != "-":
        console.note("Next: settle what is asked; waterflow profiles check {path}", path=output)


@options.command(
    "check", of=profiles, short_help="Check a profile, and how it reads a file.", json=False
)
@click.argument("name", metavar="NAME|FILE.toml")
@click.argument("file", required=False)
@options.schema
@options.reading
def check_profile(
    console: Console,
    *,
    name: str,
    file: str | None,
    schema_name: str,
    reading: ReadingOptions,
) -> int:
    """Check a profile, and with FILE what it leaves unread or unknown there.

    Exit code 1: some samples of FILE are not understood by it.
    """
    from waterflow_cli.samples.profiles import check_names, load_profile
    from waterflow_cli.samples.schemas import load_schema

    checked = load_profile(name)
    check_names(checked, load_schema(schema_name), name)
    rows = tr("each sample") if checked.results is None else tr("each result")
    console.result("{name}: a profile of files with one row for {rows}.", name=name, rows=rows)
    if file is None:
        return 0
    return _check_on(file, replace(reading, profile=name), schema_name, console)


def _check_on(file: str, reading: ReadingOptions, schema_name: str, console: Console) -> int:
    """Say how a file is read by a profile, and what of it is not understood."""
    from waterflow_cli.samples.profiles import load_profile
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.validation.profile_drafts import unread_parameters
    from waterflow_cli.validation.report import ValidationOptions, validate_files

    schema = load_schema(schema_name)
    report = validate_files([file], schema, ValidationOptions(reading=reading))
    note_reading(report.dialects, report.cells, schema, reading, console)
    others = unread_parameters(file, load_profile(str(reading.profile)), schema, reading)
    if others:
        said = shorten([f"{name} {n}" for name, n in others.most_common()])
        console.note("Parameters not read: {names}.", names=said)
    for finding in report.findings:
        if finding.rule in _OF_PROFILE:
            console.note(str(finding))
    n_found = sum(n for (_, rule), n in report.by_rule.items() if rule in _OF_PROFILE)
    if n_found:
        told = trn("{n} sample is not understood.", "{n} samples are not understood.", n_found)
        console.note(told)
    return int(n_found > 0)
