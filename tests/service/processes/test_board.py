"""What processes know of each other."""

import multiprocessing

import pytest

from service.processes.board import Board, CountedConnections, Row, Standing

LOADING, READY = Standing.LOADING, Standing.READY


def test_a_new_board_shows_nobody_ready() -> None:
    assert Board(2).others(0) == [Row(LOADING, connections=0)]


def test_rows_are_apart() -> None:
    board = Board(3)
    board.write_standing(1, READY)
    board.write_connections(1, 7)
    board.write_connections(2, 9)
    assert [board.row(number) for number in range(3)] == [Row(LOADING, 0), Row(READY, 7), Row(LOADING, 9)]
    assert board.others(1) == [Row(LOADING, 0), Row(LOADING, 9)]


def test_who_is_gone_is_forgotten() -> None:
    board = Board(1)
    board.write_standing(0, Standing.DRAINING)
    board.write_connections(0, 3)
    board.clear(0)
    assert board.row(0) == Row(LOADING, 0)


def test_connections_are_counted_on_the_board() -> None:
    """One that is discarded twice, as a server does on errors, counts once."""
    board = Board(2)
    connections = CountedConnections(board, 1)
    connections.add("a")
    connections.add("b")
    connections.discard("a")
    connections.discard("a")
    assert board.row(1).connections == 1


def test_connection_that_is_just_being_made_counts() -> None:
    """Else a process that accepts two at once would seem to hold none."""
    board = Board(1)
    connections = CountedConnections(board, 0)
    connections.expect()
    assert board.row(0).connections == 1
    connections.add("a")
    connections.settle()
    assert board.row(0).connections == 1


def test_what_a_child_writes_its_parent_reads() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    board = Board(2)
    child = multiprocessing.get_context("fork").Process(target=board.write_standing, args=(1, READY))
    child.start()
    child.join()
    assert board.row(1).standing == READY
