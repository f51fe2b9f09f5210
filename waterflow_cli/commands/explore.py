"""``waterflow explore``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import note_reading, note_written
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.exploration.report import Difference, Exploration
    from waterflow_cli.exploration.samples import Samples
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.validation.pass_over import PassOptions


@options.command(short_help="Look at a file before training on it.")
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="OTHER", help="Lay a second file beside the first.")
@options.output("Write a page of HTML; - is stdout.")
@options.schema
@options.reading
@click.option(
    "--limits",
    "limits",
    default="epa",
    metavar="NAMES",
    help="Whose health-based values the labels are held against: who,eu,epa,fr or FILE.toml, with "
    "commas. All bundled ones are drawn in.",
)
@click.option("--site", metavar="COLUMN", help="The column of sites, where it is not found.")
@options.date
@options.on_leak
@options.seed("Of the rows drawn at random, the folds and the quick models.")
@options.jobs
@options.force
def explore(
    console: Console,
    *,
    file: str,
    against: str | None,
    output: str | None,
    schema_name: str,
    reading: ReadingOptions,
    limits: str,
    site: str | None,
    date: str | None,
    on_leak: str,
    seed: int,
    jobs: int,
    force: bool,
) -> int:
    """Look at FILE: what is in it, what is odd in it, and whether its labels can be learned.

    Exit code 0 whatever is found, but for leaks with --on-leak fail (1). 3: a file cannot be read,
    or lacks a column.
    """
    from waterflow_cli.exploration.report import compare_files
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.tables.outputs import check_outputs
    from waterflow_cli.validation.limits import PROFILES, load_limits
    from waterflow_cli.validation.pass_over import PassOptions

    if console.as_json and output == "-":
        raise UsageError("--json and -o - both write to stdout.", tr("For the page: -o FILE"))
    files = [file, *([against] if against else [])]
    check_outputs([("-o", output)], force=force, inputs=[*files, *reading.samplings])
    chosen = [name.strip() for name in limits.split(",") if name.strip()]
    schema = load_schema(schema_name)
    profiles = load_limits([*PROFILES, *chosen], schema)
    asked = PassOptions(reading=reading, limits=profiles)
    several = _read(files, schema, asked, {"site": site, "date": date}, console)
    # The profile of a file is none of the bundled ones.
    names = [each.name for each in profiles if each.name in chosen or each.name not in PROFILES]
    found = _explore(several, names, seed, jobs, on_leak, console)
    _show(found, compare_files(*several) if against else [], output, force, console)
    for samples in several:
        note_reading(
            {samples.path: samples.reading}, samples.findings.cells, schema, reading, console
        )
    _note(found, output, console)
    return int(on_leak == "fail" and any(each.leaks for each in found))


def _read(
    files: Sequence[str],
    schema: TableSchema,
    asked: PassOptions,
    columns: dict[str, str | None],
    console: Console,
) -> list[Samples]:
    from waterflow_cli.exploration.samples import read_samples

    with console.progress(tr("rows")) as report:
        return [read_samples(each, schema, asked, **columns, report=report) for each in files]


def _explore(
    several: Sequence[Samples],
    profiles: Sequence[str],
    seed: int,
    jobs: int,
    on_leak: str,
    console: Console,
) -> list[Exploration]:
    from waterflow_cli.exploration.report import explore

    with console.progress(tr("forests")) as report:
        found = explore(
            several, profiles=profiles, seed=seed, jobs=jobs, report=lambda done: report(done, None)
        )
    return [replace(each, leaks=()) for each in found] if on_leak == "ignore" else found


def _show(
    found: Sequence[Exploration],
    differences: Sequence[Difference],
    output: str | None,
    force: bool,
    console: Console,
) -> None:
    """Write the page that is asked for, and print the summary where that is no page."""
    from waterflow_cli.exploration.page import render_exploration
    from waterflow_cli.exploration.report import summarise_files
    from waterflow_cli.tables.outputs import write_page

    if output is not None:
        write_page(output, render_exploration(found, differences), force=force)
    if not console.json(summarise_files(found, differences)) and output != "-":
        _print_summary(found, differences, console)


def _print_summary(
    found: Sequence[Exploration], differences: Sequence[Difference], console: Console
) -> None:
    """Print what stands out and the measurements of each file, then what differs."""
    from waterflow_cli.exploration.headlines import difference_rows, find_headlines, overview_rows

    for exploration in found:
        console.result(
            "{path}: rows {n_rows:,}, columns {n_columns}",
            path=exploration.samples.path,
            n_rows=exploration.samples.findings.n_rows,
            n_columns=len(exploration.samples.header),
        )
        for line in find_headlines(exploration):
            console.result(f"{'!' if line.notable else '-'} {line.title}. {line.text}")
        console.table("", *overview_rows(exploration))
    if differences:
        console.table("", *difference_rows(differences))


def _note(found: Sequence[Exploration], output: str | None, console: Console) -> None:
    """Say on stderr what rests on a sample, and where the page is."""
    from waterflow_cli.exploration.sections import Absent

    for exploration in found:
        signal = exploration.signal
        if not isinstance(signal, Absent) and signal.n_rows < signal.n_labelled:
            console.note(
                "{path}: the quick models saw {n_drawn:,} of {n_labelled:,} labelled rows, "
                "drawn at random (seed {seed}).",
                path=exploration.samples.path,
                n_drawn=signal.n_rows,
                n_labelled=signal.n_labelled,
                seed=signal.seed,
            )
    note_written(console, output)
