"""Bounds, deadlines and places of frames that wait, on a clock that is told."""

import threading
from concurrent.futures import Future, wait

import pytest

from service.errors import DeadlineExceeded, QueueFull
from service.inference.frame_queue import Completed, FrameQueue, Job, Measured, WaitBound
from tests.service.clock import Clock

Queue = FrameQueue[bytes]


@pytest.fixture
def clock() -> Clock:
    """A clock that starts at 0."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    """Room for 4 frames, 2 of them decoded; nothing measured yet."""
    return FrameQueue(max_waiting_frames=4, max_decoded_frames=2, clock=clock)


def measured(queue: Queue, frame_s: float, inference_s: float = 0.0, interval_s: float = 0.0) -> Queue:
    """The queue after three frames that took so long."""
    for _ in range(3):
        queue.left_work(0, Measured(frame_s, inference_s, interval_s))
    return queue


def taken(queue: Queue) -> Job[bytes]:
    """The frame that comes next."""
    job = queue.take()
    assert job is not None
    return job


def waiting(queue: Queue) -> int:
    return queue.state(workers=1).waiting_frames


# Deadlines of frames that wait


def test_expired_frames_make_room_for_a_newcomer(queue: Queue, clock: Clock) -> None:
    """Four frames fill the queue; a millisecond after their deadline all of them are gone."""
    expired = queue.submit([b"a", b"b", b"c", b"d"], deadline_s=1.0)
    with pytest.raises(QueueFull):
        queue.submit([b"newcomer"])
    clock.now_s = 1.001
    (newcomer,) = queue.submit([b"newcomer"])
    for future in expired:
        with pytest.raises(DeadlineExceeded, match="the deadline passed 1 ms ago after 1001 ms in the queue"):
            future.result(0)
    assert taken(queue).future is newcomer


def test_metrics_that_look_free_expired_places_too(queue: Queue, clock: Clock) -> None:
    queue.submit([b"a"], deadline_s=1.0)
    queue.submit([b"b"])
    clock.now_s = 2.0
    assert waiting(queue) == 1


def test_frame_in_the_middle_expires_alone(queue: Queue, clock: Clock) -> None:
    """The second of three has the earliest deadline."""
    first, second, third = (queue.submit([b""], deadline_s=deadline_s)[0] for deadline_s in (9.0, 1.0, 5.0))
    clock.now_s = 2.0
    assert waiting(queue) == 2
    assert isinstance(second.exception(0), DeadlineExceeded)
    assert (taken(queue).future, taken(queue).future) == (first, third)


def test_frame_that_cannot_make_it_is_dropped_before_a_worker_takes_it(queue: Queue, clock: Clock) -> None:
    """A frame takes 1 second; 0.9 are left when the worker comes, so the next one is taken."""
    measured(queue, frame_s=1.0)
    hopeless, patient = queue.submit([b"a"], deadline_s=2.0)[0], queue.submit([b"b"], deadline_s=9.0)[0]
    clock.now_s = 1.1
    assert taken(queue).future is patient
    with pytest.raises(DeadlineExceeded, match=r"the deadline is in 900 ms after 1100 ms in the queue, and a frame"):
        hopeless.result(0)


def test_no_deadline_never_expires(queue: Queue, clock: Clock) -> None:
    measured(queue, frame_s=1.0)
    queue.submit([b"a"])
    clock.now_s = 1e9
    assert waiting(queue) == 1


def test_waiter_that_asks_the_queue_when_dropped_does_not_stall_it(queue: Queue, clock: Clock) -> None:
    """Futures settle while the lock is free; else this would never end."""
    seen: list[int] = []
    (future,) = queue.submit([b"a"], deadline_s=1.0)
    future.add_done_callback(lambda _: seen.append(waiting(queue)))
    clock.now_s = 2.0
    assert (waiting(queue), seen) == (0, [0])


# Admission


def test_request_without_time_for_one_frame_is_refused_with_its_deadline(queue: Queue) -> None:
    """Waiting would not help: with an empty queue it would be the same."""
    measured(queue, frame_s=0.5)
    with pytest.raises(DeadlineExceeded, match="the deadline is in 400 ms, and a frame takes about 500 ms"):
        queue.submit([b"a"], deadline_s=0.4)
    assert waiting(queue) == 0


def test_deadline_that_has_passed_is_refused_before_anything_is_measured(queue: Queue, clock: Clock) -> None:
    clock.now_s = 5.0
    with pytest.raises(DeadlineExceeded, match="the deadline passed 1000 ms ago, before"):
        queue.refuse_without_room(1, deadline_s=4.0)


def test_request_behind_too_long_a_queue_is_refused_with_when_to_come_back(queue: Queue) -> None:
    """Two frames wait at 0.25 s from answer to answer, and one takes 0.5: it could be done in 1 second, not in 0.9."""
    measured(queue, frame_s=0.5, interval_s=0.25)
    queue.submit([b"a", b"b"])
    with pytest.raises(
        QueueFull, match="2 frames wait and 0 are in work, for about 500 ms, and the deadline is in 900 ms"
    ) as refused:
        queue.submit([b"c"], deadline_s=0.9)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    queue.submit([b"c"], deadline_s=1.1)


def test_behind_enough_work_nobody_is_admitted(clock: Clock) -> None:
    """At 0.25 s from answer to answer two frames are 0.5 s of work, three are 0.75; 0.6 are allowed."""
    queue: Queue = FrameQueue(max_waiting_frames=9, clock=clock, wait_bound=WaitBound(0.6))
    measured(queue, frame_s=0.5, interval_s=0.25)
    queue.submit([b"a", b"b"])
    queue.submit([b"c"])
    with pytest.raises(QueueFull, match="3 frames wait and 0 are in work, for about 750 ms; behind more than 600 ms"):
        queue.submit([b"d"])
    taken(queue)
    with pytest.raises(QueueFull, match="2 frames wait and 1 are in work"):
        queue.refuse_without_room(1)
    queue.left_work()
    queue.submit([b"d"])


def test_some_frames_may_wait_however_long_they_take(clock: Clock) -> None:
    """Three are free: behind two there is room for a large request, behind it there is none."""
    queue: Queue = FrameQueue(max_waiting_frames=9, clock=clock, wait_bound=WaitBound(0.1, free_frames=3))
    measured(queue, frame_s=0.5, interval_s=0.25)
    queue.submit([b"a", b"b"])
    queue.submit([b"c"] * 5)
    with pytest.raises(QueueFull, match="7 frames wait"):
        queue.submit([b"d"])


def test_wrong_estimate_does_not_refuse_for_ever(queue: Queue) -> None:
    """Believed 1 s, allowed 0.9: refusals make the estimate doubtful, 0.95 twice is 0.9025 and thrice 0.857."""
    measured(queue, frame_s=1.0)
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            queue.submit([b"a"], deadline_s=0.9)
    queue.submit([b"a"], deadline_s=0.9)


def test_throughput_is_told_once_measured(queue: Queue) -> None:
    """0.02 s from answer to answer are 50 frames a second."""
    assert queue.state(workers=2).frames_per_second is None
    measured(queue, frame_s=0.04, interval_s=0.02)
    assert queue.state(workers=2).frames_per_second == pytest.approx(50)


# Between decoding and inference


@pytest.mark.parametrize(("now_s", "wanted"), [(1.6, True), (1.8, False), (2.1, False)])
def test_decoded_frame_goes_on_only_if_inference_fits(queue: Queue, clock: Clock, now_s: float, wanted: bool) -> None:
    """Inference takes 0.3 s and the deadline is at 2."""
    measured(queue, frame_s=1.0, inference_s=0.3)
    (future,) = queue.submit([b"a"], deadline_s=2.0)
    assert queue.still_wanted(taken(queue), now_s) is wanted
    assert future.running() is wanted
    assert wanted or isinstance(future.exception(0), DeadlineExceeded)


def test_frame_whose_client_left_while_it_was_decoded_is_not_inferred(queue: Queue) -> None:
    (future,) = queue.submit([b"a"])
    job = taken(queue)
    assert future.cancel()
    assert not queue.still_wanted(job, 0.0)


@pytest.mark.parametrize("stage", ["waits", "is decoded", "waits decoded", "closed"])
def test_waiting_for_a_cancelled_future_ends(queue: Queue, stage: str) -> None:
    """`concurrent.futures.wait` waits until the future's owner has noticed that it is cancelled."""
    (future,) = queue.submit([b"a"])
    job = None if stage in ("waits", "closed") else taken(queue)
    if job and stage == "waits decoded":
        queue.hand_over(job, b"")
    if stage == "closed":
        queue.close()
    future.cancel()
    if job and stage == "is decoded":
        queue.hand_over(job, b"")
    assert wait([future], timeout=0).done == {future}
    assert waiting(queue) == 0


# Batches


def decoded(queue: Queue, *frames: bytes, deadline_s: float | None = None) -> list["Future[Completed[bytes]]"]:
    """Frames that wait with their pixels."""
    futures = queue.submit(frames, deadline_s)
    for _ in frames:
        job = taken(queue)
        queue.hand_over(job, job.frame)
    return futures


def batch(queue: Queue, most: int = 4) -> list[bytes]:
    """The frames of the next batch."""
    return [job.prepared for job in queue.take_batch(most) or ()]


def test_batch_is_what_waits_and_no_more_than_asked_for(queue: Queue) -> None:
    decoded(queue, b"a", b"b")
    assert batch(queue, most=1) == [b"a"]
    decoded(queue, b"c")
    assert batch(queue, most=4) == [b"b", b"c"]


def test_decoded_frames_keep_their_places(queue: Queue) -> None:
    """Two decoded and two encoded ones fill four places; a batch of two frees two."""
    decoded(queue, b"a", b"b")
    queue.submit([b"c", b"d"])
    with pytest.raises(QueueFull, match="4 frames wait"):
        queue.submit([b"e"])
    batch(queue)
    assert (waiting(queue), queue.state(1).running_frames) == (2, 2)
    queue.submit([b"e", b"f"])


def test_request_behind_decoded_frames_alone_is_refused_at_once_too(queue: Queue) -> None:
    """Decoders that keep up leave nobody encoded: two frames at 0.25 s and one of 0.5 are 1 second, not 0.9."""
    decoded(queue, b"a", b"b")
    measured(queue, frame_s=0.5, interval_s=0.25)
    with pytest.raises(QueueFull, match="2 frames wait and 0 are in work, for about 500 ms"):
        queue.submit([b"c"], deadline_s=0.9)
    queue.submit([b"c"], deadline_s=1.1)


def test_cancelled_and_expired_frames_leave_the_batch_before_it_runs(queue: Queue, clock: Clock) -> None:
    (left,) = decoded(queue, b"left")
    assert left.cancel()
    assert waiting(queue) == 0
    (late,) = decoded(queue, b"late", deadline_s=1.0)
    decoded(queue, b"stays")
    clock.now_s = 2.0
    assert batch(queue) == [b"stays"]
    assert isinstance(late.exception(0), DeadlineExceeded)
    assert queue.state(1).running_frames == 1


def test_waiting_time_adds_both_lanes(queue: Queue, clock: Clock) -> None:
    """1 s for a worker and 2 s for a batch; the 4 s of decoding in between are no waiting."""
    queue.submit([b"a"])
    clock.now_s = 1.0
    job = taken(queue)
    clock.now_s = 5.0
    queue.hand_over(job, b"")
    clock.now_s = 7.0
    queue.take_batch(1)
    assert job.queue_s == pytest.approx(3.0)


def test_decoder_waits_while_enough_frames_are_decoded(queue: Queue) -> None:
    """Two are the bound; the third is handed over once a batch has left."""
    decoded(queue, b"a", b"b")
    queue.submit([b"c"])
    job, handed = taken(queue), threading.Event()

    def hand_over() -> None:
        queue.hand_over(job, b"c")
        handed.set()

    decoder = threading.Thread(target=hand_over)
    decoder.start()
    assert not handed.wait(0.05)
    assert batch(queue) == [b"a", b"b"]
    decoder.join(30)
    assert handed.is_set()
    assert batch(queue) == [b"c"]


def test_closing_cancels_both_lanes_and_lets_nothing_in(queue: Queue) -> None:
    (pixels,) = decoded(queue, b"a")
    encoded = queue.submit([b"b", b"c"])
    job = taken(queue)
    queue.close()
    assert pixels.cancelled()
    assert encoded[1].cancelled()
    queue.hand_over(job, b"too late")
    assert encoded[0].cancelled()
    assert queue.take() is None
    assert queue.take_batch(1) is None
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit([b"d"])
