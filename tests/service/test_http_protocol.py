"""What our HTTP protocol does beyond uvicorn's: on a real connection, and piece by piece."""

import asyncio
import socket
from typing import Any, cast

import pytest
import uvicorn

from service.http_protocol import CONTINUE, BoundedProtocol, ServerConfiguration, WholeReplies
from service.telemetry import Metrics
from service.web.client_connection import connection_of

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Transport:
    """Remembers what was written to it, write by write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def replies(transport: Transport) -> WholeReplies:
    return WholeReplies(cast(asyncio.Transport, transport))


def test_head_leaves_with_the_first_piece_of_body(replies: WholeReplies, transport: Transport) -> None:
    replies.write(HEAD)
    assert transport.written == []
    replies.write(b"bo")
    replies.write(b"dy")
    assert transport.written == [HEAD + b"bo", b"dy"]


def test_go_ahead_does_not_wait_for_the_head(replies: WholeReplies, transport: Transport) -> None:
    """A client that waits for it would wait for ever."""
    replies.write(CONTINUE)
    assert transport.written == [CONTINUE]
    replies.write(HEAD)
    replies.write(b"body")
    assert transport.written == [CONTINUE, HEAD + b"body"]


@pytest.mark.parametrize("body", [None, b""])
def test_head_without_a_body_is_not_lost(replies: WholeReplies, transport: Transport, body: bytes | None) -> None:
    replies.write(HEAD)
    if body is not None:
        replies.write(body)
    replies.close()
    assert (b"".join(transport.written), replies.is_closing()) == (HEAD, True)


class Echo:
    """Reads a body, says what the connection knew when it began, and waits for the client to leave where told to."""

    def __init__(self) -> None:
        self.knew: list[bool] = []
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = connection_of(scope)
        assert connection is not None
        self.knew.append(connection.has_sent_all)
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message["body"]
        if scope["path"] == "/wait":
            connection.when_left(self.left.set)
            await self.left.wait()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Refusing:
    """Answers without reading, and keeps what the connection holds of the body."""

    cycle: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.cycle = receive.__self__
        while not self.cycle.body:
            await asyncio.sleep(0.005)
        await send({"type": "http.response.start", "status": 429, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})


class Served:
    """An application behind the protocol, and a plain connection to it."""

    def __init__(self, app: Echo | Refusing) -> None:
        configuration = ServerConfiguration(cast(Any, app), http=BoundedProtocol, lifespan="off", log_config=None)
        configuration.upload_timeout_s, configuration.metrics = 60.0, Metrics()
        self._server = uvicorn.Server(configuration)
        self._listener = socket.create_server(("127.0.0.1", 0))

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._task = asyncio.create_task(self._server.serve([self._listener]))
        return await asyncio.open_connection(*self._listener.getsockname())

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task


def post(path: str, body: bytes, sent: int | None = None) -> bytes:
    """A request of which the first `sent` bytes of the body are there."""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:sent]


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The body of the next reply, which names its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(int(length))


async def test_body_is_whole_in_any_pieces_and_the_connection_knows_when() -> None:
    app, body = Echo(), bytes(range(256)) * 3000
    async with Served(app) as (reader, writer):
        writer.write(post("/", b"at once"))
        assert await answer_of(reader) == b"at once"
        for start in range(0, len(request := post("/", body)), 100_000):
            writer.write(request[start : start + 100_000])
            await asyncio.sleep(0.01)
        assert await answer_of(reader) == body
        writer.close()
    assert app.knew == [True, False]


async def test_who_leaves_is_told_of_without_a_message_being_read() -> None:
    app = Echo()
    async with Served(app) as (_, writer):
        writer.write(post("/wait", b"frame"))
        while not app.knew:
            await asyncio.sleep(0.005)
        writer.close()
        await asyncio.wait_for(app.left.wait(), 30)


async def test_body_of_a_request_refused_unread_is_let_go_of() -> None:
    """The connection stays, and each of hundreds that are refused would hold an upload until its next request."""
    app = Refusing()
    async with Served(app) as (reader, writer):
        writer.write(post("/", bytes(100_000), sent=60_000))
        assert await answer_of(reader) == b"no"
        assert app.cycle.body == b""
        writer.close()
