"""Frames that wait: a bounded queue, first in, first out, that drops whoever cannot be answered in time.

    encoded     as they came, now and then as pixels already; a worker takes one
    decoded     handed over with their pixels; a batch takes several

Both lanes count for the bound. A frame gives its place back at once when its future is cancelled; one that cannot
make its deadline any more, by the measured pace, leaves as soon as anybody looks at the queue, with DeadlineExceeded.
Every future settles on its own, and never while the queue's lock is held.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar
from weakref import ref

from service.errors import DeadlineExceeded, NotReady, QueueFull, RoadcueError, forget_origin
from service.inference.decoding import Incoming
from service.inference.pace import Pace

Result = TypeVar("Result")
NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class Completed(Generic[Result]):
    """What became of a frame, how many seconds it waited, and how many frames its batch had.

    `batch_wait_s` is the part of the waiting that came after decoding, for a batch.
    """

    result: Result
    queue_s: float
    batch_frames: int = 1
    batch_wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WaitBound:
    """Behind more than `seconds` of work, by the measured pace, and `free_frames` frames nobody is admitted."""

    seconds: float
    free_frames: int = 1


NO_WAIT_BOUND: Final = WaitBound(NEVER)


@dataclass(frozen=True, slots=True)
class QueueState:
    """How busy the scheduler is: frames that wait, frames in work, the bounds of both, and the measured throughput.

    `frames_per_second` is None before enough frames were measured.
    """

    waiting_frames: int
    running_frames: int
    max_waiting_frames: int
    workers: int
    frames_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds: of work on a frame, without waiting; of its inference alone; and from answer to answer under load."""

    frame_s: float
    inference_s: float
    interval_s: float


@dataclass(eq=False, slots=True, weakref_slot=True)
class Job(Generic[Result]):
    """One frame on its way; instants are seconds of the queue's clock. `prepared` is its pixels, once decoded."""

    frame: Incoming
    future: "Future[Completed[Result]]"
    submitted_s: float
    deadline_s: float
    taken_s: float = 0.0
    decoded_s: float = 0.0
    queue_s: float = 0.0
    batch_wait_s: float = 0.0
    prepared: Any = None

    def begin(self) -> bool:
        """Whether somebody still waits; from now on the future cannot be cancelled.

        To be called once, also for a future that is cancelled: `concurrent.futures.wait` waits for that.
        """
        return self.future.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        """Settle with an error, unless the waiter has left."""
        if isinstance(error, RoadcueError):
            forget_origin(error)
        if self.future.running() or self.begin():
            self.future.set_exception(error)

    def complete(self, result: Result, batch_frames: int = 1) -> None:
        self.future.set_result(Completed(result, self.queue_s, batch_frames, self.batch_wait_s))


_Lane = OrderedDict[Job[Result], None]


class FrameQueue(Generic[Result]):
    """A queue of at most `max_waiting_frames`; every method may be called from any thread.

    `clock` returns seconds that never run backwards. `max_decoded_frames` bounds the lane of pixels.
    """

    def __init__(
        self,
        max_waiting_frames: int,
        max_decoded_frames: int = 1,
        clock: Callable[[], float] = time.monotonic,
        wait_bound: WaitBound = NO_WAIT_BOUND,
    ) -> None:
        self.clock = clock
        self._wait_bound = wait_bound
        self.frame_pace, self.inference_pace, self.interval = Pace(), Pace(), Pace()
        self._max_waiting, self._max_decoded = max_waiting_frames, max_decoded_frames
        self._encoded: _Lane[Result] = OrderedDict()
        self._decoded: _Lane[Result] = OrderedDict()
        self._earliest_deadline_s = NEVER
        self._running = 0
        self._closed = False
        self.failure: str | None = None
        self._lock = threading.Lock()
        self._encoded_came = threading.Condition(self._lock)
        self._decoded_came = threading.Condition(self._lock)
        self._decoded_left = threading.Condition(self._lock)

    def submit(self, frames: Sequence[Incoming], deadline_s: float | None = None) -> list["Future[Completed[Result]]"]:
        """One future for each frame, in order, or none of them is admitted.

        Raises QueueFull when not all of them have room, or when those that wait already take longer than the deadline
        allows: it is the load that stands in the way, and asking later may help. Raises DeadlineExceeded when there is
        no time for a single frame: with an empty queue it would not be answered either. Raises NotReady once it broke.
        """
        now_s = self._look()
        with self._lock:
            if self._closed and not self.failure:
                raise RuntimeError("the scheduler is closed")
            self._refuse(len(frames), now_s, deadline_s)
            deadline_s = NEVER if deadline_s is None else deadline_s
            jobs: list[Job[Result]] = [Job(frame, Future(), now_s, deadline_s) for frame in frames]
            self._encoded.update(dict.fromkeys(jobs))
            self._earliest_deadline_s = min(self._earliest_deadline_s, deadline_s)
            self._encoded_came.notify(len(jobs))
        for job in jobs:
            # A future keeps its callbacks: with the job in one, frame and result would wait for the garbage collector.
            job.future.add_done_callback(partial(self._leave, ref(job)))
        return [job.future for job in jobs]

    def refuse_without_room(self, frames: int, deadline_s: float | None = None) -> None:
        """Raises what `submit` would raise for so many frames now."""
        now_s = self._look()
        with self._lock:
            self._refuse(frames, now_s, deadline_s)

    def state(self, workers: int) -> QueueState:
        """How busy it is at this moment."""
        self._look()
        with self._lock:
            rate = 1 / self.interval.seconds if self.interval.seconds else None
            return QueueState(self._waiting(), self._running, self._max_waiting, workers, rate)

    def take(self) -> Job[Result] | None:
        """The encoded frame that came first, as soon as there is one; None once the queue is closed."""
        while self._comes(self._encoded_came, self._encoded):
            now_s = self._look()
            with self._lock:
                if self._encoded:
                    job, _ = self._encoded.popitem(last=False)
                    job.taken_s, job.queue_s = now_s, now_s - job.submitted_s
                    self._running += 1
                    return job
        return None

    def still_wanted(self, job: Job[Result], now_s: float) -> bool:
        """Whether a decoded frame is worth its inference; else it is settled. From now on it cannot be cancelled."""
        if job.deadline_s < now_s + self.inference_pace.seconds:
            self._drop(job, now_s, self.inference_pace)
            return False
        return job.begin()

    def hand_over(self, job: Job[Result], prepared: Any) -> None:
        """Let a decoded frame wait for a batch; waits itself while there are enough of them."""
        job.prepared, job.decoded_s = prepared, self.clock()
        with self._lock:
            while len(self._decoded) >= self._max_decoded and not self._closed:
                self._decoded_left.wait()
            self._running -= 1
            failure = self.failure
            waits = not self._closed and not job.future.cancelled()
            if waits:
                self._decoded[job] = None
                self._earliest_deadline_s = min(self._earliest_deadline_s, job.deadline_s)
                self._decoded_came.notify()
        if failure:
            job.fail(_broken())
        elif not waits:
            job.future.cancel()
            job.begin()

    def take_batch(self, most: int) -> list[Job[Result]] | None:
        """Decoded frames, at most so many, as soon as there is one; None once the queue is closed.

        They cannot be cancelled from now on. The list is empty where all of them left in the last moment.
        """
        if not self._comes(self._decoded_came, self._decoded):
            return None
        now_s = self._look()
        with self._lock:
            jobs = [self._decoded.popitem(last=False)[0] for _ in range(min(most, len(self._decoded)))]
            self._running += len(jobs)
            self._decoded_left.notify(len(jobs))
        wanted = [job for job in jobs if job.begin()]
        self.left_work(len(jobs) - len(wanted))
        for job in wanted:
            job.batch_wait_s = now_s - job.decoded_s
            job.queue_s += job.batch_wait_s
        return wanted

    def left_work(self, frames: int = 1, measured: Measured | None = None) -> None:
        """So many frames are no longer in work; `measured` where they were answered."""
        with self._lock:
            self._running -= frames
            if measured:
                self.frame_pace.record(measured.frame_s)
                self.inference_pace.record(measured.inference_s)
                self.interval.record(measured.interval_s)

    def close(self) -> None:
        """Cancel what waits, and let nothing in any more."""
        with self._lock:
            waiting = self._end()
        for job in waiting:
            job.future.cancel()

    def break_off(self, failure: str) -> None:
        """Close because nothing can be answered any more: who waits and who comes is told so, with NotReady."""
        with self._lock:
            self.failure = failure
            waiting = self._end()
            self._encoded.clear()
            self._decoded.clear()
        for job in waiting:
            job.fail(_broken())

    def _end(self) -> list[Job[Result]]:
        """Have everybody stop waiting for frames; returns those that wait. To be called with the lock."""
        self._closed = True
        for signal in (self._encoded_came, self._decoded_came, self._decoded_left):
            signal.notify_all()
        return [*self._encoded, *self._decoded]

    def _comes(self, signal: threading.Condition, lane: _Lane[Result]) -> bool:
        """Wait for a frame in the lane; False once the queue is closed and the lane is empty."""
        with self._lock:
            while not lane and not self._closed:
                signal.wait()
            return bool(lane)

    def _look(self) -> float:
        """Rid the lanes of what is hopeless now, which settles without the lock; returns the instant."""
        now_s = self.clock()
        if self._earliest_deadline_s < now_s + self.frame_pace.seconds:
            with self._lock:
                dropped = self._take_out_hopeless(now_s)
            for job, pace in dropped:
                self._drop(job, now_s, pace)
        return now_s

    def _take_out_hopeless(self, now_s: float) -> list[tuple[Job[Result], Pace]]:
        dropped = []
        for lane, pace in ((self._encoded, self.frame_pace), (self._decoded, self.inference_pace)):
            latest_s = now_s + pace.seconds
            hopeless = [job for job in lane if job.deadline_s < latest_s]
            for job in hopeless:
                del lane[job]
                dropped.append((job, pace))
        self._decoded_left.notify_all()
        self._earliest_deadline_s = min((job.deadline_s for job in (*self._encoded, *self._decoded)), default=NEVER)
        return dropped

    def _drop(self, job: Job[Result], now_s: float, pace: Pace) -> None:
        job.fail(_too_late(job.deadline_s - now_s, pace, waited_s=now_s - job.submitted_s))

    def _waiting(self) -> int:
        return len(self._encoded) + len(self._decoded)

    def _refuse(self, frames: int, now_s: float, deadline_s: float | None) -> None:
        if self.failure:
            raise _broken()
        if self._waiting() + frames > self._max_waiting:
            raise self._full(
                f"{self._waiting()} frames wait, {frames} more have no room; at most {self._max_waiting} may wait"
            )
        if deadline_s is not None:
            self._refuse_without_time(deadline_s - now_s)
        ahead_s, bound = self._seconds_to_empty(), self._wait_bound
        if self._waiting() >= bound.free_frames and ahead_s > bound.seconds:
            raise self._full(
                f"{self._waiting()} frames wait and {self._running} are in work, for about {_ms(ahead_s)} ms; behind "
                f"more than {_ms(bound.seconds)} ms nobody is admitted"
            )

    def _refuse_without_time(self, left_s: float) -> None:
        needed_s = self.frame_pace.seconds
        if left_s < needed_s:
            raise _too_late(left_s, self.frame_pace)
        ahead_s = self._seconds_to_empty()
        if self._waiting() and left_s < ahead_s + needed_s:
            raise self._full(
                f"{self._waiting()} frames wait and {self._running} are in work, for about {_ms(ahead_s)} ms, and the "
                f"deadline is in {_ms(left_s)} ms"
            )

    def _full(self, message: str) -> QueueFull:
        return QueueFull(
            f"{message}. Ask again later",
            retry_after_s=self._seconds_to_empty() or 1.0,
            waiting_frames=self._waiting(),
            limit_frames=self._max_waiting,
        )

    def _seconds_to_empty(self) -> float:
        return (self._waiting() + self._running) * self.interval.seconds

    def _leave(self, reference: "ref[Job[Result]]", future: "Future[Completed[Result]]") -> None:
        if future.cancelled() and (job := reference()) and self._gave_place_back(job):
            job.begin()

    def _gave_place_back(self, job: Job[Result]) -> bool:
        """Whether it waited; else somebody has it in hand, and looks for itself whether the waiter is still there."""
        with self._lock:
            for lane in (self._encoded, self._decoded):
                if job in lane:
                    del lane[job]
                    self._decoded_left.notify()
                    return True
        return False


def _broken() -> NotReady:
    # Readiness and the log say why: clients need not know the device's own words.
    return NotReady("frames are answered no more; the process needs a restart", retry_after_s=1.0)


def _too_late(left_s: float, pace: Pace, waited_s: float = 0.0) -> DeadlineExceeded:
    takes_s = pace.seconds
    waited = f" after {_ms(waited_s)} ms in the queue" if waited_s else ""
    if left_s <= 0:
        return DeadlineExceeded(f"the deadline passed {_ms(-left_s)} ms ago{waited}, before the frame was computed")
    pace.doubt()
    return DeadlineExceeded(
        f"the deadline is in {_ms(left_s)} ms{waited}, and a frame takes about {_ms(takes_s)} ms; allow more time",
    )


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
