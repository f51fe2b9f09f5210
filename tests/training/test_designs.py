from __future__ import annotations

from dataclasses import replace
from itertools import chain, count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from laws import tried_on
from scipy import stats

from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import tr, use_language
from waterflow_cli.training.designs import (
    MIN_PER_CLASS,
    all_scores,
    corrected_interval,
    cross_validation,
    describe_design,
    draw_rows,
    forward_chaining,
    hold_out,
    quick_hold_out,
    score_folds,
    score_tested,
)

N_ROWS = 120
Y = np.random.default_rng(0).permutation(np.repeat([0, 1], [80, 40]))
GROUPS = np.array([f"site {number}" for number in np.random.default_rng(1).integers(0, 15, N_ROWS)])
WHEN = np.random.default_rng(2).integers(0, 40, N_ROWS).astype(float)  # many rows share a time


class Recorder:
    """Numbers its fits, and gives each row the number of the fit that scored it."""

    def __init__(self):
        self.trained = {}
        self._numbers = count()

    def fit(self, rows):
        number = next(self._numbers)
        self.trained[number] = set(rows.tolist())
        return number

    def score(self, fitted, rows):
        return np.full(len(rows), fitted, dtype=float)


def designs():
    return {
        "folds": cross_validation(Y, n_folds=4, n_repeats=2, seed=0),
        "groups": cross_validation(Y, n_folds=3, n_repeats=2, seed=0, groups=GROUPS),
        "hold-out": hold_out(Y, test_size=0.25, seed=0),
        "time": forward_chaining(WHEN, n_folds=3),
        "quick": quick_hold_out(cross_validation(Y, n_folds=5, n_repeats=1, seed=0)),
        "quick, groups": quick_hold_out(
            cross_validation(Y, n_folds=5, n_repeats=1, seed=0, groups=GROUPS)
        ),
        "quick, time": quick_hold_out(forward_chaining(WHEN, n_folds=3)),
    }


@pytest.fixture(params=designs())
def design(request):
    return designs()[request.param].check(Y)


def block_of(design, repeat, row):
    block = design.repeats[repeat]
    return set(np.flatnonzero(block == block[row]).tolist())


def check_no_leak(design):
    """Check every score that comes out against the rows that its pipeline was fitted on."""
    learner = Recorder()
    for repeat, folds in enumerate(score_folds(design, learner)):
        for fold in folds:
            tested = set(fold.rows.tolist())
            for number in set(fold.scores.tolist()):
                assert not learner.trained[number] & tested, "a fit saw rows that it is tested on"
            for row, number in zip(fold.tuning_rows, fold.tuning_scores, strict=True):
                seen = learner.trained[number]
                assert row not in tested, "a tested row is tuned on"
                assert not seen & tested, "a score to tune on comes from a fit that saw tested rows"
                assert not seen & block_of(design, repeat, row), "a fit saw rows to tune on"


def test_no_score_comes_from_a_fit_that_saw_its_row_or_the_tested_ones(design):
    check_no_leak(design)


@pytest.mark.parametrize(
    ("trains", "problem"),
    [
        ({k: {0, 1, 2, 3} for k in range(4)}, "a fit saw rows that it is tested on"),
        # Block 0 is tested fairly; what it is calibrated on is scored by fits that knew it.
        ({0: {1, 2, 3}, 1: {1, 2, 3}, 2: {1, 2, 3}, 3: {1, 2, 3}}, "a fit saw rows to tune on"),
    ],
)
def test_the_check_finds_a_design_that_leaks(trains, problem):
    leaky = {k: frozenset(blocks) for k, blocks in trains.items()}
    with pytest.raises(AssertionError, match=problem):
        check_no_leak(replace(designs()["folds"], name="leaky", trains=leaky, tested=(0,)))


@pytest.mark.parametrize("name", ["folds", "groups"])
def test_cross_validation_tests_each_row_once_a_repeat_and_learns_from_all_others(name):
    design, learner = designs()[name], Recorder()
    for folds in score_folds(design, learner):
        tested = np.concatenate([fold.rows for fold in folds])
        assert sorted(tested) == list(range(N_ROWS))
        for fold in folds:
            others = set(range(N_ROWS)) - set(fold.rows.tolist())
            assert learner.trained[fold.scores[0]] == others
            assert set(fold.tuning_rows.tolist()) == others
            assert len(fold.tuning_rows) == len(others) == fold.n_trained


@pytest.mark.parametrize(("n_folds", "n_repeats"), [(3, 1), (5, 2), (10, 3)])
def test_half_of_the_fits_of_plain_nesting_are_enough(n_folds, n_repeats):
    design = cross_validation(Y, n_folds=n_folds, n_repeats=n_repeats, seed=0)
    learner = Recorder()
    score_folds(design, learner)
    expected = n_folds * (n_folds + 1) // 2 * n_repeats
    assert len(learner.trained) == design.n_fits == expected


def test_folds_hold_the_classes_in_equal_shares():
    for block in designs()["folds"].repeats:
        assert np.bincount(block[Y == 1]).tolist() == [10] * 4
        assert np.bincount(block[Y == 0]).tolist() == [20] * 4


def test_a_group_is_never_split():
    for block in designs()["groups"].repeats:
        for group in np.unique(GROUPS):
            assert len(np.unique(block[group == GROUPS])) == 1


@given(times=st.lists(st.integers(0, 30), min_size=20, max_size=80), n_folds=st.integers(1, 5))
@tried_on(60)
def test_trained_rows_are_strictly_older_than_tested_ones(times, n_folds):
    when = np.array(times, dtype=float)
    try:
        design = forward_chaining(when, n_folds=n_folds)
    except DataRefusedError:
        assert len(set(times)) < len(times)
        return
    learner = Recorder()
    ((*folds,),) = score_folds(design, learner)
    assert len(folds) == n_folds
    newest = -np.inf
    for fold in folds:
        tested = when[fold.rows].min()
        assert max(when[list(learner.trained[fold.scores[0]])]) < tested
        assert when[fold.tuning_rows].max() < tested
        assert newest < tested
        newest = when[fold.rows].max()
        for row, number in zip(fold.tuning_rows, fold.tuning_scores, strict=True):
            assert max(when[list(learner.trained[number])]) < when[row]
    assert newest == when.max()


@pytest.mark.parametrize(("test_size", "n_tested"), [(0.05, 6), (0.25, 30), (0.5, 60)])
def test_asked_share_is_held_out_once_and_in_equal_shares_of_the_classes(test_size, n_tested):
    ((fold,),) = score_folds(hold_out(Y, test_size=test_size, seed=0), Recorder())
    assert len(fold.rows) == n_tested
    assert Y[fold.rows].sum() == n_tested / 3
    assert sorted([*fold.rows, *fold.tuning_rows]) == list(range(N_ROWS))
    assert fold.n_trained == N_ROWS - n_tested


def test_a_hold_out_takes_a_fit_and_five_to_tune_on():
    assert hold_out(Y, test_size=0.2, seed=0).n_fits == 6


def test_a_quick_hold_out_takes_one_fit_and_each_row_has_one_part_in_it():
    design, learner = designs()["quick"], Recorder()
    ((fold,),) = score_folds(design, learner)
    assert design.n_fits == len(learner.trained) == 1
    assert fold.n_trained == len(learner.trained[0]) == 72
    assert sorted([*learner.trained[0], *fold.tuning_rows, *fold.rows]) == list(range(N_ROWS))
    assert Y[fold.rows].sum() == Y[fold.tuning_rows].sum() == 8


def test_a_quick_hold_out_in_time_is_tuned_on_what_is_newer_and_tested_on_the_newest():
    learner = Recorder()
    ((fold,),) = score_folds(designs()["quick, time"], learner)
    assert WHEN[list(learner.trained[0])].max() < WHEN[fold.tuning_rows].min()
    assert WHEN[fold.tuning_rows].max() < WHEN[fold.rows].min()
    assert WHEN[fold.rows].max() == WHEN.max()


def test_only_the_first_repeat_keeps_what_was_fitted():
    first, second = score_folds(designs()["folds"], Recorder())
    assert [fold.fitted for fold in first] == [fold.scores[0] for fold in first]
    assert [fold.fitted for fold in second] == [None] * 4


class Straight:
    """Scores a row by its number and by how many rows were learned from."""

    def fit(self, rows):
        return len(rows)

    def score(self, fitted, rows):
        return rows / N_ROWS + fitted


def test_jobs_change_no_score(design):
    with parallel_config(backend="threading"):
        several = score_folds(design, Straight(), jobs=2)
    alone = chain.from_iterable(score_folds(design, Straight()))
    for one, other in zip(alone, chain.from_iterable(several), strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert one.tuning_scores.tolist() == other.tuning_scores.tolist()


def test_tested_rows_alone_can_be_scored_too(design):
    scores = score_tested(design, Straight())
    tested = np.isin(design.repeats[0], design.tested)
    assert np.isnan(scores[~tested]).all()
    for fold in score_folds(design, Straight())[0]:
        assert scores[fold.rows].tolist() == fold.scores.tolist()


def test_all_scores_hold_each_row_once_a_repeat_by_the_fit_that_saw_most(design):
    folds = score_folds(design, Straight())
    rows, scores = all_scores(folds)
    known = [
        {row for fold in repeat for row in (*fold.rows.tolist(), *fold.tuning_rows.tolist())}
        for repeat in folds
    ]
    assert len(rows) == len(scores) == sum(map(len, known))
    assert rows.tolist() == [row for each in known for row in sorted(each)]
    at = 0
    for repeat, each in zip(folds, known, strict=True):
        given = dict(zip(rows[at : at + len(each)], scores[at : at + len(each)], strict=True))
        for fold in repeat:
            assert [given[row] for row in fold.rows] == fold.scores.tolist()
        at += len(each)


# --- what is refused -----------------------------------------------------------------------------


def test_fewer_groups_than_folds_are_refused():
    groups = np.resize(["a", "b", "c", "d"], N_ROWS)
    with pytest.raises(
        DataRefusedError, match="4 different groups cannot be put into 5 folds"
    ) as refused:
        cross_validation(Y, n_folds=5, n_repeats=2, seed=0, groups=groups)
    assert (
        refused.value.hint
        == "At least as many groups as folds are needed, and at least 3: see --cv."
    )


def test_too_few_distinct_times_are_refused():
    with pytest.raises(DataRefusedError, match="4 different times cannot make 5 spans"):
        forward_chaining(np.resize([1.0, 2.0, 3.0, 4.0], N_ROWS), n_folds=3)


def test_too_few_rows_of_a_class_to_fit_on_are_refused():
    # Tuning scores come from one of the three folds: a third of the rows of class 1.
    enough = np.repeat([0, 1], [60, 3 * MIN_PER_CLASS])
    cross_validation(enough, n_folds=3, n_repeats=1, seed=0).check(enough)
    with pytest.raises(DataRefusedError, match="would be fitted on 5 rows of one class; at least"):
        cross_validation(enough[:-1], n_folds=3, n_repeats=1, seed=0).check(enough[:-1])


def test_a_tested_part_of_one_class_is_refused():
    y = np.resize([0, 1], 100)
    y[80:] = 0
    with pytest.raises(DataRefusedError, match="tested or tuned on holds one class alone"):
        forward_chaining(np.arange(100.0), n_folds=3).check(y)


def test_a_part_of_one_class_cannot_be_tuned_on_either():
    y, spans = np.resize([0, 1], 100), forward_chaining(np.arange(100.0), n_folds=3)
    y[60:80] = 0
    y[80:] = np.resize([0, 1], 20)
    with pytest.raises(DataRefusedError, match="tested or tuned on holds one class alone"):
        quick_hold_out(spans).check(y)
    y[20:40], y[60:80] = 0, np.resize([0, 1], 20)
    with pytest.raises(DataRefusedError, match="tested or tuned on holds one class alone"):
        spans.check(y)


# --- which splits --------------------------------------------------------------------------------


def test_equal_seeds_give_equal_splits_and_others_differ():
    def digests(seed):
        return (
            cross_validation(Y, n_folds=4, n_repeats=2, seed=seed).digest,
            cross_validation(Y, n_folds=3, n_repeats=2, seed=seed, groups=GROUPS).digest,
            hold_out(Y, test_size=0.25, seed=seed).digest,
        )

    assert digests(7) == digests(7)
    assert len({*digests(7), *digests(8)}) == 6


def test_the_same_splits_have_one_name_and_digest_in_every_language():
    english = {name: design.summary() for name, design in designs().items()}
    use_language("fr")
    try:
        assert {name: design.summary() for name, design in designs().items()} == english
        assert tr(describe_design("cv-5x1")).startswith("validation croisée")
    finally:
        use_language("en")


def test_repeats_split_in_other_ways():
    first, second = designs()["folds"].repeats
    assert first.tolist() != second.tolist()


# --- the interval --------------------------------------------------------------------------------


def test_interval_is_that_of_nadeau_and_bengio():
    values, share = np.array([0.6, 0.64, 0.59, 0.7, 0.65]), 0.25
    found = corrected_interval(values, share)
    error = np.sqrt((1 / 5 + share) * np.var(values, ddof=1))
    assert found.value == pytest.approx(0.636)
    assert found.high - found.value == pytest.approx(2.7764451 * error)
    assert found.value - found.low == pytest.approx(2.7764451 * error)


def test_without_overlap_it_is_the_ordinary_t_interval():
    values = np.array([0.6, 0.64, 0.59, 0.7])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    found = corrected_interval(values, 0.0)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_folds_where_a_metric_is_undefined_are_left_out():
    assert corrected_interval(np.array([0.5, np.nan, 0.7]), 0.1) == corrected_interval(
        np.array([0.5, 0.7]), 0.1
    )
    one = corrected_interval(np.array([np.nan, 0.7]), 0.1)
    assert one.value == 0.7
    assert np.isnan([one.low, one.high]).all()
    none = corrected_interval(np.array([np.nan, np.nan]), 0.1)
    assert np.isnan([none.value, none.low, none.high]).all()


def test_fewer_rows_of_a_class_than_folds_are_refused():
    y = np.repeat([0, 1], [30, 8])
    with pytest.raises(DataRefusedError, match="8 rows of one class cannot be put into 10 folds"):
        cross_validation(y, n_folds=10, n_repeats=1, seed=0)


def test_rows_are_drawn_by_the_seed_and_stay_in_order():
    assert draw_rows(3, 5, seed=1).tolist() == [0, 1, 2]
    drawn = draw_rows(1000, 10, seed=1)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert drawn.tolist() == draw_rows(1000, 10, seed=1).tolist()
    assert drawn.tolist() != draw_rows(1000, 10, seed=2).tolist()
