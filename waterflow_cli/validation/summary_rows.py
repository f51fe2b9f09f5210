"""Rows that sum up samples, or say what these are held against: found by their label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import IntArray, arrow_numbers, as_bools
from waterflow_cli.tables.numbers import is_missing_text, missing_text

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.tables.table import Batch, Table

_E = "(?:[eé]|e\u0301)"  # an accent may be left out, or be a character of its own
# English and French, and what neighbours write. "Moyenne 2023" is a summary, "Mean Creek" a name.
_WORDS = (
    r"(?:grand |sous-|sub)?tota(?:l|ls|ux)\b.*|sum|somme|summe|count|effectif|anzahl|n\s*=.*"
    r"|nombre\b.*|nb\b[^0-9]*|(?:number|no\.?) of .*|# ?(?:of )?(?:samples|values|results)"
    r"|(?:[a-z]+ )?(?:mean|average|avg|median)\b(?:\s*[±+(=:/0-9].*| (?:value|of|and|std|sd)\b.*)?"
    rf"|moy(?:enne)?s?\b.*|m{_E}dianes?\b.*|range|(?:valeurs? )?(?:min|max)(?:imum|imale?s?)?"
    r"(?:\.?(?: values?)?)|p(?:5|10|15|20|25|50|75|80|85|9[0-9])|q[13]|iqr|quartiles?\b.*"
    rf"|(?:[0-9]{{1,2}} ?(?:st|nd|rd|th|e|{_E}me)? ?)?(?:per)?centiles?\b.*"
    r"|%?(?:r\.?)?s\.?d\.?(?: ?\(?%\)?)?|(?:relative )?(?:std|standard)\.?(?: ?(?:dev|err)\w*)?"
    rf"|st\.? ?dev|c\.?v\.?(?: ?\(?%\)?)?|s\.?e\.?m?|variance|{_E}c(?:art)?s?\.?[ -]?types?\b.*"
    r"|mittelwert|durchschnitt|standardabweichung|media|mediana|promedio|gemiddelde|minim[oa]|m[ií]nimo"
    r"|m[aá]ximo|massimo|desviaci[oó]n\b.*"
    r"|coefficient (?:of|de) variation|skewness|kurtosis|95 ?% ?[ci]{2}|[ci]{2} ?95 ?%?"
    r"|incertitudes?|uncertainty|lq|ld|loq|lod|rl|mdl|mrl|mcl|mac|cma|vma|seuils?\b.*|normes?\b.*"
    r"|(?:[a-z]+ )?(?:guidelines?|guide|standards?)(?: values?)?|valeurs? guides?\b.*|grenzwerte?"
    r"|(?:who|oms|us ?epa|epa|eu|ue|bis)(?: .*)?|max(?:imum|imale?)? (?:admi|allow|permi|accept).*"
    rf"|detection limit|(?:valeurs? |quality )?limite?s?\b.*|r{_E}f{_E}rences? .*"
    rf"|unit{_E}?s?|m{_E}thodes?|methods?"
)
_SUMMARY = rf"(?i)^\s*(?:{_WORDS})\s*[.:]*\s*$"
# P10 and SD may also be what somebody calls a sample.
_SHORT = re.compile(r"\s*([a-z]{1,3})[\s._-]*([0-9]*)\s*", re.IGNORECASE)
_NUMBERED = r"[\s._-]*[0-9]+"


class SummaryFinder:
    """Finds the summary rows of one table.

    A summary stands alone among other names: where most of the first rows have such a short one
    (P1 to P12), it is what samples are called. Where no first rows are known, one with a number is.
    """

    def __init__(self, table: Table, schema: TableSchema, reading: ReadingOptions) -> None:
        found = table.match.columns.items()
        numeric = {shown for name, shown in found if schema.kinds[name].is_numeric}
        self._leading = list(takewhile(lambda column: column not in numeric, table.columns))
        if reading.summary_rows == "keep":
            self._leading = []
        self._names = rf"(?i)^\s*[a-z]{{1,3}}{_NUMBERED}\s*$"
        if self._leading and (first := table.first_rows) is not None:
            labels = first.columns[self._leading[0]].to_pylist()
            self._names = _common_name([each for each in labels if not is_missing_text(each)])

    def find(self, batch: Batch) -> tuple[str, IntArray] | None:
        """Find them by the first column, where no other one before the numbers says more.

        Returns
        -------
        tuple of str and ndarray of int64, or None
            The column, and the rows of the batch.
        """
        if not self._leading:
            return None
        first, *others = (batch.columns[name] for name in self._leading)
        if not pa.types.is_string(first.type):
            return None
        labelled = pc.match_substring_regex(first, _SUMMARY)
        if not labelled.true_count:
            return None
        is_summary = as_bools(labelled)
        if self._names:
            is_summary &= ~as_bools(pc.match_substring_regex(first, self._names))
        rows = np.flatnonzero(is_summary)
        for other in others:
            told = other.take(arrow_numbers(rows))
            is_text = pa.types.is_string(other.type)
            rows = rows[missing_text(told) if is_text else as_bools(told.is_null())]
        return self._leading[0], rows


def _common_name(labels: Sequence[str]) -> str:
    """Give a pattern of the short name that most labels have, with numbers or as it is."""
    told = filter(None, map(_SHORT.fullmatch, labels))
    for (letters, has_number), n in Counter(
        (match[1].lower(), match[2] != "") for match in told
    ).most_common(1):
        if 2 * n > len(labels) and (has_number or n > 1):
            return rf"(?i)^\s*{letters}{_NUMBERED if has_number else ''}\s*$"
    return ""
