"""What the soak calls a fault."""

import pytest

from benchmarks.soak.__main__ import EMPTY, IN_FLIGHT, held
from benchmarks.soak.crowd import form, raw
from benchmarks.soak.report import Phase, Report, Resources


def report(
    leaving_p99_ms: float = 50.0,
    last_mib: float = 200.0,
    queue_frames: float = 0.0,
    statuses: dict[str, int] | None = None,
    last_files: int = 20,
) -> Report:
    """A run beside a patient crowd with a p99 of 50 ms, in 200 MiB when warm, with 20 files but for its own."""
    phases = [
        Phase("patient", 100, 20.0, 50.0, {"200": 10}, 90.0),
        Phase("leaving", 100, 20.0, leaving_p99_ms, statuses or {"left": 90, "200": 10}, 90.0),
    ]
    resources = [Resources(0, 90.0, 20), Resources(20, 200.0, 60), Resources(100, last_mib, last_files)]
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
        (report(last_files=21), "21 files are open, 20 were before the crowd"),
        (report(statuses={"left": 9, "500": 1, "503": 2}), "leaving: answers {'500': 1, '503': 2}"),
    ],
)
def test_each_promise_that_is_broken_is_one_fault(bad: Report, fault: str) -> None:
    assert list(bad.faults()) == [fault]


def test_scrape_is_no_request_that_is_left_over() -> None:
    metrics = [f"# TYPE {EMPTY[0]} gauge", *(f"{name} 0.0" for name in EMPTY[:-1])]
    assert not any(held("\n".join([*metrics, f"{IN_FLIGHT} 1.0"])).values())
    assert held("\n".join([*metrics, f"{IN_FLIGHT} 3.0"]))[IN_FLIGHT] == 2.0


def test_requests_announce_the_bytes_that_they_hold() -> None:
    for request in (raw(b"12345"), form(b"12345", 3)):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    assert form(b"12345", 3).count(b"12345") == 3
