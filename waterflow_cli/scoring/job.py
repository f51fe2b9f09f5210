"""Score whole files: read, judge and write in a pipeline of bounded memory."""

from __future__ import annotations

import os
import platform
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from waterflow_cli import __version__
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.hashing import file_sha256
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.json import json_text, path_text
from waterflow_cli.common.libraries import SCORING, installed_versions
from waterflow_cli.common.messages import chosen_language, tr
from waterflow_cli.common.progress import InputProgress, Report, say_nothing
from waterflow_cli.models.files import StoredModel
from waterflow_cli.scoring.outputs import (
    Checkpoint,
    DirectOutputs,
    JobOutputs,
    ResumableOutputs,
    describe_input,
    drop_kept_rows,
)
from waterflow_cli.scoring.refusals import refuse_empty, refuse_too_many
from waterflow_cli.scoring.scorer import Scorer, check_n_listed, pass_options
from waterflow_cli.scoring.task import ScoringOptions, ScoringTask
from waterflow_cli.tables.databases.addresses import is_database, refuse_databases
from waterflow_cli.tables.outputs import OutputGroup, check_distinct, check_outputs, write_errors
from waterflow_cli.tables.sources import STDIN, is_uri
from waterflow_cli.tables.table import Table
from waterflow_cli.tables.writing import TableWriter, names_format
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.limit_checks import LIMITS, LimitCounts
from waterflow_cli.validation.pass_over import Pass, RowCounts, pass_over

USUAL_ROW_BYTES = 100
NO_PARTS: Mapping[str, Path] = {}
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


class FileHeader(NamedTuple):
    """What the files that go into one output must have in common.

    Attributes
    ----------
    units : mapping of str to str
        See `Table`.
    decimal : str
        The decimal mark.
    """

    columns: list[str]
    units: Mapping[str, str]
    decimal: str

    @classmethod
    def of(cls, file: Pass) -> FileHeader:
        """Tell it of an open file."""
        return cls(file.table.columns, dict(file.table.units), file.checker.marks.decimal)


@dataclass(kw_only=True)
class ScoringSummary(RowCounts):
    """Counts of a job; rows in = scored + invalid.

    Attributes
    ----------
    n_resumed : int
        Rows that an earlier run had scored.
    outputs : list of str
        What was written.
    """

    model: str
    n_resumed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    outputs: list[str] = field(default_factory=list)

    @property
    def n_scored(self) -> int:
        """Rows that were judged."""
        return self.n_rows - self.n_invalid

    @property
    def counts(self) -> dict[str, Any]:
        """JSON of what was counted."""
        return {
            "rows": self.n_rows,
            "rows_scored": self.n_scored,
            "rows_invalid": self.n_invalid,
            "verdicts": dict(self.verdicts),
            "cells": self.cells.content(),
            **({} if self.limits is None else {LIMITS: self.limits.content()}),
        }

    def take_up(self, counts: Mapping[str, Any]) -> None:
        """Go on from the counts of an earlier run."""
        self.n_rows = self.n_resumed = counts["rows"]
        self.n_invalid = counts["rows_invalid"]
        self.verdicts = Counter(counts["verdicts"])
        self.cells = CellCounts.from_content(counts["cells"])
        if self.limits is not None:
            self.limits.take_up(counts[LIMITS])

    def merge(self, other: ScoringSummary) -> None:
        """Add what was counted of other batches."""
        self.add(other)
        self.verdicts.update(other.verdicts)


def score_files(
    model: StoredModel,
    inputs: Sequence[str],
    output: str,
    options: ScoringOptions,
    report: Report = say_nothing,
) -> ScoringSummary:
    """Score files into one output, or each into its own.

    Parameters
    ----------
    inputs : sequence of str
        Files or ``-``. With several and one output, their headers must be equal, and a column
        ``source_file`` says where a row came from.
    output : str
        A file or ``-``, or a folder, which takes one file for each input. What is written appears
        when all of it is there.

    Raises
    ------
    InputError
        If an input cannot be read, or is no table of the model's columns.
    UsageError
        If the output cannot be written as asked, a result's name is taken by an input column, or
        more measurements are to be listed than the model has.
    DataRefusedError
        If a row is invalid and `on_invalid` is ``fail``, or too many are.
    """
    job = _ScoringJob(model, inputs, output, options, report)
    read = [*inputs, *options.reading.samplings]
    records = OutputGroup(force=options.force, inputs=read)
    folder = "" if options.dossier is None else options.dossier.rstrip("/") + "/"
    with _made(folder), _made(output), job.open_outputs() as outputs, records:
        pages = _write_dossiers(model, inputs, folder, options, records) if folder else []
        job.run(outputs)
        refuse_too_many(job.summary, options.max_invalid)
        refuse_empty(model, job.summary, inputs)
        job.summary.outputs = [*job.paths, *pages]
        write_manifest(records, model, job.summary, options, read, parts=outputs.finish())
        with interrupts_held_back():
            outputs.publish()
            records.publish()
    return job.summary


def _group_inputs(inputs: Sequence[str], output: str) -> dict[str, list[str]]:
    """Tell which inputs go to which output: all to one, or each to its own in a folder."""
    folder = Path(output)
    if not (output.endswith("/") or os.path.isdir(output)):  # noqa: PTH112 (Path.is_dir may raise)
        return {output: list(inputs)}
    groups: dict[str, list[str]] = {}
    for path in inputs:
        if path == STDIN:
            raise UsageError("Standard input has no name for a file in a folder; name the output.")
        if is_database(path):
            raise UsageError(
                "{path}: has no name for a file in a folder; name the output.", path=path
            )
        target = str(folder / _output_name(Path(path).name))
        if target in groups:
            raise UsageError(
                "{first} and {second} would both be written to {target}.",
                tr("Score them into two folders."),
                first=groups[target][0],
                second=path,
                target=target,
            )
        groups[target] = [path]
    return groups


@contextmanager
def _made(output: str) -> Iterator[None]:
    """Make the folder that an output names, if it does; drop it again if nothing gets there."""
    folder = Path(output)
    if not output.endswith("/") or folder.is_dir():
        yield
        return
    with write_errors(output):
        folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # kept rows are in it
            folder.rmdir()
        raise


def _output_name(name: str) -> str:
    """Name an input's output in a folder: like the input, where that names a format.

    >>> _output_name("a.csv.gz"), _output_name("b.csv.bz2"), _output_name("c.txt")
    ('a.csv.gz', 'b.csv', 'c.csv')
    """
    if names_format(name):
        return name
    path = Path(name)
    name = path.stem if path.suffix.lower() in _PACKED else name
    return name if names_format(name) else f"{name.removesuffix('.txt')}.csv"


class _ScoringJob:
    """Scores the inputs one after the other, and counts."""

    def __init__(
        self,
        model: StoredModel,
        inputs: Sequence[str],
        output: str,
        options: ScoringOptions,
        report: Report,
    ) -> None:
        self._groups = _group_inputs(inputs, output)
        self.paths = [*self._groups, *([] if options.rejects is None else [options.rejects])]
        self.summary = ScoringSummary(model=model.label)
        if options.limits:  # an earlier run's counts are added to these
            self.summary.limits = LimitCounts(
                profiles=options.limits, measurements=model.decision.measurements
            )
        self._model, self._options, self._inputs = model, options, inputs
        self._progress = InputProgress(inputs, report)
        check_n_listed(model, options.explain)
        n_scorings = 1 + (len(model.decision.measurements) if options.explain else 0)
        model.decision.scores.expect(n_scorings * self._progress.n_bytes // USUAL_ROW_BYTES)

    def open_outputs(self) -> JobOutputs:
        """Check what is to be written, and give what takes the rows."""
        model, options = self._model, self._options
        inputs = [*self._inputs, *options.reading.samplings]
        manifest = ("--manifest", options.manifest)
        named = [*(("-o", path) for path in self._groups), ("--rejects", options.rejects), manifest]
        check_distinct(named)
        if not options.resume:
            check_outputs(named, force=options.force, inputs=inputs)
            drop_kept_rows(self.paths[0])
            return DirectOutputs(force=options.force, inputs=inputs, excel=options.excel)
        refuse_databases("--resume", (*inputs, *self.paths))
        if model.schema.has_unique:
            raise UsageError(
                "--resume: the model's schema has values that must be unique, and what an earlier "
                "run saw of them is not known."
            )
        check_outputs([manifest], force=options.force, inputs=inputs)
        job = {
            "waterflow": __version__,
            "model": model.digest,
            "options": options.deciding,
            "language": chosen_language(),  # reasons are texts in it
            "inputs": [describe_input(path) for path in inputs],
        }
        return ResumableOutputs(self.paths, job, force=options.force)

    def run(self, outputs: JobOutputs) -> None:
        """Score all inputs, but for what an earlier run had done."""
        n_before = 0
        if outputs.start is not None:
            self.summary.take_up(outputs.start.counts)
            n_before = outputs.start.n_inputs
        if n_before == len(self._inputs):
            return
        path = self._options.rejects
        with (
            threadpool_limits(limits=1),
            nullcontext() if path is None else outputs.writer(path) as rejects,
        ):
            for target, paths in self._groups.items():
                if self._progress.n_done + len(paths) <= n_before:
                    self._progress.n_done += len(paths)
                    continue
                with outputs.writer(target) as rows:
                    self._score_group(paths, outputs, rows, rejects)

    def _score_group(
        self,
        paths: Sequence[str],
        outputs: JobOutputs,
        rows: TableWriter,
        rejects: TableWriter | None,
    ) -> None:
        header: FileHeader | None = None
        schema, asked = self._model.schema, pass_options(self._model, self._options)
        for path in paths:
            with pass_over(path, schema, asked, self.summary, self._progress) as file:
                if header is not None:
                    refuse_other_header(file.table, header, paths[0])
                scorer = Scorer(self._model, file, n_listed=self._options.explain)
                if header is not None:
                    refuse_other_mark(file, header, paths[0])
                header = FileHeader.of(file)
                source = path if len(paths) > 1 else None
                task = ScoringTask(scorer, self._options, rows=rows, rejects=rejects, source=source)
                self._score_file(file, task, outputs)
            self._progress.n_done += 1

    def _score_file(self, file: Pass, task: ScoringTask, outputs: JobOutputs) -> None:
        n_done, position = self._progress.n_done, None
        if outputs.start is not None and n_done <= outputs.start.n_inputs:
            if n_done < outputs.start.n_inputs:
                self.summary.dialects[file.table.path] = file.reading
                return
            position = outputs.start.position
        for encoded in file.map(task, position):
            task.append(encoded)
            self.summary.verdicts.update(encoded.verdict_counts)
            outputs.save(Checkpoint(n_done, encoded.end, self.summary.counts))
        outputs.save(Checkpoint(n_done + 1, None, self.summary.counts))


def refuse_other_header(table: Table, header: FileHeader, first: str) -> None:
    """Refuse a file whose columns and units are not those of the first one.

    Raises
    ------
    InputError
        Naming both.
    """
    if (table.columns, table.units) != header[:2]:
        raise InputError(
            table.path,
            "its header differs from that of {path}.",
            path=first,
            line=table.dialect.header_line,
            hint=tr("Score them one by one, into a folder, or make their headers equal."),
        )


def refuse_other_mark(file: Pass, header: FileHeader, first: str) -> None:
    """Refuse a file whose decimal mark is not that of the first one: an output has one.

    Raises
    ------
    InputError
        Naming both.
    """
    mark = file.checker.marks.decimal
    if mark != header.decimal:
        raise InputError(
            file.table.path,
            "its decimal mark is '{mark}', and that of {path} '{other}'.",
            mark=mark,
            path=first,
            other=header.decimal,
            hint=tr("Score them one by one, or into a folder; or say what both have: --decimal"),
        )


def _write_dossiers(*arguments: Any) -> list[str]:
    from waterflow_cli.scoring.dossier import write_dossiers  # templates: for pages alone

    return write_dossiers(*arguments)


def write_manifest(
    records: OutputGroup,
    model: StoredModel,
    summary: ScoringSummary,
    options: ScoringOptions,
    inputs: Sequence[str],
    *,
    parts: Mapping[str, Path] = NO_PARTS,
) -> None:
    """Write, where that is asked for, what a job read, used and wrote, with the sha256 of each.

    Parameters
    ----------
    parts : mapping of str to Path
        Where the bytes of an output lie that has not got its name yet.

    Raises
    ------
    UsageError
        If it cannot be written.
    InputError
        If an input or output cannot be read any more.
    """
    if options.manifest is None:
        return
    content = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "waterflow": __version__,
        "python": platform.python_version(),
        "libraries": installed_versions((*SCORING, "pandera", "mlflow")),
        "model": {"label": model.label, "plugin": model.plugin, "sha256": model.digest},
        "options": options.deciding,
        "inputs": [_describe(each) for each in inputs],
        "outputs": [_describe(each, parts.get(each)) for each in summary.outputs],
        **summary.counts,
    }
    with records.open(options.manifest) as sink:
        sink.write(json_text(content).encode())


def _describe(path: str, part: Path | None = None) -> dict[str, Any]:
    file = part or Path(path)
    try:
        if (
            path == STDIN
            or is_database(path)
            or is_uri(path)
            or not stat.S_ISREG(file.stat().st_mode)
        ):
            # What went through a pipe is gone; what lies elsewhere, or in a folder, is not read.
            return {"path": path_text(path), "bytes": None, "sha256": None}
        digest, n_bytes = file_sha256(file), file.stat().st_size
        return {"path": path_text(path), "bytes": n_bytes, "sha256": digest}
    except OSError as exc:
        raise InputError(
            path, "cannot be read again for the manifest ({strerror}).", strerror=exc.strerror
        ) from exc
