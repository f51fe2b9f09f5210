"""Find and read a labelled file for training, and refuse what cannot be learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError, InputError, UsageError, did_you_mean
from waterflow_cli.common.hashing import file_sha256, sha256_of
from waterflow_cli.common.messages import Message, tr, trn
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.samples.dates import DateReader, parse_iso
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.numbers import is_missing_text
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.training.copies import Copies, find_copies
from waterflow_cli.training.leaks import Leak, find_leaks
from waterflow_cli.training.options import OnLeak
from waterflow_cli.validation.batches import CheckedBatch, Finding
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.pass_over import PassOptions, pass_over
from waterflow_cli.validation.rules import RULES

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Batch, Table

# Fewer can be split, but tell nothing.
MIN_ROWS_PER_CLASS = 20
USUAL_FILE = "water_potability.csv"
SAMPLE_ROWS = 3000


@dataclass(frozen=True)
class DataOptions:
    """How a file is read; with its bytes and the schema, all that decides the rows.

    Attributes
    ----------
    group, time : str, optional
        Columns that say which rows belong together, and when they were taken.
    """

    reading: ReadingOptions = AS_FOUND
    drop_invalid: bool = False
    group: str | None = None
    time: str | None = None


USUAL_OPTIONS = DataOptions()


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Labelled rows.

    Attributes
    ----------
    X : DataFrame of shape (n_samples, n_measurements)
        Floats, NaN where a value is missing.
    y : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable.
    sha256 : str
        Of the file's bytes; of the values where they came through a pipe.
    n_dropped, n_invalid : int
        Rows left out because they break the schema or have no label; those that break it.
    groups : ndarray of str, shape (n_samples,), optional
        What must not be split between training and testing, such as sites.
    when : ndarray of float64, shape (n_samples,), optional
        When the samples were taken, in whatever unit; only their order counts.
    cells : CellCounts
        What the cells of each column are, in the whole file.
    ids : ndarray of object, shape (n_samples,), optional
        Which sample each row is of, by the `id_column`; None where that is not told.
    lines : ndarray of int64, shape (n_samples,), optional
        Physical lines, where ids were asked for.
    contested : TrainingData, optional
        Rows of samples on which earlier rows disagreed: nothing is learned from them.
    is_simulated : bool
        Whether they are the simulated sample's, which stands in where no file was named.
    """

    path: str
    X: pd.DataFrame
    y: IntArray
    sha256: str
    n_dropped: int
    groups: Any = None
    when: FloatArray | None = None
    options: DataOptions = USUAL_OPTIONS
    reading: str = ""
    cells: CellCounts = field(default_factory=CellCounts)
    ids: Any = None
    id_column: str = ""
    lines: IntArray | None = None
    contested: TrainingData | None = None
    n_invalid: int = 0
    is_simulated: bool = False

    def take(self, rows: IntArray) -> TrainingData:
        """Give some of the rows, by position."""
        by_row = {name: getattr(self, name) for name in ("y", "groups", "when", "ids", "lines")}
        taken = {name: values[rows] for name, values in by_row.items() if values is not None}
        return replace(self, X=self.X.iloc[rows].reset_index(drop=True), **taken)

    def summary(self) -> dict[str, Any]:
        """Put what is worth knowing of the rows into a JSON object."""
        negatives, positives = self.class_counts
        return {
            "path": self.path,
            "sha256": self.sha256,
            "rows_not_potable": negatives,
            "rows_potable": positives,
            "rows_dropped": self.n_dropped,
            "rows_repeated": self.n_repeated,
            "leaks": [leak.content() for leak in self.leaks],
        }

    @cached_property
    def copies(self) -> Copies:
        """Which rows are copies of which."""
        return find_copies(self.X)

    @cached_property
    def leaks(self) -> tuple[Leak, ...]:
        """What was done to the rows before, and makes figures too good."""
        return find_leaks(self.X, self.y, self.copies)

    def sources_kept(self, on_leak: OnLeak) -> IntArray | None:
        """Give what copies are copies of, where there are some that must share a fold."""
        return self.copies.sources if self.copies.any and on_leak != "ignore" else None

    @property
    def n_read(self) -> int:
        """Rows of the file."""
        return len(self.y) + self.n_dropped

    @property
    def constant_columns(self) -> list[str]:
        """Measurements that tell nothing: one value, or none, in all rows."""
        return [str(name) for name in self.X if self.X[name].nunique() < 2]

    @property
    def n_repeated(self) -> int:
        """Rows whose measurements all stand in an earlier row too."""
        return int(self.X.duplicated().sum())

    @property
    def class_counts(self) -> tuple[int, int]:
        """Rows of class 0 and of class 1."""
        positives = int(self.y.sum())
        return len(self.y) - positives, positives


@contextmanager
def find_training_data(
    path: str | None, report: Callable[[str], None], warn: Callable[[str], None]
) -> Iterator[tuple[str, bool]]:
    """Choose what to train on, and say which, and whether it is simulated.

    That is what the user named, else the public table by its usual name in the working folder,
    else a simulated sample, which is worth a warning.
    """
    if path is not None:
        yield path, False
    elif Path(USUAL_FILE).is_file():
        report(Message("Training on {usual_file} in the working folder.", usual_file=USUAL_FILE))
        yield USUAL_FILE, False
    else:
        with simulated_sample() as sample:
            warn(
                Message(
                    "No DATA named and no {usual_file} here: training on {sample_rows} "
                    "simulated samples. The model is good for trying waterflow, and for "
                    "nothing else.",
                    usual_file=USUAL_FILE,
                    sample_rows=SAMPLE_ROWS,
                )
            )
            yield sample, True


@contextmanager
def simulated_sample() -> Iterator[str]:
    """Make the simulated sample, each time the same, for as long as it is needed."""
    with TemporaryDirectory(prefix="waterflow-") as folder:
        sample = str(Path(folder) / "simulated_sample.csv")
        write_simulation(sample, SAMPLE_ROWS)
        yield sample


def load_training_data(
    path: str,
    schema: TableSchema,
    options: DataOptions = USUAL_OPTIONS,
    *,
    min_per_class: int = MIN_ROWS_PER_CLASS,
    ids: IdColumn | None = None,
) -> TrainingData:
    """Read the measurements and the label of a file.

    Parameters
    ----------
    ids : IdColumn, optional
        Where it stands which sample a row is of, if that is wanted, and the rows' lines with it.

    Raises
    ------
    UsageError
        If the schema names no label, one that is no number, or no measurement.
    InputError
        If the file cannot be read, or lacks a column.
    DataRefusedError
        If rows break the schema or lack the label (unless they are to be dropped), or a class is
        missing or too small.
    """
    label = _label_of(schema)
    frames: list[pd.DataFrame] = []
    lines, first, n_refused = [], None, 0
    with pass_over(path, schema, PassOptions(reading=options.reading)) as file:
        file.require_label(
            Message(
                "Labelled rows are needed. If it has another name: --rename 'NAME IN FILE={label}'",
                label=label,
            )
        )
        table = file.table
        groups = _Column.of(table, options.group, "--group")
        times = _Column.of(table, options.time, "--time")
        samples = None if ids is None else _Column.of_ids(table, ids)
        for checked in file.batches():
            unlabelled = checked.missing[label]
            bad = checked.invalid | unlabelled
            if first is None and bad.any():
                first = _first_refused(checked, label, unlabelled)
            n_refused += int(bad.sum())
            good = ~bad
            frames.append(pd.DataFrame(checked.numbers)[good])
            lines.append(checked.batch.lines[good])
            for column in (groups, times, samples):
                if column is not None:
                    column.note(checked.batch, good)
    if first is not None and not options.drop_invalid:
        _refuse_rows(first, n_refused)
    frame = pd.concat(frames, ignore_index=True)
    # A measurement that the schema lets a file lack is missing throughout.
    X, y = frame.reindex(columns=list(schema.measurements)), frame[label].to_numpy()
    _refuse_unlearnable(path, label, y, min_per_class)
    # What came through a pipe cannot be read again.
    values = None if Path(path).is_file() else frame.to_numpy(np.float64).tobytes()
    return TrainingData(
        path=path,
        X=X,
        y=y.astype(np.int64),
        sha256=data_sha256(path, options) if values is None else sha256_of(values),
        n_dropped=n_refused,
        groups=None if groups is None else groups.as_groups(),
        when=None if times is None else times.as_times(),
        options=options,
        reading=file.reading,
        cells=file.counts.cells,
        ids=None if samples is None else samples.as_ids(),
        id_column="" if samples is None else samples.name,
        lines=None if ids is None else np.concatenate(lines),
        n_invalid=file.counts.n_invalid,
    )


def data_sha256(path: str, options: DataOptions) -> str:
    """Hash a file's bytes, together with those of its files of samplings."""
    digests = [file_sha256(each) for each in (path, *options.reading.samplings)]
    return digests[0] if len(digests) == 1 else sha256_of("".join(digests))


class _Column:
    """A column of a file that says how its rows may be split."""

    def __init__(self, path: str, name: str) -> None:
        self._path, self.name = path, name
        self._texts: list[str | None] = []
        self._lines: list[int] = []

    @classmethod
    def of(cls, table: Table, name: str | None, option: str) -> _Column | None:
        """Find the column that an option names; None where it is not given."""
        if name is None:
            return None
        found = IdColumn(name).find(table.columns)
        if found is None:
            problem = tr("no column '{name}' ({option}).", name=name, option=option)
            suggestion, line = did_you_mean(name, table.columns), table.dialect.header_line
            raise InputError(table.path, problem + suggestion, line=line)
        return cls(table.path, found)

    @classmethod
    def of_ids(cls, table: Table, ids: IdColumn) -> _Column | None:
        """Find the column of sample ids; None where there is none."""
        if ids.is_needed:
            return cls.of(table, ids.name, "--id")
        found = ids.find(table.columns)
        return None if found is None else cls(table.path, found)

    def note(self, batch: Batch, good: BoolArray) -> None:
        """Remember the cells of the good rows of a batch."""
        cells = np.array(batch.columns[self.name].to_pylist(), dtype=object)[good]
        # Parquet files have numbers and dates as such.
        self._texts += [None if cell is None else str(cell).strip() or None for cell in cells]
        self._lines += batch.lines[good].tolist()

    def as_groups(self) -> Any:
        """Give the texts, shape (n_samples,)."""
        self._refuse([text is None for text in self._texts], Message("the group is missing"))
        return np.array(self._texts)

    def as_ids(self) -> Any:
        """Give the texts, None where a cell stands for "no value", shape (n_samples,)."""
        ids = [None if text is None or is_missing_text(text) else text for text in self._texts]
        return np.array(ids, dtype=object)

    def as_times(self) -> FloatArray:
        """Give numbers, or dates as numbers that rise with them, shape (n_samples,)."""
        texts = pd.Series(self._texts, dtype=str)
        self._refuse(texts.isna(), Message("the time is missing"))
        numbers = pd.to_numeric(texts, errors="coerce")
        if not numbers.isna().any():
            return np.asarray(numbers, dtype=np.float64)
        reader = DateReader()
        reader.learn(texts.unique())
        found = texts.map(reader.read)
        self._refuse(
            [each is not None and not each.is_sure for each in found],
            Message("a date that reads in two ways"),
        )
        dates = parse_iso(texts.map(reader.write_iso))
        self._refuse(dates.isna(), Message("no date such as 2024-05-31, and no number"))
        # In one unit, so that the times of two files can be compared.
        return np.asarray(dates.dt.as_unit("us").astype("int64"), dtype=np.float64)

    def _refuse(self, bad: Sequence[bool] | pd.Series, message: str) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            raise DataRefusedError(
                "{path}, line {line}, column {name}: {message} ({rows}).",
                tr("A split by this column needs it in every row."),
                path=self._path,
                line=self._lines[rows[0]],
                name=self.name,
                message=message,
                rows=trn("{n} such row", "{n} such rows", len(rows)),
            )


def _first_refused(checked: CheckedBatch, label: str, unlabelled: BoolArray) -> Finding:
    """Say what is wrong with the first row that breaks the schema or has no label."""
    found = checked.findings(1)
    line = int(checked.batch.lines[np.argmax(unlabelled)])
    if not unlabelled.any() or (found and found[0].line <= line):
        return found[0]
    rule = RULES["missing_label"]
    return Finding(
        file=checked.file,
        line=line,
        column=label,
        value="",
        rule=rule.code,
        message=rule.describe({}),
    )


def _refuse_rows(first: Finding, n_refused: int) -> None:
    raise DataRefusedError(
        trn(
            "{first}. Stopped: this row cannot be learned from or measured with.",
            "{first}. Stopped: {n} rows, this one first, cannot be learned from or measured with.",
            n_refused,
            first=str(first).rstrip("."),
        ),
        tr(
            "See all: waterflow validate {file}. To do without them: --on-invalid drop",
            file=first.file,
        ),
    )


def _label_of(schema: TableSchema) -> str:
    if not schema.label:
        raise UsageError(
            "The schema {schema} names no label.",
            tr("Add 'metadata: {label: COLUMN}' to it."),
            schema=schema.name,
        )
    if not schema.kinds[schema.label].is_numeric:
        raise UsageError(
            "The schema {schema}: its label {label} is no number.",
            tr("Give it the dtype float64 or int64; 1 is potable, 0 is not."),
            schema=schema.name,
            label=schema.label,
        )
    if not schema.measurements:
        raise UsageError(
            "The schema {schema} has no measurement to learn from.", schema=schema.name
        )
    return schema.label


def _refuse_unlearnable(path: str, label: str, y: np.ndarray, min_per_class: int) -> None:
    classes, counts = np.unique(y, return_counts=True)
    shown = ", ".join(f"{value:g}" for value in classes[:5])
    if not set(classes) <= {0.0, 1.0}:
        raise DataRefusedError(
            trn(
                "{path}, column {label}: {n} class ({shown}); it must hold 0 and 1 alone.",
                "{path}, column {label}: {n} classes ({shown}); it must hold 0 and 1 alone.",
                len(classes),
                path=path,
                label=label,
                shown=shown,
            )
        )
    if len(classes) < 2:
        held = Message("only the class {shown}", shown=shown) if len(classes) else Message("no row")
        raise DataRefusedError(
            "{path}, column {label}: {held}; both 0 and 1 are needed.",
            path=path,
            label=label,
            held=held,
        )
    if counts.min() < min_per_class:
        raise DataRefusedError(
            trn(
                "{path}: class {label:g} has {n} row; at least {min_per_class} of each class are "
                "needed for the folds.",
                "{path}: class {label:g} has {n} rows; at least {min_per_class} of each class are "
                "needed for the folds.",
                counts.min(),
                path=path,
                label=classes[counts.argmin()],
                min_per_class=min_per_class,
            )
        )
