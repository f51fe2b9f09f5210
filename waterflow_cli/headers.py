"""Match the column names of a file to those of a schema."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from waterflow_cli.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def fold_name(name: str) -> str:
    """Reduce a name to what counts: letters without case or accent, and digits.

    >>> fold_name("Organic carbon") == fold_name("organic_Carbon")
    True
    >>> fold_name("Turbidité")
    'turbidite'
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]+", "", "".join(c for c in plain if not unicodedata.combining(c)))


def check_header(columns: Sequence[str], path: str, line: int) -> None:
    """Refuse a header that names two columns alike, or that holds a NUL byte.

    Raises
    ------
    InputError
        Naming the first such column and its position.
    """
    first_at: dict[str, int] = {}
    for position, name in enumerate(columns, 1):
        if "\0" in name:
            raise InputError(
                path,
                f"column {position} of the header holds a NUL byte; this is no text table.",
                line=line,
            )
        if name in first_at:
            shown = f"'{name}'" if name.strip() else "with an empty name"
            raise InputError(
                path,
                f"two columns {shown}, at positions {first_at[name]} and {position}.",
                line=line,
                hint="Give each column of the header a name of its own.",
            )
        first_at[name] = position


def match_header(
    columns: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    *,
    renames: Mapping[str, str],
    path: str,
) -> dict[str, str]:
    """Find the schema's columns in a file's header.

    Parameters
    ----------
    columns : sequence of str
        The header as written.
    wanted : mapping of str to sequence of str
        Schema column to its aliases. Case, spaces, accents and punctuation do not count.
    renames : mapping of str to str
        The user's FROM=TO; FROM as written in the header.
    path : str
        The file, for messages.

    Returns
    -------
    dict of str to str
        Schema column to column of the file, for those that were found.

    Raises
    ------
    InputError
        If two columns of the file claim the same column of the schema.
    UsageError
        If a rename names a column that the file does not have.
    """
    for source in renames:
        if source not in columns:
            raise UsageError(
                f"--rename {source}={renames[source]}: {path} has no column '{source}'."
                + did_you_mean(source, columns),
            )
    by_fold = {
        fold_name(alias): name for name, aliases in wanted.items() for alias in (name, *aliases)
    }
    found: dict[str, str] = {}
    for column in columns:
        name = by_fold.get(fold_name(renames.get(column, column)))
        if name is None:
            continue
        if name in found:
            raise InputError(
                path,
                f"two columns, '{found[name]}' and '{column}', both stand for {name}.",
                hint=f"Say which one counts: --rename '{column}=other' keeps it out.",
            )
        found[name] = column
    return found
