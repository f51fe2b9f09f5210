"""Which column of a file says which sample a row is of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from waterflow_cli.tables.headers import fold_name

# As `fold_name` leaves names. A bare "id" or "no" is none of them: it mostly numbers the rows of
# one file, and starts anew in the next.
_KINDS = "id|identifier|identifiant|no|nr|number|num|numero|n|code|key|ref|reference"
_NAMES = re.compile(
    rf"(lab|laboratory|lims)?sample({_KINDS})|(lab|lims)(id|no|number|ref)"
    rf"|({_KINDS})(de)?(l)?(echantillon|prelevement)|(echantillon|prelevement)({_KINDS})"
    "|activityidentifier|barcode|codebarres|uuid"
)


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
