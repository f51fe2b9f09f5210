"""What a user says of how files are to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Nondetect = Literal["half", "loq", "zero", "missing", "error"]
Meaning = Literal["nondetect", "above", "reject", "ignore"]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How to read files where that is not left to be found out.

    Attributes
    ----------
    renames : mapping of str to str
        Header names, as written, to the names that they stand for.
    encoding, sep, decimal, thousands : str, optional
        What a text file is written with.
    header_line : int, optional
        Physical line of the header.
    sheet : str, optional
        The sheet of a workbook.
    nondetect : str
        What a cell such as ``<0.5`` counts as: half of its bound, the bound, zero, a missing
        value or an error.
    loq : mapping of str to float
        By schema column, in its unit: the limit of quantification where cells name none (``<LQ``).
    units : mapping of str to str
        By schema column: the unit in which a file gives it.
    unit_aliases : mapping of str to str
        Other names of units, as a file writes them, and the units that they stand for.
    na : sequence of str
        More words, or numbers, that stand for a missing value where numbers are expected.
    flags : mapping of str to str
        Marks beside a measurement or in its place, and what they say of it.
    label_values : mapping of str to int
        Words of the label's column, and the class that each stands for: 0 or 1.
    summary_rows : str
        Whether rows with the label of a summary are found, or kept as samples.
    duplicates : str, optional
        In a table of results: which of several results of one parameter counts.
    profile : str, optional
        A bundled profile's name, or a file's.
    samplings : tuple of str
        Files that tell of the samples of a table of results when and where they were taken.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    header_line: int | None = None
    sheet: str | None = None
    nondetect: Nondetect = "half"
    loq: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    unit_aliases: Mapping[str, str] = field(default_factory=dict)
    na: Sequence[str] = ()
    flags: Mapping[str, Meaning] = field(default_factory=dict)
    label_values: Mapping[str, int] = field(default_factory=dict)
    summary_rows: Literal["find", "keep"] = "find"
    duplicates: str | None = None
    profile: str | None = None
    samplings: tuple[str, ...] = ()


AS_FOUND = ReadingOptions()
