"""Ratios within a round, and what is asked of the service.

# R = rounds
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.closed_loop import Load
from benchmarks.serving.contenders import AS_SHIPPED, LIMIT, OURS
from benchmarks.serving.overload import OVERLOAD, OpenLoop, overload_growth, phases_of
from benchmarks.serving.plan import THROUGHPUT_CLIENTS, Cell, Plan
from benchmarks.serving.rounds import Measurement
from model_training.metrics import interval

Value = Callable[[Load], float]

SHARE_OF_LIMIT: Final = 0.95
TIMES_THE_BEST: Final = 1.5
CPU_OF_LIMIT: Final = 1.08
LATENCY_OF_LIMIT: Final = 1.15
OVERLOAD_SHARE: Final = 0.90
REFUSED_WITHIN_MS: Final = 20.0
MEMORY_GROWTH: Final = 1.05
RECOVERED_WITHIN_S: Final = 1.0
# No server's rounds differ by so much because of the machine.
TWO_MODES: Final = 1.5


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median over rounds, and where it lies in 95 of 100 draws of rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def leaves_open(self, bound: float) -> bool:
        """Whether the bound lies within the interval."""
        return self.low < bound < self.high


@dataclass(frozen=True, slots=True)
class Figure:
    """Something asked of the service: what was seen, in words, and whether it is reached."""

    name: str
    asked: str
    seen: str
    reached: bool
    within_noise: bool = False
    """Whether what was seen leaves the bound open, so that another run may decide otherwise."""


@dataclass(frozen=True, slots=True)
class Modes:
    """A contender that answers at one of two speeds from round to round: the frames/s of each round, in order."""

    slow: list[float]
    fast: list[float]


def frames_per_s(load: Load) -> float:
    """Answered frames."""
    return load.frames_per_s


def cpu_ms(load: Load) -> float:
    """Of the service, of one answered frame."""
    return load.service_cpu_ms_per_frame


def p50_ms(load: Load) -> float:
    """Latency."""
    return load.p50_ms


def loads(measurements: Sequence[Measurement], contender: str, cell: Cell) -> dict[int, Load]:
    """By round."""
    return {one.round: one.load for one in measurements if (one.contender, one.cell) == (contender, cell)}


def median(measurements: Sequence[Measurement], contender: str, cell: Cell, value: Value) -> float | None:
    """Over rounds; None where nothing was measured."""
    found = loads(measurements, contender, cell)
    return statistics.median(map(value, found.values())) if found else None


def ratio(measurements: Sequence[Measurement], own: str, other: str, cell: Cell, value: Value) -> Ratio | None:
    """Of two contenders, paired by round; None where no round has both."""
    own_by_round, other_by_round = loads(measurements, own, cell), loads(measurements, other, cell)
    shared = sorted(own_by_round.keys() & other_by_round.keys())
    if not shared:
        return None
    ratios_R = np.array([value(own_by_round[turn]) / value(other_by_round[turn]) for turn in shared])
    return _middle(ratios_R)


def _middle(ratios_R: NDArray[np.float64]) -> Ratio:
    low, high = interval(lambda rows: float(np.median(ratios_R[rows])), [str(row) for row in range(len(ratios_R))])
    return Ratio(float(np.median(ratios_R)), low, high)


def best_peer(measurements: Sequence[Measurement], peers: Sequence[str], cell: Cell) -> str | None:
    """The one with the most frames per second; None where no peer was measured."""
    found = {peer: median(measurements, peer, cell, frames_per_s) for peer in peers}
    measured = {peer: value for peer, value in found.items() if value is not None}
    return max(measured, key=lambda peer: measured[peer]) if measured else None


def modes(measurements: Sequence[Measurement], contender: str, cells: Sequence[Cell]) -> Modes | None:
    """Of the rounds of all these cells, apart at the middle between slowest and fastest; None where they are alike."""
    rates = sorted(load.frames_per_s for cell in cells for load in loads(measurements, contender, cell).values())
    if not rates or rates[-1] < TWO_MODES * rates[0]:
        return None
    middle = (rates[0] + rates[-1]) / 2
    return Modes([rate for rate in rates if rate < middle], [rate for rate in rates if rate >= middle])


def asked(
    measurements: Sequence[Measurement], open_loops: Sequence[OpenLoop], peers: Sequence[str], plan: Plan
) -> list[Figure]:
    """What is asked of the service, as far as it was measured."""
    return [
        *_of_throughput(measurements, peers, plan),
        *_of_cost(measurements, plan),
        *(figure for one in open_loops if one.contender in (OURS, AS_SHIPPED) for figure in _of_overload(one, plan)),
    ]


def _of_throughput(measurements: Sequence[Measurement], peers: Sequence[str], plan: Plan) -> Iterator[Figure]:
    for clients in THROUGHPUT_CLIENTS:
        cell = Cell(plan.key_size, "raw", clients)
        where = f"{clients} clients, {plan.key_size}"
        found = ratio(measurements, OURS, LIMIT, cell, frames_per_s)
        yield from _least(f"frames/s of the in-process limit, {where}", found, SHARE_OF_LIMIT)
        if best := best_peer(measurements, peers, cell):
            found = ratio(measurements, OURS, best, cell, frames_per_s)
            yield from _least(f"frames/s of the best peer ({best}), {where}", found, 1.0)
            found = ratio(measurements, AS_SHIPPED, best, cell, frames_per_s)
            yield from _least(f"as shipped: frames/s of the best peer ({best}), {where}", found, TIMES_THE_BEST)


def _of_cost(measurements: Sequence[Measurement], plan: Plan) -> Iterator[Figure]:
    for clients in THROUGHPUT_CLIENTS:
        found = ratio(measurements, OURS, LIMIT, Cell(plan.key_size, "raw", clients), cpu_ms)
        yield from _most(f"CPU seconds a frame of the in-process loop's, {clients} clients", found, CPU_OF_LIMIT)
    found = ratio(measurements, OURS, LIMIT, Cell(plan.key_size, "raw", 1), p50_ms)
    yield from _most("one client: median latency of decode + inference in process", found, LATENCY_OF_LIMIT)


def _of_overload(loop: OpenLoop, plan: Plan) -> Iterator[Figure]:
    phase, name = loop.phases[OVERLOAD], f"{loop.contender}, 300 % of capacity"
    share = _middle(np.array([turn.share for turn in loop.turns])) if loop.turns else None
    yield from _least(f"{name}, in turns with it: answered of capacity", share, OVERLOAD_SHARE)
    lost = phase.sent - phase.answered - phase.refused + phase.refused_without_retry_after
    yield Figure(f"{name}: neither answered nor 429 with Retry-After", "0", str(lost), lost == 0)
    errors = sum(each.server_errors for each in loop.phases)
    yield Figure(f"{loop.contender}: answers 5xx at all rates", "0", str(errors), errors == 0)
    if (refused_ms := phase.refused_p99_ms) is not None:
        reached = refused_ms <= REFUSED_WITHIN_MS
        yield Figure(f"{name}: 429 within (p99)", f"{REFUSED_WITHIN_MS:g} ms", f"{refused_ms:.1f} ms", reached)
    yield from _of_memory(loop, name, plan)
    seen = "not before the end" if loop.recovery_s is None else f"{loop.recovery_s:g} s"
    reached = loop.recovery_s is not None and loop.recovery_s <= RECOVERED_WITHIN_S
    yield Figure(f"{name}: back to normal latency", f"within {RECOVERED_WITHIN_S:g} s", seen, reached)


def _of_memory(loop: OpenLoop, name: str, plan: Plan) -> Iterator[Figure]:
    growth = overload_growth(loop, phases_of(plan, loop.capacity))
    if growth is not None:
        asked_for = f"at most {MEMORY_GROWTH}"
        yield Figure(f"{name}: memory late, of early", asked_for, f"{growth:.3f}", growth <= MEMORY_GROWTH)


def _least(name: str, found: Ratio | None, bound: float) -> Iterator[Figure]:
    if found is not None:
        yield Figure(name, f"at least {bound:g}", str(found), found.value >= bound, found.leaves_open(bound))


def _most(name: str, found: Ratio | None, bound: float) -> Iterator[Figure]:
    if found is not None:
        yield Figure(name, f"at most {bound:g}", str(found), found.value <= bound, found.leaves_open(bound))
