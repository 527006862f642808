import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from model_training.held_out import HeldOut
from model_training.thresholds import UNDECIDED, rules, thresholds
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
