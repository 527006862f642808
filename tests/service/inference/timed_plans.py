"""Execution plans whose speed is known, on a clock that only they move."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from service.inference.execution import ExecutionPlan
from service.inference.plan_timing import Clocks


class FakeClock:
    """Wall and CPU seconds, moved by hand; a plan uses `cores` of CPU seconds in a second."""

    def __init__(self, cores: float = 1.0) -> None:
        self.now_s, self.cores = 100.0, cores
        self.clocks = Clocks(wall=lambda: self.now_s, cpu=lambda: self.now_s * self.cores)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class FakeScheduler:
    """Answers `batch` frames at once, `seconds(answered)` later; its thread moves the clock, but only for that."""

    def __init__(self, clock: FakeClock, seconds: Callable[[int], float], batch: int = 1) -> None:
        self._clock, self._seconds, self._batch = clock, seconds, batch
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[Any]] | None] = queue.SimpleQueue()
        self._answered = 0
        self.closed = False
        self.frames: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, frames: Sequence[bytes]) -> list["Future[Any]"]:
        futures: list[Future[Any]] = [Future() for _ in frames]
        for frame, future in zip(frames, futures, strict=True):
            self._waiting.put((frame, future))
        return futures

    def __enter__(self) -> "FakeScheduler":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self._waiting.put(None)
        self._thread.join(30)

    def _serve(self) -> None:
        batch: list[Future[Any]] = []
        while (job := self._waiting.get()) is not None:
            self.frames.append(job[0])
            batch.append(job[1])
            if len(batch) == self._batch:
                self._answer(batch)
                batch = []

    def _answer(self, batch: list["Future[Any]"]) -> None:
        try:
            seconds = self._seconds(self._answered)
        except RuntimeError as problem:
            for future in batch:
                future.set_exception(problem)
            return
        self._clock.advance(seconds)
        self._answered += len(batch)
        for future in batch:
            future.set_result("answer")


class FakePlans:
    """Opens plans that answer after so many seconds; opening takes `opening_s`, and `sessions_s` by plan."""

    def __init__(
        self,
        clock: FakeClock,
        seconds: Mapping[ExecutionPlan, float | Callable[[int], float]],
        opening_s: float = 0.0,
        sessions_s: Mapping[ExecutionPlan, float] | None = None,
    ) -> None:
        self.clock, self.seconds, self.opening_s, self.sessions_s = clock, seconds, opening_s, sessions_s or {}
        self.opened: dict[ExecutionPlan, FakeScheduler] = {}

    def loading_s(self, plan: ExecutionPlan) -> float:
        return self.sessions_s.get(plan, 0.0)

    def open(self, plan: ExecutionPlan) -> FakeScheduler:
        self.clock.advance(self.opening_s + self.loading_s(plan))
        seconds = self.seconds[plan]
        pace = seconds if callable(seconds) else lambda _: seconds
        self.opened[plan] = FakeScheduler(self.clock, pace, plan.largest_batch)
        return self.opened[plan]
