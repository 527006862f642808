import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss
from sklearn.metrics import f1_score as sklearn_f1_score

from model_training.metrics import (
    Measured,
    average_precision,
    brier_score,
    calibration_gap,
    confusion,
    decidable,
    expected_calibration_error,
    f1_score,
    interval,
    label_average_precisions,
    mean_average_precision,
    measured,
    precision_recall,
    reliability_bins,
)

# A busy machine takes its time.
UNTIMED = settings(deadline=None)
# Few levels, so that ties are common.
SCORED = st.lists(st.tuples(st.booleans(), st.integers(0, 8).map(lambda level: level / 8)), min_size=1, max_size=40)


def columns(pairs):
    present, scores = zip(*pairs, strict=True)
    return np.array(present), np.array(scores)


@UNTIMED
@given(SCORED)
def test_average_precision_is_that_of_scikit_learn_also_with_ties(pairs):
    present, scores = columns(pairs)
    if present.any():
        assert average_precision(present, scores) == pytest.approx(average_precision_score(present, scores))


@UNTIMED
@given(SCORED)
def test_brier_score_is_that_of_scikit_learn(pairs):
    present, scores = columns(pairs)
    expected = brier_score_loss(present, scores, labels=[False, True])
    assert brier_score(present, scores) == pytest.approx(expected)


@UNTIMED
@given(SCORED)
def test_f1_is_that_of_scikit_learn(pairs):
    present, scores = columns(pairs)
    decided = scores >= 0.5
    assert f1_score(present, decided) == pytest.approx(sklearn_f1_score(present, decided, zero_division=0.0))


def test_average_precision_of_three_frames_by_hand():
    # Ranks: present (precision 1/1), absent, present (2/3); each positive is half of the recall.
    value = average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_frames_with_equal_scores_enter_together():
    # All three at once: precision 1/3 for the whole recall, in whatever order the frames stand.
    assert average_precision(np.array([True, False, False]), np.full(3, 0.4)) == pytest.approx(1 / 3)


def test_average_precision_without_a_positive_is_undefined():
    assert math.isnan(average_precision(np.array([False, False]), np.array([0.1, 0.2])))


def test_calibration_error_by_hand():
    # Two bins of two: |0.15 - 0| and |0.8 - 0.5|, weighted alike.
    value = expected_calibration_error(np.array([False, False, True, False]), np.array([0.1, 0.2, 0.7, 0.9]), bins=2)
    assert value == pytest.approx((0.15 + 0.3) / 2)


def test_calibration_error_with_a_bin_per_frame_is_the_mean_distance():
    value = expected_calibration_error(np.array([True, False]), np.array([0.9, 0.4]), bins=15)
    assert value == pytest.approx((0.1 + 0.4) / 2)


def test_probability_that_equals_the_frequency_has_no_calibration_error():
    assert expected_calibration_error(np.array([True, True, True, False]), np.full(4, 0.75)) == pytest.approx(0)


@given(SCORED, st.randoms(use_true_random=False))
def test_calibration_error_does_not_depend_on_the_order_of_frames(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    values = [expected_calibration_error(*columns(order), bins=4) for order in (pairs, shuffled)]
    assert values[0] == pytest.approx(values[1])


def test_metrics_of_no_frame_are_undefined():
    empty, none = np.empty(0, bool), np.empty(0)
    assert math.isnan(expected_calibration_error(empty, none))
    assert math.isnan(brier_score(empty, none))
    assert f1_score(empty, empty) == 0


def test_f1_by_hand():
    # One hit, one false alarm, one miss.
    assert f1_score(np.array([True, False, True]), np.array([True, True, False])) == pytest.approx(2 / 4)


def test_unknown_entries_do_not_count():
    """The value and both counts are those of the known rows alone."""
    entries, scores = np.array([1, -1, 0, -1, 1], np.int8), np.array([0.9, 0.99, 0.8, 0.0, 0.7])
    found = measured(average_precision, entries, scores, list("abcde"), resamples=50)
    assert (found.value, found.n, found.positives) == (pytest.approx(5 / 6), 3, 2)
    known = measured(average_precision, entries[entries >= 0], scores[entries >= 0], list("ace"), resamples=50)
    assert found == known


def test_interval_of_a_single_scene_is_its_value():
    """Resampling scenes can only draw the one there is, however many frames it has."""
    entries, scores = np.array([1, 0] * 20, np.int8), np.linspace(0, 1, 40)
    found = measured(brier_score, entries, scores, ["scene"] * 40, resamples=20)
    assert found.low == pytest.approx(found.value)
    assert found.high == pytest.approx(found.value)


def test_copies_of_a_frame_within_its_scene_add_no_certainty():
    """Fifty identical frames of each scene give the interval of one frame of each."""
    present, scores = np.array([1, 0, 1, 0, 1, 0], np.int8), np.array([0.9, 0.6, 0.3, 0.1, 0.8, 0.5])
    scenes = list("abcdef")
    single = measured(brier_score, present, scores, scenes, resamples=200)
    copied = measured(brier_score, present.repeat(50), scores.repeat(50), np.repeat(scenes, 50).tolist(), resamples=200)
    assert (copied.low, copied.high) == (pytest.approx(single.low), pytest.approx(single.high))
    apart = [str(row) for row in range(300)]
    claimed = measured(brier_score, present.repeat(50), scores.repeat(50), apart, resamples=200)
    assert claimed.high - claimed.low < (single.high - single.low) / 2


def test_whole_scenes_are_drawn_with_replacement():
    drawn = []

    def seen(rows):
        drawn.append(sorted(rows.tolist()))
        return 0.0

    interval(seen, ["x", "y", "x"], resamples=100)
    # Two draws out of {0, 2} and {1}.
    assert {tuple(rows) for rows in drawn} == {(0, 0, 2, 2), (0, 1, 2), (1, 1)}


def test_interval_is_the_middle_95_percent():
    """1001 scenes of one frame: the mean of a fair coin has a standard error of 0.5 / sqrt(n)."""
    coin = np.arange(1001) % 2
    low, high = interval(lambda rows: float(coin[rows].mean()), [str(row) for row in range(1001)], resamples=2000)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / math.sqrt(1001), abs=0.003)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / math.sqrt(1001), abs=0.003)


def test_resamples_on_which_a_metric_is_undefined_are_left_out():
    # The positive is the better frame: every draw that holds it has average precision 1.
    found = measured(average_precision, np.array([1, 0], np.int8), np.array([0.9, 0.1]), ["a", "b"], resamples=50)
    assert found == Measured(1.0, 1.0, 1.0, n=2, positives=1, scenes=2)


def test_label_that_nobody_knows_is_undefined():
    found = measured(average_precision, np.full(3, -1, np.int8), np.zeros(3), list("abc"))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert (found.n, found.positives) == (0, 0)


def test_same_seed_gives_the_same_interval():
    entries, scores = np.array([1, 0, 1, 0], np.int8), np.array([0.9, 0.6, 0.3, 0.1])
    runs = [measured(brier_score, entries, scores, list("abcd"), resamples=30, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_mean_leaves_out_labels_without_a_known_positive():
    entries = np.array([[1, 0, 1], [0, -1, 0], [-1, 0, 1]], np.int8)
    scores = np.array([[0.2, 0.9, 0.9], [0.7, 0.1, 0.8], [0.9, 0.5, 0.7]])
    # First label: its positive is second of two. Second: none. Third: as in the three frames by hand.
    assert label_average_precisions(entries, scores) == pytest.approx([0.5, math.nan, 5 / 6], nan_ok=True)
    assert mean_average_precision(entries, scores) == pytest.approx((0.5 + 5 / 6) / 2)


def test_mean_of_labels_that_are_all_undefined_is_undefined():
    assert math.isnan(mean_average_precision(np.zeros((2, 2), np.int8), np.zeros((2, 2))))


@settings(UNTIMED, max_examples=30)
@given(SCORED)
def test_value_lies_within_zero_and_one(pairs):
    present, scores = columns(pairs)
    entries = present.astype(np.int8)
    for metric in (average_precision, brier_score, expected_calibration_error):
        found = measured(metric, entries, scores, [str(row // 3) for row in range(len(pairs))], resamples=5)
        assert math.isnan(found.value) or 0 <= found.value <= 1 + 1e-12


def test_precision_and_recall_at_each_distinct_score_by_hand():
    """0.9 present; 0.8 present and absent together: half of the positives, then all of them at 2 of 3."""
    recall, precision = precision_recall(np.array([True, True, False]), np.array([0.9, 0.8, 0.8]))
    assert recall.tolist() == [0.5, 1]
    assert precision == pytest.approx([1, 2 / 3])


def test_confusion_counts_each_frame_once():
    present = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    found = confusion(present, np.array([1, 1, 0, 1, 0, 0, 0], bool))
    counts = found.true_positive, found.false_positive, found.false_negative, found.true_negative
    assert counts == (2, 1, 1, 3)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_precision_of_no_decision_is_undefined():
    nothing = confusion(np.array([True]), np.array([False]))
    assert np.isnan(nothing.precision)
    assert nothing.recall == 0


def test_reliability_bins_are_those_of_the_calibration_error():
    """Two bins of two: 0.1 and 0.3 with one present, 0.8 and 1.0 with both."""
    present, probabilities = np.array([True, False, True, True]), np.array([0.3, 0.1, 0.8, 1.0])
    bins = reliability_bins(present, probabilities, bins=2)
    assert [(round(b.probability, 6), b.frequency, b.n) for b in bins] == [(0.2, 0.5, 2), (0.9, 1.0, 2)]
    weighted = sum(b.n / 4 * abs(b.probability - b.frequency) for b in bins)
    assert expected_calibration_error(present, probabilities, bins=2) == pytest.approx(weighted)


def test_calibration_gap_is_above_zero_where_probabilities_are_too_high():
    assert calibration_gap(np.array([True, False]), np.array([0.9, 0.5])) == pytest.approx(0.2)
    assert calibration_gap(np.array([True, True]), np.array([0.9, 0.5])) == pytest.approx(-0.3)
    assert np.isnan(calibration_gap(np.array([], bool), np.array([])))


def test_only_labels_of_both_kinds_are_decidable():
    """Both kinds, present alone, absent alone, unknown, and both among unknown ones."""
    assert decidable(np.array([[1, 1, 0, -1, -1], [0, 1, -1, -1, 0], [-1, -1, 0, -1, 1]], np.int8)) == [0, 4]
