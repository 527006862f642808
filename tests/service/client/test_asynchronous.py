"""The client for asyncio: where it differs from the one that waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import AsyncClient, BadFrame, NotReady, Overloaded, Unreachable
from service.client.results import Order
from tests.service.client.answers import FakeTime, Service, answer, refusal
from tests.service.conftest import wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., AsyncClient]


@pytest.fixture
async def connect(time_: FakeTime) -> AsyncIterator[Connect]:
    """Opens a client of a service; chance never changes a wait."""
    opened: list[AsyncClient] = []

    def connect_(service: Callable[[httpx.Request], Any], **settings: Any) -> AsyncClient:
        defaults = {"clock": time_.clock, "sleep": time_.asleep, "chance": lambda: 0.0}
        transport = httpx.MockTransport(service)
        opened.append(AsyncClient("http://service", transport=transport, **{**defaults, **settings}))
        return opened[-1]

    yield connect_
    for client in opened:
        await client.close()


class Gate:
    """A service that answers no frame before it is opened, and counts those under way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrived, self.under_way, self.most, self.cancelled = 0, 0, 0, 0
        self.came = asyncio.Condition()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.arrived, self.under_way = self.arrived + 1, self.under_way + 1
        self.most = max(self.most, self.under_way)
        async with self.came:
            self.came.notify_all()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        return answer()

    async def until(self, arrived: int) -> None:
        """Returns once so many frames have come."""
        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(lambda: self.arrived >= arrived)


async def test_frame_is_answered_with_patience(connect: Connect, time_: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"of the file")
    service = Service(refusal(429, "queue_full", "3"), answer())
    prediction = await connect(service, timeout_s=10).predict(tmp_path / "a.jpg")
    assert (prediction.name, prediction.labels) == (str(tmp_path / "a.jpg"), ("red",))
    assert time_.sleeps == [3.0]
    assert [request.headers["x-timeout-ms"] for request in service.requests] == ["10000", "7000"]
    assert {request.content for request in service.requests} == {b"of the file"}


async def test_chance_is_another_one_each_time(time_: FakeTime) -> None:
    refused = [refusal(429, "queue_full", "4")] * 3
    transport = httpx.MockTransport(Service(*refused, answer()))
    async with AsyncClient("http://service", transport=transport, clock=time_.clock, sleep=time_.asleep) as client:
        await client.predict(b"bytes")
    assert len(set(time_.sleeps)) == 3
    assert all(4 <= slept_s <= 5 for slept_s in time_.sleeps)


async def test_wait_that_would_pass_the_deadline_is_not_begun(connect: Connect, time_: FakeTime) -> None:
    with pytest.raises(Overloaded):
        await connect(Service(refusal(429, "queue_full", "3")), timeout_s=2).predict(b"bytes")
    assert time_.sleeps == []


async def test_failure_on_the_way_is_unreachable(connect: Connect) -> None:
    with pytest.raises(Unreachable, match="refused"):
        await connect(Service(httpx.ConnectError("refused"))).predict(b"bytes")


async def test_many_frames_are_answered_in_order_each_on_its_own(connect: Connect, tmp_path: Path) -> None:
    missing = tmp_path / "none.jpg"
    frames = [("1", b"1"), missing, ("3", b"3")]
    outcomes = await connect(Service(lambda request: answer(width=int(request.content)))).predict(frames)
    assert [(outcome.index, outcome.name) for outcome in outcomes] == [
        (0, "1"),
        (1, str(tmp_path / "none.jpg")),
        (2, "3"),
    ]
    assert isinstance(outcomes[1].error, BadFrame)
    assert [outcomes[index].result().width for index in (0, 2)] == [1, 3]


async def test_frames_may_come_from_an_asynchronous_source(connect: Connect) -> None:
    async def camera() -> AsyncIterator[tuple[str, bytes]]:
        for number in range(5):
            await asyncio.sleep(0)
            yield str(number), b"bytes"

    stream = connect(Service(lambda _: answer())).stream(camera())
    assert [outcome.name async for outcome in stream] == list("01234")


async def test_no_more_frames_are_taken_or_under_way_than_allowed(connect: Connect) -> None:
    taken: list[int] = []

    def frames() -> Iterator[bytes]:
        for number in range(50):
            taken.append(number)
            yield b"bytes"

    gate = Gate()
    stream = connect(gate, concurrency=3).stream(frames())
    first = asyncio.create_task(anext(stream))
    await wait_until(lambda: len(taken) == 6)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (gate.under_way, len(taken)) == (3, 6)
    gate.open.set()
    assert (await first).index == 0
    assert [outcome.index async for outcome in stream] == list(range(1, 50))
    assert gate.most == 3


async def test_outcomes_come_as_they_are_done_where_that_is_wanted(connect: Connect) -> None:
    """The first is answered only once the outcome of the second has been told."""
    second_told = asyncio.Event()

    async def by_content(request: httpx.Request) -> httpx.Response:
        if request.content == b"first":
            await second_told.wait()
        return answer()

    stream = connect(by_content).stream([("1", b"first"), ("2", b"second")], order="completion")
    async with asyncio.timeout(30):
        assert (await anext(stream)).name == "2"
        second_told.set()
        assert [outcome.name async for outcome in stream] == ["1"]


@pytest.mark.parametrize("order", ["submission", "completion"])
async def test_outcomes_are_told_while_the_next_frame_is_waited_for(connect: Connect, order: Order) -> None:
    """The camera gives its second frame only once the outcome of the first has been told."""
    first_told, is_closed = asyncio.Event(), asyncio.Event()

    async def camera() -> AsyncIterator[tuple[str, bytes]]:
        yield "1", b"bytes"
        await first_told.wait()
        yield "2", b"bytes"
        try:
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    stream = connect(Service(lambda _: answer())).stream(camera(), order=order)
    async with asyncio.timeout(30), aclosing(stream) as told:
        assert (await anext(told)).name == "1"
        first_told.set()
        assert (await anext(told)).name == "2"
    assert is_closed.is_set()


async def test_closing_a_stream_cancels_what_is_under_way(connect: Connect) -> None:
    gate = Gate()
    async with aclosing(connect(gate, concurrency=2).stream([b"bytes"] * 10)) as stream:
        asked = asyncio.create_task(anext(stream))
        await gate.until(arrived=2)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert (gate.under_way, gate.cancelled, gate.arrived) == (0, 2, 2)


async def test_failure_of_who_gives_the_frames_comes_through(connect: Connect) -> None:
    gate = Gate()

    async def frames() -> AsyncIterator[bytes]:
        yield b"bytes"
        await gate.until(arrived=1)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        _ = [outcome async for outcome in connect(gate).stream(frames())]
    assert (gate.under_way, gate.cancelled) == (0, 1)


async def test_readiness_is_told_and_waited_for(connect: Connect, time_: FakeTime) -> None:
    ready = httpx.Response(200, json={"status": "ready"})
    assert await connect(Service(ready)).ready()
    assert not await connect(Service(httpx.ConnectError("refused"))).ready()
    await connect(Service(refusal(503, "not_ready", "1"), ready)).wait_until_ready()
    assert time_.sleeps == [1.0]
    with pytest.raises(NotReady):
        await connect(Service(refusal(503, "not_ready", "1"))).wait_until_ready(timeout_s=3)
