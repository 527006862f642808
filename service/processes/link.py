"""A process's end of the pipe to its supervisor."""

import asyncio
import logging
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

from service.processes.messages import (
    AskReport,
    AskTotal,
    FromProcess,
    GiveReport,
    GiveTotal,
    Signalled,
)
from service.processes.reports import Report

logger = logging.getLogger(__name__)

OnSignal = Callable[[signal.Signals], None]

# The supervisor has less patience with the other processes; one that hangs must not hang a scrape.
ANSWER_SECONDS: Final = 5.0


class Link:
    """Answers the supervisor's questions with `report`, passes its signals to `on_signal`, and asks it for totals.

    Where the supervisor is gone, this process ends: nobody else would see to it.
    """

    def __init__(self, pipe: Connection, report: Callable[[], Report], on_signal: OnSignal) -> None:
        self._pipe, self._report, self._on_signal = pipe, report, on_signal
        self._total: asyncio.Future[Report] | None = None

    def open(self) -> None:
        """Begin to listen, on the running event loop."""
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._on_message)

    def close(self) -> None:
        """Give the last report and listen no more."""
        self.tell(GiveReport(self._report()))
        self._stop_listening()

    def tell(self, message: FromProcess) -> None:
        """Send a message; a supervisor that is gone misses nothing."""
        try:
            self._pipe.send(message)
        except OSError:
            logger.debug("the supervisor is gone")

    async def total(self) -> Report:
        """The metrics of all processes together; of this one alone where the supervisor does not answer."""
        own = self._report()
        # One question at a time: those that nobody answers would fill the pipe, and block this process.
        if self._total is None:
            self._total = asyncio.get_running_loop().create_future()
            self.tell(AskTotal(own))
        try:
            return await asyncio.wait_for(asyncio.shield(self._total), ANSWER_SECONDS)
        except TimeoutError:
            logger.warning("the supervisor does not answer; the metrics are those of one process")
            return own

    def _on_message(self) -> None:
        if not self._pipe.poll():
            return  # to wait here would stop the event loop
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            self._stop_listening()
            logger.warning("the supervising process is gone")
            self._on_signal(signal.SIGINT)
            return
        match message:
            case AskReport(question):
                self.tell(GiveReport(self._report(), question))
            case GiveTotal(report):
                self._on_total(report)
            case Signalled(received):
                self._on_signal(received)

    def _on_total(self, report: Report) -> None:
        answered, self._total = self._total, None
        if answered:
            answered.set_result(report)

    def _stop_listening(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
