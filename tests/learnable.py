"""Simulated samples from which any model learns, a straight line too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from waterflow_cli.samples.simulation import LABEL, simulate_batches
from waterflow_cli.tables.outputs import open_output
from waterflow_cli.tables.writing import open_table_writer

# One and a half standard deviations: turbidity takes no part in the simulation's own law.
_TURBIDITY_OF_POTABLE = 1.2


def write_learnable(path: str | Path, n_rows: int, *, seed: int) -> None:
    """Simulate samples with a strong signal, and let those that are potable be more turbid."""
    output = str(path)
    with open_output(output, force=False) as sink, open_table_writer(output, sink) as writer:
        for batch in simulate_batches(n_rows, seed=seed, signal=0.9):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            turbidity, label = (columns[name].to_numpy() for name in ("Turbidity", LABEL))
            shifted = np.round(turbidity + _TURBIDITY_OF_POTABLE * label, 2)
            columns["Turbidity"] = pa.array(shifted)
            writer.write(columns)
