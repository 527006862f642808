"""When a process that died is started again."""

from service.processes.restarts import Restarts
from tests.service.clock import Clock


def test_quick_deaths_wait_twice_as_long_each_time_up_to_a_bound() -> None:
    restarts = Restarts(Clock(100.0))
    assert [restarts.died() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_death_after_a_long_life_is_mended_at_once_and_forgets_the_earlier_ones() -> None:
    clock = Clock(100.0)
    restarts = Restarts(clock)
    restarts.died()
    restarts.ready()
    clock.now_s += 60
    assert restarts.died() == 0
    assert restarts.died() == 0.5


def test_a_process_that_serves_and_dies_soon_waits_longer_but_is_not_hopeless() -> None:
    restarts = Restarts(Clock(100.0))
    delays = []
    for _ in range(6):
        restarts.ready()
        delays.append(restarts.died())
    assert delays == [0.5, 1, 2, 4, 8, 16]
    assert not restarts.hopeless


def test_five_deaths_before_serving_are_hopeless() -> None:
    restarts = Restarts(Clock(100.0))
    for _ in range(4):
        restarts.died()
    assert not restarts.hopeless
    restarts.died()
    assert restarts.hopeless


def test_serving_once_makes_good_for_failed_starts() -> None:
    restarts = Restarts(Clock(100.0))
    for _ in range(4):
        restarts.died()
    restarts.ready()
    restarts.died()
    assert not restarts.hopeless
