"""Constant arrival rates, each server alone on the machine: half, nine tenths and three times of its capacity.

Its capacity is what it answers to 16 clients right before, the best of three times: a server whose connections may all
fall to one of its workers would else be asked for half of it. The last three phases tell what overload does and how it
ends: half, three times, half of the capacity again. How much of its capacity our service still answers in the overload
is measured once more in turns, capacity, overload, capacity, and so on: the machine's speed drifts by more than what
is to be told apart.
"""

import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from benchmarks.serving.closed_loop import GeneratorFailed
from benchmarks.serving.contenders import Contender
from benchmarks.serving.open_loop import Exchange, Phase
from benchmarks.serving.plan import Plan
from benchmarks.serving.processes import MarkedProcesses
from benchmarks.serving.rounds import IDLE_PATIENCE_S, Record, Setting, load, ready
from benchmarks.serving.servers import Server

SHARES: Final = (0.5, 0.9, 0.5, 3.0, 0.5)
HALF, NINE_TENTHS, BEFORE, OVERLOAD, AFTER = range(5)
CAPACITY_CLIENTS: Final = 16
CAPACITY_LOOPS: Final = 3
MIN_SECONDS: Final = 2
GRACE_S: Final = 10.0
PATIENCE_S: Final = 60.0
MEMORY_EVERY_S: Final = 0.5
# A recovered service answers like before for so long, window after window.
WINDOW_S: Final = 0.25
STAYS_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What became of the frames of a phase; latencies count from the intended time of sending.

    `answered_per_s` counts what came back during the phase. `late_p99_ms` is how late the client itself sent.
    """

    share: float
    rate: float
    sent: int
    answered: int
    answered_per_s: float
    refused: int
    refused_without_retry_after: int
    server_errors: int
    others: int
    unanswered: int
    p50_ms: float | None
    p99_ms: float | None
    refused_p99_ms: float | None
    late_p99_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What all processes of a server hold, so many seconds after the start of the rates."""

    seconds: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Turn:
    """An overload between two measurements of the capacity, all in frames answered per second."""

    capacity_before: float
    answered: float
    capacity_after: float

    @property
    def share(self) -> float:
        """Of the capacity, as it was on average before and after."""
        return 2 * self.answered / (self.capacity_before + self.capacity_after)


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """A server at constant rates. `recovery_s` is None where it was not back to normal before the end."""

    contender: str
    capacity: float
    phases: list[PhaseFigures]
    recovery_s: float | None
    memory: list[Memory]
    client_cpu_s: float
    turns: list[Turn]


def run_open_loop(setting: Setting, contender: Contender, record: Record) -> OpenLoop:
    """Measure one contender with raw bodies. Raises one of FAILURES."""
    contender = replace(contender, command=contender.command_at_rates or contender.command)
    with ready(setting, contender, "raw", record) as server:
        capacity = _capacity(setting, server)
        phases = phases_of(setting.plan, capacity)
        with watched(server.processes) as memory:
            exchanges, client_cpu_s = _generate(server, setting.key_frames, phases)
        figures = [_figures(number, phases, exchanges) for number in range(len(phases))]
        turns = list(_turns(setting, server, SHARES[OVERLOAD] * capacity)) if contender.is_ours else []
        recovered_s = recovery_s(phases, exchanges)
        return OpenLoop(contender.name, capacity, figures, recovered_s, memory, client_cpu_s, turns)


def _capacity(setting: Setting, server: Server) -> float:
    seconds = setting.plan.steady_seconds / CAPACITY_LOOPS
    return max(_answered_per_s(setting, server, seconds) for _ in range(CAPACITY_LOOPS))


def _answered_per_s(setting: Setting, server: Server, seconds: float) -> float:
    """In a closed loop, whose connections are new ones."""
    found = load(server, setting.key_frames, CAPACITY_CLIENTS, max(MIN_SECONDS, round(seconds)))
    if not found.answered:
        raise server.failure("no frame was answered")
    server.processes.wait_until_idle(IDLE_PATIENCE_S)
    return found.frames_per_s


def _turns(setting: Setting, server: Server, rate: float) -> Iterator[Turn]:
    phase, seconds = Phase(rate, setting.plan.calm_seconds), setting.plan.steady_seconds / 2
    before = _answered_per_s(setting, server, seconds)
    for _ in range(setting.plan.overload_turns):
        exchanges, _ = _generate(server, setting.key_frames, [phase])
        server.processes.wait_until_idle(IDLE_PATIENCE_S)
        after = _answered_per_s(setting, server, seconds)
        yield Turn(before, _answered_in(exchanges, 0.0, phase.seconds) / phase.seconds, after)
        before = after


def phases_of(plan: Plan, capacity: float) -> list[Phase]:
    """Rates and durations."""
    seconds = (plan.steady_seconds, plan.steady_seconds, plan.calm_seconds, plan.overload_seconds, plan.calm_seconds)
    return [Phase(share * capacity, length) for share, length in zip(SHARES, seconds, strict=True)]


@contextmanager
def watched(processes: MarkedProcesses) -> Iterator[list[Memory]]:
    """Resident memory, again and again, while the block runs."""
    seen: list[Memory] = []
    end, started_s = threading.Event(), time.monotonic()

    def watch() -> None:
        while not end.is_set():
            seen.append(Memory(time.monotonic() - started_s, processes.resident_bytes()))
            end.wait(MEMORY_EVERY_S)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def _generate(server: Server, frames: Path, phases: Sequence[Phase]) -> tuple[list[Exchange], float]:
    command = [sys.executable, "-m", "benchmarks.serving.open_loop", server.url, str(frames)]
    command += ["--body", "raw", "--grace-seconds", str(GRACE_S)]
    command += [word for phase in phases for word in ("--phase", f"{phase.rate}:{phase.seconds}")]
    limit_s = sum(phase.seconds for phase in phases) + GRACE_S + PATIENCE_S
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit_s)  # noqa: S603
    except subprocess.SubprocessError as problem:
        raise GeneratorFailed(f"the open loop failed: {problem}; {getattr(problem, 'stderr', '')}") from problem
    told: dict[str, Any] = json.loads(done.stdout)
    return [_exchange(*row) for row in told["exchanges"]], told["cpu_s"]


def _exchange(
    phase: int, intended_s: float, late_s: float, latency_s: float | None, status: int, retry_after: bool
) -> Exchange:
    return Exchange(phase, intended_s, intended_s + late_s, latency_s, status, retry_after)


def _figures(number: int, phases: Sequence[Phase], exchanges: Sequence[Exchange]) -> PhaseFigures:
    phase, share = phases[number], SHARES[number]
    begin_s = sum(earlier.seconds for earlier in phases[:number])
    own = [one for one in exchanges if one.phase == number]
    answered = [one for one in own if one.status == HTTPStatus.OK]
    refused = [one for one in own if one.status == HTTPStatus.TOO_MANY_REQUESTS]
    errors = [one for one in own if one.status >= HTTPStatus.INTERNAL_SERVER_ERROR]
    unanswered = [one for one in own if one.latency_s is None]
    return PhaseFigures(
        share=share,
        rate=phase.rate,
        sent=len(own),
        answered=len(answered),
        answered_per_s=_answered_in(exchanges, begin_s, begin_s + phase.seconds) / phase.seconds,
        refused=len(refused),
        refused_without_retry_after=sum(not one.retry_after for one in refused),
        server_errors=len(errors),
        others=len(own) - len(answered) - len(refused) - len(errors) - len(unanswered),
        unanswered=len(unanswered),
        p50_ms=percentile_ms(answered, 50),
        p99_ms=percentile_ms(answered, 99),
        refused_p99_ms=percentile_ms(refused, 99),
        late_p99_ms=percentile([1000 * max(0.0, one.sent_s - one.intended_s) for one in own], 99) or 0.0,
    )


def _answered_in(exchanges: Sequence[Exchange], begin_s: float, end_s: float) -> int:
    answered = (one for one in exchanges if one.status == HTTPStatus.OK and one.latency_s is not None)
    return sum(begin_s <= one.intended_s + (one.latency_s or 0.0) < end_s for one in answered)


def overload_growth(loop: OpenLoop, phases: Sequence[Phase]) -> float | None:
    """Memory late in the overload over memory once its queue is full; None where it was too short to tell.

    What the queue itself holds is no growth, so the first quarter of the phase does not count.
    """
    begin_s, seconds = sum(phase.seconds for phase in phases[:OVERLOAD]), phases[OVERLOAD].seconds
    early, late = (
        [one.resident_bytes for one in loop.memory if first <= (one.seconds - begin_s) / seconds < last]
        for first, last in ((0.25, 0.5), (0.75, 1.0))
    )
    return statistics.median(late) / statistics.median(early) if early and late else None


def percentile_ms(exchanges: Sequence[Exchange], percent: float) -> float | None:
    """Of the latencies; None of none."""
    return percentile([1000 * one.latency_s for one in exchanges if one.latency_s is not None], percent)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many of a hundred do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else None


def recovery_s(phases: Sequence[Phase], exchanges: Sequence[Exchange]) -> float | None:
    """Seconds after the overload until the median is back under the 99th percentile of before, and stays there.

    Medians of quarters of a second, for a whole second; who is not answered waits for ever.
    """
    before = [one for one in exchanges if one.phase == BEFORE]
    normal_ms = percentile_ms([one for one in before if one.status == HTTPStatus.OK], 99)
    if normal_ms is None:
        return None
    begin_s = sum(phase.seconds for phase in phases[:AFTER])
    windows = [_is_normal(window, normal_ms) for window in _windows(phases[AFTER].seconds, begin_s, exchanges)]
    stays = round(STAYS_S / WINDOW_S)
    waited = len(list(takewhile(lambda first: not all(windows[first : first + stays]), range(len(windows)))))
    return waited * WINDOW_S if len(windows) - waited >= stays else None


def _windows(seconds: float, begin_s: float, exchanges: Sequence[Exchange]) -> list[list[Exchange]]:
    found: list[list[Exchange]] = [[] for _ in range(int(seconds / WINDOW_S))]
    for one in exchanges:
        place = int((one.intended_s - begin_s) / WINDOW_S)
        if one.phase == AFTER and place < len(found):
            found[place].append(one)
    return found


def _is_normal(window: Sequence[Exchange], normal_ms: float) -> bool:
    waits_ms = [
        1000 * one.latency_s if one.status == HTTPStatus.OK and one.latency_s is not None else math.inf
        for one in window
    ]
    return not waits_ms or statistics.median(waits_ms) <= normal_ms
