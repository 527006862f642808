"""What the measurement of starts calls a fault."""

import pytest

from benchmarks.startup import Memory, Start, faults


def start(seconds: float = 0.5, highest_mib: float = 150.0, workers: int = 1) -> Start:
    """A start of processes of one size."""
    held = [Memory("process", highest_mib - 10, highest_mib - 20, highest_mib)]
    return Start(workers, seconds, held, held)


def test_median_start_and_largest_process_within_bounds_are_no_fault() -> None:
    """One slow start of three does not move the median."""
    assert list(faults([start(2.0, 350.0), start(9.0), start(1.0)])) == []


@pytest.mark.parametrize(
    ("starts", "fault"),
    [
        ([start(), start(2.01, workers=2)], "with --workers 2 the median start takes 2.01 s; asked are 2 s"),
        ([start(), start(highest_mib=351.0)], "a process held 351 MiB; asked are at most 350 MiB"),
    ],
)
def test_each_bound_that_is_not_kept_is_a_fault(starts: list[Start], fault: str) -> None:
    assert list(faults(starts)) == [fault]
