"""Find model plugins by their entry points, and load the one that is asked for."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from waterflow_cli.common.errors import (
    PluginError,
    UsageError,
    WaterflowError,
    did_you_mean,
    shorten,
)
from waterflow_cli.common.interrupts import is_interrupt
from waterflow_cli.common.messages import clipped, tr
from waterflow_cli.models.contract import CONTRACT, GROUP, ModelPlugin


@dataclass(frozen=True)
class InstalledPlugin:
    """A plugin's entry point, not yet imported."""

    point: EntryPoint

    @property
    def name(self) -> str:
        """What the user types."""
        return self.point.name

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that offers it."""
        dist = self.point.dist
        try:
            return f"{dist.name} {dist.version}" if dist else "unknown distribution"
        except OSError:  # its metadata is gone: importlib-metadata's finder raises
            return "unknown distribution"

    def __str__(self) -> str:
        return tr(
            "plugin '{name}' ({target}, from {distribution})",
            name=self.name,
            target=self.point.value,
            distribution=self.distribution,
        )


def installed_plugins() -> dict[str, list[InstalledPlugin]]:
    """List the installed plugins by name without importing any.

    A name that two distributions offer has two entries.
    """
    found: dict[str, dict[tuple[str, str], InstalledPlugin]] = defaultdict(dict)
    for point in entry_points(group=GROUP):
        plugin = InstalledPlugin(point)
        # A distribution seen twice on sys.path is still one.
        found[point.name].setdefault((point.value, plugin.distribution), plugin)
    return {name: list(plugins.values()) for name, plugins in sorted(found.items())}


@dataclass(frozen=True)
class LoadedPlugin(InstalledPlugin):
    """A plugin that keeps the contract."""

    model: ModelPlugin

    @property
    def make_form(self) -> Callable[[Any], Any] | None:
        """Its own way to make the portable form of a pipeline, if it has one."""
        make: Callable[[Any], Any] | None = getattr(self.model, "portable_form", None)
        return make

    @contextmanager
    def guarded(self, action: str) -> Iterator[None]:
        """Turn a failure of the plugin's code into an error that names the plugin.

        Raises
        ------
        UsageError
            If scikit-learn refuses the value of a parameter.
        PluginError
            For any other failure.
        """
        try:
            yield
        except WaterflowError:
            raise
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            if refusal := _refused_parameter(exc):
                raise UsageError("--param: {refusal}.", refusal=refusal) from exc
            raise PluginError(
                "The {plugin} failed to {action}: {cause}.",
                plugin=self,
                action=action,
                cause=describe_failure(exc),
            ) from exc


def _refused_parameter(exc: BaseException) -> str:
    """Say which value scikit-learn refuses; empty where the failure is another."""
    text = describe_failure(exc).partition(": ")[2]
    # A pipeline that is no estimator is refused in the same words, and is the plugin's doing.
    if type(exc).__name__ != "InvalidParameterError" or text.startswith("The 'estimator' "):
        return ""
    return re.sub(r" of \w+(?= must be )", "", text)  # it would name the function that called


def load_plugin(name: str) -> LoadedPlugin:
    """Import the plugin of one name, and only that one.

    Raises
    ------
    UsageError
        If no plugin has the name.
    PluginError
        If two distributions offer it, what it requires is not installed, its import fails, or it
        does not keep the contract.
    """
    known = installed_plugins()
    if name not in known:
        raise UsageError(
            tr("No model plugin named '{name}'.", name=name) + did_you_mean(name, known),
            tr("See: waterflow plugins list"),
        )
    if len(known[name]) > 1:
        raise PluginError(
            "Two distributions offer a plugin named '{name}': {offered}.",
            tr("Uninstall one of them, or ask its author for another name."),
            name=name,
            offered=_distributions(known[name]),
        )
    return _import_plugin(known[name][0])


def _import_plugin(plugin: InstalledPlugin) -> LoadedPlugin:
    """Import a plugin, and check what it says of itself."""
    try:
        candidate = plugin.point.load()
        problem = find_contract_error(candidate)
    except WaterflowError:
        raise
    except BaseException as exc:
        if is_interrupt(exc):
            raise
        raise PluginError(
            "The {plugin} cannot be imported: {cause}.",
            tr("Mend or uninstall it; the other plugins are not affected."),
            plugin=plugin,
            cause=describe_failure(exc),
        ) from exc
    if problem:
        raise PluginError(
            "The {plugin} does not keep the contract: {problem}.", plugin=plugin, problem=problem
        )
    for module, command in candidate.requires.items():
        if not _is_installed(module):
            raise PluginError(
                "The {plugin} needs '{module}'.",
                tr("Install it: {command}", command=command),
                plugin=plugin,
                module=module,
            )
    return LoadedPlugin(plugin.point, candidate)


def find_contract_error(candidate: object) -> str:
    """Say what an object lacks to be a plugin; empty where it lacks nothing."""
    contract = getattr(candidate, "contract", None)
    if contract != CONTRACT:
        return tr(
            "its contract is {contract!r}, and this version of waterflow knows {known}",
            contract=contract,
            known=CONTRACT,
        )
    if absent := [name for name in _MEMBERS if not hasattr(candidate, name)]:
        return tr("it lacks {absent}", absent=shorten(absent))
    for name, kind in _MEMBERS.items():
        member = getattr(candidate, name)
        if not isinstance(member, kind):
            return tr(
                "its {name} is {member!r}, and no {kind}",
                name=name,
                member=member,
                kind=kind.__name__.lower(),
            )
    return ""


# A plugin's members -> what each must be for the list of plugins and the loading to work with it.
_MEMBERS: Mapping[str, type] = {
    "summary": str,
    "requires": Mapping,
    "trusted_types": Collection,
    "search_space": Mapping,
    "default_params": Callable,  # type: ignore[dict-item]
    "build_pipeline": Callable,  # type: ignore[dict-item]
}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the package around a submodule is not there
        return False


def describe_failure(exc: BaseException) -> str:
    """Put an exception of foreign code into one line.

    >>> describe_failure(ValueError("two", "words"))
    "ValueError: ('two', 'words')"
    """
    text = " ".join(str(exc).split()).removesuffix(".")
    return clipped(f"{type(exc).__name__}: {text}" if text else type(exc).__name__)


@dataclass(frozen=True, kw_only=True)
class PluginStatus:
    """What the list of plugins says of one."""

    name: str
    summary: str = ""
    distribution: str
    usable: bool
    problem: str = ""
    remedy: str = ""


def survey_plugins() -> list[PluginStatus]:
    """Try every installed plugin; one that cannot be used is listed with the reason."""
    statuses = []
    for name, offered in installed_plugins().items():
        found: dict[str, Any] = {"name": name, "distribution": _distributions(offered)}
        try:
            found |= {"summary": load_plugin(name).model.summary, "usable": True}
        except WaterflowError as exc:
            found |= {"usable": False, "problem": exc.message, "remedy": exc.hint or ""}
        statuses.append(PluginStatus(**found))
    return statuses


def _distributions(offered: Sequence[InstalledPlugin]) -> str:
    return shorten([plugin.distribution for plugin in offered], separator=tr(" and "))


def parse_params(assignments: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` options against the parameters that a plugin has.

    Values are Python literals (``100``, ``0.5``, ``None``, ``True``), else text.

    >>> parse_params(["n_estimators=50", "criterion=entropy"], {"n_estimators": 1, "criterion": ""})
    {'n_estimators': 50, 'criterion': 'entropy'}

    Raises
    ------
    UsageError
        If an option is not of that form, or names no parameter.
    """
    params: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError("--param {assignment}: NAME=VALUE is expected.", assignment=assignment)
        if name not in defaults:
            raise UsageError(
                tr(
                    "--param {assignment}: the plugin has no parameter '{name}'.",
                    assignment=assignment,
                    name=name,
                )
                + did_you_mean(name, defaults),
                tr("It has: {defaults}", defaults=shorten(sorted(defaults), 40)),
            )
        try:
            params[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            params[name] = text
    return params
