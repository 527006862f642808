"""Differences are paired, and their intervals cover seeds and scenes."""

import math

import numpy as np
import pytest

from model_training.comparison.statistics import PairedScores, _resampled, paired_differences
from model_training.metrics import average_precision, interval


def seed_of(entries, ours, theirs, groups=None):
    """One label unless the lists hold rows of several."""
    columns = (np.asarray(values, float).reshape(len(entries), -1) for values in (ours, theirs))
    entries_NL = np.asarray(entries, np.int8).reshape(len(entries), -1)
    return PairedScores(entries_NL, np.asarray(groups or range(len(entries)), np.str_), *columns)


def test_difference_of_three_frames_by_hand():
    """Present, absent, present. Ours ranks them 1, 2, 3: 1/2 + 1/2 * 2/3 = 5/6; theirs ranks the absent one last: 1."""
    found, mean = paired_differences([seed_of([1, 0, 1], [0.9, 0.8, 0.7], [0.9, 0.1, 0.8])], ("car",), resamples=10)
    assert (found.label, mean.label) == ("car", "mean")
    assert (found.ours, found.theirs) == (pytest.approx(5 / 6), 1)
    assert found.difference == pytest.approx(-1 / 6)
    assert found.by_seed == (pytest.approx(-1 / 6),)
    assert (found.n, found.positives) == (3, 2)


def test_unknown_entries_count_for_nothing():
    """The same with an unknown frame that ours would rank first."""
    seed = seed_of([-1, 1, 0, 1], [1.0, 0.9, 0.8, 0.7], [0.0, 0.9, 0.1, 0.8])
    found, _ = paired_differences([seed], ("car",), resamples=10)
    assert found.difference == pytest.approx(-1 / 6)
    assert found.n == 3


def test_arms_that_say_the_same_differ_by_nothing_at_all():
    """However uncertain each of them is by itself: the interval is of the difference, on the same frames."""
    random = np.random.default_rng(0)
    scores = random.random(30)
    found, _ = paired_differences([seed_of(random.integers(0, 2, 30), scores, scores)], ("car",), resamples=50)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_interval_covers_the_seeds():
    """Every scene holds a present and an absent frame, so that scenes tell nothing: in one seed ours is perfect (1)
    and theirs blind (1/2), in the other both are blind. Two drawn seeds differ by 0, 1/4, 1/4 or 1/2, alike often."""
    entries, blind, groups = [1, 0] * 5, [0.5] * 10, sorted([*range(5), *range(5)])
    seeds = [seed_of(entries, entries, blind, groups), seed_of(entries, blind, blind, groups)]
    found, _ = paired_differences(seeds, ("car",), resamples=400)
    assert (found.difference, found.low, found.high) == (0.25, 0, 0.5)
    assert found.by_seed == (0.5, 0)


def test_interval_of_one_seed_is_that_of_its_scenes():
    """As the bootstrap over groups that all other figures have computes it."""
    random = np.random.default_rng(1)
    entries, groups = random.integers(0, 2, 60), sorted([*range(20)] * 3)
    ours, theirs = entries + random.normal(0, 0.8, 60), entries + random.normal(0, 1.2, 60)
    found, _ = paired_differences([seed_of(entries, ours, theirs, groups)], ("car",), resamples=1200)

    def difference(rows):
        return average_precision(entries[rows] == 1, ours[rows]) - average_precision(entries[rows] == 1, theirs[rows])

    low, high = interval(difference, [str(group) for group in groups], resamples=1200, seed=5)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    assert high - low > 0.1


def test_seeds_see_the_same_draw_of_scenes():
    """In the second seed the arms are swapped: whenever both seeds are drawn, half of all times, nothing is left."""
    random = np.random.default_rng(2)
    entries, groups = random.integers(0, 2, 40), sorted([*range(20)] * 2)
    ours, theirs = random.random(40), random.random(40)
    seeds = [seed_of(entries, ours, theirs, groups), seed_of(entries, theirs, ours, groups)]
    nothing = np.isclose(_resampled(seeds, 400, 0)[:, 0], 0).mean()
    assert nothing == pytest.approx(0.5, abs=0.1)


def test_mean_over_labels_is_that_of_their_differences():
    """Of the second label theirs ranks the absent frame first: (1/2 + 2/3) / 2."""
    entries = [[1, 1], [0, 0], [1, 1]]
    ours, theirs = [[0.9, 0.9], [0.8, 0.1], [0.7, 0.8]], [[0.9, 0.5], [0.1, 0.9], [0.8, 0.4]]
    car, tram, mean = paired_differences([seed_of(entries, ours, theirs)], ("car", "tram"), resamples=10)
    assert tram.theirs == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean.difference == pytest.approx((car.difference + tram.difference) / 2)
    assert (mean.n, mean.positives) == (6, 4)


def test_draws_of_scenes_without_a_positive_are_left_out():
    """One positive among four: three of ten draws miss it, and say nothing about precision."""
    found, _ = paired_differences([seed_of([1, 0, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4])], ("car",), resamples=200)
    assert np.isnan(_resampled([seed_of([1, 0, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4])], 200, 0)).any()
    assert found.difference == 0.75
    assert not math.isnan(found.low + found.high)
