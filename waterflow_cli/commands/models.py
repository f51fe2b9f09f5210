"""``waterflow models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    json_option,
    store_options,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import printable

if TYPE_CHECKING:
    from waterflow_cli.console import Console
    from waterflow_cli.registry.versions import Change

_why_option = click.option(
    "--why", default="", metavar="TEXT", help="The reason, for the model's history."
)


@click.group(short_help="List, promote and move registered models.")
@common_options
def models() -> None:
    """List, promote, roll back and move the versions of a registered model."""


@models.command("list", short_help="List the versions of a model.")
@store_options
@json_option
@common_options
@click.pass_context
def list_models(ctx: click.Context, name: str, tracking_uri: str, as_json: bool) -> None:
    """List the versions of the registered model, the newest first.

    ROC AUC and false 'potable' per 1000 samples were measured on rows that the model had not seen.
    """
    from waterflow_cli.registry.lookup import list_versions

    console = console_of(ctx)
    versions = list_versions(name, tracking_uri)
    if as_json:
        console.json({"name": name, "versions": versions})
        return
    heads = (
        ">" + tr("version"),
        tr("aliases"),
        tr("plugin"),
        ">" + tr("ROC AUC"),
        ">" + tr("false 'potable' per 1000"),
        tr("gate"),
        tr("created"),
        tr("run"),
    )
    console.table(tr("Model {name}", name=name), heads, [_list_row(each) for each in versions])


@models.command("show", short_help="Say what is known about a version.")
@click.argument("version", default="@champion")
@store_options
@json_option
@common_options
@click.pass_context
def show_model(
    ctx: click.Context, version: str, name: str, tracking_uri: str, as_json: bool
) -> None:
    """Say what is known about VERSION (a number or an alias): its data, figures and decisions."""
    from waterflow_cli.registry.details import describe

    console = console_of(ctx)
    details = describe(version, name=name, tracking_uri=tracking_uri)
    if as_json:
        console.json(details)
        return
    _show_details(details, console)


@models.command("promote", short_help="Make a version the champion.")
@click.argument("version")
@_why_option
@click.option(
    "--force", is_flag=True, help="Though a gate refused it, or it is worse than the one in use."
)
@store_options
@json_option
@common_options
@click.pass_context
def promote_model(
    ctx: click.Context,
    version: str,
    why: str,
    force: bool,
    name: str,
    tracking_uri: str,
    as_json: bool,
) -> None:
    """Make VERSION (a number or @challenger) the champion that `score` uses.

    A version that the gate of `retrain` refused, or whose figures are worse with intervals that do
    not overlap those of the champion, is refused (exit code 1).
    """
    from waterflow_cli.registry.versions import promote

    change = promote(name, version, tracking_uri, why=why, force=force)
    _show_change(change, console_of(ctx), as_json=as_json)


@models.command("rollback", short_help="Make the champion before this one the champion again.")
@_why_option
@store_options
@json_option
@common_options
@click.pass_context
def rollback_model(
    ctx: click.Context, why: str, name: str, tracking_uri: str, as_json: bool
) -> None:
    """Make the champion before this one (@previous) the champion again."""
    from waterflow_cli.registry.versions import rollback

    change = rollback(name, tracking_uri, why=why)
    _show_change(change, console_of(ctx), as_json=as_json)


@models.command("history", short_help="Say who changed the champion, when and why.")
@store_options
@json_option
@common_options
@click.pass_context
def show_history(ctx: click.Context, name: str, tracking_uri: str, as_json: bool) -> None:
    """Say what was done with the registered model, by whom, when and why, the oldest first.

    Entries are only ever added.
    """
    from waterflow_cli.registry.versions import read_history

    console = console_of(ctx)
    entries = [entry.to_json() for entry in read_history(name, tracking_uri)]
    if as_json:
        console.json({"name": name, "history": entries})
        return
    _show_entries(tr("Model {name}", name=name), entries, console)


@models.command("export", short_help="Write a version to one file.")
@click.argument("version", default="@champion")
@click.option("-o", "--output", required=True, metavar="FILE", help="The file, such as model.zip.")
@force_option
@store_options
@json_option
@common_options
@click.pass_context
def export_model(
    ctx: click.Context,
    version: str,
    output: str,
    force: bool,
    name: str,
    tracking_uri: str,
    as_json: bool,
) -> None:
    """Write VERSION with its manifest, evaluation and history to one file, for another store."""
    from waterflow_cli.registry.archives import export_version
    from waterflow_cli.tables.outputs import check_output, open_output

    console = console_of(ctx)
    if as_json and output == "-":
        raise UsageError(tr("--json and -o - both write to stdout."), tr("Name a file."))
    check_output(output, force=force)
    exported = export_version(
        version,
        name=name,
        tracking_uri=tracking_uri,
        open_output=lambda: open_output(output, force=force),
    )
    if as_json:
        console.json({"file": output, **asdict(exported)})
        return
    say = console.note if output == "-" else console.result
    say(tr("{label}: sha256 {digest}", label=exported.label, digest=exported.digest))
    console.note(tr("Wrote {files}.", files=output))


@models.command("import", short_help="Verify an exported version and register it here.")
@click.argument("file")
@click.option(
    "--sha256",
    "digest",
    metavar="HEX",
    help="What the exporter was told; its first characters are enough.",
)
@store_options
@json_option
@common_options
@click.pass_context
def import_model(
    ctx: click.Context, file: str, digest: str | None, name: str, tracking_uri: str, as_json: bool
) -> None:
    """Verify every byte of an exported version, and register it; no pickle is run.

    It becomes @challenger, or @champion where there is none.
    """
    from waterflow_cli.registry.archives import import_version
    from waterflow_cli.registry.runs import TrackingOptions

    console = console_of(ctx)
    imported = import_version(file, TrackingOptions(tracking_uri, name=name), digest=digest)
    if as_json:
        console.json(asdict(imported))
        return
    registered = imported.registered
    console.result(
        tr(
            "{origin} is here {name} version {version}, @{alias} (sha256 {digest}).",
            origin=printable(imported.origin),
            name=registered.name,
            version=registered.version,
            alias=registered.alias,
            digest=imported.digest,
        )
    )


def _list_row(version: Mapping[str, Any]) -> list[str]:
    return [
        str(version["version"]),
        " ".join(f"@{alias}" for alias in version["aliases"]),
        version["plugin"],
        _figure(version["roc_auc"], ".3f"),
        _figure(version["false_potable_per_1000"], ".0f"),
        version["gate"] or "",
        f"{datetime.fromtimestamp(version['created_s'], UTC):%Y-%m-%d %H:%M} UTC",
        version["run_id"],
    ]


def _show_entries(title: str, entries: Sequence[Mapping[str, Any]], console: Console) -> None:
    heads = (
        ">" + tr("no."),
        tr("when"),
        tr("who"),
        tr("what"),
        ">" + tr("version"),
        tr("champion"),
        ">" + tr("ROC AUC"),
        ">" + tr("false 'potable' per 1000"),
        tr("why"),
    )
    console.table(title, heads, [_history_row(entry) for entry in entries])


def _history_row(entry: Mapping[str, Any]) -> list[str]:
    before, after = entry["from"], entry["to"]
    champion = "" if after is None else str(after)
    if before != after:
        champion = f"{'-' if before is None else before} → {'-' if after is None else after}"
    figures = entry["metrics"]
    return [
        str(entry["number"]),
        entry["when"].replace("T", " ").removesuffix("+00:00"),
        entry["who"],
        entry["action"],
        "" if entry["version"] is None else str(entry["version"]),
        champion,
        _figure(figures.get("roc_auc"), ".3f"),
        _figure(figures.get("false_potable_per_1000"), ".0f"),
        entry["why"],
    ]


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _show_change(change: Change, console: Console, *, as_json: bool) -> None:
    if as_json:
        console.json(asdict(change))
        return
    console.note(
        tr("{name} version {number} is now @champion.", name=change.name, number=change.version)
    )
    for figure, value in change.figures.items():
        before = change.figures_before.get(figure)
        if before is not None and not figure.endswith(("_low", "_high")):
            console.note(
                tr(
                    "{figure}: {before:.3f} before, {value:.3f} now.",
                    figure=figure,
                    before=before,
                    value=value,
                )
            )


def _show_details(details: Mapping[str, Any], console: Console) -> None:
    from waterflow_cli.models.metrics import METRICS

    tables = ("estimates", "history")
    facts = [
        [name.replace("_", " "), _fact(value)]
        for name, value in {**details, **details["options"]}.items()
        if name not in (*tables, "model", "options") and value not in (None, [])
    ]
    console.table(tr("Model {name}", name=details["model"]), ("", ""), facts)
    estimates = [
        [tr(METRICS[name]), *(_figure(each[end], ".3f") for end in ("value", "low", "high"))]
        for name, each in details["estimates"].items()
    ]
    heads = ("", ">" + tr("estimate"), ">" + tr("from"), ">" + tr("to"))
    console.table(tr("On rows that it had not seen, with 95 % intervals"), heads, estimates)
    _show_entries(tr("History"), details["history"], console)


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
