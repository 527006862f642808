import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from model_training.errors import InvalidConfiguration, ThresholdUnreachable
from model_training.held_out import HeldOut
from model_training.thresholds import UNDECIDED, not_chosen, reached, rules, thresholds, told
from service.inference.artifact import ThresholdRule
from tests.model_training.tables import table_of


def threshold_of(entries, probabilities, rule="f1"):
    table = table_of([[entry] for entry in entries], labels=("car",))
    return thresholds(HeldOut.of(table), np.array(probabilities, float)[:, None], rules([rule], ["car"]))["car"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 0, -1]), st.floats(0, 1)), min_size=2, max_size=25))
def test_threshold_has_the_best_f1_that_a_search_over_all_finds(rows):
    """Among those that call some known entries present and others absent, however close the scores are."""
    entries, scores = (np.array(column) for column in zip(*rows, strict=True))
    known = entries >= 0
    truth, levels = entries[known], np.unique(scores[known])
    found = threshold_of(entries, scores)
    if len(set(truth.tolist())) < 2 or len(levels) < 2:
        assert found == UNDECIDED
    else:
        best = max(f1_score(truth, scores[known] >= level, zero_division=0.0) for level in levels[1:])
        assert f1_score(truth, scores[known] >= found, zero_division=0.0) == pytest.approx(best)


def test_threshold_lies_midway_between_the_scores_it_parts():
    # Calling 0.6 and 0.9 present: 2 hits, no false alarm, no miss.
    assert threshold_of([1, 1, 0, 0], [0.9, 0.6, 0.3, 0.1]) == pytest.approx(0.45)


def test_threshold_may_take_a_false_alarm_to_miss_nothing():
    # At 0.2..0.4: F1 = 2 * 2 / (2 + 3); at 0.8..0.9: 2 * 1 / (2 + 1).
    assert threshold_of([1, 0, 1, 0, 0], [0.9, 0.8, 0.4, 0.2, 0.1]) == pytest.approx(0.3)


def test_unknown_entries_do_not_move_a_threshold():
    assert threshold_of([1, -1, 0, -1], [0.9, 0.3, 0.1, 0.7]) == pytest.approx(0.5)
    assert threshold_of([1, 0], [0.8, 0.1]) == threshold_of([1, -1, 0], [0.8, 0.4, 0.1])


def test_very_small_scores_are_still_parted():
    """Rounded to a fixed number of digits the threshold would be 0, and everything would be present."""
    assert threshold_of([1, 0], [3e-7, 2e-7]) == 2.5e-7
    assert threshold_of([1, 0], [0.9999998, 0.9999996]) == 0.9999997


def test_neighbouring_numbers_are_still_parted():
    above = float(np.nextafter(0.5, 1))
    assert threshold_of([1, 0], [above, 0.5]) == above


@pytest.mark.parametrize("entries", [[1, 1, 1], [0, 0, 0], [-1, -1, -1], [1, -1, -1]])
def test_label_of_one_kind_is_undecided(entries):
    assert threshold_of(entries, [0.9, 0.8, 0.1]) == UNDECIDED


def test_equal_scores_are_undecided():
    assert threshold_of([1, 0, 1], [0.2, 0.2, 0.2]) == UNDECIDED


def test_each_label_has_its_own_threshold():
    table = table_of([[1, 0], [0, 1]], labels=("car", "stop_sign"))
    probabilities_NL = np.array([[0.9, 0.1], [0.5, 0.3]], np.float32)
    found = thresholds(HeldOut.of(table), probabilities_NL, rules([], table.labels))
    assert found == {"car": pytest.approx(0.7), "stop_sign": pytest.approx(0.2)}


def weighed_threshold(rule):
    """Scores 0.9, 0.6, 0.3, 0.1; present with 1, 0.5, 0.25, 0; counting 1, 0.5, 1, 1."""
    held_out = HeldOut(("car",), np.array([[1.0], [0.5], [0.25], [0.0]]), np.array([[1.0], [0.5], [1.0], [1.0]]))
    probabilities_NL = np.array([[0.9], [0.6], [0.3], [0.1]])
    return thresholds(held_out, probabilities_NL, rules([rule], ["car"]))["car"]


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        # From 0.9 on: 2 * 1 / (1.5 + 1) = 0.8; from 0.6: 2 * 1.25 / (1.5 + 1.5) = 0.83; from 0.3: 3 / (1.5 + 2.5).
        ("f1", 0.45),
        # 1.25 of 1.5 decided ones are hits, which is 0.833; from 0.3 on 1.5 of 2.5.
        ("precision=0.8", 0.45),
        # Of 1.5 present, 1.25 are found from 0.6 on, all from 0.3 on.
        ("recall=0.8", 0.45),
        ("recall=0.9", 0.2),
    ],
)
def test_expected_hits_decide_where_a_teacher_says_how_likely_a_label_is(rule, threshold):
    assert weighed_threshold(rule) == pytest.approx(threshold)


# Present, absent, present, present, absent from the highest score down: precision is 1, 1/2, 2/3, 3/4 from each of the
# four upper scores on, recall 1/3, 1/3, 2/3, 1.
MIXED = ([1, 0, 1, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        ("precision=0.75", 0.3),
        ("precision=0.7", 0.3),
        ("precision=0.76", 0.85),
        ("precision=1", 0.85),
        ("recall=0.3", 0.85),
        ("recall=0.34", 0.5),
        ("recall=0.66", 0.5),
        ("recall=1", 0.3),
        ("f1", 0.3),
    ],
)
def test_threshold_follows_its_rule(rule, threshold):
    """The lowest with the precision, the highest with the recall; F1 is 6/7 from 0.4 on."""
    assert threshold_of(*MIXED, rule) == pytest.approx(threshold)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from([1, 0, -1]), st.floats(0, 1)), min_size=4, max_size=25),
    st.sampled_from(["precision", "recall"]),
    st.integers(1, 10),
)
def test_rule_holds_at_the_threshold_and_at_none_beyond_it(rows, metric, tenths):
    """Beyond: below it for a precision, above it for a recall; sklearn counts."""
    entries, scores = (np.array(column) for column in zip(*rows, strict=True))
    known = entries >= 0
    truth, values = entries[known], scores[known]
    measure = {"precision": precision_score, "recall": recall_score}[metric]
    reached = [
        level for level in np.unique(values)[1:] if measure(truth, values >= level, zero_division=0.0) >= tenths / 10
    ]
    try:
        found = threshold_of(entries, scores, f"{metric}={tenths / 10}")
    except ThresholdUnreachable:
        assert not reached or len(set(truth.tolist())) < 2
    else:
        expected = values >= (min(reached) if metric == "precision" else max(reached))
        assert ((values >= found) == expected).all()


@pytest.mark.parametrize(
    ("entries", "scores", "why"),
    [
        ([1, 1, -1], [0.9, 0.8, 0.1], "not chosen: 2 present, 0 absent held out"),
        ([0, -1, -1], [0.9, 0.8, 0.1], "not chosen: 0 present, 1 absent held out"),
        ([-1, -1, -1], [0.9, 0.8, 0.1], "not chosen: 0 present, 0 absent held out"),
        ([1, 0, 0], [0.2, 0.2, 0.2], "not chosen: 1 present, 2 absent held out, scored alike"),
    ],
)
def test_threshold_that_nothing_could_be_chosen_by_says_why(entries, scores, why):
    table = table_of([[entry, known] for entry, known in zip(entries, [1, 0, 0], strict=True)], labels=("car", "tram"))
    probabilities_NL = np.column_stack([scores, [0.9, 0.8, 0.1]])
    assert not_chosen(HeldOut.of(table), probabilities_NL) == {"car": why}


def test_rule_that_no_threshold_satisfies_says_what_is_reachable():
    entries, scores = [0, 1, 1, 0], [0.9, 0.8, 0.7, 0.1]
    said = (
        r"car: no threshold has precision >= 0.9 on the 4 entries .* highest is 0\.6667, from the probability 0\.7 on"
    )
    with pytest.raises(ThresholdUnreachable, match=said):
        threshold_of(entries, scores, "precision=0.9")


def test_recall_that_only_always_present_would_reach_is_unreachable():
    """The lowest score is a present one: to find it, everything would have to be called present."""
    with pytest.raises(ThresholdUnreachable, match=r"recall >= 1 .* the highest is 0\.5000"):
        threshold_of([1, 0, 1], [0.9, 0.5, 0.1], "recall=1")


@pytest.mark.parametrize("entries", [[1, 1, 1], [0, 0, 0], [-1, -1, -1]])
def test_label_of_one_kind_has_no_precision_to_aim_at(entries):
    with pytest.raises(ThresholdUnreachable, match=r"car: the [03] entries .* give it --threshold car:f1"):
        threshold_of(entries, [0.9, 0.8, 0.1], "precision=0.5")


def test_labels_own_rule_outweighs_the_one_for_all():
    found = rules(["recall=0.9", "stop_sign:precision=0.95", "tram:f1"], ["car", "stop_sign", "tram"])
    assert found == {
        "car": ThresholdRule(metric="recall", at_least=0.9),
        "stop_sign": ThresholdRule(metric="precision", at_least=0.95),
        "tram": ThresholdRule(),
    }
    assert set(rules([], ["car", "tram"]).values()) == {ThresholdRule()}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["best"], "'best' is not [LABEL:]f1"),
        (["precision"], "'precision' is not"),
        (["precision=high"], "'precision=high' is not"),
        (["precision=0"], "'precision=0' is not"),
        (["recall=1.1"], "'recall=1.1' is not"),
        (["f1=0.5"], "'f1=0.5' is not"),
        (["tarm:f1"], "'tarm' is no label; the labels are car, tram"),
        (["f1", "recall=0.5"], "all labels had a rule before"),
        (["car:f1", "car:recall=0.5"], "car had a rule before"),
    ],
)
def test_choice_that_is_no_rule_is_named_with_what_is_allowed(choices, message):
    with pytest.raises(InvalidConfiguration, match=re.escape(message)):
        rules(choices, ["car", "tram"])


def test_rule_is_told_in_words():
    assert told(ThresholdRule()) == "best F1"
    assert told(ThresholdRule(metric="recall", at_least=0.98)) == "highest with recall >= 0.98"


@pytest.mark.parametrize(
    ("rule", "score"), [("f1", f1_score), ("precision=0.5", precision_score), ("recall=0.5", recall_score)]
)
def test_what_a_threshold_reaches_is_what_its_rule_looks_at(rule, score):
    """Of other scores than those that it was chosen by, as scikit-learn has it; an unknown entry counts for nothing."""
    entries, scores = [1, 1, 0, 0, 1, -1], np.array([0.9, 0.4, 0.8, 0.1, 0.7, 0.95])
    held_out = HeldOut.of(table_of([[entry] for entry in entries], labels=("car",)))
    found = reached(held_out, scores[:, None], rules([rule], ["car"]), {"car": 0.65})
    assert found == {"car": pytest.approx(score(entries[:5], scores[:5] >= 0.65))}


@pytest.mark.parametrize("rule", ["f1", "precision=0.5", "recall=0.5"])
@pytest.mark.parametrize(("entries", "found"), [([1, 1], {}), ([1, 0], {"car": 0.0})], ids=["one kind", "both kinds"])
def test_a_threshold_above_all_scores_reaches_nothing(entries, found, rule):
    """Of one kind there is nothing to tell."""
    held_out = HeldOut.of(table_of([[entry] for entry in entries], labels=("car",)))
    assert reached(held_out, np.array([[0.9], [0.1]]), rules([rule], ["car"]), {"car": 0.95}) == found
