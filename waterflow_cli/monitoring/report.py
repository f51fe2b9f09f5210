"""What a check of a file says: in sentences, in rows of a table, in JSON and to Prometheus."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from waterflow_cli.common.messages import marked, tr, trn
from waterflow_cli.common.number_formats import (
    format_estimate,
    format_share,
    write_number,
    write_p_value,
    write_share,
)
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.monitoring.checks import KINDS, LEAST_ROWS, Check, Unchecked
from waterflow_cli.monitoring.monitor import Monitoring, Part

_PREFIX = "waterflow_monitor"
_OF_CHECK = ("model", "check", "measurement", "group")
_WINDOW = re.compile(r"(\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)")
# What the figures of a kind of check are.
_SHARES = (
    *("invalid", "repeated", "stuck", "missing", "censored", "verdicts", "labels"),
    *("precision", "recall", "false_potable"),
)
# Of the checks that do not alarm, so many are shown whose adjusted p is smaller than this.
_NEAR, _MOST_NEAR = 0.5, 8
# What is no news where another kind of check says it too.
_IMPLIED_BY = {"shape": ("level", "spread", "unit"), "level": ("unit",), "spread": ("unit",)}
_SENTENCES: Mapping[str, str] = {
    "invalid": marked("{new} of the rows break the schema; in training it was {old}."),
    "repeated": marked(
        "{new} of the rows repeat the measurements of another; in training {old} did, and rows "
        "drawn again by chance would in {usual}."
    ),
    "stuck": marked(
        "{new} of the rows hold the very same measurements; {usual} is usual. Is a sensor stuck?"
    ),
    "missing": marked("{name} is missing in {new} of the rows; in training it was {old}."),
    "censored": marked("{new} of the rows hold a non-detect of {name}; in training it was {old}."),
    "unit": marked(
        "{name} looks {factor:g} times what it was in training: median {new} against {old}. Is it "
        "in another unit?"
    ),
    "level": marked(
        "{name} is {direction} than in training: median {new} against {old}; of a new and an old "
        "value, the new one is larger {chance:.0%} of the time."
    ),
    "spread": marked(
        "{name} varies {amount} than in training: half of the values lie within {new} of their "
        "median, and within {old} in training."
    ),
    "shape": marked(
        "{name} is distributed otherwise than in training: KS {effect:.2f}, PSI {psi:.2f}."
    ),
    "joint": marked(
        "The measurements do not go together as in training: a classifier tells new rows from old "
        "ones with a ROC AUC of {new}."
    ),
    "correlation": marked(
        "{first} and {second} go together otherwise than in training: their rank correlation is "
        "{new}, and was {old}."
    ),
    "score": marked(
        "The probabilities differ from those in training by {effect:.2f} on average; their median "
        "is {new}, and was {old}."
    ),
    "verdicts": marked("{new} of the rows get a verdict; in training it was {old}."),
    "labels": marked("{new} of the labelled rows are potable; in training it was {old}."),
    "precision": marked("Of the rows called potable {new} are; in training it was {old}."),
    "recall": marked("Of the potable rows {new} are called so; in training it was {old}."),
    "false_potable": marked(
        "Of the rows that are not potable {new} are called potable; in training it was {old}."
    ),
    "auc": marked("The ROC AUC is {new}; in training it was {old}."),
    "brier": marked("The Brier score is {new}; in training it was {old}."),
    "calibration": marked(
        "The share of potable rows lies {new} off what was predicted; in training it was {old}."
    ),
}


def headline(found: Monitoring) -> str:
    """Say in one line whether there is an alarm, or that nothing could be tested."""
    path, model = found.file.path, found.model.label
    if not found.checks:
        return tr(
            "Not checked: {path} against the training rows of {model}; {reason}",
            path=path,
            model=model,
            reason=found.unchecked[0].reason,
        )
    if found.alarms:
        return trn(
            "Alarm: {n_alarms} of {n} check of {path} against the training rows of {model}.",
            "Alarm: {n_alarms} of {n} checks of {path} against the training rows of {model}.",
            len(found.checks),
            n_alarms=len(found.alarms),
            path=path,
            model=model,
        )
    return trn(
        "No alarm: {n} check of {path} against the training rows of {model}.",
        "No alarm: {n} checks of {path} against the training rows of {model}.",
        len(found.checks),
        path=path,
        model=model,
    )


def sentences(found: Monitoring) -> list[str]:
    """Say what alarms in the file as a whole, each thing once."""
    alarms = [check for check in found.alarms if not check.group]
    kinds = {(check.name, check.kind) for check in alarms}
    return [
        sentence(check)
        for check in alarms
        if not any((check.name, kind) in kinds for kind in _IMPLIED_BY.get(check.kind, ()))
    ]


def sentence(check: Check) -> str:
    """Say what a check found, for those who know water and no statistics."""
    write = figure_writer(check.kind)
    detail = dict(check.detail or {})
    first, second = detail.get("measurements", ("", ""))
    return tr(
        _SENTENCES[check.kind],
        name=check.name,
        old=write(check.old),
        new=write(check.new),
        effect=check.effect,
        direction=tr("higher") if check.effect > 0 else tr("lower"),
        usual=write(detail.get("usual", float("nan"))),
        amount=tr("more") if check.effect > 0 else tr("less"),
        first=first,
        second=second,
        chance=check.effect + 0.5,
        psi=detail.get("psi", float("nan")),
        factor=detail.get("factor", 1.0),
    )


def figure_writer(kind: str) -> Callable[[float], str]:
    """Give what writes the figures of a kind of check."""
    if kind in _SHARES:
        return write_share
    if kind in ("joint", "correlation", "score", "auc", "brier", "calibration"):
        return format_share
    return write_number


def nearest_checks(found: Monitoring) -> list[Check]:
    """Choose what to show of the file as a whole: the alarms, and what comes nearest to one."""
    whole = [check for check in found.checks if not check.group]
    near = [check for check in whole if not check.alarm and check.adjusted < _NEAR]
    nearest = sorted(near, key=lambda check: check.adjusted)[:_MOST_NEAR]
    return [*(check for check in whole if check.alarm), *nearest]


def check_rows(checks: Sequence[Check]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Put the checks of the file as a whole into a table; alarms first."""
    figures = (tr("in training"), tr("in the file"), tr("effect"), tr("counts from"))
    numbers = (*figures, tr("p, for all checks"))
    columns = ("", tr("measurement"), tr("check"), *(f">{name}" for name in numbers))
    # Where no unit changed, the level says all that there is to see.
    shown = [each for each in checks if each.kind != "unit" or each.alarm]
    return columns, [_check_row(check) for check in shown if not check.group]


def _check_row(check: Check) -> tuple[str, ...]:
    kind = KINDS[check.kind]
    write = figure_writer(check.kind)
    return (
        tr("ALARM") if check.alarm else "",
        check.name or tr("the rows"),
        tr(kind.title),
        write(check.old),
        write(check.new),
        tr("{effect:.3f} ({name})", effect=check.effect, name=kind.effect),
        f"{kind.least:g}",
        write_p_value(check.adjusted),
    )


def group_rows(found: Monitoring) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Put each group into a row: how many rows it has, and which of its checks alarm."""
    columns = (tr("group"), ">" + tr("rows"), tr("alarms"))
    rows: list[tuple[str, ...]] = [
        (group_shown(part.name), f"{part.rows.n_in_all}", describe_group(part, found.alarms))
        for part in found.parts[1:]
    ]
    return columns, rows


def group_shown(name: str) -> str:
    """Write the name of a group, a window of days among them in the user's language."""
    return _WINDOW.sub(lambda days: tr("{first} to {last}", first=days[1], last=days[2]), name)


def describe_group(part: Part, alarms: Sequence[Check]) -> str:
    """Say which checks of a group alarm."""
    own = [check for check in alarms if check.group == part.name]
    if not own:
        return tr("too few rows") if len(part.rows) < LEAST_ROWS else tr("none")
    return ", ".join(f"{check.name} {tr(KINDS[check.kind].title)}".strip() for check in own)


def record_rows(found: Monitoring) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Put what the labels showed beside training into a table."""
    columns = ("", ">" + tr("in training, on rows not seen"), ">" + tr("in the file"))
    rows: list[tuple[str, ...]] = []
    old, new = found.old_record, found.whole.record
    if old is not None and new is not None:
        for name in (*new.counts, *new.means):
            figures = [each.estimate(name) for each in (old, new)]
            rows.append((tr(KINDS[name].title), *map(format_estimate, figures)))
    return columns, rows


def notes(found: Monitoring) -> Iterator[str]:
    """Say what else is to be known: what rests on a sample, what was left out or not checked."""
    whole, file, reference = found.whole, found.file, found.reference
    drawn = len(whole.rows) + whole.rows.n_copies
    if drawn < file.counts.n_rows:
        yield tr(
            "{n_drawn:,} of {n_available:,} rows, drawn at random (seed {seed}), were compared.",
            n_drawn=drawn,
            n_available=file.counts.n_rows,
            seed=found.options.seed,
        )
    if whole.rows.n_copies:
        yield trn(
            "{n:,} row repeats another one's measurements and counts once.",
            "{n:,} rows repeat another one's measurements and count once.",
            whole.rows.n_copies,
        )
    if reference.hash_cut is not None:
        yield tr(
            "{n_scored:,} of the {n_compared:,} rows compared could be scored: of "
            "{n_trained:,} training rows {n_hashes:,} are remembered, drawn by a hash, and "
            "only a row drawn likewise is told from them.",
            n_scored=len(whole.probability),
            n_compared=len(whole.rows),
            n_trained=reference.n_rows,
            n_hashes=len(reference.hashes),
        )
    elif whole.n_known and len(whole.probability) >= LEAST_ROWS:
        yield tr(
            "The model was trained on {n_known:,} of the rows compared; its probabilities of "
            "them are left out.",
            n_known=whole.n_known,
        )
    if file.n_without_group:
        yield trn(
            "{n:,} row is in no group: no date, or an empty cell.",
            "{n:,} rows are in no group: no date, or an empty cell.",
            file.n_without_group,
        )
    then, now = reference.nondetect, found.options.reading.nondetect
    if file.counts.cells.nondetects and then != now:
        yield tr(
            "The model was trained with --nondetect {then}; this file was read with {now}.",
            then=then,
            now=now,
        )
    yield from (describe_unchecked(each) for each in found.unchecked if not each.group)


def describe_unchecked(unchecked: Unchecked) -> str:
    """Say what was not checked, and why."""
    what = tr(KINDS[unchecked.kind].title) if unchecked.kind else tr("values and verdicts")
    shown = f"{unchecked.name} {what}".strip()
    return tr("Not checked: {what}; {reason}", what=shown, reason=unchecked.reason)


def summarise(found: Monitoring) -> dict[str, Any]:
    """Put everything into a JSON object."""
    file = found.file
    return {
        "model": found.model.label,
        "model_sha256": found.model.digest,
        "alarm": bool(found.alarms),
        "checked": bool(found.checks),
        "alpha": found.options.alpha,
        "file": {
            "path": file.path,
            "reading": file.reading,
            "rows": file.counts.n_rows,
            "rows_invalid": file.counts.n_invalid,
            "rows_without_group": file.n_without_group,
            "missing": dict(file.counts.cells.missing),
            "nondetects": dict(file.counts.cells.nondetects),
            "unit_warnings": file.alarms,
        },
        "reference": {
            "rows": found.reference.n_rows,
            "rows_potable": found.reference.classes[1],
            "missing": dict(found.reference.missing),
            "verdicts": dict(zip(VERDICTS, found.reference.verdicts, strict=True)),
        },
        "checks": [asdict(check) for check in found.checks],
        "not_checked": [asdict(each) for each in found.unchecked],
        "groups": [
            {
                "name": part.name,
                "rows": part.rows.n_in_all,
                "rows_compared": len(part.rows),
                "rows_trained_on": part.n_known,
                "rows_scored": len(part.probability),
                "labels": None if part.record is None else part.record.summary(),
            }
            for part in found.parts
        ],
        "expected": None if found.expected is None else found.expected.summary(),
        "labels_in_training": None if found.old_record is None else found.old_record.summary(),
    }


def render_metrics(found: Monitoring) -> bytes:
    """Write the gauges of a file for Prometheus' textfile collector."""
    registry, model = CollectorRegistry(), found.model.label

    def gauge(name: str, text: str, value: float) -> None:
        each = Gauge(f"{_PREFIX}_{name}", text, ("model",), registry=registry)
        each.labels(model).set(value)

    gauge("alarm", "1 where a check alarms, else 0.", float(bool(found.alarms)))
    gauge("alarms", "Checks that alarm.", len(found.alarms))
    gauge("checks", "Checks that were made.", len(found.checks))
    gauge("rows", "Rows of the file.", found.file.counts.n_rows)
    gauge("rows_invalid", "Rows that break the schema.", found.file.counts.n_invalid)
    when = "When the file was checked, in seconds since 1970."
    gauge("timestamp_seconds", when, time.time())
    for name, attribute, text in (
        ("alarm", "alarm", "1 where this check alarms, else 0."),
        ("effect", "effect", "How large the difference is; its kind depends on the check."),
        ("p_value", "adjusted", "Adjusted for all checks of the report; NaN where it is no test."),
        ("training", "old", "The figure in training: a share, median or metric."),
        ("file", "new", "The figure in the file: a share, median or metric."),
    ):
        of_checks = Gauge(f"{_PREFIX}_check_{name}", text, _OF_CHECK, registry=registry)
        for check in found.checks:
            labels = (model, check.kind, check.name, check.group)
            of_checks.labels(*labels).set(float(getattr(check, attribute)))
    if found.expected is not None:
        text = "What labels would show, by the probabilities; NaN where an alarm makes it void."
        of_figures = Gauge(f"{_PREFIX}_expected", text, ("model", "figure"), registry=registry)
        for figure, estimate in found.expected.estimates.items():
            value = float("nan") if found.expected.is_void else estimate.value
            of_figures.labels(model, figure).set(value)
    return generate_latest(registry)
