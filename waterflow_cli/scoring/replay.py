"""Score a past output of `score` again, and tell what flipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import tr
from waterflow_cli.common.progress import InputProgress, Report, say_nothing
from waterflow_cli.models.files import StoredModel
from waterflow_cli.scoring.flips import Comparison, Flip, FlipCounts, merge_worst
from waterflow_cli.scoring.job import USUAL_ROW_BYTES
from waterflow_cli.scoring.past_results import Judged, PastResults
from waterflow_cli.scoring.scorer import RESULT_COLUMNS, Scorer, pass_options
from waterflow_cli.scoring.task import result_names
from waterflow_cli.tables.outputs import check_output, open_output
from waterflow_cli.tables.table import Batch, Table
from waterflow_cli.tables.writing import TableWriter, open_table_writer
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.pass_over import PassOptions, pass_over

# Of the columns that `-o` adds to each row that flipped.
PREFIX = "replay_"


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(PassOptions):
    """What the user chose; how to read is said as `score` was told it.

    Attributes
    ----------
    prefix : str, optional
        What the names of the past results start with; found where it is not given.
    max_flips : int
        How many flips the result lists.
    output : str, optional
        Where all flips are written.
    """

    prefix: str | None = None
    max_flips: int = 20
    output: str | None = None
    force: bool = False


@dataclass(kw_only=True)
class Replay:
    """A past output against another scoring of its rows.

    Attributes
    ----------
    flips : list of Flip
        The most dangerous ones.
    reading : str
        How the file was read.
    has_rules : bool
        Whether the file says which rules its invalid rows broke.
    """

    path: str
    model: str
    id_columns: list[str]
    counts: FlipCounts = field(default_factory=FlipCounts)
    cells: CellCounts = field(default_factory=CellCounts)
    flips: list[Flip] = field(default_factory=list)
    reading: str = ""
    has_rules: bool = True

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "path": self.path,
            "read_as": self.reading,
            "model": self.model,
            "old_models": dict(self.counts.old_models),
            "rules_known": self.has_rules,
            **self.counts.content(),
            "first_flips": [flip.content() for flip in self.flips],
        }


def _flipped_rows(
    compared: Comparison, batch: Batch, results: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    """Give the rows that flipped as they stand in the file, each with what it is now."""
    rows = np.flatnonzero(compared.flipped)
    added = {"line": pa.array(batch.lines), **{name: results[name] for name in RESULT_COLUMNS}}
    columns = {**batch.columns, **{PREFIX + name: each for name, each in added.items()}}
    taken = {name: column.take(pa.array(rows)) for name, column in columns.items()}
    return {**taken, PREFIX + "flip": pa.array(compared.kinds(rows), pa.string())}


def replay(
    path: str, model: StoredModel, options: ReplayOptions, report: Report = say_nothing
) -> Replay:
    """Score a file that `score` wrote again, with another model or another version.

    Parameters
    ----------
    path : str
        With the columns that were measured and those of the results.

    Raises
    ------
    InputError
        If the file is no such output, or lacks the measurements.
    UsageError
        If the output cannot be written as asked.
    ModelError
        If the model is made for other tables.
    """
    if options.output is not None:
        check_output(options.output, force=options.force, inputs=[path])
    progress = InputProgress([path], report)
    model.decision.scores.expect(progress.n_bytes // USUAL_ROW_BYTES)
    asked = pass_options(model, options)
    with threadpool_limits(limits=1), pass_over(path, model.schema, asked, report=progress) as file:
        table = file.table
        past = PastResults(path, table.columns, options.prefix)
        _refuse_absent(model, table)
        with _flips_output(path, table, options) as writer:
            scorer = Scorer(model, file)
            others = scorer.judged_columns | past.all_names
            result = Replay(
                path=path,
                model=model.label,
                id_columns=[name for name in table.columns if name not in others],
                cells=file.counts.cells,
                has_rules=past.has_rules,
            )

            def judge_again(checked: CheckedBatch) -> tuple[Comparison, list[Flip], Any]:
                scored, batch = scorer.judge(checked), checked.batch
                old, new = past.read(batch), Judged.of(scored.results)
                compared = Comparison(old, new, past.lost(batch, old, new))
                ids = {name: batch.columns[name] for name in result.id_columns}
                worst = compared.worst(options.max_flips, batch.lines, ids)
                if writer is None:
                    return compared, worst, None
                return (
                    compared,
                    worst,
                    writer.encode(_flipped_rows(compared, batch, scored.results)),
                )

            for compared, worst, rows in file.map(judge_again):
                if writer is not None:
                    writer.append(rows)
                result.counts.add(compared)
                result.flips = merge_worst(result.flips, worst, options.max_flips)
        result.reading = file.reading
    return result


def _refuse_absent(model: StoredModel, table: Table) -> None:
    """Refuse a file without the measurements, which a scoring may have left out."""
    wanted = model.decision.measurements
    absent = [name for name in wanted if name not in table.match.columns]
    if 2 * len(absent) > len(wanted) or set(absent) & set(model.schema.required):
        raise InputError(
            table.path,
            "lacks {absent}, which {model} judges by.",
            absent=shorten(absent),
            model=model.label,
            hint=tr(
                "If score was told to leave columns out (--columns), score the samples "
                "themselves again."
            ),
        )


@contextmanager
def _flips_output(path: str, table: Table, options: ReplayOptions) -> Iterator[TableWriter | None]:
    if options.output is None:
        yield None
        return
    hint = tr("Replay the output of waterflow score, not that of a replay.")
    result_names(("line", *RESULT_COLUMNS, "flip"), PREFIX, table.columns, table.path, hint)
    with (
        open_output(options.output, force=options.force, inputs=[path]) as file,
        open_table_writer(options.output, file) as writer,
    ):
        yield writer
