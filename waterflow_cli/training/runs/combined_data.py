"""Training rows from several tables, in one file that lies with the run that learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import IntArray
from waterflow_cli.common.hashing import file_sha256, sha256_of
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.training.data import DataOptions, TrainingData
from waterflow_cli.validation.cell_counts import CellCounts

COMBINED_FILE = "training_data.parquet"
# As a record's path: the file lies with the run.
COMBINED = f"artifact:{COMBINED_FILE}"
# A schema's columns may have any name, and so may not these.
_ID, _GROUP, _TIME = "waterflow_sample_id", "waterflow_group", "waterflow_time"
_CONTESTED = "waterflow_contested"
_CELLS = "waterflow_cells"
_DROPPED, _INVALID = "waterflow_rows_dropped", "waterflow_rows_invalid"


def combine(
    parts: Sequence[tuple[TrainingData, IntArray]],
    schema: TableSchema,
    contested: Sequence[TrainingData] = (),
) -> tuple[TrainingData, bytes]:
    """Put some rows of several tables together.

    Parameters
    ----------
    parts : sequence of (TrainingData, ndarray of int)
        Each table, with the positions of its rows that are taken.
    contested : sequence of TrainingData
        Rows that are kept so that their samples are known, and never learned from.

    Returns
    -------
    TrainingData
        Its sha256 is that of the file; it is read as the first part was.
    bytes
        The Parquet file that `read_combined` takes back.
    """
    taken = [data.take(rows) for data, rows in parts]
    frames = [_to_frame(each, schema).assign(**{_CONTESTED: False}) for each in taken]
    frames += [_to_frame(each, schema).assign(**{_CONTESTED: True}) for each in contested]
    frame = pd.concat(frames, ignore_index=True)
    cells, n_dropped, n_invalid = CellCounts(), 0, 0
    for (data, _), each in zip(parts, taken, strict=True):
        # The counts are of whole files, and stand for the same share of them as the rows.
        share = len(each.y) / len(data.y)
        cells.add(_share_of(data.cells, share))
        n_dropped += round(share * data.n_dropped)
        n_invalid += round(share * data.n_invalid)
    frame.attrs = {_CELLS: cells.content(), _DROPPED: n_dropped, _INVALID: n_invalid}
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    content = buffer.getvalue()
    digest = sha256_of(content)
    return _from_frame(frame, schema, parts[0][0].options, digest), content


def read_combined(path: str, schema: TableSchema, options: DataOptions) -> TrainingData:
    """Take rows back from the file that `combine` made, whose sha256 was checked."""
    return _from_frame(pd.read_parquet(path), schema, options, file_sha256(path))


def _share_of(cells: CellCounts, share: float) -> CellCounts:
    content = cells.content()
    for counts in content.values():
        counts.update({name: round(share * count) for name, count in counts.items()})
    return CellCounts.from_content(content)


def _to_frame(data: TrainingData, schema: TableSchema) -> pd.DataFrame:
    ids = [None] * len(data.y) if data.ids is None else data.ids
    columns: dict[str, Any] = {
        **{name: data.X[name].astype(np.float64) for name in schema.measurements},
        str(schema.label): data.y,
        _ID: pd.Series(ids, dtype="str"),
    }
    if data.groups is not None:
        columns[_GROUP] = pd.Series(data.groups, dtype="str")
    if data.when is not None:
        columns[_TIME] = data.when
    return pd.DataFrame(columns)


def _from_frame(
    frame: pd.DataFrame, schema: TableSchema, options: DataOptions, sha256: str
) -> TrainingData:
    ids = frame[_ID].astype(object).where(frame[_ID].notna(), None).to_numpy()
    data = TrainingData(
        path=COMBINED,
        X=frame[list(schema.measurements)],
        y=frame[str(schema.label)].to_numpy(np.int64),
        sha256=sha256,
        n_dropped=frame.attrs[_DROPPED],
        groups=frame[_GROUP].to_numpy(dtype=str) if _GROUP in frame else None,
        when=frame[_TIME].to_numpy(np.float64) if _TIME in frame else None,
        options=options,
        cells=CellCounts.from_content(frame.attrs[_CELLS]),
        ids=None if frame[_ID].isna().all() else ids,
        id_column=_ID,
        n_invalid=frame.attrs[_INVALID],
    )
    is_contested = frame[_CONTESTED].to_numpy(bool)
    contested = data.take(np.flatnonzero(is_contested)) if is_contested.any() else None
    return replace(data.take(np.flatnonzero(~is_contested)), contested=contested)
