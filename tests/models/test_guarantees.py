from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import ROOT
from scipy.stats import binom

from waterflow_cli.common.errors import DataRefusedError, UsageError
from waterflow_cli.models.decision import Certified, Policy
from waterflow_cli.models.guarantees import (
    NEVER_NOT_POTABLE,
    NEVER_POTABLE,
    Certificate,
    Guarantee,
    certified_policy,
    certify,
    keep_certified,
    parse_guarantee,
    refuse_uncertified,
)

PRECISION = Guarantee("precision", 0.8, 0.9)
NPV = Guarantee("npv", 0.8, 0.9)
FPR = Guarantee("fpr", 0.1, 0.9)
DEFAULT = Policy(0.8, 0.2)


def draw(seed, n_rows=1000):
    """Draw probabilities that are true, spread evenly: above c, (1 + c) / 2 are potable."""
    random = np.random.default_rng(seed)
    probability = random.random(n_rows)
    return (random.random(n_rows) < probability).astype(np.int64), probability


def certificate(guarantee, cut):
    return Certificate(guarantee, cut, 100, 0 if cut is None else 10, 0.9)


# --- how it is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "guarantee"),
    [
        ("precision=0.8@90%", PRECISION),
        (" npv = 0.8 @ 90 % ", NPV),
        ("fpr=.1@97.5%", Guarantee("fpr", 0.1, 0.975)),
    ],
)
def test_a_guarantee_is_read_and_written_again(text, guarantee):
    assert parse_guarantee(text) == guarantee
    assert parse_guarantee(str(guarantee)) == guarantee


@pytest.mark.parametrize(
    "text", ["", "precision", "precision=0.8", "recall=0.8@90%", "fpr=x@90%", "npv=0.8@90"]
)
def test_another_form_is_refused_with_the_form(text):
    with pytest.raises(UsageError, match="it is written precision=P@C%, npv=P@C% or fpr=F@C%"):
        parse_guarantee(text)


def test_a_number_with_two_points_is_refused():
    with pytest.raises(UsageError, match="it is written"):
        parse_guarantee("fpr=0.1.2@90%")


@pytest.mark.parametrize(
    "text", ["precision=0@90%", "npv=1@90%", "fpr=7@90%", "fpr=0.1@100%", "fpr=0.1@49%"]
)
def test_numbers_out_of_range_are_refused(text):
    with pytest.raises(UsageError, match="the confidence is from 50 % to below 100 %"):
        parse_guarantee(text)


# --- what is certified ---------------------------------------------------------------------------


@pytest.mark.parametrize("guarantee", [PRECISION, NPV, FPR], ids=str)
def test_a_strong_signal_is_certified_near_what_is_possible(guarantee):
    found = certify(guarantee, draw(0, 2000), draw(1, 2000), threshold=0.5)
    possible = {"precision": 0.6, "npv": 0.4, "fpr": 1 - np.sqrt(0.1)}[guarantee.kind]
    assert found.cut == pytest.approx(possible, abs=0.12)
    assert found.n_rows == 2000
    assert found.n_decided > 400
    assert "certified" in found.describe()


@pytest.mark.parametrize("guarantee", [PRECISION, NPV], ids=str)
def test_shuffled_labels_certify_nothing(guarantee):
    y, probability = draw(0)
    shuffled = np.random.default_rng(9).permutation(y)
    for threshold in (0.0, 0.5, 1.0):
        found = certify(
            guarantee, (shuffled, probability), (shuffled, probability), threshold=threshold
        )
        assert (found.cut, found.n_decided) == (None, 0)
        assert np.isnan(found.observed)
        assert "cannot be given; that side is always send_to_lab" in found.describe()


def test_few_rows_certify_nothing():
    assert certify(PRECISION, draw(0), draw(1, 10), threshold=0.5).cut is None


@pytest.mark.parametrize(("guarantee", "is_upper"), [(PRECISION, True), (NPV, False), (FPR, True)])
def test_observed_is_counted_among_the_rows_beyond_the_cut(guarantee, is_upper):
    y, probability = draw(1)
    found = certify(guarantee, draw(0), (y, probability), threshold=0.5)
    decided = probability >= found.cut if is_upper else probability <= found.cut
    assert found.n_decided == decided.sum()
    expected = {
        "precision": y[decided].mean(),
        "npv": 1 - y[decided].mean(),
        "fpr": decided[y == 0].mean(),
    }
    assert found.observed == pytest.approx(expected[guarantee.kind])


def test_npv_is_precision_seen_from_the_other_side():
    learned, certifying = draw(0), draw(1)
    turned = [(1 - y, 1 - probability) for y, probability in (learned, certifying)]
    npv = certify(NPV, learned, certifying, threshold=0.45)
    precision = certify(PRECISION, *turned, threshold=0.55)
    assert npv.cut == pytest.approx(1 - precision.cut)
    assert npv[2:] == precision[2:]


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9])
def test_a_verdict_never_contradicts_the_threshold(threshold):
    upper = certify(PRECISION, draw(0), draw(1), threshold=threshold)
    lower = certify(NPV, draw(0), draw(1), threshold=threshold)
    assert upper.cut >= threshold
    assert lower.cut < threshold


@pytest.mark.parametrize(("guarantee", "threshold"), [(PRECISION, 1.0), (FPR, 1.0), (NPV, 0.0)])
def test_a_threshold_that_leaves_no_cut_leaves_no_certificate(guarantee, threshold):
    assert certify(guarantee, draw(0), draw(1), threshold=threshold).cut is None


def test_rows_at_a_tied_cut_are_decided_as_they_were_certified():
    """Isotonic calibration gives few distinct probabilities, so that many rows are at the cut."""
    y, probability = draw(0)
    steps = np.round(probability, 1)
    for guarantee in (PRECISION, NPV):
        found = certify(guarantee, (y, steps), (y, steps), threshold=0.5)
        decided = steps >= found.cut if guarantee.is_upper else steps <= found.cut
        assert found.n_decided == decided.sum()


# --- from the surest outwards --------------------------------------------------------------------


def strength(guarantee):
    """Say by what an easier promise of the same kind differs: a level, a confidence."""
    level = -guarantee.level if guarantee.kind == "fpr" else guarantee.level
    return level, guarantee.confidence


@st.composite
def two_promises(draw):
    kind = draw(st.sampled_from(["precision", "npv", "fpr"]))
    levels = sorted(draw(st.tuples(*[st.sampled_from([0.05, 0.2, 0.5, 0.7, 0.8, 0.95])] * 2)))
    confidences = sorted(draw(st.tuples(*[st.sampled_from([0.5, 0.8, 0.9, 0.95])] * 2)))
    if kind == "fpr":
        levels.reverse()
    return [Guarantee(kind, *each) for each in zip(levels, confidences, strict=True)]


@given(
    promises=two_promises(),
    seed=st.integers(0, 1000),
    n_rows=st.integers(20, 600),
    decimals=st.sampled_from([1, 2, 17]),
    method=st.sampled_from(["split", "cross"]),
)
@tried_on(100)
def test_an_easier_promise_never_decides_fewer_rows(promises, seed, n_rows, decimals, method):
    learned, certifying = draw(seed, n_rows), draw(seed + 5000, n_rows)
    learned, certifying = ((y, np.round(p, decimals)) for y, p in (learned, certifying))
    easier, harder = (
        certify(each, learned, certifying, threshold=0.3, method=method).n_decided
        for each in promises
    )
    assert strength(promises[0]) <= strength(promises[1])
    assert easier >= harder


def test_many_sure_rows_do_not_hide_that_a_promise_is_easy():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [900, 600])
    probability = np.clip(random.normal(0.2 + 0.6 * y, 0.15), 0, 1)
    shares = [
        certify(Guarantee("precision", level, 0.9), *[(y, probability)] * 2, threshold=0.3)
        for level in (0.6, 0.7, 0.9)
    ]
    assert all(found.n_decided > 550 for found in shares)
    assert shares[0].n_decided >= shares[1].n_decided >= shares[2].n_decided


def test_a_cut_off_passes_by_the_exact_binomial_alone():
    """One cut-off is all there is; of 50 rows, 43 right ones show 0.8 with 80 %, and 42 do not."""
    probability = np.repeat([0.9, 0.1], [50, 50])
    for n_right, shown in ((43, True), (42, False)):
        y = np.repeat([1, 0, 1, 0], [n_right, 50 - n_right, 10, 40])
        assert (binom.sf(n_right - 1, 50, 0.8) <= 0.2) == shown
        found = certify(Guarantee("precision", 0.8, 0.8), *[(y, probability)] * 2, threshold=0.5)
        assert (found.cut == 0.9) == shown


def test_out_of_fold_predictions_are_tested_at_half_of_the_risk():
    probability = np.repeat([0.9, 0.1], [50, 50])
    y = np.repeat([1, 0, 1, 0], [44, 6, 10, 40])
    rows = [(y, probability)] * 2
    chance = float(binom.sf(43, 50, 0.8))
    for risk, passes in ((1.9 * chance, False), (2.1 * chance, True)):
        asked = Guarantee("precision", 0.8, 1 - risk)
        found = certify(asked, *rows, threshold=0.5, method="cross")
        assert (found.cut is not None) == passes
        assert found.method == "cross"
        assert certify(asked, *rows, threshold=0.5).cut == 0.9


def test_a_certificate_is_called_what_it_is():
    rows = [draw(0, 2000)] * 2
    split, cross = (
        str(certify(PRECISION, *rows, threshold=0.5, method=method).describe())
        for method in ("split", "cross")
    )
    assert "rows kept for this" in split
    assert "by cross-validation, tested at half of the risk" in cross


@pytest.mark.slow
@pytest.mark.parametrize("method", ["split", "cross"])
def test_a_promise_of_90_percent_confidence_fails_in_at_most_one_of_ten_draws(method):
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_guarantees.py")]
    options = ["--sets", "40", "--rows", "300", "--potable", "0.4", "--method", method]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "- holds: false" in done.stdout
    assert "DOES NOT HOLD" not in done.stdout


# --- what follows from it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificates", "policy"),
    [
        ([], DEFAULT),
        ([(PRECISION, 0.7)], Policy(0.7, 0.2)),
        ([(NPV, 0.3)], Policy(0.8, 0.3)),
        # The stricter of two cut-offs keeps its own promise alone.
        ([(PRECISION, 0.7), (FPR, 0.75), (NPV, 0.3)], Policy(NEVER_POTABLE, 0.3)),
        ([(PRECISION, 0.7), (FPR, None)], Policy(NEVER_POTABLE, 0.2)),
        ([(PRECISION, None), (NPV, 0.3)], Policy(NEVER_POTABLE, 0.3)),
        ([(NPV, 0.3), (Guarantee("npv", 0.9, 0.9), 0.1)], Policy(0.8, NEVER_NOT_POTABLE)),
        ([(PRECISION, 0.7), (NPV, None)], Policy(0.7, NEVER_NOT_POTABLE)),
        ([(PRECISION, None), (NPV, None)], Policy(NEVER_POTABLE, NEVER_NOT_POTABLE)),
    ],
)
def test_a_side_decides_by_its_one_certified_cut_off_or_never(certificates, policy):
    found = certified_policy([certificate(*each) for each in certificates], DEFAULT)
    assert found == policy


def test_promises_are_kept_of_the_cut_offs_that_the_policy_decides_by():
    certificates = [certificate(PRECISION, 0.7), certificate(NPV, None)]
    policy = certified_policy(certificates, DEFAULT)
    assert keep_certified(certificates, policy) == [
        Certified("precision=0.8@90%", "likely_potable", 100, 10)
    ]
    certificates = [certificate(PRECISION, 0.7), certificate(FPR, 0.75), certificate(NPV, 0.3)]
    kept = keep_certified(certificates, certified_policy(certificates, DEFAULT))
    assert [each.verdict for each in kept] == ["likely_not_potable"]


def test_only_failed_guarantees_refuse_a_model_and_are_named():
    refuse_uncertified([certificate(PRECISION, 0.7), certificate(NPV, 0.3)])
    with pytest.raises(DataRefusedError, match=r"on 100 rows: npv=0\.8@90%\.$"):
        refuse_uncertified([certificate(PRECISION, 0.7), certificate(NPV, None)])
