"""How long something takes at present, by hand."""

import pytest

from service.inference.pace import Pace


def pace_after(*seconds: float) -> Pace:
    """A pace that has measured these."""
    pace = Pace()
    for measured_s in seconds:
        pace.record(measured_s)
    return pace


def test_two_measurements_are_not_believed_yet() -> None:
    assert pace_after(0.5, 0.5).seconds == 0


def test_slow_first_frame_does_not_count() -> None:
    """What is lazily initialised made the first one take 3 seconds."""
    assert pace_after(3.0, 0.02, 0.021).seconds == 0.02


def test_mean_moves_by_a_tenth_of_the_difference() -> None:
    """0.02 + 0.1 * (0.05 - 0.02) = 0.023; then 0.023 + 0.1 * (0.013 - 0.023) = 0.022."""
    assert pace_after(0.02, 0.02, 0.02, 0.05).seconds == pytest.approx(0.023)
    assert pace_after(0.02, 0.02, 0.02, 0.05, 0.013).seconds == pytest.approx(0.022)


def test_stall_counts_as_four_times_the_mean() -> None:
    """10 s at a mean of 0.02 s count as 0.08 s: 0.02 + 0.1 * 0.06 = 0.026."""
    assert pace_after(0.02, 0.02, 0.02, 10.0).seconds == pytest.approx(0.026)


def test_mean_of_nothing_grows_again() -> None:
    """Four times nothing would be nothing for ever: 10 ms count, a tenth of that is 1 ms."""
    assert pace_after(0.0, 0.0, 0.0, 5.0).seconds == pytest.approx(0.001)


def test_lasting_slowness_is_believed_within_forty_frames() -> None:
    """Ten times slower for good: the clamp grows with the mean."""
    assert pace_after(*[0.01] * 3, *[0.1] * 40).seconds == pytest.approx(0.1, rel=0.1)


def test_doubt_lowers_the_estimate_until_the_next_measurement() -> None:
    """Two refusals leave 0.95 squared of 0.1; a frame of 0.1 restores it."""
    pace = pace_after(0.1, 0.1, 0.1)
    pace.doubt()
    pace.doubt()
    assert pace.seconds == pytest.approx(0.09025)
    pace.record(0.1)
    assert pace.seconds == pytest.approx(0.1)
