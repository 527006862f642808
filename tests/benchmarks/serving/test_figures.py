"""Ratios are paired by round, and what is asked is held to them."""

import pytest

from benchmarks.serving.closed_loop import Load
from benchmarks.serving.contenders import AS_SHIPPED, LIMIT, OURS
from benchmarks.serving.figures import asked, best_peer, frames_per_s, median, modes, ratio
from benchmarks.serving.overload import SHARES, Memory, OpenLoop, PhaseFigures, Turn
from benchmarks.serving.plan import FULL, Cell
from benchmarks.serving.rounds import Measurement

CELL = Cell("1280x720", "raw", 16)


def measured(contender: str, turn: int, rate: float, cpu_ms: float = 10.0, p50_ms: float = 5.0, clients: int = 16):
    """So many frames a second for one second, each of which took so much CPU."""
    answered = round(rate)
    load = Load(1.0, answered, 0, 0, p50_ms, p50_ms, p50_ms, answered * cpu_ms / 1000, 0.01)
    return Measurement(contender, Cell("1280x720", "raw", clients), turn, load, 0)


def test_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    """The machine is half as fast in the second round, and both are: 0.9, 0.8 and 1.0 whatever the rounds are like."""
    seen = [measured(LIMIT, 0, 100), measured(LIMIT, 1, 50), measured(LIMIT, 2, 200), measured(LIMIT, 3, 999)]
    seen += [measured(OURS, 0, 90), measured(OURS, 1, 40), measured(OURS, 2, 200)]
    found = ratio(seen, OURS, LIMIT, CELL, frames_per_s)
    assert found
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == (pytest.approx(0.8), pytest.approx(1.0))
    assert median(seen, OURS, CELL, frames_per_s) == 90


def test_who_was_not_measured_has_no_figure() -> None:
    seen = [measured(LIMIT, 0, 100)]
    assert ratio(seen, OURS, LIMIT, CELL, frames_per_s) is None
    assert median(seen, OURS, CELL, frames_per_s) is None
    assert best_peer(seen, ["a", "b"], CELL) is None
    assert asked(seen, [], ["a"], FULL) == []


def test_two_modes_are_told_apart_at_the_middle_and_rounds_that_are_alike_have_none() -> None:
    seen = [measured("two", turn, rate) for turn, rate in enumerate((48, 90, 50, 84))]
    seen += [measured("two", 0, 47, clients=64), measured("two", 0, 20, clients=1)]
    seen += [measured("one", turn, rate) for turn, rate in enumerate((80, 100, 110))]
    cells = [CELL, Cell("1280x720", "raw", 64)]
    found = modes(seen, "two", cells)
    assert found
    assert (found.slow, found.fast) == ([47.0, 48.0, 50.0], [84.0, 90.0])
    assert modes(seen, "one", cells) is None
    assert modes(seen, "nobody", cells) is None


def test_each_figure_is_held_to_its_bound() -> None:
    """96 of 100, against a best peer of 64, with 2.08 times for the variant, at 1.09 the CPU and 1.1 the latency."""
    rows = [(LIMIT, 100, 10.0, 20.0), (OURS, 96, 10.9, 22.0), (AS_SHIPPED, 133, 5.0, 12.0), ("a", 64, 12.0, 30.0)]
    seen = [measured(name, 0, rate, cpu, p50, clients) for name, rate, cpu, p50 in rows for clients in (1, 16)]
    seen.append(measured("b", 0, 60))
    found = {figure.name: (figure.seen.split()[0], figure.reached) for figure in asked(seen, [], ["a", "b"], FULL)}
    assert found == {
        "frames/s of the in-process limit, 16 clients, 1280x720": ("0.960", True),
        "frames/s of the best peer (a), 16 clients, 1280x720": ("1.500", True),
        "as shipped: frames/s of the best peer (a), 16 clients, 1280x720": ("2.078", True),
        "CPU seconds a frame of the in-process loop's, 16 clients": ("1.090", False),
        "one client: median latency of decode + inference in process": ("1.100", True),
    }


@pytest.mark.parametrize(
    ("rates", "reached", "within_noise"),
    [((96, 97, 98), True, False), ((94, 96, 98), True, True), ((80, 90, 96), False, True)],
)
def test_a_bound_that_lies_within_the_interval_is_told(
    rates: tuple[int, ...], reached: bool, within_noise: bool
) -> None:
    """0.95 of 100 frames a second, over three rounds; medians of draws of rounds reach from the least to the most."""
    seen = [measured(name, turn, rate) for turn, own in enumerate(rates) for name, rate in ((OURS, own), (LIMIT, 100))]
    (figure,) = [one for one in asked(seen, [], [], FULL) if one.name.startswith("frames/s of the in-process limit")]
    assert (figure.reached, figure.within_noise) == (reached, within_noise)


def phase(share: float, **changed: float) -> PhaseFigures:
    """Ten seconds at a capacity of 100, of which all but 1000 are refused within 12 ms."""
    sent = round(1000 * share)
    values = {
        "share": share,
        "rate": 100 * share,
        "sent": sent,
        "answered": min(sent, 1000),
        "answered_per_s": min(100 * share, 95.0),
        "refused": max(0, sent - 1000),
        "refused_without_retry_after": 0,
        "server_errors": 0,
        "others": 0,
        "unanswered": 0,
        "p50_ms": 30.0,
        "p99_ms": 90.0,
        "refused_p99_ms": 12.0 if share > 1 else None,
        "late_p99_ms": 1.0,
    }
    return PhaseFigures(**{**values, **changed})  # type: ignore[arg-type]


def overloaded(
    recovery_s: float | None, rates: tuple[float, ...] = (95.0, 93.0, 96.0), **changed: float
) -> dict[str, tuple[str, bool]]:
    """What is told of the service where the overload was otherwise so."""
    phases = [phase(share, **(changed if share > 1 else {})) for share in SHARES]
    memory = [Memory(second, 100 if second < 28 else 104) for second in range(40)]
    turns = [Turn(104.0, each, 96.0) for each in rates]
    found = asked([], [OpenLoop(OURS, 100.0, phases, recovery_s, memory, 1.0, turns)], [], FULL)
    return {figure.name.rpartition(": ")[2]: (figure.seen, figure.reached) for figure in found}


def test_polite_overload_reaches_all_that_is_asked() -> None:
    """The overload of the full plan lasts from 21 to 31 s; memory is 100, and 104 at its end."""
    assert overloaded(0.5) == {
        "answered of capacity": ("0.950 (0.930 to 0.960)", True),
        "neither answered nor 429 with Retry-After": ("0", True),
        "answers 5xx at all rates": ("0", True),
        "429 within (p99)": ("12.0 ms", True),
        "memory late, of early": ("1.040", True),
        "back to normal latency": ("0.5 s", True),
    }


def test_what_overload_spoils_is_not_reached() -> None:
    """Seven 5xx and two refusals that name no time are nine that are neither."""
    spoiled = {"answered": 993, "server_errors": 7, "refused_without_retry_after": 2, "refused_p99_ms": 21.0}
    found = overloaded(None, (80.0, 89.0, 95.0), **spoiled)
    assert not any(reached for name, (_, reached) in found.items() if name != "memory late, of early")
    assert found["neither answered nor 429 with Retry-After"][0] == "9"
    assert found["back to normal latency"][0] == "not before the end"
