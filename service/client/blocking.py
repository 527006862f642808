"""The client for programs that wait: many frames go out on threads of its own."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Self, TypeVar, cast, overload

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
from service.client.frames import Frame, is_frame, name_of, read
from service.client.results import Model, Order, Outcome, Prediction
from service.client.retries import Attempts, Retries

Answer = TypeVar("Answer")
Pause = Callable[[float], object]

# So long a closed stream waits for requests that are under way; they may have a minute to go.
CLOSING_S: Final = 1.0


class Client:
    """A client of the service at `url`; close it when done, or use it as a context manager. Threads may share it.

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
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Pause | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.timeout_s, self.retries, self.concurrency = timeout_s, retries or Retries(), concurrency
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._http = httpx.Client(
            base_url=checked_url(url),
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            limits=connections(concurrency),
            transport=transport,
        )

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is many strs to the type checker, and one path here
        self, frames: Frame, *, evidence: bool = ..., timeout_s: float | None = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self, frames: Iterable[Frame], *, evidence: bool = ..., timeout_s: float | None = ...
    ) -> list[Outcome]: ...

    def predict(
        self, frames: Frame | Iterable[Frame], *, evidence: bool = False, timeout_s: float | None = None
    ) -> Prediction | list[Outcome]:
        """What one frame shows, or each of many, in order.

        Raises ClientError for a single frame; each of many has its prediction or its error. `timeout_s` is for each
        frame, in place of the client's own.
        """
        if is_frame(frames):
            return self._predict(frames, evidence, timeout_s, self._sleep or time.sleep)
        return list(self.stream(cast(Iterable[Frame], frames), evidence=evidence, timeout_s=timeout_s))

    def stream(
        self,
        frames: Iterable[Frame],
        *,
        evidence: bool = False,
        timeout_s: float | None = None,
        order: Order = "submission",
    ) -> Generator[Outcome, None, None]:
        """The outcomes of many frames as they come, in the order in which they were given or are done.

        Frames are taken from `frames` one by one, at most twice the concurrency ahead, so that neither they nor what
        becomes of them piles up. To close the generator gives up what has not been sent, and after a second also what
        has no answer yet. Who is slow to give frames delays the outcomes: the next frame is waited for first.
        """
        stop = threading.Event()

        def outcome(index: int, frame: Frame) -> Outcome:
            try:
                return Outcome(index, name_of(frame), self._predict(frame, evidence, timeout_s, self._until(stop)))
            except ClientError as error:
                return Outcome(index, name_of(frame), error=error)

        with _pool(self.concurrency, stop) as pool:
            started = (pool.submit(partial(outcome, index, frame)) for index, frame in enumerate(frames))
            yield from _outcomes(started, order, 2 * self.concurrency)

    def model(self) -> Model:
        """The model that serves. Raises ClientError."""
        return model(self._get("/model", self._attempts(self.timeout_s), self._sleep or time.sleep))

    def ready(self) -> bool:
        """Whether the service can be reached and wants frames."""
        try:
            document(self._send("GET", "/health/ready", timeout=timeouts(CONNECT_S)))
        except ClientError:
            return False
        return True

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Returns once the service is ready. Raises its NotReady or Unreachable when that takes longer."""
        attempts = Attempts(UNTIL_READY, timeout_s, self._clock, self._chance)
        self._get("/health/ready", attempts, self._sleep or time.sleep)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict(self, frame: Frame, evidence: bool, timeout_s: float | None, pause: Pause) -> Prediction:
        request = FrameRequest(name_of(frame), read(frame), evidence)

        def ask(left_s: float | None) -> Prediction:
            response = self._send("POST", "/predict", request.id, **request.arguments(left_s))
            return prediction(response, request.name)

        return _patiently(ask, self._attempts(self.timeout_s if timeout_s is None else timeout_s), pause)

    def _get(self, path: str, attempts: Attempts, pause: Pause) -> httpx.Response:
        def ask(left_s: float | None) -> httpx.Response:
            response = self._send("GET", path, timeout=timeouts(left_s))
            document(response)
            return response

        return _patiently(ask, attempts, pause)

    def _send(self, method: str, path: str, request_id: str | None = None, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.RequestError as error:
            raise transport_error(error, request_id) from error

    def _attempts(self, timeout_s: float | None) -> Attempts:
        return Attempts(self.retries, timeout_s, self._clock, self._chance)

    def _until(self, stop: threading.Event) -> Pause:
        """A pause that ends at once, and all tries with it, when a stream is closed."""

        def pause(seconds: float) -> None:
            (self._sleep or stop.wait)(seconds)
            if stop.is_set():
                raise ClientError("the stream was closed before this frame had its answer")

        return pause


def _patiently(ask: Callable[[float | None], Answer], attempts: Attempts, pause: Pause) -> Answer:
    while True:
        try:
            return ask(attempts.left_s)
        except ClientError as error:
            pause(attempts.wait_s(error))


@contextmanager
def _pool(threads: int, stop: threading.Event) -> Iterator["_Pool"]:
    """Threads that end with the block: what has not begun is left, what waits is told to stop."""
    pool = _Pool(threads, stop)
    try:
        yield pool
    finally:
        stop.set()
        pool.close()


class _Pool:
    """Threads that a process does not wait for when it ends, unlike those of concurrent.futures."""

    def __init__(self, most: int, stop: threading.Event) -> None:
        self._most, self._stop, self._threads = most, stop, list[threading.Thread]()
        self._tasks = SimpleQueue[tuple[Future[Outcome], Callable[[], Outcome]] | None]()

    def submit(self, task: Callable[[], Outcome]) -> Future[Outcome]:
        """What the task will return, on one of the threads."""
        future = Future[Outcome]()
        self._tasks.put((future, task))
        if len(self._threads) < self._most:
            name = f"roadcue-client_{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        return future

    def close(self) -> None:
        """Let the threads end once they have done what they are at; waits for CLOSING_S at the most."""
        end_s = time.monotonic() + CLOSING_S
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _work(self) -> None:
        while task := self._tasks.get():
            future, run = task
            if self._stop.is_set():
                continue
            try:
                future.set_result(run())
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)


def _outcomes(started: Iterable[Future[Outcome]], order: Order, most: int) -> Iterator[Outcome]:
    return _as_given(started, most) if order == "submission" else _as_done(started, most)


def _as_given(started: Iterable[Future[Outcome]], most: int) -> Iterator[Outcome]:
    under_way: deque[Future[Outcome]] = deque()
    for future in started:
        under_way.append(future)
        while under_way and (len(under_way) >= most or under_way[0].done()):
            yield under_way.popleft().result()
    yield from (future.result() for future in under_way)


def _as_done(started: Iterable[Future[Outcome]], most: int) -> Iterator[Outcome]:
    under_way: set[Future[Outcome]] = set()
    for future in started:
        under_way.add(future)
        done, under_way = wait(under_way, None if len(under_way) >= most else 0, FIRST_COMPLETED)
        yield from (future.result() for future in done)
    yield from (future.result() for future in as_completed(under_way))
