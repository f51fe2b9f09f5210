"""Which columns of a file say which sample a row is of, where it was taken, and when."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import as_bools
from waterflow_cli.common.errors import UsageError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.tables.headers import Header, fold_name
from waterflow_cli.tables.units import is_unit_of_amount

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Table

# As `fold_name` leaves names. A bare "id" or "no" is none of them: it mostly numbers the rows of
# one file, and starts anew in the next.
_KINDS = "id|identifier|identifiant|no|nr|number|num|numero|n|code|key|ref|reference"
_NAMES = re.compile(
    rf"(lab|laboratory|lims)?sample({_KINDS})|(lab|lims)(id|no|number|ref)"
    rf"|({_KINDS})(de)?(l)?(echantillon|prelevement)|(echantillon|prelevement)({_KINDS})"
    "|activityidentifier|barcode|codebarres|uuid"
)

# As `fold_name` leaves them, the likelier first.
SITE_NAMES = (
    *("site", "siteid", "sitename", "station", "stationid", "stationname", "codestation"),
    *("samplingsite", "samplingpoint", "samplingstation", "monitoringlocationidentifier"),
    *("monitoringlocationname", "pointdeprelevement", "codepointdeprelevement"),
    *("location", "locationname", "commune", "nomcommune", "codecommune", "reseau", "nomreseau"),
    *("monitoringsiteidentifier", "samplesamplingpointnotation", "locationidentifier"),
    *("monitoringlocationid", "cdreseau", "codereseau", "inseecommuneprinc"),
)
DATE_NAMES = (
    *("date", "sampledate", "datesampled", "sampled", "sampledon", "sampledat", "samplingdate"),
    *("collectiondate", "collected", "activitystartdate", "dateprelevement", "datedeprelevement"),
    *("datetime", "timestamp", "dateprel", "samplesampledatetime", "phenomenontimesamplingdate"),
)
# Names of columns that say of any value whether it counts, or lies beyond a limit.
_FLAG = re.compile(
    r"qualif|detectioncondition|belowlo[qd]|(?:result|measure|observation)status"
    r"|flag(?!staff)|censor|censur|nondet|lessthan|detect(?:ed|s)?$|[<>≤≥±]"
)
# Such a column by what it holds: nothing but these, where it holds anything.
_SIGN = r"(?i)^(?:[<>≤≥]=?|n\.?d\.?|[bl][ld]|bdl|<\s*l[qd]|u|uj|j)?$"
# So many different texts of a column tell that it holds units.
_FEW_TEXTS = 20


@dataclass(frozen=True)
class IdColumn:
    """The column of sample ids, as far as the user says it.

    Attributes
    ----------
    name : str, optional
        As the user calls it; without it a column is looked for by its name.
    is_needed : bool
        Whether a file without the named column is refused.
    """

    name: str | None = None
    is_needed: bool = False

    def find(self, columns: Sequence[str]) -> str | None:
        """Find it among the columns of a file; None where there is none.

        >>> IdColumn().find(["ph", "N° échantillon"])
        'N° échantillon'
        """
        if self.name is not None:
            wanted = fold_name(self.name)
            return next((column for column in columns if fold_name(column) == wanted), None)
        return next((column for column in columns if _NAMES.fullmatch(fold_name(column))), None)


def find_unread_remarks(table: Table, names: Header, read: Collection[str]) -> list[str]:
    """Name the columns of a file that seem to say more of its measurements, and that nobody reads.

    Parameters
    ----------
    read : collection of str
        The columns that are read.
    """
    others = [column for column in table.columns if column not in read]
    found = {
        name
        for name in others
        if _FLAG.search(fold_name(name)) or names.remark_on(name) or names.mentioned_in(name)
    }
    first = table.first_rows if len(found) < len(others) else None
    for name in () if first is None else set(others) - found:
        assert first is not None
        if not pa.types.is_string(first.columns[name].type):
            continue
        texts = pc.unique(pc.utf8_trim_whitespace(first.columns[name].drop_null()))
        signs = as_bools(pc.match_substring_regex(texts, _SIGN))
        told = list(filter(None, texts.to_pylist())) if len(texts) <= _FEW_TEXTS else []
        if told and (signs.all() or all(is_unit_of_amount(names.unit(text)) for text in told)):
            found.add(name)
    return [f"'{name}'" for name in others if name in found]


def not_read(columns: Sequence[str]) -> Message:
    """Say of columns that seem to be about measurements that they are not read."""
    return Message("NOT READ, though about a measurement: {names}", names=shorten(columns))


def choose_column(
    option: str, named: str | None, names: Sequence[str], table: Table, taken: Mapping[str, str]
) -> str | None:
    """Find a column by what the user said, else by its name."""
    by_fold = {fold_name(column): column for column in table.columns}
    if named is not None:
        if fold_name(named) not in by_fold:
            problem = tr(
                "{option} {named}: {path} has no such column.",
                option=option,
                named=named,
                path=table.path,
            )
            raise UsageError(problem + did_you_mean(named, table.columns))
        return by_fold[fold_name(named)]
    free = (by_fold[name] for name in names if name in by_fold)
    return next((column for column in free if column not in taken.values()), None)
