"""What the soak calls a fault."""

import pytest

from benchmarks.soak.crowd import form, raw
from benchmarks.soak.report import Phase, Report, Resources


def report(
    leaving_p99_ms: float = 50.0,
    last_mib: float = 200.0,
    queue_frames: float = 0.0,
    statuses: dict[str, int] | None = None,
) -> Report:
    """A run beside a patient crowd with a p99 of 50 ms, in 200 MiB when warm."""
    phases = [
        Phase("patient", 100, 20.0, 50.0, {"200": 10}, 90.0),
        Phase("leaving", 100, 20.0, leaving_p99_ms, statuses or {"left": 90, "200": 10}, 90.0),
    ]
    resources = [Resources(0, 90.0, 20), Resources(20, 200.0, 20), Resources(100, last_mib, 20)]
    return Report(phases, resources, {"roadcue_queue_frames": queue_frames})


def test_run_that_leaves_nothing_behind_has_no_fault() -> None:
    """Memory may still grow to its size before the first fifth of the requests, and by 5 % after it."""
    assert list(report(last_mib=209.0).faults()) == []


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (report(leaving_p99_ms=56.0), "p99 is 56.0 ms beside a leaving crowd, 50.0 ms beside a patient one"),
        (report(last_mib=211.0), "memory grew from 200.0 to 211.0 MiB"),
        (report(queue_frames=1.0), "the service still holds {'roadcue_queue_frames': 1.0}"),
        (report(statuses={"left": 9, "500": 1, "503": 2}), "leaving: answers {'500': 1, '503': 2}"),
    ],
)
def test_each_promise_that_is_broken_is_one_fault(bad: Report, fault: str) -> None:
    assert list(bad.faults()) == [fault]


def test_requests_announce_the_bytes_that_they_hold() -> None:
    for request in (raw(b"12345"), form(b"12345", 3)):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    assert form(b"12345", 3).count(b"12345") == 3
