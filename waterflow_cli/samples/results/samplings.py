"""Join a table of samples with the file of its samplings: when, where, and what was concluded.

The French control publishes results in one file, and samplings with their conclusions in another.
Only the latter is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    arrow_numbers,
    arrow_texts,
    as_integers,
    filled,
    joined,
    repeated,
)
from waterflow_cli.common.errors import InputError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, counted, tr
from waterflow_cli.samples.profiles import bundled_profiles, load_profile
from waterflow_cli.samples.results.values import by_text, trimmed
from waterflow_cli.tables.headers import Header, fold_name
from waterflow_cli.tables.numbers import missing_text
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.sources import STDIN, is_uri
from waterflow_cli.tables.table import ROW_RULES

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import IntArray
    from waterflow_cli.samples.profiles import Profile, SamplingColumns
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.tables.table import Batch, Table

_SEPARATOR = "\x1f"
_KEY, _LABEL = "\x1fkey", "\x1flabel"
_NONE = -1
# Beside the labels 0 and 1; the lowest of what several conclusions say counts.
_NO_LABEL, _UNKNOWN = 2, 3
_LABELS = arrow_texts(["0", "1", ""])


@dataclass
class Samplings:
    """Samplings by their key, the first row of each.

    Attributes
    ----------
    columns : dict of str to pyarrow.Array, each of shape (n_samplings,)
        What a sample takes over; the label stands under the schema's name, as 0, 1 or nothing.
    n_rows : int
        Of all files; a sampling may have several.
    """

    keys: pa.Array
    columns: dict[str, pa.Array]
    paths: Sequence[str]
    n_rows: int

    def tell(self, keys: Sequence[pa.Array]) -> tuple[dict[str, pa.Array], list[Message]]:
        """Give what samples take over of their samplings, and say what was joined.

        Parameters
        ----------
        keys : sequence of pyarrow.Array of string, each of shape (n_samples,)
            What names the samples.
        """
        found = pc.fill_null(pc.index_in(_key_of(keys), self.keys), _NONE)
        place = as_integers(found)
        is_known = place != _NONE
        at = arrow_numbers(np.maximum(place, 0), is_known)
        columns = {name: filled(column.take(at), "") for name, column in self.columns.items()}
        n_unused = len(self.keys) - len(np.unique(place[is_known]))
        return columns, self._remarks(int((~is_known).sum()), n_unused)

    def _remarks(self, n_alone: int, n_unused: int) -> list[Message]:
        files = shorten([Path(path).name for path in self.paths])
        samplings = counted("{n} sampling", "{n} samplings", len(self.keys))
        rows = counted("{n} row", "{n} rows", self.n_rows)
        told = [Message("{samplings} of {files}", samplings=samplings, files=files)]
        if self.n_rows > len(self.keys):
            told = [
                Message(
                    "{samplings} in {rows} of {files}", samplings=samplings, rows=rows, files=files
                )
            ]
        if n_unused:
            samplings = counted("{n} sampling", "{n} samplings", n_unused)
            told.append(Message("{samplings} without a result here", samplings=samplings))
        if n_alone:
            samples = counted("{n} sample", "{n} samples", n_alone)
            told.append(Message("{samples} without a sampling there", samples=samples))
        return told


def is_of_samplings(columns: Sequence[str], profile: Profile) -> bool:
    """Say whether a file with these columns holds the samplings of a profile, and no results."""
    if profile.samplings is None or profile.results is None:
        return False
    folded = set(map(fold_name, columns))
    needed = {fold_name(name) for name in (*profile.samplings.sample, *profile.samplings.label)}
    return needed <= folded and fold_name(profile.results.value) not in folded


def set_apart(paths: Sequence[str], options: ReadingOptions) -> tuple[list[str], ReadingOptions]:
    """Tell the files of samplings among some files from the files whose samples they tell of."""
    names = bundled_profiles() if options.profile is None else [options.profile]
    profiles = [each for each in map(load_profile, names) if each.samplings is not None]
    if len(paths) < 2 or not profiles:
        return list(paths), options
    own = [path for path in paths if _holds_samplings(path, profiles, options)]
    rest = [path for path in paths if path not in own]
    if not rest:
        return list(paths), options
    return rest, replace(options, samplings=(*options.samplings, *own))


def _holds_samplings(path: str, profiles: Sequence[Profile], options: ReadingOptions) -> bool:
    if path == STDIN or is_uri(path):
        return False
    try:
        with open_table(path, _names_of(profiles), options) as table:
            return any(is_of_samplings(table.columns, profile) for profile in profiles)
    except InputError:  # it is said where the file is read
        return False


def _names_of(profiles: Sequence[Profile]) -> Header:
    found = (profile.samplings for profile in profiles if profile.samplings is not None)
    names = (name for each in found for name in (*each.sample, *each.keep, *each.label))
    return Header({name: [] for name in names}, has_units=False)


def read_samplings(
    paths: Sequence[str],
    profile: Profile,
    label: str | None,
    options: ReadingOptions,
) -> Samplings:
    """Read files of samplings.

    Parameters
    ----------
    label : str, optional
        The schema's name for the label.

    Raises
    ------
    InputError
        If a file lacks a column, a row names no sampling, or a conclusion is a word that the
        profile does not know.
    """
    assert profile.samplings is not None
    reader = _Reader(profile, profile.samplings, options)
    parts = [part for path in paths for part in reader.read(path)]
    # A file may lack a column that another one has.
    columns = {
        name: pa.concat_arrays(
            [part[name] if name in part else repeated("", len(part[_KEY])) for part in parts]
        )
        for name in dict.fromkeys(chain.from_iterable(parts))
    }
    encoded = columns.pop(_KEY).dictionary_encode()
    codes = as_integers(encoded.indices)
    # Of the rows of one sampling the first is taken over; a conclusion of any of them counts.
    firsts = arrow_numbers(np.unique(codes, return_index=True)[1])
    labels = _worst(codes, as_integers(columns.pop(_LABEL)), len(firsts))
    taken = {name: column.take(firsts) for name, column in columns.items()}
    if label is not None and profile.samplings.label:
        taken[label] = _LABELS.take(arrow_numbers(labels))
    return Samplings(encoded.dictionary, taken, tuple(paths), len(codes))


class _Reader:
    """Reads the columns of samplings that a profile names."""

    def __init__(self, profile: Profile, where: SamplingColumns, options: ReadingOptions) -> None:
        self._where, self._options = where, options
        self._profile = profile
        words = {**profile.label, **options.label_values}
        self._words = {word.strip().lower(): value for word, value in words.items()}
        self._words |= {word.strip().lower(): _NO_LABEL for word in (*where.unjudged, "")}

    def read(self, path: str) -> Iterator[dict[str, pa.Array]]:
        """Give the columns of each batch, with the key and what the conclusions make together."""
        names = (*self._where.sample, *self._where.keep, *self._where.label)
        with open_table(path, _names_of([self._profile]), self._options) as table:
            found = self._find(table, names)
            for batch in table.batches():
                self._refuse_broken(batch, path)
                cells = {
                    name: trimmed(batch.columns[found[name]]) for name in names if name in found
                }
                yield {
                    **{name: cells[name] for name in self._where.keep if name in found},
                    _KEY: self._keys(cells, batch, path),
                    _LABEL: arrow_numbers(self._labels(cells, batch, path)),
                }

    def _find(self, table: Table, names: Sequence[str]) -> dict[str, str]:
        by_fold = {fold_name(column): column for column in table.columns}
        found = {name: by_fold[fold_name(name)] for name in names if fold_name(name) in by_fold}
        for name in (*self._where.sample, *self._where.label):
            if name not in found:
                problem = tr("the profile's column '{name}' is not in the header.", name=name)
                raise InputError(
                    table.path,
                    problem + did_you_mean(name, table.columns),
                    line=table.dialect.header_line,
                    hint=tr("A file of samplings has it, beside the file of their results."),
                )
        return found

    def _refuse_broken(self, batch: Batch, path: str) -> None:
        if batch.findings:
            row, finding = min(batch.findings.items())
            problem = ROW_RULES[finding.rule].describe(finding.values)
            raise InputError(path, problem, line=int(batch.lines[row]))

    def _keys(self, cells: Mapping[str, pa.Array], batch: Batch, path: str) -> pa.Array:
        for name in self._where.sample:
            empty = np.flatnonzero(missing_text(cells[name]))
            if len(empty):
                raise InputError(
                    path,
                    "column {column}: the row names no sampling.",
                    column=name,
                    line=int(batch.lines[empty[0]]),
                    hint=tr("Mend the row in {path}, or take it out.", path=path),
                )
        return _key_of([cells[name] for name in self._where.sample])

    def _labels(self, cells: Mapping[str, pa.Array], batch: Batch, path: str) -> IntArray:
        """Tell the label of each row: 0 if a conclusion says so, else 1 if one says that."""
        labels = np.full(len(batch), _NO_LABEL)
        for name in self._where.label:
            said = by_text(cells[name], lambda text: self._words.get(text.lower(), _UNKNOWN))
            if len(unknown := np.flatnonzero(said == _UNKNOWN)):
                word = cells[name][int(unknown[0])].as_py()
                raise InputError(
                    path,
                    "column {column}: '{word}' is no conclusion that the profile {profile} knows.",
                    column=name,
                    word=word,
                    profile=self._profile.name,
                    line=int(batch.lines[unknown[0]]),
                    hint=tr("Say what it means: --label-value '{word}=0'", word=word),
                )
            labels = np.minimum(labels, said)
        return labels


def _worst(codes: IntArray, labels: IntArray, n_keys: int) -> IntArray:
    """Give the lowest label of each key; shape (n_keys,)."""
    worst = np.full(n_keys, _NO_LABEL)
    np.minimum.at(worst, codes, labels)
    return worst


def _key_of(columns: Sequence[pa.Array]) -> pa.Array:
    return joined(*map(trimmed, columns), separator=_SEPARATOR)
