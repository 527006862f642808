"""The HTTP server: uvicorn with a shutdown that loses nothing.

SIGTERM            ready refuses, requests are still served with `Connection: close`, for `drain_seconds`;
                   then the port closes, what runs is finished, and the process ends with code 0
SIGINT             the same without the wait
a second signal    ends the drain at once; a third one ends the process without waiting for what runs
"""

import asyncio
import contextlib
import gc
import json
import logging
import math
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import UploadTimeout
from service.listener import BACKLOG, accepted, listen, refuse_new_connections, url_of
from service.settings import Settings
from service.web.lifecycle import Lifecycle
from service.web.problems import BAD_REQUEST, HEADER_TOO_LARGE, MEDIA_TYPE, PROBLEMS, ProblemKind, problem_object

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
# What one connection may send before the application takes it: as much as uvloop reads at once.
READ_AHEAD_BYTES: Final = 256 * 1024
# What has just connected gets this long to send its request after the port has closed.
LINGER_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.02
# A handshake that the network still carries gets this long: the longest round trips on earth take about 0.3 s.
HANDSHAKE_SECONDS: Final = 0.3


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve the application until a signal ends it. Raises StartupError when the process cannot start."""
    listener = listen(settings.host, settings.port)
    server = DrainingServer(configuration(app, settings), app.state.lifecycle, settings.drain_seconds)
    server.run(sockets=[listener])
    if app.state.lifecycle.failure:
        raise app.state.lifecycle.failure


class ServerConfiguration(uvicorn.Config):
    """uvicorn's configuration, and how many seconds a request may take to arrive."""

    upload_timeout_s: float


def configuration(app: FastAPI, settings: Settings) -> ServerConfiguration:
    """How uvicorn runs the application: our logs, no guesses from the environment."""
    configured = ServerConfiguration(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_seconds),
    )
    configured.upload_timeout_s = settings.upload_timeout_seconds
    return configured


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds on a header's size and a request's time; it refuses with problem+json."""

    config: ServerConfiguration
    _head_is_open = False
    _head_bytes = 0
    _lateness: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects; uvicorn would wait for the first request without end."""
        super().connection_made(transport)
        self._close_when_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_waiting()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_is_open, self._head_bytes = True, 0
        self._stop_waiting()
        self._lateness = self.loop.call_later(self.config.upload_timeout_s, self._on_late)

    def on_message_complete(self) -> None:
        """All of a request is there."""
        super().on_message_complete()
        self._stop_waiting()

    def on_headers_complete(self) -> None:
        """Its header is complete."""
        self._head_is_open = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of its body is there; uvicorn would stop and start reading within every larger frame."""
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > READ_AHEAD_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to nothing but an unfinished header; the parser would collect it without end."""
        was_open = self._head_is_open
        super().data_received(data)
        if self._lateness is None and self._is_answered() and self.timeout_keep_alive_task is None:
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
        body = json.dumps(problem_object(kind, detail)).encode()
        head = f"HTTP/1.1 {kind.status} {kind.title}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


def spare_collector() -> None:
    """Take what the start has made out of the garbage collector's sight.

    It lives as long as the process: looking through all of it again and again would stop every thread each time.
    """
    gc.collect()
    gc.freeze()


class DrainingServer(uvicorn.Server):
    """uvicorn that drains first; uvicorn itself stops listening the moment SIGTERM comes."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle, self._drain_seconds = lifecycle, drain_seconds
        self._signals = 0
        lifecycle.on_failure = self.stop
        lifecycle.on_open = spare_collector

    def stop(self) -> None:
        """End as soon as what runs is finished."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals on the event loop, and do not raise them again at the end: an orderly end is code 0."""
        loop, handled = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for received in handled:
            loop.add_signal_handler(received, self.on_signal, received)
        try:
            yield
        finally:
            for received in handled:
                loop.remove_signal_handler(received)

    def on_signal(self, received: signal.Signals) -> None:
        """Begin to drain; with further signals, be quicker."""
        self._signals += 1
        was_ready = self._lifecycle.stage == "ready"
        self._lifecycle.draining = True
        if self._signals == 1 and received == signal.SIGTERM and was_ready:
            logger.info("draining", extra={"signal": received.name, "seconds": self._drain_seconds})
            asyncio.get_running_loop().call_later(self._drain_seconds, self.stop)
            return
        logger.info("ending", extra={"signal": received.name})
        self.force_exit = self._signals > 2
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the service listens, once it does."""
        await super().startup(sockets)
        for listener in sockets or []:
            logger.info("listening", extra={"url": url_of(listener)})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, serve who is connected already, then shut down; a request under way would be lost else."""
        await self._close_port(sockets or [])
        await self._linger()
        await super().shutdown(sockets)
        logger.info("ended")

    async def _close_port(self, listeners: Sequence[socket.socket]) -> None:
        doubles = [listener.dup() for listener in listeners]
        for double in doubles:
            refuse_new_connections(double)
        for server in self.servers:
            server.close()
        for double in doubles:
            await self._accept_rest(double)

    async def _accept_rest(self, listener: socket.socket) -> None:
        """Accept who has connected before the port closes: the kernel would reset what it still holds in its queue."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + HANDSHAKE_SECONDS
        with listener:
            while loop.time() < end_s and not self.force_exit:
                for connection in accepted(listener):
                    await self._serve_connection(connection)
                await asyncio.sleep(POLL_SECONDS)

    async def _serve_connection(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has left already
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol_class: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _linger(self) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + LINGER_SECONDS
        # uvicorn keeps its connections in a plain set: there is no event to wait for.
        while self.server_state.connections and loop.time() < end_s and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
