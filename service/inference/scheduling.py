"""Who computes when: a bounded queue of frames before a pool of workers.

    submit(frames) -> one future a frame          admitted whole or not at all
      queue          first in, first out; a cancelled future gives its place back at once
      worker         takes one frame and brings it from bytes to its result, start to end

Every future settles on its own: with its result, with the error of its frame, or cancelled.
"""

import logging
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from service.errors import FrameError, QueueFull

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

# One measurement moves the mean by a tenth: some twenty frames forget a change of load.
SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Completed(Generic[Result]):
    """What became of a frame, and how many seconds it waited for a worker."""

    result: Result
    queue_s: float


@dataclass(frozen=True, slots=True)
class QueueState:
    """How busy the scheduler is: frames that wait, frames in work, and the bounds of both."""

    waiting_frames: int
    running_frames: int
    max_waiting_frames: int
    workers: int


@dataclass(eq=False, slots=True)
class _Job(Generic[Result]):
    frame: bytes
    future: "Future[Completed[Result]]"
    submitted_s: float


class FrameScheduler(Generic[Result]):
    """Runs `work` on each submitted frame, on `workers` threads, with at most `max_queue_frames` waiting.

    `clock` returns seconds that never run backwards. Close it when done, or use it as a context manager.
    """

    def __init__(
        self,
        work: Callable[[bytes], Result],
        workers: int,
        max_queue_frames: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._clock = work, clock
        self._max_waiting = max_queue_frames
        self._jobs: OrderedDict[_Job[Result], None] = OrderedDict()
        self._running = 0
        self._seconds_per_frame: float | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._serve, name=f"frame-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, frames: Sequence[bytes]) -> list["Future[Completed[Result]]"]:
        """One future for each frame, in order. Raises QueueFull, and admits none, when not all of them have room."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the scheduler is closed")
            self._refuse_without_room(len(frames))
            jobs = [_Job[Result](frame, Future(), self._clock()) for frame in frames]
            self._jobs.update(dict.fromkeys(jobs))
            self._changed.notify(len(jobs))
        for job in jobs:
            job.future.add_done_callback(partial(self._give_place_back, job))
        return [job.future for job in jobs]

    def refuse_without_room(self, frames: int) -> None:
        """Raises QueueFull when `frames` frames have no room now: asked before an upload is read."""
        with self._changed:
            self._refuse_without_room(frames)

    def state(self) -> QueueState:
        """How busy it is at this moment."""
        with self._changed:
            return QueueState(len(self._jobs), self._running, self._max_waiting, len(self._threads))

    def healthy(self) -> bool:
        """Whether every worker lives."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Cancels what waits, finishes what runs and ends the workers."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "FrameScheduler[Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_without_room(self, frames: int) -> None:
        waiting = len(self._jobs)
        if waiting + frames <= self._max_waiting:
            return
        raise QueueFull(
            f"{waiting} frames wait, {frames} more have no room; at most {self._max_waiting} may wait. Ask again later",
            retry_after_s=self._seconds_to_empty(),
            waiting_frames=waiting,
            limit_frames=self._max_waiting,
        )

    def _seconds_to_empty(self) -> float:
        seconds_per_frame = self._seconds_per_frame
        if seconds_per_frame is None:
            return 1.0
        return (len(self._jobs) + self._running) * seconds_per_frame / len(self._threads)

    def _serve(self) -> None:
        while (job := self._next_job()) is not None:
            self._run(job)

    def _next_job(self) -> _Job[Result] | None:
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            if not self._jobs:
                return None
            job, _ = self._jobs.popitem(last=False)
            self._running += 1
            return job

    def _run(self, job: _Job[Result]) -> None:
        started_s = self._clock()
        ran = job.future.set_running_or_notify_cancel()
        try:
            completed = Completed(self._work(job.frame), started_s - job.submitted_s) if ran else None
        except BaseException as error:  # noqa: BLE001 - it is the waiter's, and the worker must outlive it
            self._finish(started_s if isinstance(error, FrameError) else None)
            job.future.set_exception(error)
        else:
            self._finish(started_s if ran else None)
            if completed is not None:
                job.future.set_result(completed)

    def _finish(self, started_s: float | None) -> None:
        with self._changed:
            self._running -= 1
            if started_s is not None:
                took_s = self._clock() - started_s
                mean_s = took_s if self._seconds_per_frame is None else self._seconds_per_frame
                self._seconds_per_frame = mean_s + SMOOTHING * (took_s - mean_s)

    def _give_place_back(self, job: _Job[Result], _: "Future[Completed[Result]]") -> None:
        with self._changed:
            self._jobs.pop(job, None)


def available_cpus() -> int:
    """CPUs that this process may use: its affinity, less what a control group's quota allows; at least 1."""
    quota = cgroup_cpus(Path("/sys/fs/cgroup"))
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def cgroup_cpus(root: Path) -> float | None:
    """CPUs that the control group at `root` grants (version 2, else version 1); None without a quota."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return _cgroup_v1_cpus(root / "cpu")


def _cgroup_v1_cpus(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
