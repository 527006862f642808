"""Frames that a client waits for: until all of them are done, its deadline has come, or it has left."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import DeadlineExceeded, Draining
from service.inference.detector import Detection
from service.inference.frame_queue import Completed
from service.web.client_connection import ClientConnection

Outcome = Completed[Detection] | BaseException
FrameFuture = Future[Completed[Detection]]


class AwaitedFrames:
    """The futures of one request's frames; each settles on its own, whatever becomes of the others."""

    def __init__(self, futures: Sequence[FrameFuture]) -> None:
        self._futures, self._unsettled = futures, len(futures)
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        for future in futures:
            future.add_done_callback(self._tell_loop)

    async def outcomes(
        self, receive: Receive, deadline_s: float, connection: ClientConnection | None = None
    ) -> list[Outcome]:
        """What became of each frame, in order, at the deadline (of time.monotonic) at the latest.

        What has no result by then is a DeadlineExceeded. Raises ClientDisconnect when the client leaves first, as the
        connection says, or else the next message. Either way, and when this is cancelled, frames that still wait give
        their places back.
        """
        try:
            if self._futures:
                await self._until_over(receive, deadline_s, connection)
            return [self._outcome(future) for future in self._futures]
        finally:
            # They keep their callbacks, and so this: without a word they would wait for the garbage collector.
            self._futures = ()

    async def _until_over(self, receive: Receive, deadline_s: float, connection: ClientConnection | None) -> None:
        at_deadline = self._loop.call_later(max(0.0, deadline_s - time.monotonic()), self._end)
        stop_watching = self._watch_connection(connection) if connection else self._watch_messages(receive)
        try:
            await self._over
        finally:
            at_deadline.cancel()
            stop_watching()
            for future in self._futures:
                future.cancel()

    def _watch_connection(self, connection: ClientConnection) -> Callable[[], object]:
        connection.when_left(self._leave)
        return partial(connection.when_left, None)

    def _watch_messages(self, receive: Receive) -> Callable[[], object]:
        return self._loop.create_task(self._watch_client(receive)).cancel

    async def _watch_client(self, receive: Receive) -> None:
        # The body has been read: the next thing that a server can say is that the client left.
        await receive()
        self._leave()

    def _leave(self) -> None:
        if not self._over.done():
            self._over.set_exception(ClientDisconnect())

    def _tell_loop(self, _: FrameFuture) -> None:
        """Called on whichever thread settles a frame."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle_one)

    def _settle_one(self) -> None:
        self._unsettled -= 1
        if self._unsettled == 0:
            self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _outcome(self, future: FrameFuture) -> Outcome:
        if self._unsettled and (future.cancelled() or not future.done()):
            return DeadlineExceeded("the frame was not answered by the request's deadline; allow more time")
        if future.cancelled():
            return Draining("the process ends before this frame is computed; send it again")
        return future.exception() or future.result()
