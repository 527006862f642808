"""Many frames at once with the client that waits."""

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from service.client import (
    BadFrame,
    Client,
)
from tests.service.client.answers import FakeTime, Service, answer, refusal

Connect = Callable[..., Client]


def test_many_frames_are_answered_in_order_each_on_its_own(connect: Connect) -> None:
    def by_content(request: httpx.Request) -> httpx.Response:
        return refusal(422, "damaged_image") if request.content == b"1" else answer(width=int(request.content))

    outcomes = connect(Service(by_content)).predict([(f"{number}.jpg", str(number).encode()) for number in range(20)])
    assert [outcome.index for outcome in outcomes] == list(range(20))
    assert [outcome.name for outcome in outcomes] == [f"{number}.jpg" for number in range(20)]
    assert [outcome.result().width for outcome in outcomes if outcome.index != 1] == [0, *range(2, 20)]
    with pytest.raises(BadFrame):
        outcomes[1].result()


def test_stream_takes_frames_no_further_ahead_than_twice_the_concurrency(connect: Connect) -> None:
    taken: list[int] = []

    def frames() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield b"bytes"

    most_ahead = 0
    for told, _ in enumerate(connect(Service(lambda _: answer()), concurrency=3).stream(frames())):
        most_ahead = max(most_ahead, len(taken) - told)
    assert len(taken) == 100
    assert most_ahead <= 2 * 3


def test_no_more_frames_are_under_way_than_the_concurrency(connect: Connect) -> None:
    """Three have to meet before any is answered, and a fourth never joins them."""
    meeting, lock = threading.Barrier(3, timeout=30), threading.Lock()
    under_way, most = 0, 0

    def meet(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        meeting.wait()
        with lock:
            under_way -= 1
        meeting.wait()
        return answer()

    outcomes = list(connect(Service(meet), concurrency=3).stream([b"bytes"] * 12))
    assert [outcome.error for outcome in outcomes] == [None] * 12
    assert most == 3


def test_outcomes_come_in_the_order_of_the_frames(connect: Connect) -> None:
    """The first is answered only once the second has been asked about."""
    second_asked = threading.Event()

    def by_content(request: httpx.Request) -> httpx.Response:
        if request.content == b"second":
            second_asked.set()
        assert second_asked.wait(30)
        return answer()

    stream = connect(Service(by_content), concurrency=2).stream([("1", b"first"), ("2", b"second")])
    assert [outcome.name for outcome in stream] == ["1", "2"]


def test_outcomes_come_as_they_are_done_where_that_is_wanted(connect: Connect) -> None:
    """The first is answered only once the outcome of the second has been told."""
    second_told = threading.Event()

    def by_content(request: httpx.Request) -> httpx.Response:
        assert request.content == b"second" or second_told.wait(30)
        return answer()

    client = connect(Service(by_content), concurrency=2)
    stream = client.stream([("1", b"first"), ("2", b"second")], order="completion")
    assert next(stream).name == "2"
    second_told.set()
    assert [outcome.index for outcome in stream] == [0]


def test_closed_stream_sends_nothing_more(connect: Connect, time_: FakeTime) -> None:
    service = Service(lambda _: answer())
    stream = connect(service, concurrency=1).stream([b"bytes"] * 100)
    assert next(stream).prediction
    stream.close()
    sent = len(service.requests)
    assert sent <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("roadcue-client")]
    assert len(service.requests) == sent


def test_closed_stream_wakes_who_waits_for_another_try() -> None:
    """Both frames wait for minutes on the real clock; closing ends them now."""
    waiting = threading.Semaphore(0)

    def busy(_: httpx.Request) -> httpx.Response:
        waiting.release()
        return refusal(429, "queue_full", "50")

    with Client("http://service", transport=httpx.MockTransport(Service(busy)), concurrency=2) as client:
        given = threading.Event()

        def frames() -> Iterator[bytes]:
            yield b"bytes"
            yield b"bytes"
            assert waiting.acquire(timeout=30)
            assert waiting.acquire(timeout=30)
            given.set()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(client.stream(frames()))
    assert given.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("roadcue-client")]


def test_closed_stream_does_not_wait_for_a_service_that_hangs() -> None:
    """The one request would have a minute; what it still says is nobody's."""
    asked, answered = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        assert answered.wait(60)
        return answer()

    def frames() -> Iterator[bytes]:
        yield b"bytes"
        assert asked.wait(30)
        raise KeyboardInterrupt

    with Client("http://service", transport=httpx.MockTransport(Service(hang)), concurrency=2) as client:
        began_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(client.stream(frames()))
        assert time.monotonic() - began_s < 30
        (left,) = [thread for thread in threading.enumerate() if thread.name.startswith("roadcue-client")]
        assert left.daemon
        answered.set()
        left.join(30)
        assert not left.is_alive()


def test_failure_of_who_gives_the_frames_comes_through(connect: Connect) -> None:
    def frames() -> Iterator[bytes]:
        yield b"bytes"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(connect(Service(answer())).stream(frames()))
