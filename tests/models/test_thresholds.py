from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from laws import tried_on
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    fbeta_score,
    precision_score,
)

from waterflow_cli.common.errors import DataRefusedError, UsageError
from waterflow_cli.models.thresholds import FORMS, ThresholdRule, parse_threshold, tune_threshold
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema

Y = np.array([0, 0, 1, 0, 1, 1])
P = np.array([0.1, 0.3, 0.4, 0.6, 0.7, 0.9])

# Neighbouring numbers, which a forest's sums and a calibration produce, leave no room between.
NEIGHBOURS = [0.5, float(np.nextafter(0.5, 1)), float(np.nextafter(np.nextafter(0.5, 1), 1))]
PROBABILITY = st.one_of(
    st.sampled_from([0.0, 5e-324, 0.25, *NEIGHBOURS, 0.75]),
    st.floats(0, 1, exclude_max=True, width=16),
    st.floats(0, 1, exclude_max=True),
)
RULES = ["balanced-accuracy", "f1", "fbeta:0.5", "cost:3:1", "precision:0.7", "fpr:0.2"]


@st.composite
def tuning_rows(draw, probability=PROBABILITY):
    """Draw labels of both classes with their probabilities, ties included."""
    rows = draw(st.lists(st.tuples(st.integers(0, 1), probability), max_size=30))
    rows += [(0, draw(probability)), (1, draw(probability))]
    return np.array([label for label, _ in rows]), np.array([each for _, each in rows])


def called(probability, threshold):
    return (probability >= threshold).astype(int)


def utility(rule, y, prediction):
    """Measure how well predictions serve a rule, with scikit-learn's own functions."""
    negatives, alarms, misses, hits = confusion_matrix(y, prediction, labels=[0, 1]).ravel()
    number = rule.arguments[0] if rule.arguments else None
    match rule.name:
        case "balanced-accuracy":
            return balanced_accuracy_score(y, prediction)
        case "f1":
            return f1_score(y, prediction, zero_division=0.0)
        case "fbeta":
            return fbeta_score(y, prediction, beta=number, zero_division=0.0)
        case "cost":
            return -(number * alarms + rule.arguments[1] * misses)
        case "precision":
            return hits if hits + alarms and hits >= number * (hits + alarms) else -np.inf
        case "fpr":
            return hits if alarms <= number * (alarms + negatives) else -np.inf


def each_set_of_calls(probability):
    """List every set of rows that some threshold calls potable, the smallest first."""
    cuts = [1.0, *sorted(set(probability), reverse=True)]
    return [called(probability, cut) for cut in cuts]


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("balanced-accuracy", "balanced-accuracy", ()),
        ("f1", "f1", ()),
        ("fbeta:0.5", "fbeta", (0.5,)),
        ("cost:10:1", "cost", (10.0, 1.0)),
        ("precision:0.8", "precision", (0.8,)),
        ("fpr:0.05", "fpr", (0.05,)),
        ("0.35", "fixed", (0.35,)),
        ("0", "fixed", (0.0,)),
        ("1", "fixed", (1.0,)),
        (" F1 ", "f1", ()),
    ],
)
def test_each_rule_is_read(text, name, arguments):
    assert parse_threshold(text) == ThresholdRule(text.strip(), name, arguments)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("balanced_accuracy", "balanced-accuracy"),
        ("precison", "precision"),
        ("precison:0.8", "precision"),
        ("fbet:1", "fbeta"),
        ("costs:1:2", "cost"),
    ],
)
def test_a_mistyped_rule_is_answered_with_the_nearest(text, suggestion):
    with pytest.raises(UsageError, match=rf"{text}: no such rule\. Did you mean '{suggestion}'\?"):
        parse_threshold(text)


@pytest.mark.parametrize("text", ["", "zzz", "zzz:1", ":", "0,5"])
def test_an_unknown_rule_is_answered_with_all_forms(text):
    with pytest.raises(UsageError, match="no such rule") as refused:
        parse_threshold(text)
    assert refused.value.exit_code == 2
    assert all(form in refused.value.hint for form in FORMS)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("cost:1", "cost:FP:FN"),
        ("cost:1:2:3", "cost:FP:FN"),
        ("cost:a:b", "cost:FP:FN"),
        ("precision", "precision:P"),
        ("precision:", "precision:P"),
        ("fpr:high", "fpr:F"),
        ("fbeta", "fbeta:BETA"),
        ("f1:2", "f1"),
        ("0.5:3", "NUMBER"),
    ],
)
def test_a_wrong_count_of_numbers_is_answered_with_the_form(text, form):
    with pytest.raises(UsageError, match=f"--threshold {text}: it is written {form}"):
        parse_threshold(text)


@pytest.mark.parametrize(
    "text",
    [
        "1.01",
        "-0.1",
        "nan",
        "inf",
        "precision:1.2",
        "precision:nan",
        "fpr:-0.1",
        "fbeta:0",
        "fbeta:inf",
        "fbeta:1e200",
        "cost:-1:1",
        "cost:inf:1",
        "cost:1:1e308",
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(text):
    with pytest.raises(UsageError, match=rf"--threshold {text}: .* takes numbers from .* to "):
        parse_threshold(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("balanced-accuracy", 0.65),  # above the false alarm at 0.6: both cuts reach 5/6
        ("f1", 0.35),  # all three potable rows and one false alarm
        ("fbeta:0.5", 0.65),  # precision counts more
        ("cost:1:1", 0.65),
        ("cost:1:3", 0.35),  # a missed one costs three false alarms
        ("cost:10:1", 0.65),
        ("precision:1", 0.65),
        ("precision:0.75", 0.35),
        ("fpr:0", 0.65),
        ("fpr:0.34", 0.35),
        ("fpr:1", 0.35),  # the lower ones add false alarms and find nothing more
        ("0.42", 0.42),
    ],
)
def test_each_rule_cuts_where_a_hand_count_says(text, expected):
    assert tune_threshold(parse_threshold(text), Y, P) == pytest.approx(expected)


@given(rows=tuning_rows(), text=st.sampled_from(RULES))
@example(rows=(np.array([0, 1]), np.array(NEIGHBOURS[:2])), text="precision:0.7")
@example(rows=(np.array([0, 1]), np.array([0.0, 5e-324])), text="fpr:0.2")
@tried_on(150)
def test_no_threshold_serves_a_rule_better_and_ties_give_the_highest(rows, text):
    y, probability = rows
    rule = parse_threshold(text)
    candidates = each_set_of_calls(probability)
    utilities = np.array([utility(rule, y, calls) for calls in candidates], dtype=float)
    if not np.isfinite(utilities).any():
        with pytest.raises(DataRefusedError, match=f"No threshold reaches {text}"):
            tune_threshold(rule, y, probability)
        return
    threshold = tune_threshold(rule, y, probability)
    assert 0 <= threshold <= 1
    chosen = called(probability, threshold)
    best = np.flatnonzero(utilities >= utilities.max() - 1e-12)
    assert utility(rule, y, chosen) == pytest.approx(utilities.max())
    assert chosen.sum() == min(candidates[index].sum() for index in best)


@given(rows=tuning_rows(), precision=st.floats(0, 1))
def test_asked_precision_holds_on_the_tuning_rows(rows, precision):
    y, probability = rows
    try:
        threshold = tune_threshold(ThresholdRule("", "precision", (precision,)), y, probability)
    except DataRefusedError:
        best = max(
            precision_score(y, calls, zero_division=0.0) for calls in each_set_of_calls(probability)
        )
        assert best < precision
        return
    calls = called(probability, threshold)
    assert calls.any()
    assert precision_score(y, calls) >= precision - 1e-12


@given(rows=tuning_rows(), share=st.floats(0, 1))
def test_asked_false_positive_rate_holds_on_the_tuning_rows(rows, share):
    y, probability = rows
    threshold = tune_threshold(ThresholdRule("", "fpr", (share,)), y, probability)
    assert called(probability, threshold)[y == 0].mean() <= share + 1e-12


@given(
    rows=tuning_rows(),
    false_positive=st.floats(0, 1e6, allow_subnormal=False),
    false_negative=st.floats(0, 1e6, allow_subnormal=False),
)
def test_cost_rule_never_costs_more_than_calling_nothing_potable(
    rows, false_positive, false_negative
):
    y, probability = rows
    rule = ThresholdRule("", "cost", (false_positive, false_negative))
    calls = called(probability, tune_threshold(rule, y, probability))
    cost = false_positive * (calls > y).sum() + false_negative * (calls < y).sum()
    assert cost <= false_negative * y.sum() * (1 + 1e-12)


@given(rows=tuning_rows(), text=st.sampled_from(RULES))
def test_order_of_the_rows_does_not_matter(rows, text):
    y, probability = rows
    rule = parse_threshold(text)
    try:
        expected = tune_threshold(rule, y, probability)
    except DataRefusedError:
        return
    assert tune_threshold(rule, y[::-1], probability[::-1]) == expected


def test_when_nothing_is_worth_it_nothing_is_called_potable():
    threshold = tune_threshold(
        parse_threshold("cost:1000:1"), np.array([1, 0]), np.array([0.2, 0.8])
    )
    assert 0.8 < threshold <= 1


def test_a_certain_false_alarm_leaves_no_threshold_without_it():
    y, probability = np.array([0, 1]), np.array([1.0, 0.4])
    with pytest.raises(DataRefusedError, match="No threshold reaches fpr:0 "):
        tune_threshold(parse_threshold("fpr:0"), y, probability)
    assert tune_threshold(parse_threshold("f1"), y, probability) == pytest.approx(0.4)


def test_equal_probabilities_are_never_torn_apart():
    y, probability = np.array([1, 1, 0, 0]), np.full(4, 0.5)
    assert tune_threshold(parse_threshold("f1"), y, probability) == 0.5


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_unreachable_precision_is_refused_with_exit_code_1(cli, workdir):
    # Samples without any difference: each gets the base rate, and no cut does better than it.
    schema = load_schema()
    frame = pd.DataFrame({name: [1.0] * 100 for name in schema.measurements})
    frame.assign(Potability=[0, 1] * 50).to_csv("alike.csv", index=False)
    options = ("--plugin", "logreg", "--cv", "3x1", "--threshold", "precision:0.9")
    outcome = cli("train", "alike.csv", *options)
    assert outcome.code == 1
    assert "No threshold reaches precision:0.9 on the training rows." in outcome.err
    assert "Traceback" not in outcome.err
    client = connect("sqlite:///mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("waterflow").experiment_id])
    assert run.info.status == "FAILED"
    assert client.search_registered_models() == []


def test_a_ceiling_raises_a_threshold_only_where_it_is_broken():
    random = np.random.default_rng(0)
    y = (random.random(500) < 0.4).astype(np.int64)
    probability = np.clip(0.3 * y + 0.7 * random.random(500), 0, 1)
    plain = tune_threshold(parse_threshold("f1"), y, probability)
    assert tune_threshold(parse_threshold("f1+fpr:1"), y, probability) == plain
    for ceiling in (0.3, 0.05, 0.0):
        raised = tune_threshold(parse_threshold(f"f1+fpr:{ceiling}"), y, probability)
        assert raised > plain
        called = (probability[y == 0] >= raised).mean()
        assert ceiling - 0.01 <= called <= ceiling
    assert tune_threshold(parse_threshold("0.9+fpr:0.5"), y, probability) == 0.9


def test_a_rule_with_a_ceiling_is_read_again_as_it_is_written():
    rule = parse_threshold("cost:10:1+fpr:0.2")
    assert (rule.name, rule.arguments, rule.ceiling) == ("cost", (10.0, 1.0), 0.2)
    assert parse_threshold(rule.text) == rule


@pytest.mark.parametrize("text", ["f1+fpr:2", "f1+fpr:x", "f1+fpr:", "+fpr:0.5"])
def test_a_ceiling_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--threshold"):
        parse_threshold(text)


def test_a_ceiling_that_no_threshold_keeps_leaves_the_highest():
    y, probability = np.array([0, 1]), np.array([1.0, 1.0])
    assert tune_threshold(parse_threshold("f1+fpr:0"), y, probability) == 1
