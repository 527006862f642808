"""The client for asyncio."""

import asyncio
import random
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, Self, TypeVar, cast, overload

import httpx

from service.client.errors import ClientError
from service.client.exchange import (
    CONNECT_S,
    UNTIL_READY,
    USER_AGENT,
    FrameRequest,
    checked_url,
    connections,
    document,
    model,
    prediction,
    timeouts,
    transport_error,
)
from service.client.frames import Frame, is_frame, name_of, path_of, read
from service.client.results import Model, Order, Outcome, Prediction
from service.client.retries import Attempts, Retries

Answer = TypeVar("Answer")
Frames = Iterable[Frame] | AsyncIterable[Frame]
Pause = Callable[[float], Awaitable[object]]


class AsyncClient:
    """A client of the service at `url`; close it when done, or use it as an async context manager. Tasks may share it.

    `timeout_s` is the time that a frame may take, tries and waits included, and is passed on to the service as
    X-Timeout-Ms; None sets no end. `concurrency` is how many frames of a stream are under way at once. `headers` go
    with every request. `transport`, `clock`, `sleep` and `chance` are for tests.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        timeout_s: float | None = 60.0,
        retries: Retries | None = None,
        concurrency: int = 8,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Pause = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.timeout_s, self.retries, self.concurrency = timeout_s, retries or Retries(), concurrency
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._http = httpx.AsyncClient(
            base_url=checked_url(url),
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            limits=connections(concurrency),
            transport=transport,
        )

    @overload
    async def predict(  # type: ignore[overload-overlap]  # a str is many strs to the type checker, and one path here
        self, frames: Frame, *, evidence: bool = ..., timeout_s: float | None = ...
    ) -> Prediction: ...

    @overload
    async def predict(
        self, frames: Frames, *, evidence: bool = ..., timeout_s: float | None = ...
    ) -> list[Outcome]: ...

    async def predict(
        self, frames: Frame | Frames, *, evidence: bool = False, timeout_s: float | None = None
    ) -> Prediction | list[Outcome]:
        """What one frame shows, or each of many, in order.

        Raises ClientError for a single frame; each of many has its prediction or its error. `timeout_s` is for each
        frame, in place of the client's own.
        """
        if is_frame(frames):
            return await self._predict(frames, evidence, timeout_s)
        stream = self.stream(cast(Frames, frames), evidence=evidence, timeout_s=timeout_s)
        return [outcome async for outcome in stream]

    async def stream(
        self,
        frames: Frames,
        *,
        evidence: bool = False,
        timeout_s: float | None = None,
        order: Order = "submission",
    ) -> AsyncGenerator[Outcome, None]:
        """The outcomes of many frames as they come, in the order in which they were given or are done.

        Frames are taken from `frames` one by one, as many as may be under way and as many again, so that neither they
        nor what becomes of them piles up. To close the generator, or to cancel who iterates, cancels what is under way.
        """
        room = asyncio.Semaphore(self.concurrency)

        async def outcome(index: int, frame: Frame) -> Outcome:
            try:
                async with room:
                    return Outcome(index, name_of(frame), await self._predict(frame, evidence, timeout_s))
            except ClientError as error:
                return Outcome(index, name_of(frame), error=error)

        under_way, source = _UnderWay(order), _each(frames)
        coming: asyncio.Task[Frame | None] | None = None
        index, is_over = 0, False
        try:
            while under_way.tasks or not is_over:
                if not (coming or is_over) and len(under_way.tasks) < 2 * self.concurrency:
                    coming = asyncio.create_task(_next(source))
                # Whichever is first: who is slow to give frames does not keep back what became of the others.
                await asyncio.wait([*under_way.candidates(), *filter(None, [coming])], return_when="FIRST_COMPLETED")
                if coming and coming.done():
                    frame, coming = coming.result(), None
                    is_over = frame is None
                    if frame is not None:
                        under_way.tasks.append(asyncio.create_task(outcome(index, frame)))
                        index += 1
                for finished in under_way.finished():
                    yield finished
        finally:
            await under_way.cancel(coming)

    async def model(self) -> Model:
        """The model that serves. Raises ClientError."""
        return model(await self._get("/model", self._attempts(self.timeout_s)))

    async def ready(self) -> bool:
        """Whether the service can be reached and wants frames."""
        try:
            document(await self._send("GET", "/health/ready", timeout=timeouts(CONNECT_S)))
        except ClientError:
            return False
        return True

    async def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Returns once the service is ready. Raises its NotReady or Unreachable when that takes longer."""
        await self._get("/health/ready", Attempts(UNTIL_READY, timeout_s, self._clock, self._chance))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _predict(self, frame: Frame, evidence: bool, timeout_s: float | None) -> Prediction:
        data = await asyncio.to_thread(read, frame) if path_of(frame) else read(frame)
        request = FrameRequest(name_of(frame), data, evidence)

        async def ask(left_s: float | None) -> Prediction:
            response = await self._send("POST", "/predict", request.id, **request.arguments(left_s))
            return prediction(response, request.name)

        return await self._patiently(ask, self._attempts(self.timeout_s if timeout_s is None else timeout_s))

    async def _get(self, path: str, attempts: Attempts) -> httpx.Response:
        async def ask(left_s: float | None) -> httpx.Response:
            response = await self._send("GET", path, timeout=timeouts(left_s))
            document(response)
            return response

        return await self._patiently(ask, attempts)

    async def _send(self, method: str, path: str, request_id: str | None = None, **arguments: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **arguments)
        except httpx.RequestError as error:
            raise transport_error(error, request_id) from error

    async def _patiently(self, ask: Callable[[float | None], Awaitable[Answer]], attempts: Attempts) -> Answer:
        while True:
            try:
                return await ask(attempts.left_s)
            except ClientError as error:
                await self._sleep(attempts.wait_s(error))

    def _attempts(self, timeout_s: float | None) -> Attempts:
        return Attempts(self.retries, timeout_s, self._clock, self._chance)


class _UnderWay:
    """The frames of a stream that have begun and not been told of."""

    def __init__(self, order: Order) -> None:
        self._in_order = order == "submission"
        self.tasks: deque[asyncio.Task[Outcome]] = deque()

    def candidates(self) -> list[asyncio.Task[Outcome]]:
        """Those of which the next to be told is one."""
        return list(self.tasks)[:1] if self._in_order else list(self.tasks)

    def finished(self) -> Iterator[Outcome]:
        """What is done and may be told."""
        while task := next((task for task in self.candidates() if task.done()), None):
            self.tasks.remove(task)
            yield task.result()

    async def cancel(self, coming: asyncio.Task[Any] | None) -> None:
        """End what is under way and the wait for a frame, and return when they have ended."""
        tasks = [*self.tasks, *filter(None, [coming])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(frames: AsyncIterator[Frame]) -> Frame | None:
    """The next frame, None where there is no more."""
    return await anext(frames, None)


async def _each(frames: Frames) -> AsyncIterator[Frame]:
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
    else:
        for frame in frames:
            yield frame
