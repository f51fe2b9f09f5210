"""Errors on their way from an executor to the user, in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from subprocess import TimeoutExpired

from waterflow_cli.common import errors
from waterflow_cli.common.errors import EngineError, WaterflowError
from waterflow_cli.common.libraries import PORTABLE, SCORING, installed_versions
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.spark.jvm import find_process

MARK = "WATERFLOW-ERROR "
_LONGEST = 300
_JVM_END_S = 1.0
_NOISE = re.compile(r"""\s*(?:at |\.\.\. \d+ more|File "|Traceback|Driver stacktrace|SQLSTATE|$)""")
_RAISED = re.compile(r"""(?:: )?(?:Exception in thread "[^"]*" )?[\w.$]*(?:Error|Exception)\b""")
# Behind it Spark can show its plan of the query.
_NAMED = re.compile(r"\[[A-Z][A-Z_.]+\] ")
_INSTALL = marked("Install it in their Python as it is here, or send it along: --ship-env")
_INSTALL_SAME = marked("Install the same versions there, or send them along: --ship-env")
_GIVE_MEMORY = marked(
    "If it is memory: --spark-conf spark.executor.memory=4g or spark.executor.memoryOverhead=2g"
)
# What Spark says of a failure, what that means, and what can be done; the first that fits counts.
_MEANINGS = (
    (
        r"No module named '(?P<name>waterflow_\w+)",
        marked("The executors lack waterflow: no module named '{name}'."),
        _INSTALL,
    ),
    (
        r"ModuleNotFoundError: No module named '(?P<name>[\w.]+)'",
        marked("The executors lack a library: no module named '{name}'."),
        _INSTALL,
    ),
    (
        r"different version: (?P<theirs>\d+\.\d+) than that in driver: (?P<ours>\d+\.\d+)",
        marked("The executors run Python {theirs}, and this is Python {ours}."),
        marked("Name theirs of the same version: --spark-conf spark.pyspark.python=PATH"),
    ),
    (
        r"Can't get attribute '\w+' on <module 'waterflow_"
        r"|cannot import name '\w+' from 'waterflow_",
        marked("The executors have another version of waterflow than this machine."),
        _INSTALL_SAME,
    ),
    (
        r'Cannot run program "(?P<path>[^"]+)"',
        marked("The executors have no Python at {path}."),
        marked("Name theirs: --spark-conf spark.pyspark.python=PATH"),
    ),
    (
        r"OutOfMemoryError|MemoryError|code 137|Container killed",
        marked("The executors ran out of memory: {cause}"),
        _GIVE_MEMORY,
    ),
    (
        r"Python worker exited unexpectedly",
        marked("Python crashed on the executors, again and again."),
        _GIVE_MEMORY,
    ),
    (
        r"ExecutorLostFailure|Max number of executor failures",
        marked("Spark lost its executors, again and again: {cause}"),
        _GIVE_MEMORY,
    ),
    (
        r"SparkContext (?:was|has been) shut ?down|stopped SparkContext"
        r"|All masters are unresponsive|Master removed our application",
        marked("Spark stopped while the job ran: the master is gone, or ended it."),
        marked("Check that the cluster is up, and run the command again."),
    ),
)
# What says which task of which stage, before what became of it.
_TASK = re.compile(r".*most recent failure: Lost task [^()]*\(TID \d+\) \([^()]*\): ")
_PREFIX = re.compile(
    r"""(?:: |Caused by: |Exception in thread "[^"]*" )*(?:[a-z]\w*\.)+(?=[A-Z])"""
)


def encode_error(error: WaterflowError) -> str:
    """Write an error of ours as one line, which `remote_errors` finds in what Spark makes of it."""
    known = (kind for kind in type(error).__mro__ if vars(errors).get(kind.__name__) is kind)
    state = {
        key: value
        for key, value in vars(error).items()
        if value is None or isinstance(value, (str, int, float, bool))
    }
    return MARK + json.dumps({"class": next(known).__name__, "state": state})


def decode_error(text: str) -> WaterflowError | None:
    r"""Find an error of ours in a text, such as a stack trace that ends in it.

    >>> raised = errors.InputError("a.csv", "is empty.", hint="Try another.")
    >>> found = decode_error("at org.apache.spark\nRuntimeError: " + encode_error(raised) + " x")
    >>> type(found).__name__, str(found), found.hint
    ('InputError', 'a.csv: is empty.', 'Try another.')
    """
    for part in reversed(text.split(MARK)[1:]):
        try:
            content, _ = json.JSONDecoder().raw_decode(part)
            kind = vars(errors)[content["class"]]
            error: WaterflowError = kind.__new__(kind)
            Exception.__init__(error, content["state"]["message"])
            vars(error).update(content["state"])
        except (ValueError, KeyError, TypeError):
            continue
        return error
    return None


@contextmanager
def remote_errors() -> Iterator[None]:
    """Turn what Spark raises while a job runs into an error of ours.

    Raises
    ------
    WaterflowError
        One that an executor encoded, with its class, message and hint.
    EngineError
        Any other failure of Spark, in one line.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except BrokenPipeError:  # nobody reads standard output any more
        raise
    except (PySparkException, Py4JError, ConnectionError) as exc:
        raise explain_failure(exc) from exc


def explain_failure(exc: BaseException) -> WaterflowError:
    """Say what a failure of Spark means to the user."""
    try:  # one from Java asks the JVM, which can be gone
        text = f"{exc}\n{getattr(exc, 'java_exception', '')}"
    except Exception:  # noqa: BLE001 (py4j raises many kinds here)
        text = str(exc.args)
    if told := decode_error(text) or _explain_end(exc):
        return told
    cause = find_cause(exc, text)
    for pattern, message, hint in _MEANINGS:
        if found := re.search(pattern, text):
            return EngineError(tr(message, **found.groupdict(), cause=cause), tr(hint))
    return EngineError(
        "Spark failed: {cause}", tr("For all that Spark says, add --debug."), cause=cause
    )


def find_cause(exc: BaseException, text: str = "") -> str:
    r"""Find the line that says most in what Spark says, without its stack of calls.

    >>> find_cause(ValueError(), "a.SparkException: Aborted\n at a.b\nCaused by: z.E: why")
    'E: why'
    """
    lines = [line.strip() for line in (text or str(exc)).splitlines() if not _NOISE.match(line)]
    telling = [line for line in lines if ": " in line.removeprefix("Caused by: ")]
    causes = [line for line in telling if line.startswith("Caused by: ")]
    raised = [line for line in telling if _RAISED.match(line)]
    named = [line for line in lines if _NAMED.match(line)]
    chosen = (causes or raised or named or lines or [type(exc).__name__])[-1]
    return _PREFIX.sub("", _TASK.sub("", chosen))[:_LONGEST]


@cache
def expected_versions(*, portable: bool = False) -> dict[str, str]:
    """Give the versions here of what a row's result depends on, for `check_versions`.

    Where no estimator is asked, because none is needed or the model has a portable form, those of
    few libraries matter.
    """
    return installed_versions(("waterflow-cli", *(PORTABLE if portable else (*SCORING, "skops"))))


def check_versions(expected: Mapping[str, str]) -> None:
    """Check, on an executor, that it has the driver's versions: others may give other digits."""
    found = dict.fromkeys(expected, "") | installed_versions(expected)
    if error := difference_of(dict(sorted(expected.items())), found):
        raise error


def difference_of(expected: Mapping[str, str], found: Mapping[str, str]) -> EngineError | None:
    """Say which versions on an executor differ; an empty one is of a library that it lacks."""
    differences = [
        tr("{name} {theirs} instead of {ours}", name=name, theirs=found[name], ours=wanted)
        if found[name]
        else tr("no {name} instead of {ours}", name=name, ours=wanted)
        for name, wanted in expected.items()
        if found[name] != wanted
    ]
    if not differences:
        return None
    return EngineError(
        "The executors have other versions than this machine, and may give other digits: "
        "{differences}.",
        tr(_INSTALL_SAME),
        differences=", ".join(differences),
    )


def _explain_end(exc: BaseException) -> EngineError | None:
    """Say that the JVM ended, if it did; py4j raises many kinds of errors then."""
    from py4j.protocol import Py4JError, Py4JJavaError

    if isinstance(exc, Py4JJavaError) or not isinstance(exc, (Py4JError, ConnectionError)):
        return None
    with suppress(TimeoutExpired):
        if (jvm := find_process()) is not None:
            jvm.wait(_JVM_END_S)
            return EngineError(
                "Spark's own process on this machine ended while the job ran.",
                tr("If it lacked memory: --spark-conf spark.driver.memory=4g"),
            )
    return None
