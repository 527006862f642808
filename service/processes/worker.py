"""One of several processes: the same server, with the port, the metrics and the drain shared.

SIGTERM to one process alone ends it in order, and the supervisor starts another; while any other is ready it takes no
more connections. What the supervisor is told, it passes on to all.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from service.app import create_app
from service.inference.tuning import Execution
from service.listener import refuse_new_connections
from service.processes.board import CountedConnections, Standing
from service.processes.entrance import Entrance
from service.processes.link import Link
from service.processes.messages import Failed, Place, Ready
from service.processes.reports import ReportCollector, report_of
from service.server import DrainingServer, configuration
from service.settings import Settings
from service.web.lifecycle import Lifecycle

logger = logging.getLogger(__name__)


def run_worker(place: Place, settings: Settings) -> None:
    """Serve until the supervisor says otherwise; exits with 1 where the process cannot start."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_numbered(place.number))
    execution = Execution.model_validate_json(place.execution) if place.execution else None
    app = create_app(settings, execution=execution)
    lifecycle: Lifecycle = app.state.lifecycle
    server = WorkerServer(configuration(app, settings), lifecycle, settings.drain_seconds, place)
    server.link = link = Link(place.pipe, lambda: report_of(app.state.metrics.registry), server.on_shared_signal)

    async def gather_metrics() -> ReportCollector:
        return ReportCollector(await link.total())

    app.state.gather_metrics = gather_metrics
    server.run(sockets=[])
    if lifecycle.failure:
        link.tell(Failed(str(lifecycle.failure)))
        sys.exit(1)


class WorkerServer(DrainingServer):
    """The draining server, for one process among others."""

    link: Link

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float, place: Place) -> None:
        super().__init__(config, lifecycle, drain_seconds)
        self._place = place
        self._was_ready = self._was_told = False
        self._entrance = Entrance(place.listener, place.board, place.number, self._on_connection)
        self._connections = CountedConnections(place.board, place.number)
        self.server_state.connections = self._connections  # type: ignore[assignment]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only SIGTERM comes to one process alone."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_own_signal)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    def on_shared_signal(self, received: signal.Signals) -> None:
        """The supervisor has had this signal; one that came here as well counts once."""
        told, self._was_told = self._was_told, False
        if not told:
            self.on_signal(received)

    def on_signal(self, received: signal.Signals) -> None:
        """Begin to drain, and say so to the other processes."""
        super().on_signal(received)
        self._tell_standing()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.link.open()
        self._entrance.open()

    async def on_tick(self, counter: int) -> bool:
        """Keep the others informed, ten times a second."""
        self._place.board.beat(self._place.number)
        self._tell_standing()
        return await super().on_tick(counter)

    def on_broken(self, reason: str) -> None:
        """End in order: the supervisor starts another."""
        logger.error("the process ends, and another takes its place", extra={"reason": reason})
        self._on_own_signal()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down, and leave the last figures behind."""
        await super().shutdown(sockets)
        self.link.close()

    async def _close_port(self, listeners: Sequence[socket.socket]) -> None:  # noqa: ARG002 - it has none of its own
        self._entrance.close()
        if self._entrance.leaves_to_others():
            self._place.listener.close()
            return
        refuse_new_connections(self._place.listener)
        await self._accept_rest(self._place.listener)

    def _on_own_signal(self) -> None:
        if self._signals == 0:
            self._was_told = True
            self.on_signal(signal.SIGTERM)

    def _tell_standing(self) -> None:
        ready, serving = self._lifecycle.stage == "ready", self._lifecycle.loaded
        unready = Standing.DRAINING if serving else Standing.LOADING
        self._place.board.write_standing(self._place.number, Standing.READY if ready else unready)
        if ready and serving and not self._was_ready:
            self._was_ready = True
            self.link.tell(Ready(serving.execution.model_dump_json()))

    def _on_connection(self, connection: socket.socket) -> None:
        self._connections.expect()
        task = asyncio.get_running_loop().create_task(self._serve_connection(connection))
        task.add_done_callback(self._on_served)
        self.server_state.tasks.add(task)

    def _on_served(self, task: asyncio.Task[None]) -> None:
        self._connections.settle()
        self.server_state.tasks.discard(task)


def _numbered(number: int) -> Callable[[logging.LogRecord], bool]:
    """A filter that lets everything pass, and notes which process says it."""

    def note(record: logging.LogRecord) -> bool:
        record.worker = number
        return True

    return note
