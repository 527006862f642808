import math

import numpy as np
import pytest

from model_training.evaluation_report.yardstick import comparisons
from tests.model_training.tables import table_of

NAN = math.nan


def compared(entries, ours, theirs, resamples=50, **columns):
    table = table_of(entries, ("car", "stop_sign")[: len(entries[0])], **columns)
    found = comparisons(table, np.array(ours), np.array(theirs), {"set": ("s",)}, resamples)
    return {one.label: one for one in found}


def test_both_are_measured_on_the_same_entries():
    """Ours ranks the present first and third (5/6), the yardstick second and third: (1/2 + 2/3) / 2."""
    found = compared([[1], [0], [1]], [[0.9], [0.8], [0.7]], [[0.5], [0.9], [0.4]])["car"]
    assert (found.ours, found.yardstick) == pytest.approx((5 / 6, (1 / 2 + 2 / 3) / 2), abs=5e-5)
    assert found.difference == pytest.approx(5 / 6 - 7 / 12, abs=5e-5)
    assert (found.n, found.positives) == (3, 2)


def test_entries_without_a_score_are_left_out_for_both():
    """The frame on which ours is wrong has no score, so ours is perfect on what is left."""
    found = compared([[1], [0], [0]], [[0.5], [0.1], [0.9]], [[0.3], [0.6], [NAN]])["car"]
    assert (found.ours, found.yardstick, found.n) == (1.0, 0.5, 2)


def test_mean_is_over_the_labels_of_the_set():
    entries = [[1, 1], [0, 0], [1, -1]]
    found = compared(entries, [[0.9, 0.2], [0.8, 0.6], [0.7, 0]], [[0.9, 0.9], [0.1, 0.1], [0.8, 0]])
    assert found["mean"].ours == pytest.approx((5 / 6 + 1 / 2) / 2, abs=5e-5)
    assert found["mean"].yardstick == 1.0
    assert (found["mean"].n, found["mean"].positives) == (5, 3)


def test_scores_that_are_the_same_never_differ():
    """Resamples are paired: whatever scenes are drawn, the difference is 0."""
    random = np.random.default_rng(0)
    entries, scores = random.integers(0, 2, (30, 2)), random.random((30, 2))
    for one in compared(entries.tolist(), scores, scores).values():
        assert (one.difference, one.low, one.high) == (0, 0, 0)


def test_interval_is_paired():
    """Ours is better in every scene alike, so the difference is certain, although each precision varies."""
    scenes = [frame // 2 for frame in range(20)]
    found = compared([[1], [0]] * 10, [[0.9], [0.1]] * 10, [[0.1], [0.9]] * 10, groups=scenes)["car"]
    assert found.high == found.low == found.difference > 0.4


def test_label_that_the_yardstick_does_not_know_is_left_out():
    found = compared([[1, 1], [0, 0]], [[0.9, 0.9], [0.1, 0.1]], [[0.9, NAN], [0.2, NAN]])
    assert set(found) == {"car", "mean"}


def test_no_difference_is_nan_where_no_resample_tells_anything():
    found = compared([[1], [0]], [[0.9], [0.1]], [[0.9], [0.2]], resamples=0)["car"]
    assert (found.low, found.high) == (-1.0, 1.0)
