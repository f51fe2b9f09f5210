"""Register versions and move their aliases; no other module does.

Each change is written into the model's history before it is made. A command that is killed in
between leaves an entry that was not carried out, which the next one notes; it never leaves a
change that nobody can explain, nor an alias without its version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

from mlflow import MlflowClient

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import ModelError, ModelRefusedError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import CHANCE
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.registry.history import (
    Action,
    Entry,
    check_why,
    former_champions,
    next_entry,
    read_entries,
    unrecorded,
    write_entry,
)
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import (
    all_versions,
    find_run,
    find_version,
    headline_figures,
    list_version,
)
from waterflow_cli.registry.overview import read_history
from waterflow_cli.registry.references import (
    CHALLENGER,
    CHAMPION,
    CHANCE_TAG,
    DEMO,
    GATE_TAG,
    PLUGIN_TAG,
    PREVIOUS,
)
from waterflow_cli.registry.runs import TrackedRun
from waterflow_cli.registry.stores import changing, connect, store_errors

JUDGED_BESIDE_TAG = "waterflow.gate_champion"
PASSED, REFUSED = "passed", "refused"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version that a run registered."""

    name: str
    version: int
    alias: str | None
    run_id: str


class GateVerdict(NamedTuple):
    """Whether a version may take the place of the champion that it was judged beside, and why."""

    passed: bool
    why: str
    champion: int | None


class Aliasing(Enum):
    """Which alias a version gets by itself."""

    RANKED = "ranked"
    """``@champion`` where there is none and no gate refused it, else ``@challenger``."""
    DEMO = "demo"
    """``@demo``: it learned from simulated samples."""
    NONE = "none"


@dataclass(frozen=True)
class Origin:
    """How a version came to be, what a gate said of it, and which alias it gets by itself.

    What the gate said is kept with the version from its first moment, so that none that was refused
    is promoted by mistake.
    """

    action: Action
    why: str = ""
    gate: GateVerdict | None = None
    aliasing: Aliasing = Aliasing.RANKED


@dataclass(frozen=True, kw_only=True)
class Change:
    """A champion that was put in the place of another.

    The figures of both are from rows that neither learned from: see `headline_figures`.
    """

    name: str
    version: int
    before: int | None
    figures: Mapping[str, float]
    figures_before: Mapping[str, float]


class _Model:
    """A registered model that no other command changes meanwhile."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.client, self.name = client, name
        model = client.get_registered_model(name)
        self.versions = {int(each.version): each for each in all_versions(client, name)}
        self.aliases = {alias: int(number) for alias, number in model.aliases.items()}
        self.entries: list[Entry] = read_entries(model.tags)

    @property
    def champion(self) -> int | None:
        """The version in use."""
        return self.aliases.get(CHAMPION)

    @property
    def unrecorded(self) -> list[Entry]:
        """The entries that are missing: what happened to the model without one."""
        return unrecorded(self.entries, self.versions, self.champion)

    def note(self, action: Action, version: int, *, after: int | None, why: str) -> None:
        """Write down what is going to be done."""
        figures = self.figures(version)
        entry = next_entry(self.entries, action, version, self.champion, after, why, figures)
        self.add(entry)

    def figures(self, version: int | None) -> dict[str, float]:
        """Give the honest figures of a version; none where its run is gone."""
        found = self.versions.get(version) if version is not None else None
        return {} if found is None else headline_figures(self.client, found.run_id)

    def point(self, alias: str, version: int | None) -> None:
        """Let an alias stand for a version, or for nothing."""
        if version is not None:
            self.client.set_registered_model_alias(self.name, alias, str(version))
            effects.note_version(self.name, version, alias)
        elif alias in self.aliases:
            self.client.delete_registered_model_alias(self.name, alias)

    def change_to(self, version: int) -> Change:
        """Say what it means to put a version in the place of the champion."""
        return Change(
            name=self.name,
            version=version,
            before=self.champion,
            figures=self.figures(version),
            figures_before=self.figures(self.champion),
        )

    def put_in_use(self, action: Action, version: int, previous: int | None, why: str) -> Change:
        """Make a version the champion, in an order in which each step leaves a usable model."""
        change = self.change_to(version)
        with interrupts_held_back():
            self.note(action, version, after=version, why=why)
            self.point(PREVIOUS, previous)
            self.point(CHAMPION, version)
            if self.aliases.get(CHALLENGER) == version:
                self.point(CHALLENGER, None)
        return change

    def add(self, entry: Entry) -> None:
        """Add an entry to the history."""
        write_entry(self.client, self.name, entry)
        self.entries.append(entry)


@contextmanager
def _changed_model(
    client: MlflowClient, name: str, uri: str, *, create: bool = False
) -> Iterator[_Model]:
    with changing(uri):
        # A query that is interrupted halfway keeps sqlite from being written to: the run could not
        # be ended.
        with interrupts_held_back():
            if create and not client.search_registered_models(f"name='{name}'"):
                client.create_registered_model(name)
            model = _Model(client, name)
            for entry in model.unrecorded:
                model.add(entry)
        yield model


def register(
    run: TrackedRun,
    model_id: str,
    *,
    plugin: str,
    origin: Origin,
    publish: Callable[[], None] = lambda: None,
) -> RegisteredVersion:
    """Register a run's logged model that is complete, and end the run.

    The store keeps the sha256 of its manifest already. `Aliasing` says which alias it gets.

    Parameters
    ----------
    publish : callable
        Gives outputs their names, which come together with the version; where it fails, nothing
        is registered.
    """
    tags = {PLUGIN_TAG: plugin}
    if origin.gate is not None:
        tags[GATE_TAG] = PASSED if origin.gate.passed else REFUSED
        if origin.gate.champion is not None:
            tags[JUDGED_BESIDE_TAG] = str(origin.gate.champion)
    if _may_be_chance(headline_figures(run.client, run.run_id), origin.gate):
        tags[CHANCE_TAG] = "no"
    name = run.options.name
    with (
        _changed_model(run.client, name, run.options.uri, create=True) as model,
        interrupts_held_back(),
    ):
        publish()
        made = run.client.create_model_version(
            name, f"models:/{model_id}", run.run_id, tags=tags, model_id=model_id
        )
        version = int(made.version)
        effects.note_version(name, version)
        model.versions[version] = made
        alias = None if CHANCE_TAG in tags else _first_alias(model, origin)
        after = version if alias == CHAMPION else model.champion
        model.note(origin.action, version, after=after, why=origin.why)
        if origin.gate is not None:
            said = f"{tags[GATE_TAG]}: {origin.gate.why}"
            model.note(Action.GATE, version, after=after, why=said)
        if alias is not None:
            model.point(alias, version)
        run.finish()
    return RegisteredVersion(name, version, alias, run.run_id)


def _may_be_chance(figures: Mapping[str, float], gate: GateVerdict | None) -> bool:
    """Say whether nothing shows skill: neither the gate's rows nor the interval of the training."""
    is_shown = gate is not None and gate.passed
    return not is_shown and "roc_auc" in figures and not figures.get("roc_auc_low", 0) > CHANCE


def _first_alias(model: _Model, origin: Origin) -> str | None:
    if origin.aliasing is not Aliasing.RANKED:
        return DEMO if origin.aliasing is Aliasing.DEMO else None
    is_refused = origin.gate is not None and not origin.gate.passed
    return CHALLENGER if is_refused or model.champion is not None else CHAMPION


def promote(
    name: str,
    reference: str,
    tracking_uri: str,
    *,
    why: str = "",
    force: bool = False,
    expected_champion: int | None = None,
) -> Change:
    """Make a version the champion; the one before stays known as @previous.

    Parameters
    ----------
    reference : str
        A version number, ``@alias`` or ``models:/NAME/…``.
    force : bool
        Promote it though a gate refused it, its figures are worse, or it may be no better than
        chance.
    expected_champion : int, optional
        Refuse where another version is the champion by now.

    Raises
    ------
    ModelError
        If there is no such version, or it cannot be loaded here.
    ModelRefusedError
        If it learned from simulated samples; if it is worse than the champion or not shown to be
        better than chance, and that is not forced.
    """
    check_why(why)
    client = connect(tracking_uri, write=True)
    with store_errors(tracking_uri):
        found = find_version(client, reference, name, tracking_uri)
        name, version = str(found.name), int(found.version)
        loaded = load_model(f"models:/{name}/{version}", name=name, tracking_uri=tracking_uri)
        if loaded.is_simulated:
            raise ModelRefusedError(
                "{name} version {version} learned from simulated samples, and is never put in use.",
                tr("Train on samples of your own: waterflow train FILE"),
                name=name,
                version=version,
            )
        with _changed_model(client, name, tracking_uri) as model:
            if expected_champion not in (None, model.champion):
                raise ModelError(
                    "{name}: version {champion} became @champion meanwhile, in the place of "
                    "{expected}. Nothing was promoted.",
                    tr("Compare with the one in use now: waterflow models list"),
                    name=name,
                    champion=model.champion,
                    expected=expected_champion,
                )
            if version == model.champion:
                return model.change_to(version)
            if not force:
                _refuse_worse(model, version)
            previous = model.champion or model.aliases.get(PREVIOUS)
            return model.put_in_use(Action.PROMOTE, version, previous, why)


def rollback(name: str, tracking_uri: str, *, why: str = "") -> Change:
    """Make the champion before this one the champion again.

    There is a `ModelError` where there is none, or it cannot be loaded here.
    """
    check_why(why)
    client = connect(tracking_uri, write=True)
    with store_errors(tracking_uri):
        all_versions(client, name, uri=tracking_uri)
        with _changed_model(client, name, tracking_uri) as model:
            former = [
                version
                for version in former_champions(model.entries)
                if version in model.versions and version != model.champion
            ]
            if not former:
                raise ModelError(
                    "{name}: no version was in use before this one.",
                    tr("See: waterflow models history"),
                    name=name,
                )
            version = former[-1]
            earlier = next((each for each in reversed(former) if each != version), None)
            load_model(f"models:/{name}/{version}", name=name, tracking_uri=tracking_uri)
            return model.put_in_use(Action.ROLLBACK, version, earlier, why)


def _refuse_worse(model: _Model, version: int) -> None:
    """Refuse a version without skill, that a gate refused, or whose intervals lie too low."""
    hint = tr("To use it all the same: waterflow models promote {n} --force --why …", n=version)
    tags = model.versions[version].tags
    if CHANCE_TAG in tags:
        raise ModelRefusedError(
            "{name} version {version} is not shown to be better than chance.",
            hint,
            name=model.name,
            version=version,
        )
    judged_beside = tags.get(JUDGED_BESIDE_TAG)
    if tags.get(GATE_TAG) == PASSED and model.champion is not None:
        if judged_beside == str(model.champion):  # on the same rows, which says more than figures
            return
        raise ModelRefusedError(
            "{name} version {version} passed the gate beside version {judged}, but version "
            "{champion} is in use now.",
            hint,
            name=model.name,
            version=version,
            judged=judged_beside,
            champion=model.champion,
        )
    if tags.get(GATE_TAG) == REFUSED:
        raise ModelRefusedError(
            "{name} version {version} was refused by the gate of waterflow retrain; see: "
            "waterflow models history",
            hint,
            name=model.name,
            version=version,
        )
    new, old = model.figures(version), model.figures(model.champion)
    worse = [name for name in ("roc_auc", "false_potable_per_1000") if _is_worse(name, new, old)]
    for figure in worse:
        raise ModelRefusedError(
            "{name} version {version} is worse than version {champion}, which is in use: "
            "{figure} {value:.3g} against {before:.3g}, and the 95 % intervals do not overlap.",
            hint,
            name=model.name,
            version=version,
            champion=model.champion,
            figure=figure,
            value=new[figure],
            before=old[figure],
        )


def _is_worse(figure: str, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
    """Say whether the interval of a figure lies on the wrong side of another; not if unknown."""
    try:
        if figure == "roc_auc":
            return new[f"{figure}_high"] < old[f"{figure}_low"]
        return new[f"{figure}_low"] > old[f"{figure}_high"]
    except KeyError:
        return False


def describe(reference: str, *, name: str, tracking_uri: str) -> dict[str, Any]:
    """Say in JSON what a version learned from, how it fared and what was done with it.

    There is a `ModelError` where it cannot be found or loaded, or its run was deleted.
    """
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        found = find_version(client, reference, name, tracking_uri)
        uri = f"models:/{found.name}/{found.version}"
        model = load_model(uri, name=found.name, tracking_uri=tracking_uri)
        run = find_run(client, uri, found.name, tracking_uri)
        aliases = client.get_registered_model(found.name).aliases
        about = list_version(found, aliases, {}).describe()
        history = read_history(found.name, tracking_uri)
    created = datetime.fromtimestamp(about.pop("created_s"), UTC)
    tags, metrics = run.data.tags, run.data.metrics
    counts = ("rows", "rows_potable", "rows_not_potable")
    return {
        "model": model.label,
        **about,
        "created": created.isoformat(timespec="seconds"),
        **{name: int(metrics[name]) for name in counts if name in metrics},
        "data_sha256": tags.get("waterflow.data_sha256"),
        "schema": tags.get("waterflow.schema"),
        "waterflow_version": tags.get("waterflow.version"),
        "options": dict(run.data.params),
        "manifest_sha256": model.digest,
        "measurements": list(model.decision.measurements),
        "threshold": model.decision.threshold,
        "likely_potable_from": model.decision.policy.potable_from,
        "likely_not_potable_to": model.decision.policy.not_potable_to,
        "estimates": _estimates(metrics),
        "history": [entry.to_json() for entry in history if entry.version == about["version"]],
    }


def _estimates(metrics: dict[str, float]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "value": metrics[f"test_{name}"],
            "low": metrics.get(f"test_{name}_low"),
            "high": metrics.get(f"test_{name}_high"),
        }
        for name in METRICS
        if f"test_{name}" in metrics
    }
