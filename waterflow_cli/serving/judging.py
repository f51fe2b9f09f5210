"""A body of samples and a model -> the answer."""

from __future__ import annotations

import io
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from waterflow_cli.scoring.scorer import RESULT_COLUMNS, Scorer, open_scorer
from waterflow_cli.scoring.task import ScoringOptions, ScoringTask
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import RequestError
from waterflow_cli.serving.samples import BODY, field_names, opener_of, parse_samples, too_many
from waterflow_cli.serving.served_model import ServedModel
from waterflow_cli.tables.table import Batch, Table
from waterflow_cli.tables.writing import DelimitedWriter

JSON, CSV = "application/json", "text/csv"
# Small enough for a thread to be free soon after a request ran out of time.
_BATCH_ROWS = 10_000
_encode = json.JSONEncoder(allow_nan=False).encode


@dataclass
class Answer:
    """What a client gets, and what was counted of the samples."""

    body: bytes = b""
    n_rows: int = 0
    n_invalid: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)


def judge(
    served: ServedModel,
    body: bytes,
    sent: str,
    wanted: str,
    options: ServingOptions,
    deadline: float = math.inf,
) -> Answer:
    """Score the samples of a body, as `waterflow score` scores those of a file.

    Parameters
    ----------
    sent, wanted : str
        What the body holds, and what the answer is to hold: `JSON` or `CSV`.
    deadline : float
        Of `time.monotonic`, after which nobody waits for the answer.

    Raises
    ------
    WaterflowError
        If the body is none of the model's samples, or holds too many.
    TimeoutError
        Between two batches, when the deadline is past.
    """
    answer = Answer()
    with _open(served, body, sent, options) as (scorer, table):
        batches = _counted(table, answer, options.max_rows, deadline)
        if wanted == CSV:
            answer.body = _write_csv(scorer, batches, answer)
        else:
            answer.body = _write_json(served.label, scorer, batches, answer)
    return answer


@contextmanager
def _open(
    served: ServedModel, body: bytes, sent: str, options: ServingOptions
) -> Iterator[tuple[Scorer, Table]]:
    if sent == JSON:
        samples = parse_samples(body, options.max_rows)
        layout, scorer = served.layout_of(field_names(samples, served.model.schema))
        table = layout.table(samples)
        yield scorer or served.new_scorer(table), table
        return
    if not body.strip():
        raise RequestError(422, "The body is empty.")
    asked = ScoringOptions(reading=options.reading, batch_rows=_BATCH_ROWS)
    with open_scorer(served.model, BODY, asked, opener_of(body)) as scorer:
        yield scorer, scorer.file.table


def _counted(table: Table, answer: Answer, max_rows: int, deadline: float) -> Iterator[Batch]:
    """Yield the rows of a table in small batches, until they are too many, or it is too late."""
    for batch in table.batches():
        answer.n_rows += len(batch)
        if answer.n_rows > max_rows:
            raise too_many(max_rows)
        for part in _parts(batch):
            if time.monotonic() > deadline:
                raise TimeoutError
            yield part


def _parts(batch: Batch) -> Iterator[Batch]:
    """Cut what came as JSON into small batches; CSV is read in such."""
    if batch.raw:
        yield batch
        return
    for start in range(0, len(batch), _BATCH_ROWS):
        columns = {name: each.slice(start, _BATCH_ROWS) for name, each in batch.columns.items()}
        yield Batch(columns=columns, lines=batch.lines[start : start + _BATCH_ROWS])


def _write_csv(scorer: Scorer, batches: Iterator[Batch], answer: Answer) -> bytes:
    sink = io.BytesIO()
    rows = DelimitedWriter(sink, ",")
    task = ScoringTask(scorer, ScoringOptions(), rows=rows)
    for checked in map(scorer.file.check, batches):
        encoded = task(checked)
        rows.append(encoded.rows)
        answer.n_invalid += int(checked.invalid.sum())
        answer.verdicts.update(encoded.verdict_counts)
    return sink.getvalue()


def _write_json(label: str, scorer: Scorer, batches: Iterator[Batch], answer: Answer) -> bytes:
    texts: list[str] = []
    for scored in map(scorer.judge, map(scorer.file.check, batches)):
        answer.n_invalid += int(scored.checked.invalid.sum())
        answer.verdicts.update(scored.verdict_counts)
        columns = [scored.results[name].to_pylist() for name in RESULT_COLUMNS]
        # Row by row: encoding all of them at once would let no other thread run meanwhile.
        for values in zip(*columns, strict=True):
            texts.append(_encode(dict(zip(RESULT_COLUMNS, values, strict=True))))
    head = f'{{"version": 1, "model": {_encode(label)}, "results": ['
    return "".join((head, ", ".join(texts), "]}\n")).encode()
