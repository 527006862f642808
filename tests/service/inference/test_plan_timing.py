"""Measuring plans in turns, on a controlled clock and for real."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import Draining
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector, load_detector
from service.inference.driving_frame import driving_frame
from service.inference.execution import ExecutionPlan
from service.inference.plan_timing import Clocks, Scheduler, measure_plans
from service.inference.scheduling import open_scheduler
from service.inference.tuning import Measurements
from tests.service.inference.timed_plans import FakeClock, FakePlans, FakeScheduler

ONE, TWO, THREE = ExecutionPlan(1, 1), ExecutionPlan(1, 2), ExecutionPlan(1, 3)
BATCHED = ExecutionPlan(1, 1, (1, 2, 4))


def measured(plans: FakePlans, budget_s: float = 10.0, frames: tuple[bytes, ...] = (b"frame",)) -> Measurements:
    """All plans of the fake, on its clock."""
    return measure_plans(list(plans.seconds), plans, frames, "made up", budget_s, plans.clock.clocks)


def test_figures_are_those_of_the_plan() -> None:
    """10 ms a frame, one at a time, on a core and a half: 100 frames/s and 15 ms of CPU."""
    plans = FakePlans(FakeClock(cores=1.5), {ONE: 0.010, TWO: 0.005})
    first, second = measured(plans).figures
    assert (first.plan, first.frames_per_s, first.relative_speed) == (ONE, pytest.approx(100), 1.0)
    assert (first.latency_p50_ms, first.latency_p99_ms) == (pytest.approx(10), pytest.approx(10))
    assert first.cpu_s_per_frame == pytest.approx(0.015)
    assert (second.plan, second.frames_per_s, second.relative_speed) == (TWO, pytest.approx(200), pytest.approx(2))


def test_batches_are_counted_whole() -> None:
    """4 frames every 20 ms are 200 frames/s; with two batches under way a frame waits for one and runs in the next."""
    figures = measured(FakePlans(FakeClock(), {BATCHED: 0.020})).figures[0]
    assert figures.frames_per_s == pytest.approx(200)
    assert figures.latency_p50_ms == pytest.approx(40)


def test_p99_tells_of_the_slow_frames() -> None:
    """Every twentieth frame takes ten times as long: the median does not see it, the 99th percentile does."""

    def pace(answered: int) -> float:
        return 0.1 if answered % 20 == 0 else 0.01

    figures = measured(FakePlans(FakeClock(), {ONE: pace})).figures[0]
    assert (figures.latency_p50_ms, figures.latency_p99_ms) == (pytest.approx(10), pytest.approx(100))


def test_a_disturbed_round_does_not_move_the_median() -> None:
    """Half as fast for the 100 frames in the middle of some thousand: that is one round of five."""

    def disturbed(answered: int) -> float:
        return 0.010 if 600 <= answered < 700 else 0.005

    first, second = measured(FakePlans(FakeClock(), {ONE: 0.005, TWO: disturbed}), budget_s=12).figures
    assert second.relative_speed == pytest.approx(first.relative_speed)
    assert second.frames_per_s == pytest.approx(200)


def test_plans_take_turns_and_another_begins_each_round() -> None:
    """After the warm-up 1 2 3 the rounds are 1 2 3, 2 3 1 and 3 1 2."""
    order: list[ExecutionPlan] = []

    def noted(plan: ExecutionPlan) -> Callable[[int], float]:
        def pace(_: int) -> float:
            if not order or order[-1] != plan:
                order.append(plan)
            return 0.010

        return pace

    measured(FakePlans(FakeClock(), {plan: noted(plan) for plan in (ONE, TWO, THREE)}), budget_s=5)
    assert order[:12] == [ONE, TWO, THREE, ONE, TWO, THREE, TWO, THREE, ONE, THREE, ONE, TWO]


def test_the_budget_is_kept() -> None:
    clock = FakeClock()
    found = measured(FakePlans(clock, {ONE: 0.010, TWO: 0.020, THREE: 0.030}, opening_s=0.2), budget_s=3.0)
    assert clock.now_s - 100 <= 3.0
    assert found.seconds == pytest.approx(clock.now_s - 100)
    assert [figures.plan for figures in found.figures] == [ONE, TWO, THREE]


def test_all_frames_that_are_given_are_answered() -> None:
    plans = FakePlans(FakeClock(), {ONE: 0.010})
    measured(plans, frames=(b"a", b"b", b"c"))
    answered = plans.opened[ONE].frames
    assert answered[:6] == [b"a", b"b", b"c", b"a", b"b", b"c"]


def test_a_slow_model_gets_fewer_plans_and_it_says_so() -> None:
    """A frame takes a second: of 3 seconds half is for opening, which the second plan's two frames would exceed."""
    clock = FakeClock()
    found = measured(FakePlans(clock, {ONE: 1.0, TWO: 1.0, BATCHED: 1.0}), budget_s=3.0)
    assert found.figures == ()
    assert [left.plan for left in found.left_out] == [TWO, BATCHED, ONE]
    assert {left.reason for left in found.left_out} == {"no time was left of 3 seconds"}
    assert clock.now_s - 100 <= 3.0


def test_a_plan_that_has_nothing_to_be_compared_with_has_no_figures() -> None:
    """On a busy machine the second plan takes long to open; what is left is too short for the slow first one."""

    class SlowToOpen(FakePlans):
        def open(self, plan: ExecutionPlan) -> FakeScheduler:
            self.clock.advance(4.2 if plan == TWO else 0.0)
            return super().open(plan)

    found = measured(SlowToOpen(FakeClock(), {ONE: 0.5, TWO: 0.001}), budget_s=6.0)
    assert found.figures == ()
    assert [left.plan for left in found.left_out] == [ONE, TWO]


def test_plans_that_open_slowly_leave_the_rest_out() -> None:
    """A second each: two are open after 2 of 4 seconds, the third would need more than half of them."""
    found = measured(FakePlans(FakeClock(), {ONE: 0.01, TWO: 0.01, THREE: 0.01}, opening_s=1.0), budget_s=4.0)
    assert [figures.plan for figures in found.figures] == [ONE, TWO]
    assert [left.plan for left in found.left_out] == [THREE]


def test_a_session_that_would_take_too_long_to_load_is_not_loaded() -> None:
    """Of 4 seconds 2 are for opening: one of 1.9 fits behind a frame of 10 ms, one of 2 does not."""
    sessions_s = {TWO: 2.0, THREE: 1.9}
    plans = FakePlans(FakeClock(), {ONE: 0.01, TWO: 0.01, THREE: 0.01}, sessions_s=sessions_s)
    found = measured(plans, budget_s=4.0)
    assert list(plans.opened) == [ONE, THREE]
    assert [(left.plan, left.reason) for left in found.left_out] == [(TWO, "no time was left of 4 seconds")]


@pytest.mark.parametrize(("budget_s", "opened"), [(5.8, [ONE]), (6.2, [ONE, BATCHED])])
def test_every_batch_size_is_counted_as_often_as_it_is_run_to_warm_up(
    budget_s: float, opened: list[ExecutionPlan]
) -> None:
    """At 100 ms a frame: one through the first plan, 3 x (1 + 2 + 4) to warm up and a wave of 8 are 3 seconds."""
    plans = FakePlans(FakeClock(), {ONE: 0.1, BATCHED: 0.1})
    measured(plans, budget_s)
    assert list(plans.opened) == opened


def failing(after: int) -> Callable[[int], float]:
    """Answers so many frames, then runs out of memory."""

    def pace(answered: int) -> float:
        if answered >= after:
            raise RuntimeError("out of memory")
        return 0.010

    return pace


@pytest.mark.parametrize("after", [0, 10])
def test_a_plan_that_fails_is_left_out_with_the_reason(after: int) -> None:
    """At its first frame or later; the others are measured."""
    found = measured(FakePlans(FakeClock(), {ONE: 0.010, TWO: failing(after), THREE: 0.010}))
    assert [figures.plan for figures in found.figures] == [ONE, THREE]
    assert [(left.plan, left.reason) for left in found.left_out] == [(TWO, "it fails: RuntimeError: out of memory")]


@pytest.mark.parametrize("after", [0, 10])
def test_what_the_first_plan_raises_is_raised(after: int) -> None:
    """A model that cannot answer a frame is no matter of plans."""
    plans = FakePlans(FakeClock(), {ONE: failing(after), TWO: 0.010})
    with pytest.raises(RuntimeError, match="out of memory"):
        measured(plans)
    assert all(scheduler.closed for scheduler in plans.opened.values())


def test_every_plan_is_closed() -> None:
    plans = FakePlans(FakeClock(), {ONE: 0.010, TWO: 0.010})
    measured(plans)
    assert [scheduler.closed for scheduler in plans.opened.values()] == [True, True]


class EndsAfter:
    """Paces of 10 ms; the process is about to end once so many frames are answered, over all plans."""

    def __init__(self, frames: int) -> None:
        self._left = frames

    def pace(self, _: int) -> float:
        self._left -= 1
        return 0.010

    def __call__(self) -> bool:
        return self._left <= 0


@pytest.mark.parametrize(
    ("frames", "opened", "answered"),
    [(0, [], 0), (1, [ONE], 1), (2, [ONE, TWO], 3), (3, [ONE, TWO], 3), (60, [ONE, TWO], 60)],
)
def test_measuring_stops_when_the_process_is_about_to_end(
    frames: int, opened: list[ExecutionPlan], answered: int
) -> None:
    """Before a plan is opened or in a turn; what ends after the last warm-up is seen at a turn's first frame."""
    ending = EndsAfter(frames)
    plans = FakePlans(FakeClock(), {ONE: ending.pace, TWO: ending.pace})
    with pytest.raises(Draining, match="measuring execution plans has stopped"):
        measure_plans([ONE, TWO], plans, [b"frame"], "made up", 3600, plans.clock.clocks, ending)
    assert list(plans.opened) == opened
    assert sum(len(scheduler.frames) for scheduler in plans.opened.values()) == answered
    assert all(scheduler.closed for scheduler in plans.opened.values())


class RealPlans:
    """Opens plans of one detector that is there."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def open(self, plan: ExecutionPlan) -> Scheduler:
        return open_scheduler(self._detector, plan, 64)

    def loading_s(self, _: ExecutionPlan) -> float:
        return 0.0


def test_real_plans_are_measured(model: Path) -> None:
    """The tiny model, in single frames and in batches, on frames that are really decoded.

    The budget is of the process's own CPU seconds: those of other programs would leave no time for the second plan.
    """
    detector = load_detector(model, "cpu", 1, FrameLimits())
    plans = [ExecutionPlan(2), ExecutionPlan(1, 1, (1, 2, 4))]
    own = Clocks(wall=time.process_time, cpu=time.process_time)
    frames = [driving_frame(20_000)]
    found = measure_plans(plans, RealPlans(detector), frames, "made", 1.0, own)
    assert [figures.plan for figures in found.figures] == plans
    for figures in found.figures:
        assert figures.frames >= 8
        assert 0 < figures.latency_p50_ms <= figures.latency_p99_ms
        assert 0 < figures.cpu_s_per_frame < 1
