"""Hold the rows of a file against those that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.messages import Message, counted
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.reference import Reference, hash_rows
from waterflow_cli.monitoring.checks import LEAST_ROWS, Check, Unchecked, decide
from waterflow_cli.monitoring.drift import (
    Outcome,
    classify_samples,
    compare_correlations,
    compare_levels,
    compare_mixes,
    compare_probabilities,
    compare_repeats,
    compare_shapes,
    compare_shares,
    compare_spreads,
    known_values,
    stability_index,
    usual_distance,
)
from waterflow_cli.monitoring.expected import Expected, expect
from waterflow_cli.monitoring.labels import Record, compare_records, record
from waterflow_cli.monitoring.samples import (
    ABOVE,
    BELOW,
    MISSING,
    MonitoredFile,
    MonitoringOptions,
    SampledRows,
    sample_file,
)

# The joint test's cost grows with its rows, and its power is ample with so many of either side.
_MOST_JOINT_ROWS = 1_500
_UNIT_STEPS = (1.0, 2.0, 3.0, 6.0)
# A unit is taken to have changed where the medians lie this close to such a step, in decades, and
# hardly a value lies among the old ones.
_NEAR, _APART = 0.15, 0.4


@dataclass(frozen=True, kw_only=True)
class Part:
    """The whole file or a group of it, beside the reference.

    Attributes
    ----------
    name : str
        Of the group; empty for the whole file.
    rows : SampledRows
        Without copies.
    n_known : int
        Sampled rows that the model was trained on.
    probability : ndarray of float64, shape (n_scored,)
        Of the valid rows that it was not trained on.
    record : Record, optional
        How it fared on those that have a label.
    """

    name: str
    rows: SampledRows
    n_known: int
    probability: FloatArray
    record: Record | None


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """What became of a check of a file.

    Attributes
    ----------
    checks : sequence of Check
        Alarms first.
    old_record : Record, optional
        How the model's procedure fared in training, on rows not seen; with labels only.
    expected : Expected, optional
        What labels of the file as a whole would show; None where too few rows are known.
    """

    model: StoredModel
    file: MonitoredFile
    reference: Reference
    options: MonitoringOptions
    parts: Sequence[Part]
    checks: Sequence[Check]
    unchecked: Sequence[Unchecked]
    old_record: Record | None = None
    expected: Expected | None = None

    @property
    def alarms(self) -> list[Check]:
        """The checks that alarm."""
        return [check for check in self.checks if check.alarm]

    @property
    def whole(self) -> Part:
        """The file as a whole."""
        return self.parts[0]


def monitor_file(
    model: StoredModel,
    reference: Reference,
    path: str,
    options: MonitoringOptions,
    report: Report = say_nothing,
) -> Monitoring:
    """Read a file, and hold it against the training rows of a model.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a required column.
    UsageError
        If it has no column that was named, or too many groups.
    PluginError
        If the model fails to predict.
    """
    file = sample_file(path, model.schema, model.decision.measurements, options, report)
    with threadpool_limits(limits=1):  # the same bits as `waterflow score`
        comparison = _Comparison(model=model, reference=reference, options=options)
        several = {"": file.rows, **file.groups}
        parts = [comparison.compare(name, rows) for name, rows in several.items()]
    checks = list(
        decide([each for each in comparison.found if isinstance(each, Check)], options.alpha)
    )
    # Stable: within alarms and others the order of the parts stays.
    return Monitoring(
        model=model,
        file=file,
        reference=reference,
        options=options,
        parts=parts,
        checks=sorted(checks, key=lambda check: not check.alarm),
        unchecked=[each for each in comparison.found if isinstance(each, Unchecked)],
        old_record=comparison.old_record,
        expected=expect(
            model.decision,
            reference,
            parts[0].probability,
            is_void=any(check.alarm and not check.group for check in checks),
            seed=options.seed,
        ),
    )


@dataclass(kw_only=True)
class _Comparison:
    """Compares parts of a file with a reference, and gathers what comes of it."""

    model: StoredModel
    reference: Reference
    options: MonitoringOptions
    found: list[Check | Unchecked] = field(default_factory=list)
    old_record: Record | None = None

    def __post_init__(self) -> None:
        if self.options.with_labels:
            known = self.reference.probability == self.reference.probability
            label, probability = self.reference.label[known], self.reference.probability[known]
            self.old_record = record(self.model.decision, label, probability)

    def compare(self, name: str, rows: SampledRows) -> Part:
        """Run all checks on a part of the file."""
        found: list[Check | Unchecked] = list(self._about_rows(rows))
        if self.reference.copies_count_once:
            rows = rows.without_copies()
        hashes = hash_rows(rows.X)
        n_known = int(self.reference.seen(hashes).sum())
        judged = ~rows.invalid & self.reference.unseen(hashes)
        probability = self.model.probability(rows.X[judged])
        labelled = judged & (rows.label == rows.label)
        own_record = None
        if len(rows) < LEAST_ROWS:
            reason = counted(
                "{n} different row; at least {least}.",
                "{n} different rows; at least {least}.",
                len(rows),
                least=LEAST_ROWS,
            )
            found.append(Unchecked("", "", reason))
        else:
            found += [
                *chain.from_iterable(
                    self._about_measurement(name, rows) for name in rows.measurements
                ),
                *([] if name else self._about_all(rows)),
                *self._about_scores(probability, n_known),
            ]
            if self.options.with_labels:
                of_judged = probability[labelled[judged]]
                own_record = record(self.model.decision, rows.label[labelled], of_judged)
                found += self._about_labels(own_record, rows)
        self.found += [replace(each, group=name) for each in found]
        return Part(
            name=name, rows=rows, n_known=n_known, probability=probability, record=own_record
        )

    def _about_rows(self, rows: SampledRows) -> Iterator[Check]:
        """Look at all rows, copies too: a dead sensor says the same again and again."""
        if len(rows) < LEAST_ROWS:
            return
        reference = self.reference
        old = reference.n_invalid, reference.n_read
        new = int(rows.invalid.sum()), len(rows)
        yield _compare_counts("invalid", "", old, new, "greater")
        counts = np.unique(hash_rows(rows.X), return_counts=True)[1]
        usual = reference.usual_repeats(len(rows))
        sizes = reference.n_rows, len(rows)
        in_training = reference.repeats()
        for kind, found, old_share, share in zip(
            ("repeated", "stuck"), compare_repeats(counts, usual), in_training, usual, strict=True
        ):
            shown = old_share, share + found.effect
            yield Check.of(kind, found, shown, sizes, detail={"usual": share})
        for place, name in enumerate(rows.measurements):
            codes = rows.cell_codes[:, place]
            old = reference.missing[name], reference.n_rows
            yield _compare_counts("missing", name, old, (int((codes == MISSING).sum()), len(rows)))
            n_old = reference.below[name] + reference.above[name]
            n_new = int(np.isin(codes, (BELOW, ABOVE)).sum())
            if n_old or n_new:
                old = n_old, reference.n_read
                yield _compare_counts("censored", name, old, (n_new, len(rows)))

    def _about_measurement(self, name: str, rows: SampledRows) -> Iterator[Check | Unchecked]:
        """Compare where the values of a measurement lie, its unit and its distribution."""
        old, new = (known_values(X[name].to_numpy()) for X in (self.reference.X, rows.X))
        if min(len(old), len(new)) < LEAST_ROWS:
            yield Unchecked("level", name, Message("fewer than {least} values.", least=LEAST_ROWS))
            return
        medians = float(np.median(old)), float(np.median(new))
        level = compare_levels(old, new)
        distances = usual_distance(old), usual_distance(new)
        decades = _unit_step(medians, level.effect)
        for kind, outcome, shown, detail in (
            ("level", level, medians, None),
            ("spread", compare_spreads(old, new), distances, None),
            ("shape", compare_shapes(old, new), medians, {"psi": stability_index(old, new)}),
            ("unit", Outcome(decades, np.nan), medians, {"factor": 10.0**decades}),
        ):
            yield Check.of(kind, outcome, shown, (len(old), len(new)), name, detail)

    def _about_all(self, rows: SampledRows) -> Iterator[Check | Unchecked]:
        old = self.reference.X.to_numpy()
        if len(old) < LEAST_ROWS:
            yield Unchecked("joint", "", Message("the reference holds too few rows."))
            return
        # The rows stand in the order of their files: the first ones are no sample.
        random = np.random.default_rng(self.options.seed)
        old, new = (
            each[np.sort(random.permutation(len(each))[:_MOST_JOINT_ROWS])]
            for each in (old, rows.X.to_numpy())
        )
        found = classify_samples(old, new, seed=self.options.seed)
        yield Check.of("joint", found, (0.5, found.effect + 0.5), (len(old), len(new)))
        pair = compare_correlations(old, new, LEAST_ROWS)
        if pair is None:
            yield Unchecked("correlation", "", Message("no two measurements have enough values."))
            return
        names = [rows.measurements[place] for place in pair.pair]
        yield Check.of(
            "correlation", pair.outcome, pair.shown, pair.counts, detail={"measurements": names}
        )

    def _about_scores(self, probability: FloatArray, n_known: int) -> Iterator[Check | Unchecked]:
        old = known_values(self.reference.probability)
        if len(probability) < LEAST_ROWS or len(old) < LEAST_ROWS:
            yield Unchecked("score", "", self._why_unscored(n_known))
            return
        shown = float(np.median(old)), float(np.median(probability))
        found = compare_probabilities(old, probability)
        detail = {"psi": stability_index(old, probability)}
        yield Check.of("score", found, shown, (len(old), len(probability)), detail=detail)
        given = self.model.decision.verdict(probability)
        new_mix = np.bincount(given, minlength=len(VERDICTS))
        old_mix = np.array(self.reference.verdicts)
        mixes = compare_mixes(old_mix, new_mix)
        if mixes is None:
            yield Unchecked("verdicts", "", Message("one verdict is all there is."))
            return
        yield Check.of(
            "verdicts",
            mixes,
            (_decided_share(old_mix), _decided_share(new_mix)),
            (int(old_mix.sum()), len(probability)),
            detail={
                "old": dict(zip(VERDICTS, old_mix.tolist(), strict=True)),
                "new": dict(zip(VERDICTS, new_mix.tolist(), strict=True)),
            },
        )

    def _why_unscored(self, n_known: int) -> Message:
        if self.reference.hash_cut is not None:
            return Message("fewer than {least} rows could be scored.", least=LEAST_ROWS)
        if n_known:
            return Message(
                "the model was trained on {n_known} of these rows: what it says of them is no "
                "evidence.",
                n_known=n_known,
            )
        return Message("fewer than {least} valid rows.", least=LEAST_ROWS)

    def _about_labels(self, own: Record, rows: SampledRows) -> Iterator[Check | Unchecked]:
        label = rows.label[rows.label == rows.label]
        if len(label) >= LEAST_ROWS:
            old = self.reference.classes[1], sum(self.reference.classes)
            yield _compare_counts("labels", "", old, (int(label.sum()), len(label)))
        assert self.old_record is not None
        yield from compare_records(self.old_record, own)


def _compare_counts(
    kind: str, name: str, old: tuple[int, int], new: tuple[int, int], alternative: str = "two-sided"
) -> Check:
    shares = old[0] / max(old[1], 1), new[0] / new[1]
    return Check.of(kind, compare_shares(old, new, alternative), shares, (old[1], new[1]), name)


def _decided_share(mix: IntArray) -> float:
    return float(1 - mix[0] / mix.sum())


def _unit_step(medians: tuple[float, float], effect: float) -> float:
    """Tell by how many decades a unit changed; 0 for not at all."""
    if min(medians) <= 0 or abs(effect) < _APART:
        return 0.0
    decades = float(np.log10(medians[1] / medians[0]))
    near = [step for step in _UNIT_STEPS if abs(abs(decades) - step) < _NEAR]
    return float(np.copysign(near[0], decades)) if near else 0.0
