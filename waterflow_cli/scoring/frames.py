"""Score a frame of pandas, as MLflow hands it to a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from waterflow_cli.models.files import StoredModel
from waterflow_cli.scoring.scorer import Scorer
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.table import Batch, Table, plain_column, table_of


def score_frame(model: StoredModel, frame: pd.DataFrame) -> pd.DataFrame:
    """Score a frame of measurements, as MLflow hands it to a model.

    Returns
    -------
    DataFrame of shape (n_samples, 3)
        ``probability``, ``prediction`` and ``verdict``, the same as in the output of a file.
    """
    table = frame_table(frame, model.schema.header)
    scorer = Scorer.of_table(model, table)
    checked = map(scorer.file.check, table.batches()) if len(frame) else ()
    results = [each.results for each in map(scorer.judge, checked)]
    # Nullable types: an invalid row has no probability, which JSON writes as null and not as NaN.
    dtypes = {"probability": "Float64", "prediction": "Int64", "verdict": "object"}
    values = {
        name: [each for part in results for each in part[name].to_pylist()] for name in dtypes
    }
    return pd.DataFrame(values, index=frame.index, dtype=object).astype(dtypes)


def frame_table(frame: pd.DataFrame, names: Header) -> Table:
    """Present a frame as an open table of one batch; a row's line is its position plus 2."""
    dialect = Dialect(encoding="frame", sep="", header_line=1, first_line=2)

    def make_batch() -> Batch:
        cells = {str(name): _cells_of(frame[name]) for name in frame.columns}
        return Batch(columns=cells, lines=np.arange(2, len(frame) + 2, dtype=np.int64))

    return table_of([str(name) for name in frame.columns], make_batch, "frame", dialect, names)


def _cells_of(values: pd.Series) -> pa.Array:
    try:
        return plain_column(pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # numbers and texts in one column
        return pa.array(values.map(str, na_action="ignore"), pa.string())
