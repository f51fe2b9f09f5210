"""What a model remembers of its training rows, for new rows to be held against.

Three files beside the model's payload: counts in JSON, a sample of the rows with the probabilities
that models gave which had not seen them, and the hashes of the rows. A row of another file that has
the hash of a trained one is no news to the model: what it says of that row is no evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from waterflow_cli.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.errors import ModelError
from waterflow_cli.messages import tr
from waterflow_cli.model import VERDICTS

if TYPE_CHECKING:
    from waterflow_cli.training import TrainingResult
    from waterflow_cli.training_data import TrainingData

HashArray = npt.NDArray[np.uint64]

COUNTS_FILE, ROWS_FILE, HASHES_FILE = "reference.json", "reference.parquet", "reference.npy"
REFERENCE_FILES = (COUNTS_FILE, ROWS_FILE, HASHES_FILE)
MOST_ROWS, MOST_HASHES = 5_000, 200_000
# Where more of the training rows repeat others, equal rows are no sign of copies.
_MOST_REPEATED = 0.05
_LABEL, _PROBABILITY = "(label)", "(probability)"
# SplitMix64's increment and finaliser (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
# number generators"). Written out here, for a stored hash must be found again by later versions.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


@dataclass(frozen=True)
class Reference:
    """A model's training rows in brief.

    Attributes
    ----------
    n_rows, n_left_out, n_read : int
        Rows that the model was fitted on; rows of the file that were left out because they break
        the schema or have no label; all rows of the file.
    nondetect : str
        What non-detects counted as.
    missing : dict of str to int
        By measurement, of the fitted rows.
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
    """

    n_rows: int
    n_left_out: int
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

    @property
    def copies_count_once(self) -> bool:
        """Whether equal rows are copies of one; not where measurements are coarse."""
        return self.n_repeated <= _MOST_REPEATED * self.n_rows

    def unseen(self, hashes: HashArray) -> BoolArray:
        """Say which rows the model was surely not fitted on, by their hashes."""
        new = ~np.isin(hashes, self.hashes)
        return new if self.hash_cut is None else new & (hashes < np.uint64(self.hash_cut))

    def seen(self, hashes: HashArray) -> BoolArray:
        """Say which rows the model was surely fitted on."""
        return np.isin(hashes, self.hashes)

    def save(self, folder: Path) -> None:
        """Write the three files into a folder."""
        content = {
            "version": 1,
            "rows": self.n_rows,
            "rows_left_out": self.n_left_out,
            "rows_read": self.n_read,
            "rows_repeated": self.n_repeated,
            "nondetect": self.nondetect,
            "missing": self.missing,
            "below": self.below,
            "above": self.above,
            "classes": self.classes,
            "verdicts": dict(zip(VERDICTS, self.verdicts, strict=True)),
            "hash_cut": self.hash_cut,
        }
        (folder / COUNTS_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        frame = self.X.assign(**{_LABEL: self.label, _PROBABILITY: self.probability})
        table = pa.table({str(name): frame[name].to_numpy(np.float64) for name in frame})
        pq.write_table(table, folder / ROWS_FILE, compression="zstd")
        np.save(folder / HASHES_FILE, self.hashes, allow_pickle=False)


def load_reference(folder: Path, *, label: str) -> Reference:
    """Read the three files, which were verified, from a model's payload.

    Raises
    ------
    ModelError
        If they are missing or damaged.
    """
    try:
        content = json.loads((folder / COUNTS_FILE).read_text("utf-8"))
        table = pq.read_table(folder / ROWS_FILE)
        frame = pd.DataFrame({name: table[name].to_numpy() for name in table.column_names})
        return Reference(
            n_rows=content["rows"],
            n_left_out=content["rows_left_out"],
            n_read=content["rows_read"],
            nondetect=content["nondetect"],
            missing=content["missing"],
            below=content["below"],
            above=content["above"],
            classes=tuple(content["classes"]),
            verdicts=tuple(content["verdicts"][verdict] for verdict in VERDICTS),
            n_repeated=content["rows_repeated"],
            X=frame.drop(columns=[_LABEL, _PROBABILITY]),
            label=frame[_LABEL].to_numpy(),
            probability=frame[_PROBABILITY].to_numpy(),
            hashes=np.load(folder / HASHES_FILE, allow_pickle=False),
            hash_cut=content["hash_cut"],
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as exc:
        raise ModelError(
            tr("Model {label} has no readable reference of its training rows.", label=label),
            tr("Train again: this version keeps one with each model."),
        ) from exc


def build_reference(data: TrainingData, result: TrainingResult, *, seed: int = 0) -> Reference:
    """Put together what a trained model remembers of its rows.

    Parameters
    ----------
    data : TrainingData
        What `train_model` was given.
    result : TrainingResult
        What it returned.
    seed : int
        Of the rows drawn.
    """
    part = data.take(result.rows)
    X = part.X[list(result.model.measurements)]
    probability = unseen_probabilities(result)
    hashes = hash_rows(X)
    distinct, first = np.unique(hashes, return_index=True)
    tested = probability[~np.isnan(probability)]
    verdicts = np.bincount(result.model.verdict(tested), minlength=len(VERDICTS))
    kept = Reference(
        n_rows=len(X),
        n_left_out=data.n_dropped,
        n_read=data.n_read,
        nondetect=data.options.reading.nondetect,
        missing={str(name): int(count) for name, count in X.isna().sum().items()},
        below={str(name): data.cells.nondetects[str(name)] for name in X},
        above={str(name): data.cells.above_range[str(name)] for name in X},
        classes=part.class_counts,
        verdicts=tuple(map(int, verdicts)),
        n_repeated=len(X) - len(distinct),
        X=X,
        label=part.y.astype(np.float64),
        probability=probability,
        hashes=distinct[:MOST_HASHES],
        hash_cut=int(distinct[MOST_HASHES]) if len(distinct) > MOST_HASHES else None,
    )
    rows = np.sort(first) if kept.copies_count_once else np.arange(len(X))
    return _thinned(kept, _draw(rows, seed))


def unseen_probabilities(result: TrainingResult) -> FloatArray:
    """Give what models said of each fitted row that had not seen it, in the first repeat.

    NaN for rows that were not tested: those of a hold-out's other part, and the oldest in time.
    """
    probability = np.full(len(result.rows), np.nan)
    for fold in result.measured.folds[0]:
        probability[fold.rows] = fold.probability
    return probability


def hash_rows(X: pd.DataFrame) -> HashArray:
    """Hash the measurements of each row, in the order of the columns.

    Equal numbers have equal hashes: 0 and -0, and every NaN, which stands for a missing value.

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


def _draw(rows: IntArray, seed: int) -> IntArray:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))


def _thinned(reference: Reference, rows: IntArray) -> Reference:
    content: dict[str, Any] = {
        "X": reference.X.iloc[rows].reset_index(drop=True),
        "label": reference.label[rows],
        "probability": reference.probability[rows],
    }
    return Reference(**{**vars(reference), **content})
