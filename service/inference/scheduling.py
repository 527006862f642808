"""Who computes when: frames wait in a bounded queue, threads take them from there.

    submit(frames) -> one future a frame          admitted whole or not at all
      frame_queue    first in, first out; whoever left or cannot make its deadline gives its place back at once
      worker         brings one frame from bytes to its result, start to end
      or batching    workers decode, one thread infers whatever waits

Every future settles on its own: with its result, with the error of its frame, or cancelled.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from service.inference.batching import BatchCrew, Infer
from service.inference.decoding import Incoming
from service.inference.detector import Detection, Detector
from service.inference.execution import ExecutionPlan
from service.inference.frame_queue import (
    NO_WAIT_BOUND,
    Completed,
    FrameQueue,
    Job,
    Measured,
    QueueState,
    WaitBound,
)
from service.inference.session import CUDA

Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


class FrameScheduler(Generic[Result]):
    """A queue and the threads that empty it: one for each of `loops`, which return once the queue is closed.

    Close it when done, or use it as a context manager.
    """

    def __init__(self, queue: FrameQueue[Result], loops: Sequence[Callable[[], None]], workers: int) -> None:
        self._queue, self._workers = queue, workers
        self._threads = [
            threading.Thread(target=loop, name=f"frames-{number}", daemon=True) for number, loop in enumerate(loops)
        ]
        self._closed = False
        for thread in self._threads:
            thread.start()

    def submit(self, frames: Sequence[Incoming], deadline_s: float | None = None) -> list["Future[Completed[Result]]"]:
        """One future for each frame, in order; `deadline_s` is an instant of the clock (time.monotonic).

        Raises QueueFull or DeadlineExceeded, and admits none, as `FrameQueue.submit` does. A frame that is admitted and
        then cannot make its deadline is dropped before it is decoded or inferred, with DeadlineExceeded.
        """
        return self._queue.submit(frames, deadline_s)

    def refuse_without_room(self, frames: int, deadline_s: float | None = None) -> None:
        """Raises what `submit` would raise for `frames` frames now: asked before an upload is read."""
        self._queue.refuse_without_room(frames, deadline_s)

    def state(self) -> QueueState:
        """How busy it is at this moment."""
        return self._queue.state(self._workers)

    def healthy(self) -> bool:
        """Whether every thread lives."""
        return not (self._closed or self._queue.failure) and all(thread.is_alive() for thread in self._threads)

    @property
    def failure(self) -> str | None:
        """Why nothing can be answered any more, as far as that is known; None where it can."""
        return None if self.healthy() else self._queue.failure or "a worker has died"

    def close(self) -> None:
        """Cancels what waits, finishes what is being inferred and ends the threads."""
        self._closed = True
        self._queue.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "FrameScheduler[Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameWorker(Generic[Prepared, Result]):
    """Takes one frame after the other from bytes to its result; one of `workers` that share a queue."""

    def __init__(
        self,
        queue: FrameQueue[Result],
        decode: Callable[[Incoming], Prepared],
        infer: Callable[[Prepared], Result],
        workers: int,
    ) -> None:
        self._queue, self._decode, self._infer, self._workers = queue, decode, infer, workers

    def serve(self) -> None:
        """Work until the queue is closed."""
        while (job := self._queue.take()) is not None:
            self._work_on(job)

    def _work_on(self, job: Job[Result]) -> None:
        try:
            prepared = self._decode(job.frame)
            decoded_s = self._queue.clock()
            if self._queue.still_wanted(job, decoded_s):
                self._answer(job, self._infer(prepared), decoded_s)
            else:
                self._queue.left_work()
        except BaseException as error:  # noqa: BLE001 - it is the waiter's, and the worker must outlive it
            self._queue.left_work()
            job.fail(error)

    def _answer(self, job: Job[Result], result: Result, decoded_s: float) -> None:
        now_s = self._queue.clock()
        frame_s = now_s - job.taken_s
        self._queue.left_work(measured=Measured(frame_s, now_s - decoded_s, frame_s / self._workers))
        job.complete(result)


def start_to_end(
    decode: Callable[[Incoming], Prepared],
    infer: Callable[[Prepared], Result],
    workers: int,
    max_queue_frames: int,
    clock: Callable[[], float] = time.monotonic,
    wait_bound: WaitBound = NO_WAIT_BOUND,
) -> FrameScheduler[Result]:
    """A scheduler whose workers bring each frame from bytes to its result."""
    queue = FrameQueue[Result](max_queue_frames, clock=clock, wait_bound=wait_bound)
    worker = FrameWorker(queue, decode, infer, workers)
    return FrameScheduler(queue, [worker.serve] * workers, workers)


def in_batches(
    decode: Callable[[Incoming], Prepared],
    open_infer: Callable[[], Infer[Prepared, Result]],
    plan: ExecutionPlan,
    max_queue_frames: int,
    clock: Callable[[], float] = time.monotonic,
    wait_bound: WaitBound = NO_WAIT_BOUND,
    known: Prepared | None = None,
) -> FrameScheduler[Result]:
    """A scheduler whose workers decode and whose one inference thread takes whatever waits.

    Raises what `open_infer` raises, which that thread calls first. With a `known` frame it ends, and is not healthy any
    more, once frames fail and this one does, too.
    """
    queue = FrameQueue[Result](max_queue_frames, plan.largest_batch, clock, wait_bound)
    crew = BatchCrew(queue, decode, open_infer, plan.largest_batch, known)
    scheduler = FrameScheduler(queue, [crew.infer] + [crew.decode] * plan.inference_workers, plan.inference_workers)
    try:
        crew.opened.result()
    except BaseException:
        scheduler.close()
        raise
    return scheduler


def open_scheduler(
    detector: Detector,
    plan: ExecutionPlan,
    max_queue_frames: int,
    clock: Callable[[], float] = time.monotonic,
    wait_bound: WaitBound = NO_WAIT_BOUND,
    breaks_off: bool = True,
) -> FrameScheduler[Detection]:
    """The scheduler that runs a detector by a plan, every batch size of it warm.

    On CUDA one thread infers, in batches of one too: its buffers are page-locked, and its runs recorded. Once the
    device is lost it `breaks_off`, or else tells every waiter the device's own error.
    """
    bounds = (max_queue_frames, clock, wait_bound)
    if not plan.batched and detector.session.provider != CUDA:
        return start_to_end(detector.decode, detector.infer, plan.inference_workers, *bounds)
    known = detector.black_frame() if breaks_off and detector.session.provider == CUDA else None
    return in_batches(detector.decode, partial(detector.batches, plan), plan, *bounds, known)
