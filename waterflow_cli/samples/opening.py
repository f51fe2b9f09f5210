"""Open a file as a table with one row for each sample, however its source laid it out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.profiles import (
    SUFFIX,
    Profile,
    check_names,
    fitting_profiles,
    is_of_results,
    load_profile,
    result_profiles,
)
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.tables.headers import Header, fold_name
from waterflow_cli.tables.reading import Opener
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.sheets.opening import open_file
from waterflow_cli.tables.sources import is_uri, open_source
from waterflow_cli.tables.table import Table

_OF_SAMPLES = re.compile("sampl|echantillon|prelev|station|site|location|point|activity")


@contextmanager
def open_samples(
    path: str,
    schema: TableSchema,
    reading: ReadingOptions = AS_FOUND,
    *,
    batch_rows: int | None = None,
    opener: Opener = open_source,
) -> Iterator[Table]:
    """Open an input; see `open_table` for the size of a batch and the opener.

    Parameters
    ----------
    schema : TableSchema
        Its names and aliases tell which line is the header.
    reading : ReadingOptions
        Its profile tells whether the file has one row for each result.

    Raises
    ------
    InputError
        If the file cannot be read, or is not what the profile describes.
    UsageError
        If there is no such profile, or an option does not go with it.
    """
    opened = partial(open_file, path, options=reading, batch_rows=batch_rows, opener=opener)
    if reading.profile is None:
        header = header_names(schema, reading)
        with opened(header) as table:
            if profile := recognised(table, schema):
                yield _of_results(table, profile, schema, reading, is_recognised=True)
                return
            _refuse_options_of_results(table, reading)
            yield _upright(table)
        return
    profile = load_profile(reading.profile)
    if reading.profile.endswith(SUFFIX):
        check_names(profile, schema, reading.profile)
    if profile.results is not None:
        with opened(profile.header) as table:
            yield _of_results(table, profile, schema, reading)
        return
    own = {name: list(aliases) for name, aliases in schema.wanted().items()}
    for alias, name in profile.columns.items():
        own.setdefault(name, []).append(alias)
    taught = {**schema.unit_aliases, **profile.unit_aliases, **reading.unit_aliases}
    names = Header(own).with_units(taught)
    with opened(names.renamed(reading.renames)) as table:
        _refuse_options_of_results(table, reading)
        yield _with_profile(_upright(table), profile, names, reading)


def _refuse_options_of_results(table: Table, reading: ReadingOptions) -> None:
    if reading.duplicates is not None:
        raise UsageError("--duplicates: {path} has one row for each sample.", path=table.path)
    if reading.samplings:
        raise UsageError("--samplings: {path} has one row for each sample.", path=table.path)


def is_table_of_results(
    path: str, schema: TableSchema, reading: ReadingOptions, opener: Opener
) -> bool:
    """Say by its header, or the user's profile, whether a file has one row for each result."""
    if reading.profile is not None:
        return load_profile(reading.profile).results is not None
    header = header_names(schema, reading)
    with open_file(path, header, reading, opener=opener) as table:
        return recognised(table, schema) is not None


def open_as_written(
    path: str, names: Header, reading: ReadingOptions
) -> AbstractContextManager[Table]:
    """Open an input row by row as it stands, whatever its layout."""
    return open_file(path, names, reading)


def header_names(schema: TableSchema, reading: ReadingOptions) -> Header:
    """Give the names by which a header is found: the schema's, and those of bundled layouts."""
    names = schema.header.renamed(reading.renames)
    names = names.with_units({**schema.unit_aliases, **reading.unit_aliases})
    return names.with_layouts(_result_headers)


def _result_headers() -> list[Header]:
    return [profile.header for profile in result_profiles()]


def recognised(table: Table, schema: TableSchema) -> Profile | None:
    """Find the bundled profile of results that a header is of, unless it names measurements."""
    if schema.header.count_known(table.columns) > 1:
        return None
    found = fitting_profiles(table.columns)
    if len(found) > 1:
        raise InputError(
            table.path,
            "two profiles of results fit the header: {first} and {second}.",
            first=found[0].name,
            second=found[1].name,
            line=table.dialect.header_line,
            hint=tr("Say which one it is: --profile"),
        )
    return found[0] if found else None


def _of_results(
    table: Table,
    profile: Profile,
    schema: TableSchema,
    reading: ReadingOptions,
    *,
    is_recognised: bool = False,
) -> Table:
    """Turn an open table of results into one of samples."""
    from waterflow_cli.samples.results.tables import ResultTable

    hint = tr("Copy it and change the copy: waterflow profiles show {name}", name=profile.name)
    if reading.renames:
        raise UsageError(
            "--rename: in a table of results the profile says which column is which.", hint
        )
    if reading.flags:
        raise UsageError("--flag: in a table of results the profile says what words mean.", hint)
    results = ResultTable(table, profile, schema, reading, is_recognised=is_recognised)
    if not reading.samplings:
        return results.read()
    if profile.samplings is None:
        raise UsageError(
            "--samplings {path}: the profile {name} knows of no such files.",
            path=reading.samplings[0],
            name=profile.name,
        )
    from waterflow_cli.samples.results.samplings import read_samplings

    return results.read(read_samplings(reading.samplings, profile, schema.label, reading))


def _upright(table: Table) -> Table:
    """Give a table a row for each sample, where it has one for each measurement.

    A column of samples beside those of parameters and values makes it a table of results.
    """
    has_samples = any(_OF_SAMPLES.search(fold_name(column)) for column in table.columns)
    if table.names.count_known(table.columns) > 1 or (has_samples and is_of_results(table.columns)):
        return table
    return table.turned() or table


def _with_profile(table: Table, profile: Profile, own: Header, reading: ReadingOptions) -> Table:
    """Give a table the profile's names, and its units for the columns of which it tells none."""
    by_fold = {fold_name(alias): name for alias, name in profile.columns.items()}
    folded = {column: fold_name(column) for column in table.columns}
    renames = {column: by_fold[name] for column, name in folded.items() if name in by_fold}
    names = own.renamed({**renames, **reading.renames})
    units = {}
    for column in table.columns:
        name, unit = names.column_of(column) or ("", "")
        if name in profile.units and not unit:
            units[column] = profile.units[name]
    return replace(table, units={**units, **table.units}, names=names)


def find_inputs(
    paths: tuple[str, ...], reading: ReadingOptions
) -> tuple[list[str], ReadingOptions]:
    """Expand globs, and tell files of samplings from the files that they belong to."""
    from waterflow_cli.samples.results.samplings import set_apart

    return set_apart(expand_inputs(paths), reading)


def expand_inputs(paths: tuple[str, ...]) -> list[str]:
    """Expand globs that the shell left alone; a name that exists is never a pattern.

    Raises
    ------
    UsageError
        If a pattern matches nothing.
    """
    return list(chain.from_iterable(map(_expand, paths)))


def _expand(path: str) -> list[str]:
    if is_database(path) or is_uri(path) or not any(mark in path for mark in "*?["):
        return [path]  # of a URI Spark knows what it matches
    pattern = Path(path)
    try:
        if pattern.exists():
            return [path]
        relative = pattern.relative_to(pattern.anchor) if pattern.anchor else pattern
        found = sorted(map(str, Path(pattern.anchor or ".").glob(str(relative))))
    except (OSError, ValueError) as exc:  # a closed folder, or '**' within a name
        reason = getattr(exc, "strerror", exc)
        raise UsageError(
            "The pattern '{path}' cannot be followed ({reason}).", path=path, reason=reason
        ) from exc
    if not found:
        raise UsageError(
            "No file matches '{path}'.", tr("Check the pattern and the folder."), path=path
        )
    return found
