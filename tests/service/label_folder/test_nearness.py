"""Nearness is a distance of logits."""

import math

import pytest

from service.label_folder.nearness import distance, near_labels


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        (0.5, 0.5, 0.0),
        (0.75, 0.5, math.log(3)),  # odds 3 against odds 1
        (0.2, 0.5, math.log(4)),  # odds 1/4 against odds 1
        (0.04, 0.02, math.log((4 / 96) / (2 / 98))),
    ],
)
def test_distance_is_the_logarithm_of_the_ratio_of_odds(probability: float, threshold: float, expected: float) -> None:
    assert distance(probability, threshold) == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_certainty_is_far_from_every_threshold_but_its_own_and_finite(threshold: float) -> None:
    far = [distance(probability, threshold) for probability in (0.0, 1.0)]
    assert all(math.isfinite(value) for value in far)
    assert max(far) > 14  # log(2e6), the odds of what is shown as 1


def test_near_labels_come_nearest_first_and_others_are_left_out() -> None:
    """log(1.5) = 0.41 for 0.6 around 0.5, log(3) = 1.10 for 0.75, 0 for what is at its threshold."""
    probabilities = {"car": 0.6, "sign": 0.1, "light": 0.75, "person": 0.3}
    thresholds = {"car": 0.5, "sign": 0.1, "light": 0.5, "person": 0.3}
    near = near_labels(probabilities | {"person": 0.9}, thresholds, margin=1.0)
    assert list(near) == ["sign", "car"]
    assert near["car"] == pytest.approx(math.log(1.5))


def test_a_margin_takes_in_what_lies_on_it() -> None:
    assert near_labels({"car": 0.75}, {"car": 0.5}, margin=distance(0.75, 0.5)).keys() == {"car"}
