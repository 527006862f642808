"""Who computes when: order, bounds, cancellation, measured time."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from service.errors import DamagedImage, QueueFull
from service.inference.scheduling import FrameScheduler, start_to_end


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class GatedWork:
    """Work that reports its start and then waits for the gate; remembers what it has worked on, in order."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.seen: list[bytes] = []

    def __call__(self, frame: bytes) -> bytes:
        self.seen.append(frame)
        self.started.release()
        assert self.gate.wait(30)
        return frame.upper()


def opened(
    work: Callable[[bytes], bytes], workers: int, max_queue_frames: int, clock: Callable[[], float] = time.monotonic
) -> FrameScheduler[bytes]:
    """A scheduler that works on frames as they are; decoding them takes no time."""
    return start_to_end(bytes, work, workers, max_queue_frames, clock)


@pytest.fixture
def work() -> Iterator[GatedWork]:
    """Work behind a gate that opens at the end at the latest."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


def test_frames_are_answered_in_order_of_submission(work: GatedWork) -> None:
    work.gate.set()
    with opened(work, workers=1, max_queue_frames=10) as scheduler:
        futures = scheduler.submit([b"a", b"b", b"c"])
        assert [future.result(30).result for future in futures] == [b"A", b"B", b"C"]
    assert work.seen == [b"a", b"b", b"c"]


def test_request_without_room_is_refused_whole(work: GatedWork) -> None:
    """One frame runs, two wait, a request of two more does not fit in three places, and one of one does."""
    with opened(work, workers=1, max_queue_frames=3) as scheduler:
        scheduler.submit([b"running"])
        assert work.started.acquire(timeout=30)
        scheduler.submit([b"a", b"b"])
        with pytest.raises(QueueFull, match="2 frames wait, 2 more have no room; at most 3 may wait"):
            scheduler.submit([b"c", b"d"])
        assert scheduler.state().waiting_frames == 2
        scheduler.submit([b"e"])
        work.gate.set()
    assert b"c" not in work.seen


def test_refusal_before_the_upload_follows_the_same_bound(work: GatedWork) -> None:
    with opened(work, workers=1, max_queue_frames=1) as scheduler:
        scheduler.refuse_without_room(1)
        scheduler.submit([b"running"])
        assert work.started.acquire(timeout=30)
        scheduler.submit([b"waiting"])
        with pytest.raises(QueueFull):
            scheduler.refuse_without_room(1)
        work.gate.set()


def test_cancelled_frame_gives_its_place_back_and_is_never_computed(work: GatedWork) -> None:
    with opened(work, workers=1, max_queue_frames=1) as scheduler:
        running = scheduler.submit([b"running"])[0]
        assert work.started.acquire(timeout=30)
        left = scheduler.submit([b"left"])[0]
        assert left.cancel()
        assert scheduler.state().waiting_frames == 0
        other = scheduler.submit([b"other"])[0]
        work.gate.set()
        assert running.result(30).result == b"RUNNING"
        assert other.result(30).result == b"OTHER"
    assert work.seen == [b"running", b"other"]


def test_cancelled_frame_leaves_its_request_mates_alone(work: GatedWork) -> None:
    with opened(work, workers=1, max_queue_frames=3) as scheduler:
        scheduler.submit([b"running"])
        assert work.started.acquire(timeout=30)
        first, second, third = scheduler.submit([b"first", b"second", b"third"])
        second.cancel()
        work.gate.set()
        assert (first.result(30).result, third.result(30).result) == (b"FIRST", b"THIRD")


@pytest.mark.parametrize("error", [DamagedImage("cut off"), ValueError("a bug"), SystemExit(3)])
def test_failing_frame_settles_alone_and_the_worker_lives(error: BaseException) -> None:
    def fail_on_bad(frame: bytes) -> bytes:
        if frame == b"bad":
            raise error
        return frame

    with opened(fail_on_bad, workers=1, max_queue_frames=3) as scheduler:
        bad, good = scheduler.submit([b"bad", b"good"])
        assert bad.exception(30) is error
        assert good.result(30).result == b"good"
        assert scheduler.healthy()


def test_queue_time_is_from_submission_to_the_worker() -> None:
    """The first frame takes 2 seconds of the clock, so the second has waited 2 seconds."""
    clock = Clock()

    def two_seconds(frame: bytes) -> bytes:
        clock.now_s += 2
        return frame

    with opened(two_seconds, workers=1, max_queue_frames=2, clock=clock) as scheduler:
        first, second = scheduler.submit([b"a", b"b"])
        assert (first.result(30).queue_s, second.result(30).queue_s) == (0, 2)


def test_retry_after_is_the_time_to_empty_the_queue() -> None:
    """3 seconds a frame on two workers; 2 run and 3 wait: 5 * 3 / 2 = 7.5 seconds. Three frames make it believed."""
    clock, gate, started = Clock(), threading.Event(), threading.Semaphore(0)

    def measured(frame: bytes) -> bytes:
        if frame == b"first":
            clock.now_s += 3
            return frame
        started.release()
        assert gate.wait(30)
        return frame

    with opened(measured, workers=2, max_queue_frames=3, clock=clock) as scheduler:
        for _ in range(3):
            scheduler.submit([b"first"])[0].result(30)
        for _ in range(2):
            scheduler.submit([b"running"])
            assert started.acquire(timeout=30)
        scheduler.submit([b"a", b"b", b"c"])
        with pytest.raises(QueueFull) as refused:
            scheduler.submit([b"d"])
        gate.set()
    assert refused.value.retry_after_s == pytest.approx(7.5)
    assert refused.value.facts == {"waiting_frames": 3, "limit_frames": 3}


def test_closing_cancels_what_waits_and_finishes_what_runs(work: GatedWork) -> None:
    scheduler = opened(work, workers=1, max_queue_frames=2)
    running = scheduler.submit([b"running"])[0]
    assert work.started.acquire(timeout=30)
    waiting = scheduler.submit([b"waiting"])[0]
    waiting.add_done_callback(lambda _: work.gate.set())
    scheduler.close()
    assert running.result(0).result == b"RUNNING"
    assert waiting.cancelled()
    assert not scheduler.healthy()
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.submit([b"late"])


def test_workers_run_at_the_same_time(work: GatedWork) -> None:
    with opened(work, workers=2, max_queue_frames=2) as scheduler:
        scheduler.submit([b"a", b"b"])
        assert all(work.started.acquire(timeout=30) for _ in range(2))
        assert scheduler.state().running_frames == 2
        work.gate.set()
