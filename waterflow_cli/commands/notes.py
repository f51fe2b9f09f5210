"""What several commands print alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from waterflow_cli.common.errors import DataRefusedError, shorten
from waterflow_cli.common.messages import marked, tr, trn

if TYPE_CHECKING:
    from typing import Any

    from waterflow_cli.console import Console
    from waterflow_cli.models.files import StoredModel
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.training.data import TrainingData
    from waterflow_cli.validation.cell_counts import CellCounts
    from waterflow_cli.validation.limit_checks import LimitCounts


def list_bundled(console: Console, kind: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Print what comes with waterflow, as JSON or as a table."""
    if console.json({kind: entries}):
        return
    console.listing(
        "",
        entries,
        [
            (tr("name"), lambda each: each["name"]),
            (tr("title"), lambda each: str(each["title"])),
            *(
                [(">" + tr("limits"), lambda each: str(each["limits"]))]
                if entries and "limits" in entries[0]
                else []
            ),
            ("sha256", lambda each: each["sha256"][:12]),
        ],
    )


def warn_of_simulated(model: StoredModel, console: Console) -> None:
    """Warn where a model learned from simulated samples."""
    if model.is_simulated:
        console.warn(
            "{model} learned from simulated samples. It is good for trying waterflow, and for "
            "nothing else.",
            model=model.label,
        )


def warn_of_void(names: Sequence[str], console: Console) -> None:
    """Warn of guarantees that do not hold for the samples at hand."""
    if names:
        console.warn(
            "Void for these samples, which are of another kind than those that certified it: "
            "{names}.",
            names=shorten(names),
        )


def note_written(console: Console, *paths: str | None) -> None:
    """Say on stderr which files were written, if any: neither ``-`` nor what was not asked for."""
    written = [path for path in paths if path not in (None, "-")]
    if written:
        console.note("Wrote {files}.", files=shorten(written))


def answer_leaks(data: TrainingData, on_leak: str, console: Console) -> None:
    """Warn of leaks in a labelled file, or refuse it, before anything is made of it.

    `DataRefusedError` where a leak is to stop the command.
    """
    if on_leak == "ignore" or not data.leaks:
        return
    if on_leak == "fail":
        from waterflow_cli.training.leaks import describe_leaks

        raise DataRefusedError(
            "{path}: {leaks}.",
            tr("Mend the file. To go on all the same: --on-leak warn"),
            path=data.path,
            leaks=describe_leaks(data.leaks),
        )
    for leak in data.leaks:
        console.warn("LEAK in {path}: {leak}.", path=data.path, leak=tr(leak.describe()))


def note_dropped(n_rows: int, console: Console) -> None:
    """Say on stderr how many rows of a labelled file were left out, if any."""
    if n_rows:
        console.note(
            trn(
                "{n} row dropped: invalid, or without label.",
                "{n} rows dropped: invalid, or without label.",
                n_rows,
            )
        )


def note_reading(
    files: Mapping[str, str],
    cells: CellCounts,
    schema: TableSchema,
    reading: ReadingOptions,
    console: Console,
) -> None:
    """Say on stderr how each file was read, what is missing or a bound, and what looks wrong."""
    for path, how in files.items():
        console.note("Read {path} as {how}.", path=path, how=how)
    absent = [f"{name} {count}" for name, count in cells.missing.items() if count]
    if absent:
        console.note("Missing values: {counts}.", counts=shorten(absent))
    for text in cells.notes(reading.nondetect):
        console.note(text)
    for text in cells.alarms(schema):
        console.warn(text)


def note_limits(counts: LimitCounts | None, console: Console) -> None:
    """Say on stderr how many rows lie above or below each limit, and what was not measured."""
    if counts is None:
        return
    from waterflow_cli.validation.limit_checks import LimitStatus

    shown = (
        LimitStatus.ABOVE,
        LimitStatus.BELOW,
        LimitStatus.INDETERMINATE,
        LimitStatus.NOT_MEASURED,
    )
    rows = [
        [limit.origin, limit.column, limit.value, tr(limit.purpose), tr(limit.basis)]
        + [str(sums[each]) for each in shown]
        + [limit.source]
        for limit, sums in zip(counts.limits, counts.by_limit, strict=True)
        if any(sums[each] for each in LimitStatus if each is not LimitStatus.NOT_MEASURED)
    ]
    head = (tr("limits"), tr("measurement"), tr("value"), tr("class"), tr("basis"))
    console.table(
        tr("Rows by limit; for information, no part of the answer"),
        (*head, *(f">{tr(each.words)}" for each in shown), tr("source")),
        rows,
        err=True,
    )
    _note_parameters(counts, console)
    absent = []
    if counts.in_no_column:
        absent.append(tr("{names} (in no column)", names=shorten(map(tr, counts.in_no_column))))
    if counts.not_measured:
        absent.append(tr("{names} (no result in any row)", names=shorten(counts.not_measured)))
    if absent:
        console.note("Not measured: {names}.", names=shorten(absent, separator=tr("; ")))


def _note_parameters(counts: LimitCounts, console: Console) -> None:
    """Say which parameters of each rule could be judged, and which not."""
    for each in counts.parameters:
        n_all = len(each.judged) + len(each.not_judged) + len(each.lacking)
        console.note(
            trn(
                "{profile}: {n_judged} of {n} parameter judged.",
                "{profile}: {n_judged} of {n} parameters judged.",
                n_all,
                profile=each.profile,
                n_judged=len(each.judged),
            )
        )
        names = {
            marked("{profile}: could not judge {names}."): each.not_judged,
            marked("{profile}: no result of {names}."): each.lacking,
        }
        for text, found in names.items():
            if found:
                console.note(text, profile=each.profile, names=shorten(found))
    for name, reason in counts.unread.items():
        console.note("{name} is held against no limit: {reason}", name=name, reason=reason)
