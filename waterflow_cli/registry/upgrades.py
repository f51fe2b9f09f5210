"""Give a version of an older format what this one scores with, as a version of its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from waterflow_cli.common.errors import ModelError
from waterflow_cli.models.files import load_payload, upgrade_folder
from waterflow_cli.models.manifest import read_verified
from waterflow_cli.registry.archives import (
    MODEL_FOLDER,
    export_version,
    gate_of,
    log_archive,
    open_export,
)
from waterflow_cli.registry.history import Action
from waterflow_cli.registry.lookup import find_version
from waterflow_cli.registry.references import CHAMPION, DEMO
from waterflow_cli.registry.rehearsal import reference_probabilities
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.registry.stores import connect
from waterflow_cli.registry.versions import Aliasing, Origin, RegisteredVersion, promote

_WHY = "upgrade of the version in use"


@dataclass(frozen=True)
class Upgraded:
    """What became of a version.

    Attributes
    ----------
    origin : str
        Name and version that were upgraded.
    registered : RegisteredVersion, optional
        The new version; None where there was nothing to add.
    """

    origin: str
    registered: RegisteredVersion | None


def upgrade_version(reference: str, tracking: TrackingOptions) -> Upgraded:
    """Register a version anew, with the portable form of its model.

    The new version gives the same probabilities of the reference rows, bit for bit; that of the
    champion becomes the champion, that of ``@demo`` has this alias.

    Parameters
    ----------
    reference : str
        A number or an alias.

    Raises
    ------
    ModelError
        If there is no such version, a file of it was changed, or it gives other probabilities.
    """
    client = connect(tracking.uri)
    found = find_version(client, reference, tracking.name, tracking.uri)
    was_in_use = CHAMPION in found.aliases
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        path = Path(scratch) / "version.zip"
        exported = export_version(
            str(found.version),
            name=tracking.name,
            tracking_uri=tracking.uri,
            open_output=partial(path.open, "wb"),
        )
        with open_export(str(path)) as (folder, content):
            digest = _upgrade(folder / MODEL_FOLDER, exported.label)
            if digest is None:
                return Upgraded(exported.label, None)
            aliasing = Aliasing.DEMO if DEMO in found.aliases else Aliasing.NONE
            history = Origin(Action.UPGRADE, exported.label, gate_of(content), aliasing)
            described = {**content, "manifest_sha256": digest}
            registered = log_archive(folder, described, tracking, history)
    if was_in_use:
        # It is the same model, so what is said against it was overruled before.
        promote(registered.name, str(registered.version), tracking.uri, why=_WHY, force=True)
        registered = replace(registered, alias=CHAMPION)
    return Upgraded(exported.label, registered)


def _upgrade(folder: Path, label: str) -> str | None:
    files = read_verified(folder, label=label)
    digest = upgrade_folder(folder, files, label=label)
    if digest is None:
        return None
    both = (files, read_verified(folder, label=label, digest=digest))
    before, after = (
        reference_probabilities(load_payload(each, label=label), each) for each in both
    )
    if before != after:
        raise ModelError(
            "Model {label} gives other probabilities in its new form. Nothing was registered.",
            label=label,
        )
    return digest
