"""Who computes when: order, bounds, cancellation, measured time."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import DamagedImage, DeadlineExceeded, NotReady, QueueFull
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector, load_detector
from service.inference.execution import ExecutionPlan
from service.inference.frame_queue import Completed
from service.inference.scheduling import FrameScheduler, in_batches, open_scheduler, start_to_end
from service.inference.session import CUDA, Outputs
from tests.service.clock import Clock
from tests.service.conftest import encoded
from tests.service.inference.schedules import GatedWork
from tests.tiny_model import GRID, tiny_metadata


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
        assert work.has_started()
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
        assert work.has_started()
        scheduler.submit([b"waiting"])
        with pytest.raises(QueueFull):
            scheduler.refuse_without_room(1)
        work.gate.set()


def test_cancelled_frame_gives_its_place_back_and_is_never_computed(work: GatedWork) -> None:
    with opened(work, workers=1, max_queue_frames=1) as scheduler:
        running = scheduler.submit([b"running"])[0]
        assert work.has_started()
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
        assert work.has_started()
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
    assert work.has_started()
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
        assert all(work.has_started() for _ in range(2))
        assert scheduler.state().running_frames == 2
        work.gate.set()


# Deadlines


def test_frame_whose_deadline_passed_costs_no_worker_its_time(work: GatedWork) -> None:
    """It expires while another frame runs; the one behind it is answered."""
    clock = Clock()
    with opened(work, workers=1, max_queue_frames=3, clock=clock) as scheduler:
        scheduler.submit([b"running"])
        assert work.has_started()
        (late,) = scheduler.submit([b"late"], deadline_s=1.0)
        (patient,) = scheduler.submit([b"patient"], deadline_s=9.0)
        clock.now_s = 2.0
        work.gate.set()
        assert patient.result(30).result == b"PATIENT"
        assert isinstance(late.exception(30), DeadlineExceeded)
    assert work.seen == [b"running", b"patient"]


def test_deadline_is_looked_at_again_between_decoding_and_inference() -> None:
    """Decoding takes 2 seconds of the clock where 1 is left: the frame is not inferred, and the next one is."""
    clock, inferred = Clock(), []

    def decode(frame: bytes) -> bytes:
        clock.now_s += 2
        return frame

    def infer(frame: bytes) -> bytes:
        inferred.append(frame)
        return frame

    with start_to_end(decode, infer, workers=1, max_queue_frames=2, clock=clock) as scheduler:
        (late,) = scheduler.submit([b"late"], deadline_s=1.0)
        assert isinstance(late.exception(30), DeadlineExceeded)
        (next_one,) = scheduler.submit([b"next"], deadline_s=clock.now_s + 9)
        assert next_one.result(30).result == b"next"
        assert scheduler.state().running_frames == 0
    assert inferred == [b"next"]


def test_client_that_leaves_while_its_frame_is_decoded_spares_the_inference(work: GatedWork) -> None:
    inferred: list[bytes] = []
    with start_to_end(work, inferred.append, workers=1, max_queue_frames=2) as scheduler:
        left = scheduler.submit([b"left"])[0]
        assert work.has_started()
        assert left.cancel()
        work.gate.set()
        scheduler.submit([b"next"])[0].result(30)
    assert inferred == [b"NEXT"]


# Plans


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    """The tiny model on the CPU: red and green are the means of these colours."""
    return load_detector(model, "cpu", 1, FrameLimits())


@pytest.mark.parametrize("batch_sizes", [(1,), (1, 2, 4), (3,)])
def test_every_plan_gives_each_frame_its_own_answer(detector: Detector, batch_sizes: tuple[int, ...]) -> None:
    """Twenty colours, twenty answers in their order, and a damaged frame among them that harms nobody."""
    reds = range(0, 255, 13)
    frames = [encoded(red, 51, 0) for red in reds]
    with open_scheduler(detector, ExecutionPlan(2, batch_sizes=batch_sizes), max_queue_frames=64) as scheduler:
        damaged, *futures = scheduler.submit([frames[0][:40], *frames])
        answers = [future.result(30) for future in futures]
        assert isinstance(damaged.exception(30), DamagedImage)
        assert (scheduler.healthy(), scheduler.state().workers, scheduler.state().running_frames) == (True, 2, 0)
    for red, answer in zip(reds, answers, strict=True):
        assert answer.result.probabilities == pytest.approx({"red": red / 255, "green": 0.2}, abs=2e-6)
        assert answer.batch_frames <= batch_sizes[-1]
    assert not scheduler.healthy()


class DeviceSession:
    """A session on CUDA: notes which threads run it, one frame after the other or bound."""

    provider, fallback_reason, cuda_graphs = CUDA, None, False

    def __init__(self, lives_for: float = math.inf) -> None:
        self._runs_left = lives_for
        self.bound_sizes: list[Sequence[int]] = []
        self.threads: set[str] = set()

    def run(self, frames_BHWC: NDArray[np.uint8]) -> Outputs:
        """What a plan on a device never asks."""
        raise AssertionError("unbound")

    def bind(self, batch_sizes: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        """Answers 1 for each label."""
        self.bound_sizes.append(batch_sizes)

        def run(frames_HWC: Sequence[NDArray[np.uint8]]) -> Outputs:
            self.threads.add(threading.current_thread().name)
            self._runs_left -= 1
            if self._runs_left < 0:
                raise RuntimeError("CUDA failure 700")
            ones_BL = np.ones((len(frames_HWC), 2), np.float32)
            return Outputs(ones_BL, np.ones((len(frames_HWC), 2, *GRID), np.float32))

        return run


@pytest.mark.parametrize("batch_sizes", [(1,), (1, 2, 4)])
def test_on_a_device_one_thread_infers_through_bound_buffers_whatever_the_batch(batch_sizes: tuple[int, ...]) -> None:
    """Four workers decode."""
    session = DeviceSession()
    on_device = Detector(tiny_metadata(), session, FrameLimits())
    frames = [encoded(0, 0, 0)] * 20
    with open_scheduler(on_device, ExecutionPlan(4, batch_sizes=batch_sizes), max_queue_frames=64) as scheduler:
        answers = [future.result(30) for future in scheduler.submit(frames)]
    assert {answer.result.probabilities["red"] for answer in answers} == {1.0}
    assert max(answer.batch_frames for answer in answers) <= batch_sizes[-1]
    assert session.bound_sizes == [batch_sizes]
    assert len(session.threads) == 1


def test_scheduler_on_cuda_ends_once_the_device_is_lost() -> None:
    """The first frame is answered; then every run fails, that of a black frame too."""
    session = DeviceSession(lives_for=1)
    on_device = Detector(tiny_metadata(), session, FrameLimits())
    with open_scheduler(on_device, ExecutionPlan(1, batch_sizes=(1, 2)), max_queue_frames=4) as scheduler:
        assert scheduler.submit([encoded(0, 0, 0)])[0].result(30).result.probabilities["red"] == 1.0
        assert isinstance(scheduler.submit([encoded(0, 0, 0)])[0].exception(30), RuntimeError)
        scheduler._threads[0].join(30)
        with pytest.raises(NotReady):
            scheduler.submit([encoded(0, 0, 0)])
        assert scheduler.failure == "the device answers nothing any more: CUDA failure 700"


def test_where_plans_are_measured_every_frame_tells_the_error_of_a_device_that_is_lost() -> None:
    """Not that some of them came once it was known, which says nothing about the cause."""
    on_device = Detector(tiny_metadata(), DeviceSession(lives_for=0), FrameLimits())
    plan = ExecutionPlan(4, batch_sizes=(1, 2))
    with open_scheduler(on_device, plan, max_queue_frames=64, breaks_off=False) as scheduler:
        errors = [future.exception(30) for future in scheduler.submit([encoded(0, 0, 0)] * 20)]
        assert [str(error) for error in errors] == ["CUDA failure 700"] * 20
        assert scheduler.healthy()


# All at once


def short_work(frame: bytes) -> bytes:
    """Half a millisecond a frame; one in seven fails."""
    time.sleep(0.0005)
    if frame[0] % 7 == 0:
        raise DamagedImage("cut off")
    return frame


SCHEDULERS = {
    "start to end": lambda: start_to_end(short_work, bytes.upper, workers=3, max_queue_frames=16),
    "in batches": lambda: in_batches(
        short_work, lambda: lambda frames: [frame.upper() for frame in frames], ExecutionPlan(3, 1, (1, 4)), 16
    ),
}


class Client(threading.Thread):
    """Sends bursts of frames with and without deadlines, and leaves some of them before they are answered."""

    def __init__(self, scheduler: FrameScheduler[bytes], seed: int) -> None:
        super().__init__(daemon=True)
        self._scheduler, self._random = scheduler, random.Random(seed)
        self.answers: list[tuple[bytes, Future[Completed[bytes]]]] = []
        self.refused = 0

    def run(self) -> None:
        """Two hundred bursts."""
        for _ in range(200):
            frames = [self._random.randbytes(4) for _ in range(self._random.randint(1, 5))]
            allowed_s = self._random.choice([None, 0.0005, 0.005, 10.0])
            try:
                futures = self._scheduler.submit(frames, None if allowed_s is None else time.monotonic() + allowed_s)
            except (QueueFull, DeadlineExceeded):
                self.refused += 1
                time.sleep(0.001)
                continue
            self.answers += zip(frames, futures, strict=True)
            if self._random.random() < 0.3:
                self._random.choice(futures).cancel()
            elif self._random.random() < 0.5:
                wait(futures, timeout=30)


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_clients_that_come_fail_expire_and_leave_keep_nobody_waiting(kind: str) -> None:
    """Six at once; every frame ends as its own answer, its own error, or cancelled, and nothing is left behind."""
    with SCHEDULERS[kind]() as scheduler:
        clients = [Client(scheduler, seed) for seed in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        for frame, future in (answer for client in clients for answer in client.answers):
            assert right(frame, future)
        state = scheduler.state()
        assert (state.waiting_frames, state.running_frames, scheduler.healthy()) == (0, 0, True)
    assert any(client.refused for client in clients)
    assert any(client.answers for client in clients)


def right(frame: bytes, future: "Future[Completed[bytes]]") -> bool:
    """Whether a frame ended as it should."""
    try:
        return future.result(30).result == frame.upper()
    except DamagedImage:
        return frame[0] % 7 == 0
    except (DeadlineExceeded, CancelledError):
        return True
