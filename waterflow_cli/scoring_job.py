"""Score whole files: read, judge and write in a pipeline of bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from waterflow_cli.errors import DataRefusedError, InputError, UsageError, did_you_mean
from waterflow_cli.model_store import StoredModel
from waterflow_cli.reading import Table, open_table
from waterflow_cli.scoring import RESULT_COLUMNS, ScoredBatch, Scorer
from waterflow_cli.validation import reasons_by_line
from waterflow_cli.writing import (
    TableWriter,
    check_outputs,
    open_output,
    open_table_writer,
    path_text,
)

OnInvalid = Literal["mark", "fail", "drop"]
SOURCE_FILE = "source_file"
REJECT_COLUMNS = ("file", "line", "raw", "rule", "reason")
T = TypeVar("T")


@dataclass(frozen=True)
class ScoringOptions:
    """What the user chose.

    Attributes
    ----------
    columns : str
        ``all``, ``ids`` (those that are neither measurements nor label) or names with commas.
    on_invalid : str
        ``mark`` keeps invalid rows with their reason, ``drop`` leaves them out of the output,
        ``fail`` stops at the first and writes nothing.
    jobs : int
        How many batches are scored at once; it changes no result.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    columns: str = "all"
    on_invalid: OnInvalid = "mark"
    rejects: str | None = None
    force: bool = False
    jobs: int = 1


@dataclass
class ScoringSummary:
    """Counts of a finished job; rows in = scored + invalid."""

    model: str
    n_rows: int = 0
    n_invalid: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    dialects: dict[str, str] = field(default_factory=dict)

    @property
    def n_scored(self) -> int:
        """Rows that were judged."""
        return self.n_rows - self.n_invalid

    def note(self, scored: ScoredBatch) -> None:
        """Count a batch."""
        self.n_rows += len(scored.checked.batch)
        self.n_invalid += int(scored.invalid.sum())
        self.verdicts.update(scored.verdict_counts)


def score_files(
    model: StoredModel, inputs: Sequence[str], output: str, options: ScoringOptions
) -> ScoringSummary:
    """Score files into one output.

    Parameters
    ----------
    model : StoredModel
        Verified and loaded.
    inputs : sequence of str
        Files or ``-``. With several, their headers must be equal, and a column ``source_file``
        says where a row came from.
    output : str
        A file or ``-``; it appears when all rows were written.

    Raises
    ------
    InputError
        If an input cannot be read, or is no table of the model's columns.
    UsageError
        If the output cannot be written as asked, or a result's name is taken by an input column.
    DataRefusedError
        If a row is invalid and `on_invalid` is ``fail``.
    """
    outputs = {"-o": output, "--rejects": options.rejects}
    check_outputs(outputs, force=options.force, inputs=inputs)
    summary = ScoringSummary(model.label)
    with ExitStack() as stack:
        # Errors of the inputs come before the output exists, even as a part file.
        writers = _Writers(stack, output, options, inputs)
        header: list[str] | None = None
        for path in inputs:
            with open_table(path) as table:
                if header is not None and table.columns != header:
                    raise InputError(
                        path,
                        f"its header differs from that of {inputs[0]}.",
                        line=table.dialect.header_line,
                        hint="Score them one by one, or make their headers equal.",
                    )
                header = table.columns
                source = path if len(inputs) > 1 else None
                _score_table(model, table, source, options, writers, summary)
    return summary


class _Writers:
    """Opens the outputs when the first batch is ready, and routes rows to them."""

    def __init__(
        self, stack: ExitStack, output: str, options: ScoringOptions, inputs: Sequence[str]
    ) -> None:
        self._stack, self._output, self._options, self._inputs = stack, output, options, inputs
        self._rows: TableWriter | None = None
        self._rejects: TableWriter | None = None

    def write(self, rows: Mapping[str, pa.Array], scored: ScoredBatch) -> None:
        """Write a batch's rows, and its invalid ones to the rejects."""
        if self._rows is None:
            self._rows = self._open(self._output)
            if self._options.rejects is not None:
                self._rejects = self._open(self._options.rejects)
        if self._options.on_invalid == "drop" and scored.invalid.any():
            keep = pa.array(~scored.invalid)
            rows = {name: column.filter(keep) for name, column in rows.items()}
        self._rows.write(rows)
        if self._rejects is not None:
            self._rejects.write(_rejected_rows(scored))

    def _open(self, path: str) -> TableWriter:
        sink = self._stack.enter_context(
            open_output(path, force=self._options.force, inputs=self._inputs)
        )
        return self._stack.enter_context(open_table_writer(path, sink))


def _score_table(
    model: StoredModel,
    table: Table,
    source: str | None,
    options: ScoringOptions,
    writers: _Writers,
    summary: ScoringSummary,
) -> None:
    scorer = Scorer(model, table, renames=options.renames)
    summary.dialects[table.path] = scorer.reading
    kept = _kept_columns(table, scorer, options.columns)
    names = _result_names([*kept, *([SOURCE_FILE] if source else [])], options.prefix)
    if source and SOURCE_FILE in kept:
        raise UsageError(
            f"The input has a column '{SOURCE_FILE}' already.", "Score one file a time."
        )
    # Values that must be unique are looked up in order, so such rows are scored one batch a time.
    jobs = 1 if model.schema.has_unique else options.jobs
    tasks = table.tasks()
    with threadpool_limits(limits=1):
        for scored in map_in_order(lambda parse: scorer.score(parse()), tasks, jobs):
            _refuse_invalid(scored, options)
            batch = scored.checked.batch
            rows = {name: batch.columns[name] for name in kept}
            if source:
                rows[SOURCE_FILE] = pa.repeat(path_text(source), len(batch))
            rows |= {names[name]: scored.results[name] for name in RESULT_COLUMNS}
            writers.write(rows, scored)
            summary.note(scored)


def map_in_order(
    call: Callable[[T], ScoredBatch], items: Iterable[T], jobs: int
) -> Iterator[ScoredBatch]:
    """Call with each item in some threads, and yield the results in the items' order.

    At most twice as many items as threads are under way, so memory stays bounded.
    """
    if jobs == 1:
        yield from map(call, items)
        return
    # OpenMP keeps its number of threads for each thread that starts some.
    pool = ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,))
    waiting: deque[Future[ScoredBatch]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _kept_columns(table: Table, scorer: Scorer, choice: str) -> list[str]:
    if choice == "all":
        return table.columns
    if choice == "ids":
        return [name for name in table.columns if name not in scorer.judged_columns]
    names = [name.strip() for name in choice.split(",")]
    for name in names:
        if name not in table.columns:
            raise UsageError(
                f"--columns: {table.path} has no column '{name}'."
                + did_you_mean(name, table.columns)
            )
    return names


def _result_names(kept: Sequence[str], prefix: str) -> dict[str, str]:
    names = {name: prefix + name for name in RESULT_COLUMNS}
    for name in names.values():
        if name in kept:
            raise UsageError(
                f"The input has a column '{name}', which is also the name of a result.",
                "Rename the results: --prefix wf_ (or leave the column out: --columns)",
            )
    return names


def _refuse_invalid(scored: ScoredBatch, options: ScoringOptions) -> None:
    if options.on_invalid == "fail" and scored.invalid.any():
        raise DataRefusedError(
            f"{scored.checked.findings(1)[0]}", "No file was written (--on-invalid fail)."
        )


def _rejected_rows(scored: ScoredBatch) -> dict[str, pa.Array]:
    rows = np.flatnonzero(scored.invalid)
    batch = scored.checked.batch
    rules: dict[int, str] = {}
    for finding in scored.checked.all_findings:
        rules.setdefault(finding.line, finding.rule)
    columns = {
        "file": [path_text(scored.checked.file)] * len(rows),
        "line": [int(line) for line in batch.lines[rows]],
        "raw": batch.raw_rows(rows),
        "rule": list(rules.values()),
        "reason": list(reasons_by_line(scored.checked).values()),
    }
    kinds = {"line": pa.int64()}
    return {name: pa.array(columns[name], kinds.get(name, pa.string())) for name in REJECT_COLUMNS}
