"""HTTP as uvicorn speaks it, with bounds, and with less ado for a frame: fewer timers, copies and packets."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import UploadTimeout
from service.telemetry import Metrics
from service.web.client_connection import CONNECTION, EXTENSION
from service.web.problems import BAD_REQUEST, HEADER_TOO_LARGE, MEDIA_TYPE, PROBLEMS, ProblemKind, problem_object
from service.web.request_context import REQUEST_ID, UNMATCHED, request_id
from service.web.server_timing import ServerTiming

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_HEAD_BYTES: Final = 64 * 1024
# What one connection may send before the application takes it: as much as uvloop reads at once.
READ_AHEAD_BYTES: Final = 256 * 1024


class ServerConfiguration(uvicorn.Config):
    """uvicorn's configuration, how many seconds a request may take to arrive, and who counts what is refused here."""

    upload_timeout_s: float
    metrics: Metrics


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
    tell_left: Callable[[], None] | None = None
    is_lost = False
    _began_s: float
    _head_is_open = False
    _head_bytes = 0
    _is_arriving = False
    _lateness: asyncio.TimerHandle | None = None

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
        self.is_lost = True
        if self.tell_left:
            self.tell_left()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_is_open, self._head_bytes, self._is_arriving = True, 0, True
        self._began_s = time.monotonic()
        self._stop_waiting()

    def on_message_complete(self) -> None:
        """All of a request is there."""
        super().on_message_complete()
        self._is_arriving = False
        self._stop_waiting()

    def on_headers_complete(self) -> None:
        """Its header is complete."""
        self._head_is_open = False
        super().on_headers_complete()
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

    def on_body(self, body: bytes) -> None:
        """Some of its body is there; uvicorn would stop and start reading within every larger frame, and copy it."""
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
        """Count what belongs to nothing but an unfinished header; the parser would collect it without end."""
        was_open = self._head_is_open
        super().data_received(data)
        if self._is_arriving:
            self._wait_for_rest()
        elif self._is_answered() and self.timeout_keep_alive_task is None:
            self._close_when_idle()  # only line feeds between requests came
        self._head_bytes += len(data) if was_open and self._head_is_open else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HEADER_TOO_LARGE, f"the request's header holds more than {MAX_HEAD_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(BAD_REQUEST, msg)

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
        if self.transport.is_closing() or not self._is_answered():
            return  # the application reads the body, and refuses one that is late itself
        if self._head_is_open:
            seconds = f"{self.config.upload_timeout_s:g} seconds"
            self._refuse(PROBLEMS[UploadTimeout], f"the request's header did not arrive within {seconds}")
        self.transport.close()

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        """Answer what never became a request for the application, with the headers and in the metrics of all others."""
        body = json.dumps(problem_object(kind, detail)).encode()
        now_s = time.monotonic()
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": len(body),
            REQUEST_ID: request_id(None),
            "Server-Timing": ServerTiming(self._began_s).header(now_s),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {kind.status} {kind.title}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
        metrics = self.config.metrics
        metrics.begin_request()
        metrics.count_request(UNMATCHED, "other", kind.status, now_s - self._began_s)
        metrics.count_rejection(kind.code)
