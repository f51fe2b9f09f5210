"""``waterflow models``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    json_option,
    store_options,
)
from waterflow_cli.messages import tr


@click.group(short_help="List and promote registered models.")
@common_options
def models() -> None:
    """List and promote the versions of a registered model."""


@models.command("list", short_help="List the versions of a model.")
@store_options
@json_option
@common_options
@click.pass_context
def list_models(ctx: click.Context, name: str, tracking_uri: str, as_json: bool) -> None:
    """List the versions of the registered model, the newest first."""
    from waterflow_cli.registry import list_versions

    console = console_of(ctx)
    versions = list_versions(name, tracking_uri)
    if as_json:
        console.json({"name": name, "versions": versions})
        return
    rows = [
        [
            str(version["version"]),
            " ".join(f"@{alias}" for alias in version["aliases"]),
            version["plugin"],
            "" if version["roc_auc"] is None else f"{version['roc_auc']:.3f}",
            f"{datetime.fromtimestamp(version['created_s'], UTC):%Y-%m-%d %H:%M} UTC",
            version["run_id"],
        ]
        for version in versions
    ]
    console.table(
        tr("Model {name}", name=name),
        (
            ">" + tr("version"),
            tr("aliases"),
            tr("plugin"),
            ">" + tr("ROC AUC"),
            tr("created"),
            tr("run"),
        ),
        rows,
    )


@models.command("promote", short_help="Make a version the champion.")
@click.argument("version")
@store_options
@common_options
@click.pass_context
def promote_model(ctx: click.Context, version: str, name: str, tracking_uri: str) -> None:
    """Make VERSION (a number or @challenger) the champion that `score` uses."""
    from waterflow_cli.tracking import promote

    number = promote(name, version, tracking_uri)
    console_of(ctx).note(tr("{name} version {number} is now @champion.", name=name, number=number))
