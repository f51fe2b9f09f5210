"""How a command is declared: what all have in common, and families of options as dataclasses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce, wraps
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from waterflow_cli.commands.notes import answer_leaks, note_reading
from waterflow_cli.common.credentials import hide_passwords
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import LANGUAGES, tr, use_language
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.training.data import DataOptions, TrainingData
    from waterflow_cli.training.options import OnLeak


Decorator = Callable[[Any], Any]
C = TypeVar("C", bound=click.Command)


_IS_TYPED = "waterflow.lang"


def console_of(ctx: click.Context) -> Console:
    """Give the console that the common options set up."""
    console = ctx.find_root().obj
    assert isinstance(console, Console)
    return console


def is_asked(name: str) -> bool:
    """Tell whether a parameter was given on the command line, not by settings or the default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def first_asked(names: Sequence[str]) -> str | None:
    """Tell how the first of some parameters that was given on the command line is written there."""
    params = {param.name: param for param in click.get_current_context().command.params}
    for name in filter(is_asked, names):
        param = params[name]
        return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
    return None


def command(
    name: str | None = None, *, of: click.Group | None = None, json: bool = True, **attributes: Any
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Declare a command with the common options and, unless it has no result, ``--json``.

    Its function is given the console, which knows of ``--json``, and then the command's own
    parameters; what it returns is the exit code.
    """

    def declare(function: Callable[..., int | None]) -> click.Command:
        @wraps(function)
        def run(*, as_json: bool = False, **values: Any) -> None:
            ctx = click.get_current_context()
            console = console_of(ctx)
            console.as_json = as_json
            # Addresses are shown and recorded; that of the store is hidden where it is.
            values = {
                each: value if each == "tracking_uri" else hide_passwords(value)
                for each, value in values.items()
            }
            if code := function(console, **values):
                ctx.exit(code)

        made = (of.command if of else click.command)(name, **attributes)(run)
        if json:
            made.params.append(_JSON)
        return common(made)

    return declare


def common(command: C) -> C:
    """Add ``--lang -q -v --no-color --debug``; each works before and after the command's name."""
    command.params += _COMMON
    return command


def family(
    name: str, kind: type | str, *options: Decorator, but: tuple[str, ...] = (), **parameters: str
) -> Decorator:
    """Make a decorator that adds options, and collects a family of them into one argument.

    Parameters
    ----------
    name : str
        Of the argument.
    kind : type or str
        A dataclass, or where it stands below the package (``spark.settings:SparkOptions``), for
        those that would slow the start. Each parameter of the command that has the name of one
        of its fields is collected, wherever it is declared; a family whose value another one
        takes stands above it.
    but : tuple of str
        Fields that are no parameters, though one has their name.
    **parameters : str
        Fields whose parameter has another name.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def collecting(*args: Any, **values: Any) -> Any:
            made: Any = resolve_name(f"waterflow_cli.{kind}") if isinstance(kind, str) else kind
            names = {each.name: parameters.get(each.name, each.name) for each in fields(made)}
            chosen = {
                field: values.pop(parameter)
                for field, parameter in names.items()
                if parameter in values and field not in but
            }
            return function(*args, **{name: made(**chosen)}, **values)

        return reduce(lambda decorated, option: option(decorated), reversed(options), collecting)

    return decorate


def count(name: str, text: str, *, least: int = 1, **attributes: Any) -> Decorator:
    """Make an option that takes a whole number, of which the help says N."""
    return click.option(name, type=click.IntRange(min=least), metavar="N", help=text, **attributes)


def parsed_by(parser: str) -> Callable[..., Any]:
    """Make the callback of an option that ``room.module:name``, below the package, reads."""

    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if value is None or ctx.resilient_parsing:  # completions are not kept waiting
            return value
        parse = resolve_name(f"waterflow_cli.{parser}")
        return tuple(map(parse, value)) if isinstance(value, tuple) else parse(value)

    return callback


def _set(attribute: str, setting: Any) -> Callable[..., None]:
    """Make the callback of a flag that sets an attribute of the console."""

    def callback(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            setattr(console_of(ctx), attribute, setting)

    return callback


def _drop_colors(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        console_of(ctx).color = False


def _speak(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Use a language; one from the command line goes before those of any settings."""
    is_typed = ctx.get_parameter_source(str(param.name)) == ParameterSource.COMMANDLINE
    if value is not None and (is_typed or not ctx.meta.get(_IS_TYPED)):
        use_language(value)
        # The command has the option too: its settings are looked at after the group's options.
        ctx.meta[_IS_TYPED] = is_typed


def _flag(*names: str, callback: Callable[..., None], text: str) -> click.Option:
    return click.Option(
        names, is_flag=True, expose_value=False, callback=callback, help=text, is_eager=True
    )


_JSON = click.Option(("as_json", "--json"), is_flag=True, help="One JSON object on stdout.")
_COMMON = (
    click.Option(
        ("--lang",),
        type=click.Choice(LANGUAGES),
        expose_value=False,
        callback=_speak,
        is_eager=True,
        help="The language of messages; otherwise that of LC_ALL, LC_MESSAGES or LANG.",
    ),
    _flag(
        *("-q", "--quiet"),
        callback=_set("verbosity", -1),
        text="Only results, warnings and errors.",
    ),
    _flag("-v", "--verbose", callback=_set("verbosity", 1), text="Say more on stderr."),
    _flag(
        "--no-color", callback=_drop_colors, text="No colors; NO_COLOR and TERM=dumb do the same."
    ),
    _flag("--debug", callback=_set("debug", True), text="Show tracebacks."),
)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Which labelled samples are learned from, and which of them belong together."""

    data: tuple[str, ...]
    schema_name: str
    how: DataOptions


labelled = family("samples", Labelled)


def refuse_two_splits(**ways: object) -> None:
    """Refuse options that ask for two ways of splitting."""
    given = [f"--{name.replace('_', '-')}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            "{ways}: the rows can be split in one way only.",
            ways=shorten(given, separator=tr(" and ")),
        )


def load_labelled(
    samples: Labelled, on_leak: OnLeak, console: Console
) -> tuple[TableSchema, TrainingData]:
    """Load the samples that the options name, and say what leaks there are in them."""
    from waterflow_cli.samples.opening import find_inputs
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.training.data import find_training_data, load_training_data

    schema = load_schema(samples.schema_name)
    named, reading = find_inputs(samples.data, samples.how.reading)
    if len(named) > 1:
        raise UsageError(
            "{path}: one file of labelled samples is learned from.",
            tr("Put the samples into one file; samplings of its results: --samplings FILE"),
            path=named[1],
        )
    how = replace(samples.how, reading=reading)
    found = find_training_data(next(iter(named), None), console.note, console.warn)
    with found as (path, simulated):
        data = load_training_data(path, schema, how)
    data = replace(data, is_simulated=simulated)
    note_reading({data.path: data.reading}, data.cells, schema, samples.how.reading, console)
    if samples.how.reading.nondetect != "missing":
        for text in data.cells.substituted(data.n_read):
            console.warn(text)
    if data.constant_columns:
        console.warn(
            "The same in all rows, or missing: {constant_columns}.",
            constant_columns=shorten(data.constant_columns),
        )
    answer_leaks(data, on_leak, console)
    if data.sources_kept(on_leak) is not None and samples.how.time is None:
        console.note(tr("Copies are kept together in the folds: none is tested with its like."))
    return schema, data
