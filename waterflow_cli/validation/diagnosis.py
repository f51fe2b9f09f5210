"""Find out what is wrong with a batch that is not clean, with pandas and pandera.

Clean batches are passed without either, so this module is imported only where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.samples.dates import parse_iso
from waterflow_cli.samples.table_schema import Kind
from waterflow_cli.tables.numbers import missing_text
from waterflow_cli.tables.table import Rule
from waterflow_cli.validation.rules import RULES, Broken, break_column_check

if TYPE_CHECKING:
    from pandera.api.checks import Check

    from waterflow_cli.common.arrays import BoolArray


def check_column(check: Check, name: str, values: Any, rows: BoolArray) -> Iterator[Broken]:
    """Run a pandera check of a column on the cells of some rows.

    Raises
    ------
    UsageError
        If the check judges a column as a whole, or does not fit the column's kind.
    """
    column = pd.Series(values, name=name)
    failed = _run_check(check, column[rows], len(column))
    yield from break_column_check(
        str(check.name), dict(check.statistics or {}), column, failed, check.error
    )


def check_rows(
    checks: Sequence[Check], cells: Mapping[str, tuple[Any, BoolArray]]
) -> Iterator[Broken]:
    """Run pandera's checks of whole rows; see `check_column`."""
    frame = pd.DataFrame(
        {name: pd.Series(values).where(good) for name, (values, good) in cells.items()}
    )
    for check in checks:
        name, failed = str(check.name), _run_check(check, frame, len(frame))
        values = {"check": check.error or name}
        yield Rule(name, marked("the row fails {check}.")), failed, values


def parse_text_cells(column: pa.Array, kind: Kind) -> tuple[pd.Series, BoolArray, BoolArray, Rule]:
    """Read cells as text or dates: values, missing, bad, and the rule that bad ones break."""
    rule = RULES["not_text" if kind is Kind.TEXT else "not_a_date"]
    try:
        text = column.cast("string")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes; lists and structs
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return pd.Series(index=range(len(column)), dtype=object), missing, ~missing, rule
    missing = missing_text(text)
    values = text.to_pandas()
    if kind is Kind.TEXT:
        return values, missing, np.zeros(len(values), dtype=bool), rule
    dates = parse_iso(values.where(~missing, ""))
    return dates, missing, dates.isna().to_numpy() & ~missing, rule


def _run_check(check: Check, values: pd.Series | pd.DataFrame, n_rows: int) -> BoolArray:
    """Run a pandera check, and say which rows fail it."""
    failed = np.zeros(n_rows, dtype=bool)
    if values.empty:
        return failed
    try:
        output = check(values).check_output
    except (AttributeError, TypeError, ValueError) as exc:
        is_frame = isinstance(values, pd.DataFrame)
        judged = tr("a row") if is_frame else tr("column {column}", column=values.name)
        raise UsageError(
            "The schema's check {check} cannot judge {judged} ({cause}).",
            tr("Choose a check that fits the column's dtype."),
            check=check.name,
            judged=judged,
            cause=exc,
        ) from exc
    if isinstance(output, pd.DataFrame):
        output = output.all(axis=1)
    if not isinstance(output, pd.Series) or not output.index.isin(values.index).all():
        raise UsageError(
            "The schema's check {check} judges a column as a whole, and not row by row.",
            tr("Use checks that say of each value whether it is right."),
            check=check.name,
        )
    failed[output.index[~output.to_numpy(dtype=bool)]] = True
    return failed
