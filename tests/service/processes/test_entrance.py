"""Who takes a connection."""

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from typing import Any, cast

import pytest

from service.processes.board import Board, Standing
from service.processes.entrance import Connected, Entrance
from tests.service.conftest import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on the loopback interface."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening


class House:
    """As many entrances of one listener as the board has rows, all on this event loop."""

    def __init__(self, listener: socket.socket, board: Board, stack: ExitStack) -> None:
        self.board, self.taken = board, [0] * board.processes
        self._address, self._stack = listener.getsockname(), stack
        self.entrances = [
            # A descriptor of its own, as each process has: an event loop knows a reader by it.
            Entrance(stack.enter_context(closing(listener.dup())), board, number, self._take(number))
            for number in range(board.processes)
        ]

    def connect(self) -> None:
        """A client comes, and stays."""
        self._stack.enter_context(closing(socket.create_connection(self._address)))

    def _take(self, number: int) -> Connected:
        def take(connection: socket.socket) -> None:
            self._stack.enter_context(closing(connection))
            self.taken[number] += 1
            self.board.write_connections(number, self.taken[number])

        return take


@pytest.fixture
async def house(listener: socket.socket) -> AsyncIterator[House]:
    """Two processes' entrances, not yet open."""
    with ExitStack() as stack:
        opened = House(listener, Board(2), stack)
        try:
            yield opened
        finally:
            for entrance in opened.entrances:
                entrance.close()


async def test_connections_go_to_whoever_holds_fewer(house: House) -> None:
    """One that is woken while another holds fewer stands back for it: ten clients are five each."""
    for number, entrance in enumerate(house.entrances):
        house.board.write_standing(number, Standing.READY)
        entrance.open()
    for clients in range(1, 11):
        house.connect()
        await wait_until(lambda clients=clients: sum(house.taken) == clients)
    assert house.taken == [5, 5]


@pytest.mark.parametrize(
    ("less_fit", "fitter"),
    [
        (Standing.LOADING, Standing.READY),
        (Standing.LOADING, Standing.DRAINING),
        (Standing.DRAINING, Standing.READY),
    ],
)
async def test_process_takes_nothing_while_another_is_fitter(
    house: House, less_fit: Standing, fitter: Standing
) -> None:
    """One that loads could only refuse, one that drains alone is about to go."""
    house.board.write_standing(0, less_fit)
    house.board.write_standing(1, fitter)
    for entrance in house.entrances:
        entrance.open()
    for _ in range(6):
        house.connect()
    await wait_until(lambda: sum(house.taken) == 6)
    assert house.taken == [0, 6]


async def test_process_that_loads_answers_while_nobody_is_ready(house: House) -> None:
    """So that liveness and readiness have an answer from the start."""
    house.entrances[0].open()
    house.connect()
    await wait_until(lambda: house.taken == [1, 0])


async def test_nobody_waits_for_a_process_that_does_not_come(house: House) -> None:
    """The other one is ready and holds less, but does not take what waits: after a moment this one does."""
    house.board.write_standing(0, Standing.READY)
    house.board.write_standing(1, Standing.READY)
    house.board.write_connections(0, 3)
    house.entrances[0].open()
    house.connect()
    await wait_until(lambda: house.taken == [1, 0])


class Exhausted:
    """A listener on which somebody waits for whom there is no descriptor left."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self.asked = listener, 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


async def test_want_of_descriptors_is_told_once_in_a_while(
    listener: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.processes.entrance.EXHAUSTED_S", 0.001)
    exhausted = Exhausted(listener)
    entrance = Entrance(cast(socket.socket, exhausted), Board(1), 0, lambda _: None)
    entrance.open()
    with closing(socket.create_connection(listener.getsockname())):
        await wait_until(lambda: exhausted.asked >= 5)
        entrance.close()
    told = [(record.message, record.reason) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [("connections cannot be accepted", "[Errno 24] Too many open files")]


async def test_closed_entrance_takes_nothing(house: House) -> None:
    for entrance in house.entrances:
        entrance.open()
    house.entrances[0].close()
    house.connect()
    await wait_until(lambda: sum(house.taken) == 1)
    assert house.taken == [0, 1]
