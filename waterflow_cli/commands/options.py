"""Options that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import LANGUAGES, marked, tr, use_language
from waterflow_cli.console import Console
from waterflow_cli.tables.reading_options import ReadingOptions

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_STORE = "sqlite:///mlflow.db"
_IS_ASKED = "waterflow.lang"


def console_of(ctx: click.Context) -> Console:
    """Give the console that the common options set up."""
    console = ctx.find_root().obj
    assert isinstance(console, Console)
    return console


def common_options(command: F) -> F:
    """Add ``-q -v --no-color --debug --lang``; each works before and after the command's name."""

    def quieter(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).verbosity = -1

    def louder(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).verbosity = 1

    def colorless(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            console_of(ctx).color = False

    def debugging(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).debug = True

    for names, callback, text in (
        (("--debug",), debugging, "Show tracebacks."),
        (("--no-color",), colorless, "No colors; NO_COLOR and TERM=dumb do the same."),
        (("-v", "--verbose"), louder, "Say more on stderr."),
        (("-q", "--quiet"), quieter, "Only results, warnings and errors."),
    ):
        command = click.option(
            *names, is_flag=True, expose_value=False, callback=callback, help=text, is_eager=True
        )(command)
    return click.option(
        "--lang",
        type=click.Choice(LANGUAGES),
        expose_value=False,
        callback=_speak,
        is_eager=True,
        help="The language of messages; otherwise that of LC_ALL, LC_MESSAGES or LANG.",
    )(command)


def _speak(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Use a language; one from the command line goes before those of any settings."""
    is_asked = ctx.get_parameter_source(str(param.name)) == ParameterSource.COMMANDLINE
    if value is not None and (is_asked or not ctx.meta.get(_IS_ASKED)):
        use_language(value)
        # The command has the option too: its settings are looked at after the group's options.
        ctx.meta[_IS_ASKED] = is_asked


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("as_json", "--json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def reading_options(command: F) -> F:
    """Add the options that say how files are read; the command gets them as ``reading``."""

    @wraps(command)
    def collecting(*args: Any, **options: Any) -> Any:
        chosen = {field.name: options.pop(field.name) for field in fields(ReadingOptions)}
        return command(*args, reading=ReadingOptions(**chosen), **options)

    decorated: Any = collecting
    for option in reversed(_READING_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


def schema_option(command: F) -> F:
    """Add ``--schema``."""
    return click.option(
        "schema_name",
        "--schema",
        default="water",
        show_default=True,
        metavar="NAME|FILE.yaml",
        help="What the rows must keep to; see waterflow schemas list.",
    )(command)


def limits_option(command: F) -> F:
    """Add ``--limits``; the command gets the names as a tuple."""
    return click.option(
        "--limits",
        metavar="NAMES",
        callback=split_names,
        help="Say which values lie above or below drinking-water limits: who,eu,epa,fr or "
        "FILE.toml, with commas. For information: it changes no verdict and no exit code.",
    )(command)


def store_options(command: F) -> F:
    """Add ``--tracking-uri`` and ``--name``."""
    command = click.option(
        "--name",
        default="waterflow",
        show_default=True,
        help="The registered model.",
    )(command)
    return tracking_uri_option(command)


def tracking_uri_option(command: F) -> F:
    """Add ``--tracking-uri``."""
    return click.option(
        "--tracking-uri",
        envvar=["WATERFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        default=DEFAULT_STORE,
        show_default=True,
        metavar="URI",
        help="The MLflow tracking store; MLFLOW_TRACKING_URI is honoured.",
    )(command)


def jobs_option(command: F) -> F:
    """Add ``--jobs``."""
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=_count_cores,
        show_default="all cores",
        help="How much to do at once; it changes no result.",
    )(command)


def batch_rows_option(command: F) -> F:
    """Add ``--batch-rows``."""
    return click.option(
        "--batch-rows",
        type=click.IntRange(min=1),
        metavar="N",
        help="About how many rows to hold at a time for each job; it changes no result.",
    )(command)


def engine_options(command: F) -> F:
    """Add ``--engine`` and Spark's options; the command gets ``engine``, None for local."""

    @wraps(command)
    def collecting(*args: Any, **options: Any) -> Any:
        from waterflow_cli.spark.settings import SparkOptions

        name = options.pop("engine_name")
        chosen = {field.name: options.pop(field.name) for field in fields(SparkOptions)}
        _refuse_options_of_other(click.get_current_context(), name)
        engine = SparkOptions(**chosen) if name == "spark" else None
        return command(*args, engine=engine, **options)

    decorated: Any = collecting
    for option in reversed(_ENGINE_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


_OF_ENGINE = {
    "spark": ("master", "conf", "ship_env", "is_single", "keys"),
    "local": ("jobs", "batch_rows", "resume"),
}


def _refuse_options_of_other(ctx: click.Context, engine: str) -> None:
    """Refuse options of another engine; settings can hold them for other runs."""
    for other, names in _OF_ENGINE.items():
        for param in ctx.command.params:
            is_given = ctx.get_parameter_source(str(param.name)) == ParameterSource.COMMANDLINE
            if other != engine and is_given and param.name in names:
                raise UsageError(
                    tr("{option} is for --engine {engine}.", option=param.opts[0], engine=other),
                    tr("Leave it out, or choose that engine."),
                )


def single_file_option(command: F) -> F:
    """Add ``--single-file``."""
    return click.option(
        "is_single",
        "--single-file",
        is_flag=True,
        help="With --engine spark: write one file in the order of the inputs, as the local engine "
        "does, instead of a folder of parts.",
    )(command)


def split_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split names at commas; none where the option is not given."""
    if value is None:
        return ()
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise click.BadParameter(tr("a name is empty."), ctx, param)
    return names


def _spark_conf(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Split Spark properties at the first =, for their values can have more."""
    conf = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.startswith("spark.") or name == "spark.":
            raise UsageError(
                tr(
                    "{option} {text}: {form} is expected.",
                    option=param.opts[0],
                    text=re.split(r"[=:\s]", text)[0],  # not the value: it can be a password
                    form="spark.NAME=VALUE",
                )
            )
        conf[name] = value.strip()
    return conf


def _count_cores() -> int:
    """Count the cores that this process may use; macOS cannot tell them from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def force_option(command: F) -> F:
    """Add ``--force``."""
    return click.option("--force", is_flag=True, help="Replace an existing output.")(command)


def _pairs(form: str, convert: Callable[[str], Any] = str) -> Callable[..., dict[str, Any]]:
    """Make the callback of an option that takes ``NAME=VALUE`` several times."""

    def callback(
        _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> dict[str, Any]:
        return dict(_split_pair(param.opts[0], value, form, convert) for value in values)

    return callback


def _split_pair(
    option: str, text: str, form: str, convert: Callable[[str], Any]
) -> tuple[str, Any]:
    name, equals, value = text.rpartition("=")
    try:
        if equals and name and value:
            return name, convert(value)
    except ValueError:
        pass
    raise UsageError(
        tr("{option} {text}: {form} is expected.", option=option, text=text, form=tr(form))
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _mark(names: Mapping[str, str]) -> Callable[..., str | None]:
    """Make the callback of an option that takes one character, or a name for one."""

    def callback(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        if value in names or value in names.values():
            return names.get(value, value)
        raise UsageError(
            tr(
                "{option} {text!r}: one of {names} is expected.",
                option=param.opts[0],
                text=value,
                names=shorten(list(names)),
            )
        )

    return callback


def refuse_nan(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which lies in every range for click."""
    if value is not None and math.isnan(value):
        raise click.BadParameter(tr("nan is no number."), ctx, param)
    return value


_ENGINE_OPTIONS = (
    click.option(
        "engine_name",
        "--engine",
        type=click.Choice(("local", "spark")),
        default="local",
        show_default=True,
        help="What does the work: this machine, or Spark; the rows and values are the same.",
    ),
    click.option(
        "--master",
        metavar="URL",
        help="Spark's master: local[N], spark://HOST:PORT, yarn, k8s://URL. Otherwise that of "
        "spark-defaults.conf, or local[*].",
    ),
    click.option(
        "conf",
        "--spark-conf",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_spark_conf,
        help="A Spark property. Can be given several times.",
    ),
    click.option(
        "--ship-env",
        is_flag=True,
        help="Send the Python libraries that are installed here to Spark's workers.",
    ),
)
_SEPARATORS = {",": ",", ";": ";", "|": "|", "tab": "\t"}
_DECIMALS = {".": ".", ",": ",", "point": ".", "comma": ","}
_THOUSANDS = {",": ",", ".": ".", "comma": ",", "point": "."}
_READING_OPTIONS = (
    click.option(
        "renames",
        "--rename",
        multiple=True,
        metavar="FROM=TO",
        callback=_pairs("FROM=TO"),
        help="Read the file's column FROM as TO. Can be given several times.",
    ),
    click.option("--encoding", metavar="NAME", help="The text's encoding, where it is not found."),
    click.option(
        "--sep", metavar="CHAR", callback=_mark(_SEPARATORS), help="The separator: , ; | or tab."
    ),
    click.option(
        "--decimal",
        metavar="CHAR",
        callback=_mark(_DECIMALS),
        help="The decimal mark: point or comma.",
    ),
    click.option(
        "--thousands",
        metavar="CHAR",
        callback=_mark(_THOUSANDS),
        help="The thousands separator where it is a comma or a point; spaces and apostrophes are "
        "known.",
    ),
    click.option(
        "--header-line",
        type=click.IntRange(min=1),
        metavar="N",
        help="The line that names the columns; those above it are not read.",
    ),
    click.option(
        "--nondetect",
        type=click.Choice(("half", "loq", "zero", "missing", "error")),
        default="half",
        show_default=True,
        help="What a cell such as <0.5 counts as: half its bound, the bound, 0, missing, an error.",
    ),
    click.option(
        "--loq",
        multiple=True,
        metavar="COLUMN=VALUE",
        callback=_pairs(marked("COLUMN=VALUE, a number above 0"), _positive),
        help="The limit of quantification for cells that name none (<LQ), in the schema's unit.",
    ),
    click.option(
        "units",
        "--unit",
        multiple=True,
        metavar="COLUMN=UNIT",
        callback=_pairs("COLUMN=UNIT"),
        help="The unit in which the file gives a column.",
    ),
    click.option(
        "--profile",
        metavar="NAME|FILE.toml",
        help="How a source names its columns, or lays out its results: kaggle, hubeau, wqp.",
    ),
)
