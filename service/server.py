"""The HTTP server: uvicorn with a shutdown that loses nothing.

SIGTERM            ready refuses, requests are still served with `Connection: close`, for `drain_seconds`;
                   then the port closes, what runs is finished, and the process ends with code 0
SIGINT             the same without the wait
a second signal    ends the drain at once; a third one ends the process without waiting for what runs
a lost device      or a dead thread: ready refuses, and the process ends with code 1, to be started again
"""

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from service.errors import StartupError
from service.http_protocol import BoundedProtocol, ServerConfiguration
from service.listener import BACKLOG, accepted, listen, refuse_new_connections, url_of
from service.settings import Settings
from service.web.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

# What has just connected gets this long to send its request after the port has closed.
LINGER_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.02
# A handshake that the network still carries gets this long: the longest round trips on earth take about 0.3 s.
HANDSHAKE_SECONDS: Final = 0.3
# With 10 the event loop of a full machine refuses within 19 ms (p99), with 6 within 6 to 11, with 0 within 7.
EVENT_LOOP_NICENESS: Final = 6


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve the application until a signal ends it. Raises StartupError when the process cannot start, or go on."""
    listener = listen(settings.host, settings.port)
    server = DrainingServer(configuration(app, settings), app.state.lifecycle, settings.drain_seconds)
    server.run(sockets=[listener])
    if app.state.lifecycle.failure:
        raise app.state.lifecycle.failure


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
    configured.metrics, configured.unread_log = app.state.metrics, app.state.access_log
    return configured


def spare_collector() -> None:
    """Take what the start has made out of the garbage collector's sight.

    It lives as long as the process: looking through all of it again and again would stop every thread each time.
    """
    gc.collect()
    gc.freeze()


def let_frames_finish() -> None:
    """Have the kernel count this process as one that computes: while all cores do, who wakes up waits for its turn.

    An event loop that interrupts a frame for each packet leaves the core's caches to it, and its own code is cold each
    time. Taking its turn some milliseconds later it finds more to do at once; an idle core it takes at once as before.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox that forbids it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def give_way_to_frames() -> None:
    """Have the kernel give this thread, the event loop's, less of the cores than it gives the frames' threads.

    While all cores compute it then takes its turns less often, with more to do at once. To be called once those threads
    have started, since a thread inherits this from whoever starts it.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox that forbids it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + EVENT_LOOP_NICENESS)


def settle() -> None:
    """What remains to be done once all that lives as long as the process is there."""
    spare_collector()
    give_way_to_frames()


class DrainingServer(uvicorn.Server):
    """uvicorn that drains first; uvicorn itself stops listening the moment SIGTERM comes."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle, self._drain_seconds = lifecycle, drain_seconds
        self._signals = 0
        self._doubles: list[socket.socket] = []
        lifecycle.on_failure = self.stop
        lifecycle.on_open = settle

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

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether frames are still answered."""
        if broken := self._lifecycle.broken:
            self.on_broken(broken)
        return await super().on_tick(counter)

    def on_broken(self, reason: str) -> None:
        """End with code 1: whoever has started the process starts another, and nothing else helps."""
        self._lifecycle.fail(StartupError(f"{reason}; the process ends, and needs to be started again"))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the service listens, once it does."""
        let_frames_finish()
        await super().startup(sockets)
        # Made now: when the port closes there may be no free file descriptor.
        self._doubles = [listener.dup() for listener in sockets or []]
        for listener in sockets or []:
            logger.info("listening", extra={"url": url_of(listener)})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, serve who is connected already, then shut down; a request under way would be lost else."""
        await self._close_port(self._doubles)
        await self._linger()
        await super().shutdown(sockets)
        logger.info("ended")

    async def _close_port(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            refuse_new_connections(listener)
        for server in self.servers:
            server.close()
        for listener in listeners:
            await self._accept_rest(listener)

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
