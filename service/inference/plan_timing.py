"""How fast an execution plan is here: all plans take turns in rounds, so that whatever else happens harms all alike.

In its turn a plan has as many frames under way as it works on at once; whenever one is answered the next is submitted.
A plan is left out, with the reason, rather than that the budget of seconds is exceeded.
"""

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import numpy as np

from service.errors import Draining
from service.inference.batch_binding import WARM_UP_RUNS
from service.inference.execution import ExecutionPlan
from service.inference.tuning import LeftOut, Measurements, PlanFigures

# Opening plans may take this share of the budget, the rest is for measuring them.
OPENING_SHARE: Final = 0.5
# The median of fewer rounds is at the mercy of one disturbance; a turn is as long as so many rounds leave it, within:
ROUNDS: Final = 5
SHORTEST_TURN_S, LONGEST_TURN_S = 0.08, 0.5
# Frames that are not yet counted and frames that no longer are, each as many as are under way, and as many between.
LEAST_WAVES: Final = 3


class Scheduler(AbstractContextManager[Any], Protocol):
    """What is measured: it answers frames, each by a future."""

    def submit(self, frames: Sequence[bytes]) -> list["Future[Any]"]:
        """One future for each frame."""


class PlanOpener(Protocol):
    """Opens plans, and knows which of them need a session of their own."""

    def open(self, plan: ExecutionPlan) -> Scheduler:
        """The plan, ready for frames."""

    def loading_s(self, plan: ExecutionPlan) -> float:
        """About how many seconds of `open` will load a session; 0 where it is there."""


IsEnding = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds that never run backwards, and CPU seconds of the whole process."""

    wall: Callable[[], float] = time.monotonic
    cpu: Callable[[], float] = time.process_time


CLOCKS: Final = Clocks()


def never() -> bool:
    """The answer of a process that is not about to end."""
    return False


@dataclass(frozen=True, slots=True)
class Turn:
    """What one plan did in one round."""

    frames: int
    seconds: float
    cpu_s: float
    latencies_s: tuple[float, ...]

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds


@dataclass(slots=True)
class _Contender:
    """A plan that is open, and its turns by round."""

    plan: ExecutionPlan
    scheduler: Scheduler
    wave_s: float
    turns: dict[int, Turn] = field(default_factory=dict)
    failure: str | None = None


def measure_plans(
    plans: Sequence[ExecutionPlan],
    opener: PlanOpener,
    frames: Sequence[bytes],
    frame_in_words: str,
    budget_s: float,
    clocks: Clocks = CLOCKS,
    is_ending: IsEnding = never,
) -> Measurements:
    """Figures of the plans, measured within `budget_s` seconds; opening the first and one frame of it always fit in.

    What the first plan raises when it opens or answers its first frame is raised; another plan that fails is left out.
    Raises Draining, after the frames under way at most, once `is_ending` says that nobody needs the figures any more.
    """
    started_s = clocks.wall()
    contest = _Contest(opener, frames, clocks, started_s, budget_s, is_ending)
    with contest:
        contest.open(plans)
        contest.run()
    seconds = round(clocks.wall() - started_s, 3)
    return Measurements(
        figures=tuple(contest.figures()), left_out=tuple(contest.left_out()), frame=frame_in_words, seconds=seconds
    )


def under_way(plan: ExecutionPlan) -> int:
    """How many frames keep a plan busy: one for each worker, or one batch in the network and one being decoded."""
    return 2 * plan.largest_batch if plan.batched else plan.inference_workers


class _Contest:
    """Plans side by side: opened one after the other, then taking turns until the budget is spent."""

    def __init__(
        self,
        opener: PlanOpener,
        frames: Sequence[bytes],
        clocks: Clocks,
        started_s: float,
        budget_s: float,
        is_ending: IsEnding,
    ) -> None:
        self._opener, self._frames, self._clocks = opener, itertools.cycle(frames), clocks
        self._started_s, self._budget_s, self._is_ending = started_s, budget_s, is_ending
        self._contenders: list[_Contender] = []
        self._left_out: list[LeftOut] = []
        self._opened = ExitStack()

    def __enter__(self) -> "_Contest":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def open(self, plans: Sequence[ExecutionPlan]) -> None:
        """Open the plans and let a first wave of frames through each, so that none pays for being the first."""
        for plan in plans:
            if self._is_ending():
                raise _nobody_waits()
            if self._contenders and self._spent_s() + self._opening_s(plan) > OPENING_SHARE * self._budget_s:
                self._left_out.append(LeftOut(plan=plan, reason=self._no_time()))
                continue
            try:
                self._contenders.append(self._warm(plan))
            except Exception as problem:
                if not self._contenders:
                    raise
                self._left_out.append(LeftOut(plan=plan, reason=_failed(problem)))

    def run(self) -> None:
        """Let the plans take turns, each round beginning with another, until there is no time for one more turn."""
        left_s = self._budget_s - self._spent_s()
        turn_s = min(max(left_s / (ROUNDS * len(self._contenders)), SHORTEST_TURN_S), LONGEST_TURN_S)
        for round_number in itertools.count():
            took_turn = [self._take_turn(contender, round_number, turn_s) for contender in self._order(round_number)]
            if not any(took_turn):
                return

    def figures(self) -> Iterator[PlanFigures]:
        """Of all that had a turn in a round in which the first had one, too."""
        for contender in self._contenders:
            if self._is_comparable(contender) and not contender.failure:
                yield _figures(contender, self._contenders[0].turns)

    def left_out(self) -> Iterator[LeftOut]:
        """Who has no figures."""
        yield from self._left_out
        for contender in self._contenders:
            if contender.failure:
                yield LeftOut(plan=contender.plan, reason=contender.failure)
            elif not self._is_comparable(contender):
                yield LeftOut(plan=contender.plan, reason=self._no_time())

    def _is_comparable(self, contender: _Contender) -> bool:
        return not contender.turns.keys().isdisjoint(self._contenders[0].turns)

    def _order(self, round_number: int) -> list[_Contender]:
        first = round_number % len(self._contenders)
        return self._contenders[first:] + self._contenders[:first]

    def _warm(self, plan: ExecutionPlan) -> _Contender:
        scheduler = self._opened.enter_context(self._opener.open(plan))
        started_s = self._clocks.wall()
        for future in scheduler.submit([next(self._frames) for _ in range(under_way(plan))]):
            future.result()
        return _Contender(plan, scheduler, wave_s=self._clocks.wall() - started_s)

    def _take_turn(self, contender: _Contender, round_number: int, turn_s: float) -> bool:
        needed_s = max(turn_s + contender.wave_s, LEAST_WAVES * contender.wave_s)
        if contender.failure or self._spent_s() + needed_s > self._budget_s:
            return False
        loop = _ClosedLoop(contender.scheduler, self._frames, under_way(contender.plan), self._clocks, self._is_ending)
        try:
            contender.turns[round_number] = turn = loop.run(turn_s)
        except Draining:
            raise
        except Exception as problem:
            if contender is self._contenders[0]:
                raise
            contender.failure = _failed(problem)
            return True
        contender.wave_s = under_way(contender.plan) / turn.frames_per_s
        return True

    def _opening_s(self, plan: ExecutionPlan) -> float:
        """About how long it takes: a session, batches until they are warm, then a wave, at the first plan's pace."""
        first = self._contenders[0]
        frame_s = first.wave_s / under_way(first.plan)
        warm_up_frames = WARM_UP_RUNS * sum(plan.batch_sizes) if plan.batched else 0
        return self._opener.loading_s(plan) + frame_s * (warm_up_frames + under_way(plan))

    def _spent_s(self) -> float:
        return self._clocks.wall() - self._started_s

    def _no_time(self) -> str:
        return f"no time was left of {self._budget_s:g} seconds"


class _ClosedLoop:
    """Submits a frame whenever one is answered, and counts once every frame of the first wave is through."""

    def __init__(
        self, scheduler: Scheduler, frames: Iterator[bytes], wave: int, clocks: Clocks, is_ending: IsEnding
    ) -> None:
        self._scheduler, self._frames, self._wave, self._clocks = scheduler, frames, wave, clocks
        self._is_ending = is_ending
        self._answers: list[tuple[float, float, float]] = []
        self._under_way = wave
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._end_s = 0.0

    def run(self, seconds: float) -> Turn:
        """What happens in so many seconds, at least one wave after the first.

        Raises what a frame raises, and Draining.
        """
        self._end_s = self._clocks.wall() + seconds
        for _ in range(self._wave):
            self._submit()
        self._ended.wait()
        if self._failure:
            raise self._failure
        return self._turn()

    def _submit(self) -> None:
        started_s = self._clocks.wall()
        try:
            (future,) = self._scheduler.submit([next(self._frames)])
        except Exception as problem:  # noqa: BLE001 - it may come on a worker's thread; `run` raises it
            self._settle(started_s, problem)
        else:
            future.add_done_callback(partial(self._on_answer, started_s))

    def _on_answer(self, started_s: float, future: "Future[Any]") -> None:
        if self._settle(started_s, future.exception()):
            self._submit()

    def _settle(self, started_s: float, problem: BaseException | None) -> bool:
        """Note an answer; returns whether another frame is to follow it."""
        now_s, cpu_s = self._clocks.wall(), self._clocks.cpu()
        with self._lock:
            self._answers.append((now_s, cpu_s, now_s - started_s))
            self._failure = self._failure or problem or (_nobody_waits() if self._is_ending() else None)
            goes_on = self._failure is None and (now_s < self._end_s or len(self._answers) <= 2 * self._wave)
            self._under_way -= not goes_on
            if self._under_way == 0:
                self._ended.set()
            return goes_on

    def _turn(self) -> Turn:
        # The first wave comes from nowhere and nothing follows the last one: between them the plan is busy.
        counted = self._answers[self._wave - 1 : -self._wave]
        (began_s, began_cpu_s, _), (ended_s, ended_cpu_s, _) = counted[0], counted[-1]
        latencies_s = tuple(latency_s for _, _, latency_s in counted[1:])
        return Turn(len(latencies_s), ended_s - began_s, ended_cpu_s - began_cpu_s, latencies_s)


def _nobody_waits() -> Draining:
    return Draining("the process is about to end: measuring execution plans has stopped")


def _failed(problem: Exception) -> str:
    return f"it fails: {type(problem).__name__}: {problem}"


def _figures(contender: _Contender, reference: dict[int, Turn]) -> PlanFigures:
    turns = contender.turns
    rates = [turn.frames_per_s for turn in turns.values()]
    ratios = [
        turn.frames_per_s / reference[number].frames_per_s for number, turn in turns.items() if number in reference
    ]
    latencies_ms = 1000 * np.concatenate([turn.latencies_s for turn in turns.values()])
    frames = sum(turn.frames for turn in turns.values())
    p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99]).round(3).tolist()
    return PlanFigures(
        plan=contender.plan,
        frames_per_s=round(statistics.median(rates), 2),
        relative_speed=round(statistics.median(ratios), 4),
        latency_p50_ms=p50_ms,
        latency_p99_ms=p99_ms,
        cpu_s_per_frame=round(sum(turn.cpu_s for turn in turns.values()) / frames, 6),
        frames=frames,
        rounds=len(turns),
    )
