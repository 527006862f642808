"""Who hangs, by a board and a clock that the test moves."""

import pytest

from service.processes.board import Board, Standing
from service.processes.heartbeats import LOOK_EVERY_S, PATIENT_LOOKS, Heartbeats
from tests.service.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board() -> Board:
    """Two processes that are ready."""
    board = Board(2)
    for process in range(2):
        board.write_standing(process, Standing.READY)
    return board


def looks(heartbeats: Heartbeats, clock: Clock, count: int, seconds: float = LOOK_EVERY_S) -> list[int]:
    """Who was found in so many looks."""
    found = []
    for _ in range(count):
        clock.now_s += seconds
        found += heartbeats.hung()
    return found


def test_process_that_beats_no_more_is_found_once(board: Board, clock: Clock) -> None:
    heartbeats = Heartbeats(board, clock)
    assert looks(heartbeats, clock, 1) == []
    found = []
    for _ in range(2 * PATIENT_LOOKS):
        board.beat(0)
        found += looks(heartbeats, clock, 1)
    assert found == [1]


def test_nobody_is_found_before_all_looks_are_missed(board: Board, clock: Clock) -> None:
    heartbeats = Heartbeats(board, clock)
    assert looks(heartbeats, clock, PATIENT_LOOKS) == []  # the first only sees where the count stands
    board.beat(0)
    assert looks(heartbeats, clock, 1) == [1]
    assert looks(heartbeats, clock, PATIENT_LOOKS - 1) == []
    assert looks(heartbeats, clock, 1) == [0]


def test_looks_count_and_not_seconds(board: Board, clock: Clock) -> None:
    """A machine that stood still for an hour, supervisor and all, has missed one look."""
    heartbeats = Heartbeats(board, clock)
    assert looks(heartbeats, clock, 3, seconds=3600) == []


def test_nobody_looks_before_it_is_time(board: Board, clock: Clock) -> None:
    heartbeats = Heartbeats(board, clock)
    assert heartbeats.next_s() == LOOK_EVERY_S
    assert looks(heartbeats, clock, 10 * PATIENT_LOOKS, seconds=LOOK_EVERY_S / 100) == []


@pytest.mark.parametrize("standing", [Standing.LOADING, Standing.DRAINING])
def test_who_loads_or_drains_has_time(board: Board, clock: Clock, standing: Standing) -> None:
    """A large model takes its time, and a drain has bounds of its own."""
    for process in range(2):
        board.write_standing(process, standing)
    assert looks(Heartbeats(board, clock), clock, 2 * PATIENT_LOOKS) == []
