"""``waterflow models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands import options
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.registry.archives import Imported
    from waterflow_cli.registry.runs import TrackingOptions
    from waterflow_cli.registry.versions import Change

_why_option = click.option(
    "--why",
    default="",
    show_default=False,
    metavar="TEXT",
    help="The reason, for the model's history.",
)


@options.common
@click.group(short_help="List, promote and move registered models.")
def models() -> None:
    """List, promote, roll back and move the versions of a registered model."""


@options.command("list", of=models, short_help="List the versions of a model.")
@options.store
def list_models(console: Console, *, store: options.Store) -> None:
    """List the versions of the registered model, the newest first.

    ROC AUC and false 'potable' per 1000 samples were measured on rows that the model had not seen.
    """
    from waterflow_cli.registry.overview import list_versions

    versions = list_versions(store.name, store.tracking_uri)
    if console.json({"name": store.name, "versions": versions}):
        return
    console.listing(
        tr("Model {name}", name=store.name),
        versions,
        [
            (">" + tr("version"), lambda each: str(each["version"])),
            (tr("aliases"), lambda each: " ".join(f"@{alias}" for alias in each["aliases"])),
            (tr("plugin"), lambda each: each["plugin"]),
            (">" + tr("ROC AUC"), lambda each: _shown(each["roc_auc"], ".3f")),
            (
                ">" + tr("false 'potable' per 1000"),
                lambda each: _shown(each["false_potable_per_1000"], ".0f"),
            ),
            (tr("remark"), _remark),
            (
                tr("created"),
                lambda each: f"{datetime.fromtimestamp(each['created_s'], UTC):%Y-%m-%d %H:%M} UTC",
            ),
            (tr("run"), lambda each: each["run_id"]),
        ],
    )


def _remark(version: Mapping[str, Any]) -> str:
    """Say what speaks for or against a version, where anything does."""
    if version["may_be_chance"]:
        return tr("chance not ruled out")
    gate = {"passed": tr("passed the gate"), "refused": tr("refused by the gate")}
    return gate.get(version["gate"], "")


@options.command("show", of=models, short_help="Say what is known about a version.")
@click.argument("version", default="@champion")
@options.store
def show_model(console: Console, *, version: str, store: options.Store) -> None:
    """Say what is known about VERSION (a number or an alias): its data, figures and decisions."""
    from waterflow_cli.registry.versions import describe

    details = describe(version, name=store.name, tracking_uri=store.tracking_uri)
    if not console.json(details):
        _show_details(details, console)


@options.command("promote", of=models, short_help="Make a version the champion.")
@click.argument("version")
@_why_option
@click.option(
    "--force",
    is_flag=True,
    help="Though a gate refused it, it may be chance, or it is worse than the one in use.",
)
@options.store
def promote_model(
    console: Console, *, version: str, why: str, force: bool, store: options.Store
) -> None:
    """Make VERSION (a number or @challenger) the champion that `score` uses.

    A version that the gate of `retrain` refused, that is not shown to be better than chance, or
    whose figures are worse with intervals that do not overlap those of the champion, is refused
    (exit code 1).
    """
    from waterflow_cli.registry.versions import promote

    change = promote(store.name, version, store.tracking_uri, why=why, force=force)
    _show_change(change, console)


@options.command(
    "rollback", of=models, short_help="Make the champion before this one the champion again."
)
@_why_option
@options.store
def rollback_model(console: Console, *, why: str, store: options.Store) -> None:
    """Make the champion before this one (@previous) the champion again."""
    from waterflow_cli.registry.versions import rollback

    change = rollback(store.name, store.tracking_uri, why=why)
    _show_change(change, console)


@options.command("history", of=models, short_help="Show the champion's history.")
@options.store
def show_history(console: Console, *, store: options.Store) -> None:
    """Say what was done with the registered model, by whom, when and why, the oldest first.

    Entries are only ever added.
    """
    from waterflow_cli.registry.overview import read_history

    entries = [entry.to_json() for entry in read_history(store.name, store.tracking_uri)]
    if not console.json({"name": store.name, "history": entries}):
        _show_entries(tr("Model {name}", name=store.name), entries, console)


@options.command("export", of=models, short_help="Write a version to one file.")
@click.argument("version", default="@champion")
@click.option(
    "--estimator",
    is_flag=True,
    help="The fitted scikit-learn pipeline alone, as a file of skops.",
)
@options.output("The file, such as model.zip.", required=True)
@options.force
@options.store
def export_model(
    console: Console,
    *,
    version: str,
    estimator: bool,
    output: str,
    force: bool,
    store: options.Store,
) -> None:
    """Write VERSION with its manifest, evaluation and history to one file, for another store."""
    from waterflow_cli.registry.archives import export_estimator, export_version
    from waterflow_cli.tables.outputs import check_output, open_output

    if console.as_json and output == "-":
        raise UsageError("--json and -o - both write to stdout.", tr("Name a file."))
    check_output(output, force=force)
    export = export_estimator if estimator else export_version
    exported = export(
        version,
        name=store.name,
        tracking_uri=store.tracking_uri,
        open_output=lambda: open_output(output, force=force),
    )
    if console.json({"file": output, **asdict(exported)}):
        return
    say = console.note if output == "-" else console.result
    say(tr("{label}: sha256 {digest}", label=exported.label, digest=exported.digest))
    console.note("Wrote {files}.", files=output)


@options.command("import", of=models, short_help="Verify an exported version and register it here.")
@click.argument("file")
@click.option(
    "--sha256",
    "digest",
    metavar="HEX",
    help="What the exporter was told; its first characters are enough.",
)
@click.option(
    "--promote", "is_promoted", is_flag=True, help="Make it the champion that `score` uses."
)
@options.tracking_uri
@options.name
@options.family("tracking", "registry.runs:TrackingOptions", uri="tracking_uri")
def import_model(
    console: Console, *, file: str, digest: str | None, is_promoted: bool, tracking: TrackingOptions
) -> None:
    """Verify every byte of an exported version, and register it; no pickle is run.

    Its model must score its own reference rows as the file states. It gets no alias unless
    --promote asks for one.
    """
    from waterflow_cli.registry.archives import import_version

    imported = import_version(file, tracking, digest=digest, is_promoted=is_promoted)
    if not imported.is_compared:
        console.warn(
            tr(
                "The file states no probabilities of the reference rows: it was exported by an "
                "older version, and the model's scores were compared with nothing."
            )
        )
    if not console.json(asdict(imported)):
        _show_import(imported, console)


@options.command("upgrade", of=models, short_help="Give an older version the fast form.")
@click.argument("version", default="@champion")
@options.tracking_uri
@options.name
@options.family("tracking", "registry.runs:TrackingOptions", uri="tracking_uri")
def upgrade_model(console: Console, *, version: str, tracking: TrackingOptions) -> None:
    """Register VERSION, which an older waterflow trained, anew with its model as plain arrays.

    It gives the same probabilities, and is scored without scikit-learn. What was the champion is
    the champion in its new form.
    """
    from waterflow_cli.registry.upgrades import upgrade_version

    upgraded = upgrade_version(version, tracking)
    if console.json(asdict(upgraded)):
        return
    if upgraded.registered is None:
        console.result("{model}: there is nothing to upgrade.", model=upgraded.origin)
        return
    console.result(
        "{model} is now {name} version {version}.",
        model=upgraded.origin,
        name=upgraded.registered.name,
        version=upgraded.registered.version,
    )
    if upgraded.registered.alias:
        console.note(
            "{name} version {number} is now @champion.",
            name=upgraded.registered.name,
            number=upgraded.registered.version,
        )


def _show_import(imported: Imported, console: Console) -> None:
    registered = imported.registered
    console.result(
        "{origin} is here {name} version {version} (sha256 {digest}).",
        origin=imported.origin,
        name=registered.name,
        version=registered.version,
        digest=imported.digest,
    )
    if registered.alias:
        console.note(
            "{name} version {number} is now @champion.",
            name=registered.name,
            number=registered.version,
        )
    else:
        console.note(
            "To put it in use: waterflow models promote {version}", version=registered.version
        )


def _show_entries(title: str, entries: Sequence[Mapping[str, Any]], console: Console) -> None:
    console.listing(
        title,
        entries,
        [
            (">" + tr("no."), lambda entry: str(entry["number"])),
            (tr("when"), lambda entry: entry["when"].replace("T", " ").removesuffix("+00:00")),
            (tr("who"), lambda entry: entry["who"]),
            (tr("what"), lambda entry: entry["action"]),
            (">" + tr("version"), lambda entry: _shown(entry["version"])),
            (tr("champion"), _champion_change),
            (">" + tr("ROC AUC"), lambda entry: _shown(entry["metrics"].get("roc_auc"), ".3f")),
            (
                ">" + tr("false 'potable' per 1000"),
                lambda entry: _shown(entry["metrics"].get("false_potable_per_1000"), ".0f"),
            ),
            (tr("why"), _reason),
        ],
    )


def _reason(entry: Mapping[str, Any]) -> str:
    from waterflow_cli.registry.history import UNTOLD

    return tr(UNTOLD) if entry["why"] == UNTOLD else str(entry["why"])


def _champion_change(entry: Mapping[str, Any]) -> str:
    before, after = entry["from"], entry["to"]
    return _shown(after) if before == after else f"{_shown(before) or '-'} → {_shown(after) or '-'}"


def _shown(value: float | None, form: str = "") -> str:
    return "" if value is None else format(value, form)


def _show_change(change: Change, console: Console) -> None:
    if console.json(asdict(change)):
        return
    console.note(
        "{name} version {number} is now @champion.", name=change.name, number=change.version
    )
    for figure, value in change.figures.items():
        before = change.figures_before.get(figure)
        if before is not None and not figure.endswith(("_low", "_high")):
            console.note(
                "{figure}: {before:.3f} before, {value:.3f} now.",
                figure=figure,
                before=before,
                value=value,
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
        [tr(METRICS[name]), *(_shown(each[end], ".3f") for end in ("value", "low", "high"))]
        for name, each in details["estimates"].items()
    ]
    heads = ("", ">" + tr("estimate"), ">" + tr("from"), ">" + tr("to"))
    console.table(tr("On rows that it had not seen, with 95 % intervals"), heads, estimates)
    _show_entries(tr("History"), details["history"], console)


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
