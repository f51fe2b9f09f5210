"""The command line, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from gettext import gettext
from typing import Any, NoReturn

import click

from waterflow_cli import __version__
from waterflow_cli.commands import COMMANDS, load_command
from waterflow_cli.commands.options import common
from waterflow_cli.common.effects import effects, forget_effects
from waterflow_cli.common.errors import WaterflowError, did_you_mean, shorten
from waterflow_cli.common.interrupts import came_of_interrupt, end_interrupts, install_interrupts
from waterflow_cli.common.messages import find_language, tr, use_language
from waterflow_cli.config import Setting, check_texts, load_defaults
from waterflow_cli.console import Console

EXIT_USAGE, EXIT_DEFECT, EXIT_INTERRUPTED = 2, 70, 130
# Arguments that can be set like options. Not all: `schemas show NAME` is no `--name`.
_SET_ARGUMENTS = ("data",)
_GC_THRESHOLD = 100_000
_OF_CLICK = {
    "-h, --help": "Show this message and exit.",
    "-V, --version": "Show the version and exit.",
}
_EXITS = (SystemExit, click.exceptions.Exit)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# What a disk, its mount or a limit of the system does, wherever it is met.
_OF_THE_SYSTEM = (errno.EIO, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE)


class TranslatedHelp(click.HelpFormatter):
    """The help in the language chosen; click words its own options before that is known."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write names and what they mean."""
        shown = [
            (name, gettext(_OF_CLICK[name]) if name in _OF_CLICK else text) for name, text in rows
        ]
        super().write_dl(shown, col_max, col_spacing)


click.Context.formatter_class = TranslatedHelp


class LazyGroup(click.Group):
    """The group of all commands; each is imported, and its settings are read, when it is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take no argument at all, and ``help [COMMAND]``, for a question about help."""
        if not args or args[0] == "help":
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command with its defaults, suggesting the nearest name for an unknown one."""
        if args[0] in COMMANDS:
            ctx.default_map = load_defaults(_options_of(args[0]), lambda: _options_of(*COMMANDS))
        elif not args[0].startswith("-"):
            ctx.fail(tr("No command '{name}'.", name=args[0]) + did_you_mean(args[0], COMMANDS))
        return super().resolve_command(ctx, args)


def _options_of(*names: str) -> dict[tuple[str, ...], dict[str, Setting]]:
    return {
        path: settings
        for name in names
        for path, settings in _settings(load_command(name), (name,))
    }


def _settings(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Setting]]]:
    """Yield the path of a command, or of each in a group, with its options as users write them."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _settings(inner, (*path, name))
        return
    yield (
        path,
        {
            option.removeprefix("--").replace("-", "_"): Setting(
                str(parameter.name), getattr(parameter, "multiple", False)
            )
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--") or option in _SET_ARGUMENTS
        },
    )


@common
@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, "-V", "--version", prog_name="waterflow")
def cli() -> None:
    """Turn a laboratory's file of water measurements into a defensible decision."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; the entry point of the ``waterflow`` script."""
    # What imports make stays to the end; looking for garbage in it takes a tenth of the start-up.
    gc.set_threshold(_GC_THRESHOLD)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names that are no UTF-8, and terminals that know no µ, stop no command.
            stream.reconfigure(errors="backslashreplace")
    # Libraries' warnings are for those who develop with them; waterflow says its own.
    warnings.simplefilter("ignore")
    # The filters are the whole process's, and scikit-learn empties them for a moment in each of
    # its threads: what is warned of just then is not to be shown either.
    warnings.showwarning = _show_no_warning
    use_language(find_language(os.environ))
    console = Console()
    code = _run_to_the_end(sys.argv[1:] if args is None else args, console)
    _flush_stdout()
    sys.exit(code)


def _show_no_warning(*_: object, **_named: object) -> None:
    """Stand in for `warnings.showwarning`."""


def _run_to_the_end(args: list[str], console: Console) -> int:
    """Run a command, end what it has begun, and say what went wrong."""
    try:
        try:
            forget_effects()
            install_interrupts()
            code = _run(args, console)
        except BaseException as exc:  # noqa: BLE001 (the wall: nobody sees a traceback unasked)
            code = _conclude(exc, console)
        end_interrupts()
    except KeyboardInterrupt as exc:  # on the way to the wall, or just behind it
        code = _conclude(exc, console)
    return code


def _conclude(exc: BaseException, console: Console) -> int:
    end_interrupts()
    effects.end_begun()
    if came_of_interrupt(exc):
        exc = KeyboardInterrupt().with_traceback(exc.__traceback__)
    code = _report(exc, console)
    if effects and code not in (0, EXIT_INTERRUPTED) and not isinstance(exc, _EXITS):
        console.warn(tr("In place all the same: {things}.", things=_in_place()))
    return code


def _run(args: list[str], console: Console) -> int:
    """Do what click's own `main` does, but for a closed pipe, which it takes for a failure."""
    if "_WATERFLOW_COMPLETE" in os.environ:  # a shell asks for completions
        cli.main(args, prog_name="waterflow")
    check_texts(*args)
    with cli.make_context("waterflow", list(args), obj=console) as ctx:
        cli.invoke(ctx)
    return 0


def _report(exc: BaseException, console: Console) -> int:
    """Say what went wrong in at most three lines, and choose the exit code."""
    if not isinstance(exc, _EXITS):
        console.trace(exc)
    match exc:
        case BrokenPipeError():  # the reader has seen enough
            return 0
        case SystemExit() | click.exceptions.Exit():
            code = exc.code if isinstance(exc, SystemExit) else exc.exit_code
            return code if isinstance(code, int) else 0
        case OSError() if exc.errno in _NO_SPACE:
            console.error(
                tr("Nothing more can be written ({strerror}).", strerror=exc.strerror),
                tr("Free some space."),
            )
            return EXIT_USAGE
        case OSError() if exc.errno in _OF_THE_SYSTEM:
            console.error(
                tr("The system failed ({strerror}).", strerror=exc.strerror),
                tr("See to the disk and to the limits of the system, and try again."),
            )
            return EXIT_USAGE
        case KeyboardInterrupt() | click.Abort():
            console.note("")  # ends the line on which a terminal shows ^C
            _report_interrupt(console)
            return EXIT_INTERRUPTED
        case WaterflowError():
            console.error(exc.message, exc.hint)
            return exc.exit_code
        case click.UsageError():
            where = exc.ctx.command_path if exc.ctx else "waterflow"
            bare = isinstance(exc, click.exceptions.NoArgsIsHelpError)  # its message is the help
            message = tr("{where}: which command?", where=where) if bare else exc.format_message()
            console.error(message, tr("See: {where} --help", where=where))
            return EXIT_USAGE
        case click.ClickException():
            console.error(exc.format_message())
            return EXIT_USAGE
    console.defect(exc, tr("Please report it with the output of the same command and --debug."))
    return EXIT_DEFECT


def _report_interrupt(console: Console) -> None:
    if effects:
        said = tr("Interrupted; in place are: {things}.", things=_in_place())
        console.error(said, tr("All else is as it was before."))
    else:
        console.error(tr("Interrupted; outputs and models are as they were before."))


def _in_place() -> str:
    """Name the outputs and the versions, with their aliases, that the command put in place."""
    versions = [
        tr(
            "{name} version {version} ({alias})",
            name=name,
            version=version,
            alias=", ".join(f"@{alias}" for alias in aliases) or tr("without an alias"),
        )
        for (name, version), aliases in effects.aliases.items()
    ]
    return shorten([*effects.outputs, *versions])


def _flush_stdout() -> None:
    """Write what is left for stdout, or drop it: Python would complain of it again at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
