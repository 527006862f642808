"""Waiting for frames: all done, out of time, or left alone."""

import asyncio
import gc
import time
from concurrent.futures import Future

import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from service.errors import DamagedImage, DeadlineExceeded, Draining
from service.inference.detector import Detection
from service.inference.frame_queue import Completed
from service.web.awaited_frames import AwaitedFrames, FrameFuture
from tests.service.conftest import wait_until

pytestmark = pytest.mark.anyio

# No test takes as long.
NEVER = time.monotonic() + 86_400

ANSWER = Completed(Detection(24, 16, {"red": 1.0}, ("red",), np.zeros((1, 2, 3), np.float32), 0.001, 0.002), 0.003)


class Client:
    """A client that stays until it is told to leave."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.is_watched = False

    async def receive(self) -> dict[str, object]:
        """The next message of its connection: that it left."""
        self.is_watched = True
        try:
            await self.leaves.wait()
        finally:
            self.is_watched = False
        return {"type": "http.disconnect"}


def futures_of(count: int) -> list[FrameFuture]:
    """So many frames that nobody has begun."""
    return [Future() for _ in range(count)]


async def test_each_frame_has_its_own_outcome_in_order() -> None:
    first, second, third = futures = futures_of(3)
    damaged = DamagedImage("cut off")
    waiting = asyncio.create_task(AwaitedFrames(futures).outcomes(Client().receive, NEVER))
    third.set_result(ANSWER)
    await asyncio.to_thread(first.set_exception, damaged)
    await asyncio.to_thread(second.set_result, ANSWER)
    assert await waiting == [damaged, ANSWER, ANSWER]


async def test_no_frames_have_no_outcomes_at_once() -> None:
    assert await AwaitedFrames([]).outcomes(Client().receive, NEVER) == []


async def test_frames_that_were_done_before_are_answered() -> None:
    done: FrameFuture = Future()
    done.set_result(ANSWER)
    assert await AwaitedFrames([done]).outcomes(Client().receive, NEVER) == [ANSWER]


async def test_nobody_watches_a_client_that_has_its_answer() -> None:
    client, futures = Client(), futures_of(1)
    waiting = asyncio.create_task(AwaitedFrames(futures).outcomes(client.receive, NEVER))
    await wait_until(lambda: client.is_watched)
    futures[0].set_result(ANSWER)
    await waiting
    await wait_until(lambda: not client.is_watched)


async def test_at_the_deadline_what_is_done_counts_and_the_rest_is_given_up() -> None:
    """One is done, one runs and cannot be stopped, one still waits and gives its place back."""
    done, runs, waits = futures = futures_of(3)
    done.set_result(ANSWER)
    runs.set_running_or_notify_cancel()
    async with asyncio.timeout(30):
        outcomes = await AwaitedFrames(futures).outcomes(Client().receive, time.monotonic() + 0.01)
    assert outcomes[0] is ANSWER
    assert [type(outcome) for outcome in outcomes[1:]] == [DeadlineExceeded, DeadlineExceeded]
    assert waits.cancelled()
    runs.set_result(ANSWER)  # nobody waits for it any more, and nothing breaks


async def test_client_that_leaves_frees_every_place(caplog: pytest.LogCaptureFixture) -> None:
    client, futures = Client(), futures_of(3)
    waiting = asyncio.create_task(AwaitedFrames(futures).outcomes(client.receive, NEVER))
    await wait_until(lambda: client.is_watched)
    client.leaves.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert all(future.cancelled() for future in futures)
    del waiting
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_cancelled_request_frees_every_place() -> None:
    """uvicorn cancels what has not finished when the time to shut down is over."""
    client, futures = Client(), futures_of(2)
    waiting = asyncio.create_task(AwaitedFrames(futures).outcomes(client.receive, NEVER))
    await wait_until(lambda: client.is_watched)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert all(future.cancelled() for future in futures)
    await wait_until(lambda: not client.is_watched)


async def test_frames_that_the_scheduler_gives_up_are_told_that_the_process_ends() -> None:
    futures = futures_of(1)
    waiting = asyncio.create_task(AwaitedFrames(futures).outcomes(Client().receive, NEVER))
    futures[0].cancel()
    assert [type(outcome) for outcome in await waiting] == [Draining]


def test_frame_that_is_done_after_the_loop_has_ended_troubles_nobody(caplog: pytest.LogCaptureFixture) -> None:
    futures = futures_of(1)

    async def give_up() -> None:
        futures[0].set_running_or_notify_cancel()
        await AwaitedFrames(futures).outcomes(Client().receive, time.monotonic())

    asyncio.run(give_up())
    futures[0].set_result(ANSWER)
    assert caplog.records == []
