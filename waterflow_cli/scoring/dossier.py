"""A page for each sample: what was measured, the limits, what the model says, what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.charts import draw_level
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.common.number_formats import write_number
from waterflow_cli.common.pages import page_environment
from waterflow_cli.scoring.scorer import ScoredBatch, Scorer, pass_options
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.validation.limit_checks import (
    LimitFlags,
    LimitStatus,
    Results,
    best_range,
    results_of,
)
from waterflow_cli.validation.limits import Limit
from waterflow_cli.validation.pass_over import PassOptions, pass_over

if TYPE_CHECKING:
    from waterflow_cli.models.files import StoredModel
    from waterflow_cli.tables.outputs import OutputGroup

# A page is made to be read; a file of more samples is no matter for pages.
MOST_PAGES = 1000
_VERDICTS = {
    "likely_potable": marked("likely potable"),
    "likely_not_potable": marked("likely not potable"),
    "send_to_lab": marked("not decided: a laboratory must tell"),
}
_INVALID = marked("not judged: the sample breaks a rule")
# From here on a result is told as so many times its limit.
_MANY = 2
_SHOWN = (LimitStatus.ABOVE, LimitStatus.BELOW, LimitStatus.INDETERMINATE, LimitStatus.WITHIN)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A quantity of a sample and one limit.

    Attributes
    ----------
    low, high : float
        Between which values it lies, in the limit's unit.
    written : str
        As the file gives it; empty where it follows from other columns.
    """

    limit: Limit
    status: LimitStatus
    low: float
    high: float
    written: str

    @property
    def result(self) -> str:
        """The quantity with its unit."""
        return _range_text(self.low, self.high) + self.limit.unit_after

    @property
    def words(self) -> str:
        """How it stands to the limit."""
        return tr(self.status.words)

    @property
    def share(self) -> float:
        """The result in parts of an upper limit; NaN where that says nothing."""
        known = self.high if np.isfinite(self.high) else self.low
        is_range = self.limit.minimum is not None or not self.limit.maximum
        return np.nan if is_range else known / (self.limit.maximum or np.nan)

    @property
    def distance(self) -> str:
        """How far the result is from the limit, in words."""
        if self.share > _MANY:
            return tr("{times} times the limit", times=write_number(self.share))
        if self.share == self.share:
            return tr("{share:.0%} of the limit", share=self.share)
        ends = [each for each in (self.limit.minimum, self.limit.maximum) if each is not None]
        if self.low != self.high or len(ends) == 1:
            return ""
        gap = min(abs(self.low - end) for end in ends)
        return tr("{gap} from the limit", gap=write_number(round(gap, 9)))


def write_dossiers(
    model: StoredModel,
    inputs: Sequence[str],
    folder: str,
    options: PassOptions,
    outputs: OutputGroup,
) -> list[str]:
    """Write a page of HTML for each row of some files into a folder; name the pages.

    Raises
    ------
    UsageError
        If there are more than `MOST_PAGES` rows.
    """
    template = page_environment().get_template("dossier.html")
    written: list[str] = []
    for path in inputs:
        with pass_over(path, model.schema, pass_options(model, options)) as file:
            scorer = Scorer(model, file)
            for checked in file.batches():
                scored, beside = scorer.judge(checked), file.beside.results(checked)
                results = {**results_of(checked), **beside}
                for row in range(len(checked.batch)):
                    if len(written) == MOST_PAGES:
                        raise UsageError(
                            "--dossier writes a page for each sample, {most} at most.",
                            tr("Score the samples that are to be read in a file of their own."),
                            most=MOST_PAGES,
                        )
                    content = _describe(model, scorer, scored, results, row)
                    name = _page_name(content["names"], content["line"], len(inputs) > 1, path)
                    written.append(str(Path(folder) / name))
                    with outputs.open(written[-1]) as sink:
                        sink.write(template.render(content).encode("utf-8", "backslashreplace"))
    return written


def _describe(
    model: StoredModel,
    scorer: Scorer,
    scored: ScoredBatch,
    results: Mapping[str, Results],
    row: int,
) -> dict[str, Any]:
    """Put together what the page of one row shows."""
    checked, flags = scored.checked, scored.checked.flags
    cells = {name: column[row].as_py() for name, column in checked.batch.columns.items()}
    columns = {**scorer.file.columns, **scorer.file.beside.columns}
    shown = {
        name: f"{cells[column]} · {column}"
        for name, column in columns.items()
        if cells[column] not in (None, "")
    }
    values = {name: each[row].as_py() for name, each in scored.results.items()}
    compared = list(_compare(flags, results, shown, row)) if flags else []
    decision = model.decision
    lacking = [name for name in decision.measurements if checked.missing[name][row]]
    taken = set(columns.values())
    own = {
        name: cells[name] for name in cells if name not in taken and cells[name] not in (None, "")
    }
    verdict = _INVALID if values["probability"] is None else _VERDICTS[values["verdict"]]
    probability, held = values["probability"], {each.limit.column for each in compared}
    return {
        "names": list(own.items())[:8],
        "path": path_text(checked.file),
        "line": int(checked.batch.lines[row]),
        "values": values,
        "verdict": tr(verdict),
        "policy": decision.policy,
        "model_chart": None if probability is None else _draw_probability(decision, probability),
        "compared": compared,
        "beyond": [each for each in compared if each.status is not LimitStatus.WITHIN],
        "within": [each for each in compared if each.status is LimitStatus.WITHIN],
        "counts": _count(compared) if flags else None,
        "measured": [text for name, text in shown.items() if name not in held],
        "lacking": lacking,
        "share": decision.share_without(lacking),
        "unmeasured": _not_measured(flags, row) if flags else {},
        "unread": dict(scorer.file.beside.unread),
        "draw": lambda each: draw_level(each.share, is_beyond=each.status is LimitStatus.ABOVE),
    }


def _compare(
    flags: LimitFlags, results: Mapping[str, Results], shown: Mapping[str, str], row: int
) -> Iterator[Comparison]:
    """Give the limits that a row has a result for, what lies beyond first, then by how near."""
    found = []
    for limit, codes in zip(flags.limits, flags.codes, strict=True):
        status = LimitStatus(int(codes[row]))
        if status is LimitStatus.NOT_MEASURED:
            continue
        low, high = best_range(limit, results, row)
        found.append(
            Comparison(
                limit=limit,
                status=status,
                low=low,
                high=high,
                written=shown.get(limit.column, ""),
            )
        )
    order = {status: place for place, status in enumerate(_SHOWN)}
    yield from sorted(
        found,
        key=lambda each: (order[each.status], -(each.share if each.share == each.share else 0)),
    )


def _not_measured(flags: LimitFlags, row: int) -> dict[str, list[str]]:
    """Name for each profile the parameters of which a row has no result."""
    found: dict[str, dict[str, None]] = {}
    for limit, codes in zip(flags.limits, flags.codes, strict=True):
        names = found.setdefault(limit.profile, {})
        if codes[row] == LimitStatus.NOT_MEASURED:
            names[limit.column] = None
    return {profile: list(names) for profile, names in found.items()}


def _count(compared: Sequence[Comparison]) -> dict[str, int]:
    """Count the comparisons by status."""
    return {each.name.lower(): sum(one.status is each for one in compared) for each in _SHOWN}


def _range_text(low: float, high: float) -> str:
    if low == 0 and not np.isfinite(high):
        return "?"
    if low == high:
        return write_number(low)
    if not np.isfinite(high):
        return f"> {write_number(low)}"
    return f"< {write_number(high)}" if low == 0 else f"{write_number(low)} … {write_number(high)}"


def _draw_probability(decision: Any, probability: float) -> Any:
    from waterflow_cli.common.charts import draw_probability

    policy = decision.policy
    return draw_probability(probability, policy.not_potable_to, policy.potable_from)


def _page_name(names: Sequence[tuple[str, Any]], line: int, is_several: bool, path: str) -> str:
    first = next((str(value) for _, value in names), "")
    parts = [
        Path(path).name.split(".")[0] if is_several else "",
        f"{line:04d}",
        fold_name(first)[:40],
    ]
    plain = (re.sub(r"[^\w-]+", "", part) for part in parts)
    return "-".join(filter(None, plain)) + ".html"
