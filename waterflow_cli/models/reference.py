"""What a model remembers of its training rows, for new rows to be held against.

Three files beside the model's payload: counts in JSON, a sample of the rows with the probabilities
that models gave which had not seen them, and the hashes of the rows. A row of another file that has
the hash of a trained one is no news to the model: what it says of that row is no evidence.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.metrics import Backtest

if TYPE_CHECKING:
    import pandas as pd

HashArray = npt.NDArray[np.uint64]

COUNTS_FILE, ROWS_FILE, HASHES_FILE = "reference.json", "reference.parquet", "reference.npy"
REFERENCE_FILES = (COUNTS_FILE, ROWS_FILE, HASHES_FILE)
# What reading a file raises whose bytes were changed; NumPy reads its heads as Python does.
_DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, RecursionError),
    *(SyntaxError, TokenError, pa.ArrowException),
)
# Where more of the training rows repeat others, equal rows are no sign of copies.
_MOST_REPEATED = 0.05
_LABEL, _PROBABILITY = "(label)", "(probability)"
# What the counts are called in their file, and here.
_NAMED_ALIKE = ("nondetect", "missing", "below", "above", "classes", "verdicts", "hash_cut")
_COUNTS = {
    "rows": "n_rows",
    "rows_invalid": "n_invalid",
    "rows_read": "n_read",
    "rows_repeated": "n_repeated",
    **{name: name for name in _NAMED_ALIKE},
}
# SplitMix64's increment and finaliser (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
# number generators"). Written out here, for a stored hash must be found again by later versions.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model's training rows in brief.

    Attributes
    ----------
    n_rows, n_invalid, n_read : int
        Rows that the model was fitted on; rows of the file that break the schema; all rows of the
        file.
    nondetect : str
        What non-detects counted as.
    missing : dict of str to int
        By measurement, of the fitted rows: cells without a value and without a bound.
    below, above : dict of str to int
        Cells of which only a bound is known, of all rows of the file.
    classes : tuple of int
        Fitted rows labelled 0 and 1.
    verdicts : tuple of int
        How often models that had not seen a row would give each of `VERDICTS`.
    n_repeated : int
        Fitted rows whose measurements stand in an earlier one.
    X : DataFrame of shape (n_sampled, n_measurements)
        A sample of the fitted rows.
    label, probability : ndarray of float64, shape (n_sampled,)
        Of the sample; the probability is that of a model that had not seen the row, NaN where
        there was none.
    hashes : ndarray of uint64
        Of the fitted rows, sorted; those below `hash_cut` where that is given.
    backtest : Backtest, optional
        How near to the truth estimates without labels came; former versions did not store it.
    """

    n_rows: int
    n_invalid: int
    n_read: int
    nondetect: str
    missing: Mapping[str, int]
    below: Mapping[str, int]
    above: Mapping[str, int]
    classes: tuple[int, int]
    verdicts: tuple[int, ...]
    n_repeated: int
    X: pd.DataFrame
    label: FloatArray
    probability: FloatArray
    hashes: HashArray
    hash_cut: int | None = None
    backtest: Backtest | None = None

    @property
    def copies_count_once(self) -> bool:
        """Whether equal rows are copies of one; not where measurements are coarse."""
        return self.n_repeated <= _MOST_REPEATED * self.n_rows

    def repeats(self) -> tuple[float, float]:
        """Say what share of the fitted rows repeat others, and what share is the most frequent."""
        share = self.n_repeated / self.n_rows
        if self.copies_count_once:  # the sample holds one of each: all copies may be of one row
            return share, (self.n_repeated + 1) / self.n_rows
        n_most = np.unique(hash_rows(self.X), return_counts=True)[1].max()
        return share, float(n_most / len(self.X))

    def usual_repeats(self, n_rows: int) -> tuple[float, float]:
        """Say how often so many rows repeat others, and what share is the most frequent row.

        As often as the fitted rows do, or as rows that are drawn with replacement: of n drawn from
        n, 37 in 100 are copies.
        """
        share, top = self.repeats()
        n_drawn_from = min(n_rows, self.n_rows - self.n_repeated)
        n_distinct = n_drawn_from * (1 - (1 - 1 / n_drawn_from) ** n_rows)
        return max(share, 1 - n_distinct / n_rows), max(top, 1 / n_drawn_from)

    def unseen(self, hashes: HashArray) -> BoolArray:
        """Say which rows the model was surely not fitted on, by their hashes."""
        new = ~np.isin(hashes, self.hashes)
        return new if self.hash_cut is None else new & (hashes < np.uint64(self.hash_cut))

    def seen(self, hashes: HashArray) -> BoolArray:
        """Say which rows the model was surely fitted on."""
        return np.isin(hashes, self.hashes)

    def save(self, folder: Path) -> None:
        """Write the three files into a folder."""
        import pyarrow.parquet as pq  # scoring needs neither this nor pandas

        content = {"version": 1, **{key: getattr(self, name) for key, name in _COUNTS.items()}}
        content["verdicts"] = dict(zip(VERDICTS, self.verdicts, strict=True))
        content["backtest"] = None if self.backtest is None else self.backtest._asdict()
        (folder / COUNTS_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        frame = self.X.assign(**{_LABEL: self.label, _PROBABILITY: self.probability})
        table = pa.table({str(name): frame[name].to_numpy(np.float64) for name in frame})
        pq.write_table(table, folder / ROWS_FILE, compression="zstd")
        np.save(folder / HASHES_FILE, self.hashes, allow_pickle=False)


def load_reference(payload: Mapping[str, bytes], *, label: str) -> Reference:
    """Read the three files from a model's payload, which was verified.

    Raises
    ------
    ModelError
        If they are missing or damaged.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        content = json.loads(payload[COUNTS_FILE])
        table = pq.read_table(pa.BufferReader(payload[ROWS_FILE]))
        frame = pd.DataFrame({name: table[name].to_numpy() for name in table.column_names})
        counts = {name: content[key] for key, name in _COUNTS.items()}
        counts["classes"] = tuple(content["classes"])
        counts["verdicts"] = tuple(content["verdicts"][verdict] for verdict in VERDICTS)
        backtest = content.get("backtest")
        return Reference(
            **counts,
            backtest=None if backtest is None else Backtest(**backtest),
            X=frame.drop(columns=[_LABEL, _PROBABILITY]),
            label=frame[_LABEL].to_numpy(),
            probability=frame[_PROBABILITY].to_numpy(),
            hashes=np.load(io.BytesIO(payload[HASHES_FILE]), allow_pickle=False),
        )
    except _DAMAGED as exc:
        raise ModelError(
            "Model {label} has no readable reference of its training rows.",
            tr("Train again: this version keeps one with each model."),
            label=label,
        ) from exc


def hash_rows(X: pd.DataFrame) -> HashArray:
    """Hash the measurements of each row, in the order of the columns.

    Equal numbers have equal hashes: 0 and -0, and every NaN, which stands for a missing value.

    >>> import pandas as pd
    >>> one, other = hash_rows(pd.DataFrame({"ph": [0.0, -0.0], "Solids": [np.nan, -np.nan]}))
    >>> bool(one == other)
    True
    """
    hashes = np.zeros(len(X), dtype=np.uint64)
    for name in X:
        values = X[name].to_numpy(np.float64) + 0.0  # -0.0 + 0.0 is 0.0
        values[np.isnan(values)] = np.nan
        hashes = (hashes ^ values.view(np.uint64)) + _STEP
        for shift, factor in _MIXERS:
            hashes = (hashes ^ (hashes >> np.uint64(shift))) * factor
        hashes ^= hashes >> np.uint64(31)
    return hashes


def first_of_equals(hashes: HashArray) -> IntArray:
    """Give the positions of the rows that repeat no earlier one, in order."""
    return np.sort(np.unique(hashes, return_index=True)[1]).astype(np.int64)
