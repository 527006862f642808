"""What our HTTP protocol does beyond uvicorn's: on a real connection, and piece by piece."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http_protocol import (
    CONTINUE,
    MAX_HEAD_BYTES,
    MOST_PIPELINED,
    BoundedProtocol,
    ServerConfiguration,
    WholeReplies,
)
from service.telemetry import Metrics
from service.web.access_log import AccessLog
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

    def get_extra_info(self, name: str) -> None:
        """It has no addresses."""

    def get_write_buffer_size(self) -> int:
        return 0


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
        self.headers: list[tuple[bytes, bytes]] = []
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = connection_of(scope)
        assert connection is not None
        self.knew.append(connection.has_sent_all)
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message["body"]
        self.headers = list(scope["headers"])
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


class Late:
    """Answers once the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Large:
    """Answers with more than sockets hold, piece by piece, and knows when the connection is over."""

    PIECE, PIECES = bytes(2**20), 24

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = connection_of(scope)
        assert connection is not None
        connection.when_left(self.left.set)
        pieces = 1 if scope["path"] == "/one" else self.PIECES
        piece = self.PIECE * (self.PIECES // pieces)
        headers = [(b"content-length", b"%d" % (pieces * len(piece)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for left in reversed(range(pieces)):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


def configured(app: Any, upload_timeout_s: float = 60.0, keep_alive_s: int = 60) -> ServerConfiguration:
    """The configuration of a server that runs nothing but the application."""
    configuration = ServerConfiguration(
        app,
        http=BoundedProtocol,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=5,
    )
    configuration.upload_timeout_s, configuration.metrics = upload_timeout_s, Metrics()
    configuration.unread_log = AccessLog(logging.INFO)
    return configuration


class Served:
    """An application behind the protocol, and a plain connection to it."""

    def __init__(self, app: Any, **limits: Any) -> None:
        self._server = uvicorn.Server(configured(app, **limits))
        self._listener = socket.create_server(("127.0.0.1", 0))

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._task = asyncio.create_task(self._server.serve([self._listener]))
        reader, self._writer = await asyncio.open_connection(*self._listener.getsockname())
        return reader, self._writer

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
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


UPGRADE = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("pause", [True, False], ids=["in two packets", "in one packet"])
@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 19\r\n\r\nGET / HTTP/1.1\r\n\r\nx",
        b"Transfer-Encoding: chunked\r\n\r\n13\r\nGET / HTTP/1.1\r\n\r\nx\r\n0\r\n\r\n",
    ],
    ids=["sized", "chunked"],
)
async def test_request_that_asks_for_another_protocol_keeps_its_body(body: bytes, pause: bool) -> None:
    """As Java's client and `curl --http2` send it; the body looks like a request, and another one comes behind it."""
    app = Echo()
    async with Served(app) as (reader, writer):
        writer.write(b"POST /one HTTP/1.1\r\n" + UPGRADE + body[: body.index(b"GET")])
        if pause:
            await asyncio.sleep(0.01)
        writer.write(body[body.index(b"GET") :] + post("/two", b"behind it"))
        assert await answer_of(reader) == b"GET / HTTP/1.1\r\n\r\nx"
        assert await answer_of(reader) == b"behind it"
        writer.write(b"GET /three HTTP/1.1\r\n" + UPGRADE + b"\r\n" + post("/four", b"the last"))
        assert [await answer_of(reader) for _ in range(2)] == [b"", b"the last"]
    assert len(app.knew) == 4


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


async def test_unreadable_request_behind_one_that_is_not_answered_yet_waits_its_turn() -> None:
    """A refusal at once would be taken for the reply to the first."""
    app = Late()
    async with asyncio.timeout(30), Served(app) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nEHLO example.org\r\n\r\n")
        await asyncio.sleep(0.05)
        app.gate.set()
        assert await answer_of(reader) == b"ok"
        assert await reader.read() == b""


async def test_requests_that_wait_on_a_connection_are_bounded() -> None:
    """One is being answered and so many wait; those are answered, and the client has to come again with the rest."""
    app = Late()
    async with asyncio.timeout(30), Served(app) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        await asyncio.sleep(0.05)
        app.gate.set()
        replies = await reader.read()
    assert replies.count(b"HTTP/1.1 200 OK") == 1 + MOST_PIPELINED
    assert replies.lower().count(b"connection: close") == 1


async def test_what_is_no_request_is_one_event_with_the_id_of_its_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with asyncio.timeout(30), Served(Echo()) as (reader, writer):
        writer.write(b"EHLO example.org\r\n\r\n")
        reply = (await reader.read()).decode()
    (event,) = [record for record in caplog.records if "400" in record.getMessage()]
    assert event.getMessage() == "- - 400"
    assert f"X-Request-ID: {event.request_id}\r\n" in reply  # type: ignore[attr-defined]
    assert (event.client, event.problem) == ("127.0.0.1", "bad_request")  # type: ignore[attr-defined]


async def test_header_that_drips_behind_a_slow_request_is_a_408() -> None:
    """Its time is over while the request before it is answered; it has as long again, and not for ever."""
    app = Late()
    async with asyncio.timeout(30), Served(app, upload_timeout_s=0.1) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"GET / HT")
        await asyncio.sleep(0.3)
        app.gate.set()
        assert await answer_of(reader) == b"ok"
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        assert b"upload_timeout" in await reader.read()


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nframe\r\n"


async def test_trailer_of_a_body_is_no_header() -> None:
    app = Echo()
    async with Served(app) as (reader, writer):
        writer.write(CHUNKED + b"0\r\nX-Late: 1\r\n\r\n")
        assert await answer_of(reader) == b"frame"
    assert [name for name, _ in app.headers] == [b"host", b"transfer-encoding"]


# The last byte is the one too many: nothing is left unread that would reset the connection.
MANY_LINES = b"0\r\n" + (b"X-Late: 1\r\n" * 6000)[: MAX_HEAD_BYTES - 2]
ONE_LINE = b"0\r\nX-Late: " + b"x" * (MAX_HEAD_BYTES - 10)


@pytest.mark.parametrize("trailer", [MANY_LINES, ONE_LINE], ids=["many lines", "one line"])
async def test_endless_trailer_is_a_431(trailer: bytes) -> None:
    app = Echo()
    async with asyncio.timeout(30), Served(app) as (reader, writer):
        writer.write(CHUNKED)
        while not app.knew:
            await asyncio.sleep(0.005)
        writer.write(trailer)
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        assert b"header_too_large" in await reader.read()


async def test_endless_trailer_of_a_request_that_is_answered_ends_the_connection() -> None:
    app = Refusing()
    async with asyncio.timeout(30), Served(app) as (reader, writer):
        writer.write(CHUNKED)
        assert await answer_of(reader) == b"no"
        writer.write(MANY_LINES)
        assert await reader.read() == b""


async def test_many_small_chunks_are_no_trailer() -> None:
    """More than a header's bytes of sizes, each read on its own, with a piece of body behind it."""
    app = Echo()
    async with asyncio.timeout(30), Served(app) as (reader, writer):
        writer.write(CHUNKED)
        for _ in range(5):
            for piece in (b"1;" + b"x" * 16_000, b"\r\n", b"y\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")
        assert await answer_of(reader) == b"frameyyyyy"


@pytest.fixture
def connection(transport: Transport) -> Iterator[BoundedProtocol]:
    """A connection to an application, fed by hand."""
    loop = asyncio.new_event_loop()
    protocol = BoundedProtocol(configured(Echo()), ServerState(), {}, loop)
    protocol.connection_made(cast(asyncio.Transport, transport))
    yield protocol
    protocol.connection_lost(None)
    loop.close()


FIELD = b"X: " + b"x" * 1000 + b"\r\n"
TOO_LARGE = {
    "target": b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 200_000),
    "field": b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 200_000),
    "fields": b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (FIELD * 200),
    "empty fields": b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: \r\n" * 40_000),
    "sum": b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x" * 35_000, FIELD * 35),
}


@pytest.mark.parametrize("head", TOO_LARGE.values(), ids=TOO_LARGE)
def test_whole_header_that_is_too_large_is_a_431(
    connection: BoundedProtocol, transport: Transport, head: bytes
) -> None:
    """It comes in one read and is complete: nothing of it is ever unfinished. The application does not see it."""
    connection.data_received(head)
    assert b"".join(transport.written).startswith(b"HTTP/1.1 431 ")
    assert transport.closed
    assert connection.cycle is None


def test_header_that_is_too_large_is_unfinished_in_its_first_read(
    connection: BoundedProtocol, transport: Transport
) -> None:
    connection.data_received(TOO_LARGE["field"][:100_000])
    assert b"".join(transport.written).startswith(b"HTTP/1.1 431 ")


# The loop that serves: its transports, once closed, wait without end for their last bytes to be read.
ON_UVLOOP = pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])


@ON_UVLOOP
@pytest.mark.parametrize("path", ["/one", "/many"])
@pytest.mark.parametrize("field", [b"", b"Connection: close\r\n"])
async def test_who_never_reads_its_reply_is_cut_off(path: str, field: bytes) -> None:
    app = Large()
    async with asyncio.timeout(30), Served(app, keep_alive_s=1) as (_, writer):
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path.encode(), field))
        await app.left.wait()


@ON_UVLOOP
@pytest.mark.parametrize("path", ["/one", "/many"])
async def test_who_reads_slowly_has_all_of_its_reply(path: str) -> None:
    """It takes three times as long as a connection may idle."""
    app = Large()
    async with asyncio.timeout(30), Served(app, keep_alive_s=1) as (reader, writer):
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(12):
            await reader.readexactly(2 * len(app.PIECE))
            await asyncio.sleep(0.25)
