"""Match the column names of a file to those of a schema."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, islice
from typing import NamedTuple

from waterflow_cli.common.errors import InputError, UsageError, did_you_mean
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.units import is_unit_of_amount, parse_unit, taught

# "Sulfate (mg/L)", "Chloramines [mg(Cl2)/L]"
_IN_BRACKETS = re.compile(r"^([^(\[]*)[(\[](.*)[)\]]$", re.DOTALL)
_BRACKET = re.compile(r"[(\[]")
# What is in brackets and reads so is a unit, known or to be refused.
_AS_UNIT = re.compile(r"[/°º˚℃℉%‰]|(?i:\bdeg)")
# "Sulfate-S" and "Sulfate (S)" give sulfur, and are no plural.
_SPECIATED = re.compile(r"[-(\[ ]\s*[NSPC]\s*[)\]]?\s*$")
# Where a name may end and its unit begin: "Turbidity NTU", "THM_ug_L", "Sulfate, mg/L"; not in
# "Sulfate +- mg/L", which says how sure it is.
_GAP = re.compile(r"(?<![\s_,;:.+/±-])[\s_,;:.-]+")
# What stands beside a name where a column says more about that quantity, as `fold_name` leaves it:
# how far its values count, and how sure they are. Single letters only where a gap parts them.
_REMARK = (
    r"qualifiers?|qualificatifs?|qualif|quals?|qc|quality|qualite|status|statut|grade|flags?"
    r"|remarks?|remarques?|rmks?|comments?|commentaires?|notes?|codes?|cens(?:or(?:ed|ing)?|ure)?"
    r"|lq|ld|loq|lod|mdl|mrl|rl|pql|limite?s?|lt|gt|(?:is)?(?:lessthan|below)|nd|(?:non)?detect\w*+|bdl"
    r"|signs?|signes?|op|operator|symbole?s?|[<>≤≥~±]++|sd|std(?:dev)?|stdev|se|sem|rsd|cv|sigma|σ"
    r"|err|errors?|erreurs?|unc|uncert(?:ainty)?|incertitudes?|precision|ci95|ic95|95ci|95ic"
)
_IN_GAP = re.compile(rf"(?:{_REMARK}|unite?s?|[qu])+")
_LONGEST_ABBREVIATION = 2
# A remark has fewer words, at either end of a cell.
_MOST_WORDS = 12
_RUN_ON = re.compile(rf"(?:{_REMARK}|unite?s?)")
_IN_NAME = re.compile(_REMARK)
_WORD_ENDS = re.compile(r"[\s_,;:./()\[\]-]+|(?=[<>≤≥±])|(?<=[<>≤≥±])")
_PLUS_MINUS = re.compile(r"\+ ?/? ?[-−–]")
# A percentage is not the amount, nor is an uncertainty; a sign of its own makes it a bound.
_NO_MATTER = re.compile(r"[^\w%‰±<>≤≥]+|_")
# As many as a sheet of Excel has. Each costs memory in every batch.
MOST_COLUMNS = 1 << 14
# So much longer than the longest name that is sought, a cell is none: with a wrong separator the
# whole line is one cell.
_MOST_BEYOND_NAME = 200
# With so many known names a header is of the schema itself, and else with so many of a layout's.
_ENOUGH_KNOWN, ENOUGH_OF_LAYOUT = 2, 3


class HeaderMatch(NamedTuple):
    """Which column of a file is which of the schema.

    Attributes
    ----------
    columns : dict of str to str
        Schema column to column of the file, for those that were found.
    units : dict of str to str
        Schema column to the unit that its name in the file tells, where it does.
    """

    columns: dict[str, str]
    units: dict[str, str]


def fold_name(name: str) -> str:
    """Reduce a name to what counts: letters without case or accent, and digits.

    >>> fold_name("Organic carbon") == fold_name("organic_Carbon")
    True
    >>> fold_name("Turbidité")
    'turbidite'
    """
    plain = name.lower()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", name).casefold()
        plain = "".join(c for c in plain if not unicodedata.combining(c))
    return _NO_MATTER.sub("", _PLUS_MINUS.sub("±", plain))


def check_header(columns: Sequence[str], path: str, line: int) -> None:
    """Refuse a header that names two columns alike, holds a NUL byte, or is wider than a sheet.

    Raises
    ------
    InputError
        Naming the first such column and its position, or the number of columns.
    """
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            path,
            "columns in the header: {count}; at most {most} are read.",
            count=len(columns),
            most=MOST_COLUMNS,
            line=line,
            hint=tr("Keep the columns of the measurements and of what names a sample."),
        )
    first_at: dict[str, int] = {}
    for position, name in enumerate(columns, 1):
        if "\0" in name:
            raise InputError(
                path,
                "column {position} of the header holds a NUL byte; this is no text table.",
                position=position,
                line=line,
            )
        if name in first_at:
            shown = f"'{name}'" if name.strip() else tr("with an empty name")
            raise InputError(
                path,
                "two columns {shown}, at positions {first} and {second}.",
                shown=shown,
                first=first_at[name],
                second=position,
                line=line,
                hint=tr("Give each column of the header a name of its own."),
            )
        first_at[name] = position


class Header:
    """The names that a header may hold, and what they stand for.

    Parameters
    ----------
    wanted : mapping of str to sequence of str
        Schema column to its aliases. Case, spaces, accents and punctuation do not count.
    renames : mapping of str to str
        FROM=TO; FROM as written in the header.
    has_units : bool
        Whether a row of units may stand below the header.
    """

    def __init__(
        self,
        wanted: Mapping[str, Sequence[str]],
        renames: Mapping[str, str] | None = None,
        *,
        has_units: bool = True,
    ) -> None:
        self._renames: Mapping[str, str] = renames or {}
        self._unit_aliases: Mapping[str, str] = {}
        self._layouts: Callable[[], Sequence[Header]] = tuple
        self.has_units = has_units
        self._by_fold = {
            fold_name(alias): name for name, aliases in wanted.items() for alias in (name, *aliases)
        }
        told = chain(wanted, *wanted.values())
        self._own = set(map(fold_name, wanted))
        self._speciated = {fold_name(alias) for alias in told if _speciates(alias)}
        self._longest = _MOST_BEYOND_NAME + max(map(len, self._by_fold), default=0)

    def renamed(self, renames: Mapping[str, str]) -> Header:
        """Give the same names for a file some columns of which go by others."""
        header = copy(self)
        header._renames = renames
        return header

    def with_units(self, aliases: Mapping[str, str]) -> Header:
        """Give the same names for a file that writes some units in ways of its own."""
        header = copy(self)
        header._unit_aliases = aliases
        return header

    def with_layouts(self, layouts: Callable[[], Sequence[Header]]) -> Header:
        """Give the same names, and those of other layouts where a header is of none of them."""
        header = copy(self)
        header._layouts = layouts
        return header

    def candidates(self, n_known: int) -> Sequence[Header]:
        """Give the other layouts that a header may be of, so many of whose names are known here."""
        return self._layouts() if n_known < _ENOUGH_KNOWN else ()

    def laid_out(self, columns: Sequence[str]) -> Header:
        """Give the names of the layout that a header is of; these, where it is of no other."""
        others = self.candidates(self.count_known(columns))
        best = max(others, key=lambda each: each.count_known(columns), default=self)
        return best if best.count_known(columns) >= ENOUGH_OF_LAYOUT else self

    def unit(self, text: str) -> str:
        """Give the unit that a text stands for in this file."""
        return taught(text, self._unit_aliases)

    def column_of(self, cell: str) -> tuple[str, str] | None:
        """Tell which column of the schema a cell of a header names, and in which unit.

        The unit is as it is written, ``Sulfate [mg/L]`` or ``sulfate_mg_L``; empty where there is
        none. What stands in brackets is given whether or not it is a known unit.
        """
        if exact := self._named(cell):
            return exact, self._unit_of_renamed(cell)
        if cell in self._renames or len(cell) > self._longest:
            return None
        if _IN_BRACKETS.match(text := cell.rstrip()):
            return self._before_brackets(text)
        folded, start = "", 0
        for gap in _GAP.finditer(cell):
            folded += fold_name(cell[start : gap.start()])
            start = gap.end()
            if len(folded) > self._longest - _MOST_BEYOND_NAME:
                break
            before = cell[: gap.start()]
            if folded not in self._by_fold and before not in self._renames:
                continue
            if (name := self._named(before)) and parse_unit(self.unit(cell[start:])):
                return name, cell[start:]
        return None

    def _before_brackets(self, cell: str) -> tuple[str, str] | None:
        """Tell which column is named before a bracket, with what is in it to the cell's end.

        A name may have brackets of its own: "Benzo(a)pyrene (µg/L)".
        """
        for bracket in _BRACKET.finditer(cell):
            if name := self._named(cell[: bracket.start()].rstrip()):
                inside = cell[bracket.end() : -1]
                is_remark = _IN_NAME.fullmatch(fold_name(inside))
                return None if is_remark else (name, inside.strip())
        return None

    def count_known(self, cells: Iterable[str]) -> int:
        """Count the different columns of the schema that the first cells name, if not all."""
        found = map(self.column_of, islice(cells, MOST_COLUMNS))
        return len({column[0] for column in found if column})

    def in_unit(self, cell: str, unit: str) -> Iterator[str]:
        """Give ways to write the name of a column so that it tells a unit, its own one left out.

        >>> next(Header({"TOC": []}).in_unit("TOC_mg_L", "µg/L"))
        'TOC (µg/L)'
        """
        base = self.without_unit(cell)
        yield from (f"{base} ({unit})", f"{base} [{unit}]", f"{base}, {unit}")

    def without_unit(self, cell: str) -> str:
        """Give the name of a column without the unit that it may tell.

        >>> Header({"TOC": []}).without_unit("TOC [mg/L]")
        'TOC'
        """
        _, told = self.column_of(cell) or ("", "")
        if not told or cell in self._renames:
            return cell
        return cell[: cell.rindex(told)].rstrip(" _,;:.-([")

    def remark_on(self, cell: str) -> str | None:
        """Tell which column of the schema a cell of a header says more about, and does not name.

        >>> Header({"ph": []}).remark_on("pH ±"), Header({"ph": []}).remark_on("u_ph")
        ('ph', 'ph')
        """
        if len(cell) > self._longest:
            return None
        for _, name, rest in self._named_at_ends(cell):
            if _IN_GAP.fullmatch(fold_name(rest)):
                return name
        folded = fold_name(cell)
        for alias, column in self._by_fold.items():
            for rest in (folded.removeprefix(alias), folded.removesuffix(alias)):
                if alias and rest != folded and _RUN_ON.fullmatch(rest):
                    return column
        return None

    def mentioned_in(self, cell: str) -> str | None:
        """Tell which column of the schema stands at an end of a cell that says something else too.

        Short aliases do not tell, but the schema's own names do: "as" and "no" are words.

        >>> Header({"Sulfate": []}).mentioned_in("Sulfate (mmol/L) max")
        'Sulfate'
        """
        if len(cell) > self._longest:
            return None
        found = ((part, name) for part, name, _ in self._named_at_ends(cell))
        return next(
            (
                name
                for part, name in found
                if len(part) > _LONGEST_ABBREVIATION or part in self._own
            ),
            None,
        )

    def _named_at_ends(self, cell: str) -> Iterator[tuple[str, str, str]]:
        """Give the ends of a cell that name columns of the schema, folded, and the rests of it."""
        ends = [0, *(gap.end() for gap in _WORD_ENDS.finditer(cell)), len(cell)]
        beside = [(cell[:end], cell[end:]) for end in ends[-_MOST_WORDS:]]
        beside += [(cell[end:], cell[:end]) for end in ends[:_MOST_WORDS]]
        for part, rest in beside:
            name = part.strip(" _,;:./-").lstrip(")] ").rstrip("([ ")
            if found := self.column_of(name):
                yield fold_name(name), found[0], rest

    def match(self, columns: Sequence[str], path: str) -> HeaderMatch:
        """Match a file's header.

        Raises
        ------
        InputError
            If two columns of the file claim the same column of the schema.
        UsageError
            If a rename names a column that the file does not have.
        """
        told = {found[1] for found in map(self.column_of, columns) if found}
        for source, target in self._renames.items():
            # An output has its unit in the name of the column, and is read by the same command.
            ways = {source, *chain.from_iterable(self.in_unit(source, unit) for unit in told)}
            if ways.isdisjoint(columns):
                missing = tr(
                    "--rename {source}={target}: {path} has no column '{source}'.",
                    source=source,
                    target=target,
                    path=path,
                )
                raise UsageError(missing + did_you_mean(source, columns))
        found: dict[str, str] = {}
        units: dict[str, str] = {}
        for column in columns:
            if name := self._named(column):
                _claim(found, name, column, path)
                if unit := self._unit_of_renamed(column):
                    units[name] = unit
        plain = set(found)
        for column in columns:
            # A plain name goes before one with something in brackets: 'Sulfate', 'Sulfate (flag)'.
            name, unit = self.column_of(column) or ("", "")
            if unit and name not in plain:
                _claim(found, name, column, path)
                units[name] = unit
        order = sorted(found, key=lambda name: columns.index(found[name]))
        return HeaderMatch({name: found[name] for name in order}, units)

    def _named(self, cell: str) -> str | None:
        name = self._renames.get(cell, cell)
        if len(name) > self._longest:
            return None
        folded = fold_name(name)
        if _speciates(name) and folded not in self._speciated:
            return None
        return self._by_fold.get(folded)

    def _unit_of_renamed(self, cell: str) -> str:
        """Give the unit that a name tells which the user put another one in place of."""
        if cell not in self._renames:
            return ""
        match = _IN_BRACKETS.match(cell)
        if match and _AS_UNIT.search(match[2]):
            return match[2].strip()
        endings = (cell[gap.end() :] for gap in _GAP.finditer(cell))
        words = re.split(r"[\s,;()\[\]]+", cell)
        found = [text for text in (*endings, *words) if is_unit_of_amount(self.unit(text))]
        return found[0] if found else ""


def _speciates(name: str) -> bool:
    """Say whether a name ends in the element that its values are given as."""
    return _SPECIATED.search(name) is not None


def _claim(found: dict[str, str], name: str, column: str, path: str) -> None:
    if name in found:
        raise InputError(
            path,
            "two columns, '{first}' and '{second}', both stand for {name}.",
            first=found[name],
            second=column,
            name=name,
            hint=tr("Say which one counts: --rename '{column}=other' keeps it out.", column=column),
        )
    found[name] = column
