"""What is told of constant rates is what the exchanges say."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks.serving import overload
from benchmarks.serving.closed_loop import Load
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.open_loop import Exchange, Phase
from benchmarks.serving.overload import Memory, OpenLoop, Turn, overload_growth, percentile, phases_of, recovery_s
from benchmarks.serving.plan import FULL
from benchmarks.serving.processes import MarkedProcesses
from benchmarks.serving.rounds import Record, Setting

# Half, nine tenths, half, three times, half of ten a second.
PHASES = [Phase(5, 1), Phase(9, 1), Phase(5, 1), Phase(30, 2), Phase(8, 3)]
AFTER_S = 5.0


class StillServer:
    """Has no process at all."""

    processes = MarkedProcesses("of nobody")


def test_percentile_is_the_smallest_value_that_enough_do_not_exceed() -> None:
    assert percentile([4, 1, 3, 2], 50) == 2
    assert percentile([4, 1, 3, 2], 99) == 4
    assert percentile(list(range(1, 101)), 99) == 99
    assert percentile([], 50) is None


def test_capacity_is_the_best_of_three_closed_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of which one loop keeps only one worker busy is still asked for three times what both can."""
    rates = iter([48, 90, 49])
    asked_for: list[float] = []

    def generated(_server: object, _frames: Path, phases: list[Phase]) -> tuple[list[Exchange], float]:
        asked_for.extend(phase.rate for phase in phases)
        return [], 0.0

    monkeypatch.setattr(overload, "ready", lambda *_: nullcontext(StillServer()))
    monkeypatch.setattr(overload, "load", lambda *_: Load(1.0, next(rates), 0, 0, 1.0, 1.0, 1.0, 0.1, 0.1))
    monkeypatch.setattr(overload, "_generate", generated)
    setting = Setting(tmp_path, tmp_path, {}, tmp_path, 2, (), False, FULL, {}, lambda _: None)
    found = overload.run_open_loop(setting, CONTENDERS[-1], Record())
    assert (found.capacity, found.phases[overload.OVERLOAD].rate) == (90.0, 270.0)
    assert asked_for == [45.0, 81.0, 45.0, 270.0, 45.0]


def test_phases_are_shares_of_the_capacity() -> None:
    assert [phase.rate for phase in phases_of(FULL, 200.0)] == [100.0, 180.0, 100.0, 600.0, 100.0]


def test_figures_of_a_phase_count_each_outcome_once() -> None:
    """Five in the overload: answered in time, answered after its end, refused twice (once barely), broken; one lost."""
    exchanges = [
        Exchange(3, 3.0, 3.001, 0.5, 200),
        Exchange(3, 4.5, 4.5, 0.9, 200),
        Exchange(3, 3.1, 3.1, 0.004, 429, retry_after=True),
        Exchange(3, 3.2, 3.2, 0.010, 429),
        Exchange(3, 3.3, 3.3, 0.1, 500),
        Exchange(3, 3.4, 3.4),
        # Of the phase before, but answered in this one.
        Exchange(2, 2.9, 2.9, 0.2, 200),
    ]
    found = overload._figures(3, PHASES, exchanges)
    assert (found.sent, found.answered, found.refused, found.refused_without_retry_after) == (6, 2, 2, 1)
    assert (found.server_errors, found.unanswered, found.others) == (1, 1, 0)
    assert found.answered_per_s == 2 / 2
    assert (found.p50_ms, found.p99_ms, found.refused_p99_ms) == (500.0, 900.0, 10.0)
    assert found.late_p99_ms == pytest.approx(1.0)


def after(slow_until_s: float, status: int = 200) -> list[Exchange]:
    """Calm before with 100 ms each; after the overload 2 s each until some moment, then 50 ms."""
    before = [Exchange(2, 2 + turn / 5, 2 + turn / 5, 0.1, 200) for turn in range(5)]
    begins = [turn / 8 for turn in range(24)]
    late = [
        Exchange(4, AFTER_S + s, AFTER_S + s, 2.0 if s < slow_until_s else 0.05, status if s < slow_until_s else 200)
        for s in begins
    ]
    return before + late


def test_recovery_is_the_first_moment_from_which_latency_stays_normal() -> None:
    """Windows are quarters of a second."""
    assert recovery_s(PHASES, after(0.0)) == 0.0
    assert recovery_s(PHASES, after(0.7)) == 0.75
    assert recovery_s(PHASES, after(1.0)) == 1.0


def test_who_stays_slow_or_refuses_has_not_recovered() -> None:
    assert recovery_s(PHASES, after(3.0)) is None
    assert recovery_s(PHASES, after(2.5)) is None, "half a second at the end is too short to say that it stays"
    refused = [Exchange(one.phase, one.intended_s, one.sent_s, 0.001, one.status) for one in after(0.5, status=429)]
    assert recovery_s(PHASES, refused) == 0.5


def test_memory_of_a_full_queue_is_no_growth() -> None:
    """The overload lasts from 3 to 5 s: what comes before 3.5 s fills the queue; 120 after 100 is a fifth more."""
    memory = [Memory(2.9, 50), Memory(3.4, 80), Memory(3.6, 100), Memory(3.9, 100), Memory(4.6, 120), Memory(4.9, 120)]
    loop = OpenLoop("x", 10.0, [], None, memory, 0.0, [])
    assert overload_growth(loop, PHASES) == 1.2
    assert overload_growth(OpenLoop("x", 10.0, [], None, memory[:2], 0.0, []), PHASES) is None


def test_share_of_capacity_is_of_the_mean_before_and_after() -> None:
    assert Turn(110.0, 95.0, 90.0).share == 0.95
