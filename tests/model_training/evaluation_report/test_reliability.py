import numpy as np
import pytest

from model_training.evaluation import Judged
from model_training.evaluation_report.reliability import disagreements, error_by_chance, reliability
from service.inference.artifact import Figure


def judged(present, probabilities):
    count = len(present)
    groups = tuple(str(row) for row in range(count))
    return Judged("set", "car", np.arange(count), np.array(present, bool), np.array(probabilities), groups)


def gap(value, low, high, metric="calibration_gap"):
    return Figure(test_set="set", label="car", metric=metric, value=value, low=low, high=high, n=40, positives=9)


def test_bins_hold_some_twenty_frames_each():
    """40 frames are two bins: 10 of 20 present at 0.25, 15 of 20 at 0.75."""
    found = reliability(judged([1] * 10 + [0] * 10 + [1] * 15 + [0] * 5, [0.25] * 20 + [0.75] * 20))
    assert [(b.probability, b.frequency, b.n) for b in found.bins] == [(0.25, 0.5, 20), (0.75, 0.75, 20)]
    # Half of the frames are 0.25 off, the others not at all.
    assert found.error == pytest.approx(0.125)


def test_few_frames_are_one_bin():
    assert [b.n for b in reliability(judged([1, 0, 1], [0.1, 0.2, 0.3])).bins] == [3]


def test_sure_probabilities_have_no_error_by_chance():
    """Where every frame is certain, a calibrated network is never wrong."""
    assert error_by_chance(np.array([0.0, 1.0, 1.0, 0.0])) == 0


def test_error_by_chance_is_that_of_a_coin():
    """All of n frames at 0.5 are one bin; its error is |heads / n - 0.5|, whose 95th percentile is 1.96 * 0.5 / 20."""
    assert error_by_chance(np.full(400, 0.5), draws=4000) == pytest.approx(1.96 * 0.5 / 20, abs=0.004)


def test_error_by_chance_is_the_same_for_the_same_seed():
    probabilities = np.linspace(0.05, 0.95, 30)
    assert error_by_chance(probabilities, 3, 50) == error_by_chance(probabilities, 3, 50)


def test_gap_whose_interval_leaves_out_zero_is_a_disagreement():
    said = disagreements([gap(0.2, 0.1, 0.3), gap(-0.15, -0.25, -0.05), gap(0.01, -0.02, 0.04)])
    assert said == [
        "car in set: probabilities are too high by 0.200 on average (0.100 to 0.300, n 40)",
        "car in set: probabilities are too low by 0.150 on average (0.050 to 0.250, n 40)",
    ]


def test_other_metrics_are_no_disagreement():
    assert disagreements([gap(0.2, 0.1, 0.3, metric="brier_score")]) == []
