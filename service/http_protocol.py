"""HTTP as uvicorn speaks it, with bounds, and with less ado for a frame: fewer timers, copies and packets."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import UploadTimeout
from service.request_parser import RequestParser
from service.telemetry import Metrics
from service.web.access_log import AccessLog
from service.web.client_connection import CONNECTION, EXTENSION
from service.web.direct_route import PlainHeaders
from service.web.problems import BAD_REQUEST, HEADER_TOO_LARGE, MEDIA_TYPE, PROBLEMS, ProblemKind, problem_object
from service.web.request_context import REQUEST_ID, UNMATCHED, request_id
from service.web.server_timing import ServerTiming

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_HEAD_BYTES: Final = 64 * 1024
FIELD_MARK_BYTES: Final = len(": \r\n")
# Requests that may wait for the one before them: each holds a hundred times its bytes, and one read has thousands.
MOST_PIPELINED: Final = 16
# What one connection may send before the application takes it: as much as uvloop reads at once.
READ_AHEAD_BYTES: Final = 256 * 1024


class ServerConfiguration(uvicorn.Config):
    """uvicorn's configuration, how many seconds a request may take to arrive, and who is told what is refused here."""

    upload_timeout_s: float
    metrics: Metrics
    unread_log: AccessLog


class WholeReplies:
    """A transport that keeps a reply's head until its first piece of body: one write, and one wake-up of the client."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._began = False

    def write(self, data: bytes) -> None:
        """Write what a request's cycle writes, in its order: perhaps a go-ahead, a head, pieces of body."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head + data)
        elif self._began or data == CONTINUE:
            self._transport.write(data)
        else:
            self._began, self._head = True, data

    def close(self) -> None:
        """Close; a head that got no body is written first."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed already."""
        return self._transport.is_closing()


class RequestClient:
    """Who sent a request; one request of a connection is answered at a time, and only its own client is asked.

    The request's scope holds it, and the cycle holds the scope: were this to hold the cycle too, what a request leaves,
    its body first of all, would stay until the garbage collector comes round.
    """

    def __init__(self, protocol: "BoundedProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol, self._cycle = protocol, ref(cycle)

    @property
    def has_sent_all(self) -> bool:
        """Whether the body has arrived to its end."""
        cycle = self._cycle()
        return cycle is None or not cycle.more_body

    def when_left(self, tell: Callable[[], None] | None) -> None:
        """Have `tell` called once the client is gone, at once if it is."""
        self._protocol.tell_left = tell
        if tell and self._protocol.is_lost:
            tell()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds on a header's size and a request's time; it refuses with problem+json."""

    config: ServerConfiguration
    parser: RequestParser  # type: ignore[assignment]
    tell_left: Callable[[], None] | None = None
    is_lost = False
    _began_s: float
    _head_is_open = False
    _head_bytes = 0
    _is_arriving = False
    # Bytes read since a header or a piece of a body ended: of a field, a chunk's size or a trailer without end.
    _pending_bytes = 0
    _is_pending = False
    _lateness: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = RequestParser(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects; uvicorn would wait for the first request without end."""
        super().connection_made(transport)
        self._began_s = time.monotonic()
        self._close_when_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_waiting()
        self._stop_watching()
        self.is_lost = True
        if self.tell_left:
            self.tell_left()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_is_open, self._is_arriving = True, True
        self._head_bytes = self._pending_bytes = 0
        self._began_s = time.monotonic()
        self._stop_waiting()

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its header; nobody asks for a chunked body's trailer."""
        if self._head_is_open:
            self._count_head(len(name) + len(value) + FIELD_MARK_BYTES)
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """All of a request is there."""
        if self.parser.ends_too_early():
            return
        super().on_message_complete()
        self._is_arriving = False
        self._stop_waiting()

    def on_headers_complete(self) -> None:
        """Its header is complete; who sends more than may wait is answered up to here."""
        self._head_is_open = self._is_pending = False
        before = self.cycle
        super().on_headers_complete()
        if len(self.pipeline) > MOST_PIPELINED:
            self.pipeline.popleft()
            self.cycle = before
            raise httptools.HttpParserError("too many requests wait on this connection")
        cycle: Any = self.cycle
        self.scope["extensions"] = {EXTENSION: {CONNECTION: RequestClient(self, cycle)}}
        if self.scope["method"] != "HEAD":  # its replies have no body to wait for
            cycle.transport = WholeReplies(self.transport)

    def on_response_complete(self) -> None:
        """A reply is out; what has arrived of the body of a request refused unread is of no use to anybody."""
        cycle: Any = self.cycle
        if cycle.response_complete:  # else another request has begun behind the one answered
            cycle.body = b""
        super().on_response_complete()
        if self._is_arriving:
            self._wait_for_rest()  # the next request's header, while this one was answered
        if self.transport.is_closing():
            self._watch_reader()

    def on_body(self, body: bytes) -> None:
        """Some of its body is there; uvicorn would stop and start reading within every larger frame, and copy it."""
        self._is_pending = False
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body) + body
        else:
            cycle.body += body
        if len(cycle.body) > READ_AHEAD_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Count what only prolongs an unfinished header or trailer; the parser would collect it without end."""
        self._is_pending = True
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse_unreadable()
        if self._is_arriving:
            self._wait_for_rest()
        elif self._is_answered() and self.timeout_keep_alive_task is None:
            self._close_when_idle()  # only line feeds between requests came
        self._pending_bytes = self._pending_bytes + len(data) if self._is_pending and self._is_arriving else 0
        if self._pending_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_header()

    def pause_writing(self) -> None:
        """More of a reply waits to be read than is good."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It is read; a connection that is closed stays watched until the rest is."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no request comes; who is still reading a reply may finish."""
        self._close()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise httptools.HttpParserError("the header is too large")  # the parser stops and asks for a refusal

    def _is_answered(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _close_when_idle(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _wait_for_rest(self) -> None:
        # Most requests arrive in one piece, and need no timer.
        if self._lateness is None and not self.transport.is_closing():
            self._lateness = self.loop.call_later(self.config.upload_timeout_s, self._on_late)

    def _stop_waiting(self) -> None:
        if self._lateness:
            self._lateness.cancel()
        self._lateness = None

    def _on_late(self) -> None:
        self._lateness = None
        if self.transport.is_closing() or not self._is_answered():
            return  # the application reads the body, and refuses one that is late itself
        if self._head_is_open:
            seconds = f"{self.config.upload_timeout_s:g} seconds"
            self._refuse(PROBLEMS[UploadTimeout], f"the request's header did not arrive within {seconds}")
        self._close()

    def _watch_reader(self) -> None:
        # A transport that is closed waits without end for its last bytes to be read.
        if self._unread is None and not self.is_lost:
            self._look_again(self.transport.get_write_buffer_size())

    def _look_again(self, unread_bytes: int) -> None:
        self._unread = self.loop.call_later(self.timeout_keep_alive, self._on_unread, unread_bytes)

    def _on_unread(self, before_bytes: int) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes < before_bytes:  # slow, but reading
            self._look_again(unread_bytes)
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._unread:
            self._unread.cancel()
        self._unread = None

    def _close(self) -> None:
        self.transport.close()
        self._watch_reader()

    def _refuse_unreadable(self) -> None:
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_header()
        else:
            self._refuse(BAD_REQUEST, "Invalid HTTP request received.")

    def _refuse_header(self) -> None:
        self._refuse(HEADER_TOO_LARGE, f"the request's header holds more than {MAX_HEAD_BYTES} bytes")

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        """Answer what cannot be read to its end, with the headers of all replies, and tell it once."""
        cycle: Any = self.cycle
        if self._is_answered() and (self._head_is_open or cycle is None):
            named = request_id(None)
            self._write_refusal(kind, detail, named)
            self._tell_unread(kind, named)
        elif self._head_is_open or any(cycle is waiting for waiting, _ in self.pipeline):
            cycle.keep_alive = False  # requests before it are still answered, and then nothing more
        elif cycle.response_started:
            self._close()  # of a request that is answered already
        else:
            state = cycle.scope["state"]
            named = state.setdefault("request_id", request_id(PlainHeaders.of(cycle.scope).get(REQUEST_ID)))
            # The application sees its client leave, and tells this in place of it.
            state.update(refused=kind.status, problem=kind.code)
            self._write_refusal(kind, detail, named)

    def _write_refusal(self, kind: ProblemKind, detail: str, named: str) -> None:
        body = json.dumps(problem_object(kind, detail)).encode()
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": len(body),
            REQUEST_ID: named,
            "Server-Timing": ServerTiming(self._began_s).header(time.monotonic()),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {kind.status} {kind.title}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._close()

    def _tell_unread(self, kind: ProblemKind, named: str) -> None:
        seconds = time.monotonic() - self._began_s
        metrics = self.config.metrics
        metrics.begin_request()
        metrics.count_request(UNMATCHED, "other", kind.status, seconds)
        metrics.count_rejection(kind.code)
        client = self.client[0] if self.client else "unknown"
        about = {"request_id": named, "route": UNMATCHED, "client": client, "problem": kind.code}
        fields = {**about, "ms": round(1000 * seconds, 3)}
        self.config.unread_log.record("-", "-", kind.status, kind.code, lambda: fields)
