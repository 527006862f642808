"""The parent of several processes: starts them, starts again who dies, adds up their metrics and passes signals on.

It imports nothing heavy and has one thread, so that a process can be forked at any time. The first one starts alone and
finds out how the model runs best; the others are told. One that dies is started again after a delay that grows, one
that hangs is killed first; one that cannot be started ends the whole with code 1.
"""

import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector

from service.errors import InvalidSettings, StartupError
from service.listener import listen, url_of
from service.processes.board import Board
from service.processes.heartbeats import Heartbeats
from service.processes.messages import (
    AskReport,
    AskTotal,
    Failed,
    FromProcess,
    FromSupervisor,
    GiveReport,
    GiveTotal,
    Place,
    Ready,
    Signalled,
)
from service.processes.reports import Family, Key, Report, report_of
from service.processes.restarts import Restarts
from service.processes.scrapes import Scrapes
from service.settings import Settings
from service.telemetry.definitions import BY_NAME

logger = logging.getLogger(__name__)

HANDLED: Final = (signal.SIGTERM, signal.SIGINT)
# What runs for longer than its own bounds allow is stuck.
STUCK_AFTER_S: Final = 10.0


class Start(Protocol):
    """Starts a process in a place; it has no use for what it inherits of the other places."""

    def __call__(self, place: Place, inherited: Sequence[Connection]) -> BaseProcess: ...


@dataclass(eq=False, slots=True)
class Member:
    """One of the places, and the process that has it now."""

    number: int
    restarts: Restarts
    process: BaseProcess | None = None
    pipe: Connection | None = None
    start_at_s: float | None = None
    failure: str | None = None
    listens: bool = False

    def tell(self, message: FromSupervisor) -> None:
        """Send a message, where there is somebody to read it."""
        with contextlib.suppress(OSError):
            if self.pipe:
                self.pipe.send(message)


def supervise(settings: Settings) -> None:
    """Serve with several processes until a signal ends them. Raises StartupError when they cannot start."""
    if "fork" not in multiprocessing.get_all_start_methods():
        raise InvalidSettings(f"workers is {settings.workers}; on this system only 1 is possible")
    listener = listen(settings.host, settings.port)
    logger.info("listening", extra={"url": url_of(listener), "workers": settings.workers})
    with caught_signals() as signals:
        Supervisor(settings, listener, signals, partial(fork_worker, settings)).run()


def fork_worker(settings: Settings, place: Place, inherited: Sequence[Connection]) -> BaseProcess:
    """A forked process that serves in a place."""
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(settings, place, inherited), name=f"worker-{place.number}", daemon=True
    )
    # What comes before the child has let go of our handlers waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    return process


def _work(settings: Settings, place: Place, inherited: Sequence[Connection]) -> None:
    signal.set_wakeup_fd(-1)
    # Ctrl-C reaches every process of a terminal; the supervisor passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    for pipe in inherited:
        pipe.close()  # else nobody would notice when the supervisor is gone
    from service.processes.worker import run_worker

    run_worker(place, settings)


@contextlib.contextmanager
def caught_signals() -> Iterator[socket.socket]:
    """A socket on which every signal arrives as a byte, its number."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in HANDLED}
        signal.set_wakeup_fd(writer.fileno())
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


class Supervisor:
    """Runs `settings.workers` processes behind one listening socket; signals arrive as bytes on `signals`."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        signals: socket.socket,
        start: Start,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._listener, self._signals = settings, listener, signals
        self._start_process, self._clock = start, clock
        self._board = Board(settings.workers)
        self._members = [Member(number, Restarts(clock)) for number in range(settings.workers)]
        self._scrapes = Scrapes(self._own_report, clock)
        self._heartbeats = Heartbeats(self._board, clock)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._restarted = 0
        self._execution: str | None = None
        self._failure: StartupError | None = None
        self._ending = False
        self._kill_at_s: float | None = None

    def run(self) -> None:
        """Start, and supervise until all have ended. Raises StartupError where they could not serve."""
        self._start(self._members[0])
        while any(member.process or member.start_at_s is not None for member in self._members):
            handlers = self._handlers()
            for source in wait(handlers, self._patience_s()):
                handlers[source]()
            self._do_what_is_due()
        if self._failure:
            raise self._failure

    def _handlers(self) -> dict[Any, Callable[[], None]]:
        handlers: dict[Any, Callable[[], None]] = {self._signals: self._on_signals}
        for member in self._members:
            if member.pipe:
                handlers[member.pipe] = partial(self._on_message, member)
            if member.process:
                handlers[member.process.sentinel] = partial(self._on_end, member)
        return handlers

    def _patience_s(self) -> float:
        perhaps = [self._scrapes.next_s(), self._kill_at_s, *(member.start_at_s for member in self._members)]
        due = [self._heartbeats.next_s(), *(moment for moment in perhaps if moment is not None)]
        return max(0.0, min(due) - self._clock())

    def _do_what_is_due(self) -> None:
        now_s = self._clock()
        for process, question in self._scrapes.questions():
            self._members[process].tell(AskReport(question))
        for asker, total in self._scrapes.finished():
            self._members[asker].tell(GiveTotal(total))
        for process in self._heartbeats.hung():
            self._end_hung(self._members[process])
        for member in self._members:
            if member.start_at_s is not None and member.start_at_s <= now_s:
                self._start(member)
        if self._kill_at_s is not None and self._kill_at_s <= now_s:
            self._kill()

    def _start(self, member: Member) -> None:
        member.start_at_s, member.failure, member.listens = None, None, False
        member.pipe, theirs = multiprocessing.Pipe()
        inherited = [other.pipe for other in self._members if other.pipe]
        with theirs:
            place = Place(member.number, theirs, self._listener, self._board, self._execution)
            member.process = self._start_process(place, inherited)
        logger.info("process started", extra={"worker": member.number, "pid": member.process.pid})

    def _on_signals(self) -> None:
        for number in self._signals.recv(64):
            self._end(signal.Signals(number))

    def _end(self, received: signal.Signals) -> None:
        logger.info("ending all processes", extra={"signal": received.name})
        self._listener.close()
        if not self._ending:
            self._ending = True
            bounds_s = self._settings.drain_seconds + self._settings.shutdown_timeout_seconds
            self._kill_at_s = self._clock() + bounds_s + STUCK_AFTER_S
        for member in self._members:
            member.start_at_s = None
            member.tell(Signalled(received))

    def _kill(self) -> None:
        self._kill_at_s = None
        for member in self._members:
            if member.process:
                logger.error("a process does not end and is killed", extra={"worker": member.number})
                member.process.kill()

    def _end_hung(self, member: Member) -> None:
        # While it ends it has its own bounds, and says no more that it is ready.
        if member.process and not self._ending:
            logger.error("a process hangs and is killed", extra={"worker": member.number})
            member.process.kill()

    def _on_message(self, member: Member) -> None:
        if not member.pipe:
            return  # it has ended meanwhile
        try:
            message: FromProcess = member.pipe.recv()
        except (EOFError, OSError):
            self._hang_up(member)
        else:
            self._answer(member, message)

    def _answer(self, member: Member, message: FromProcess) -> None:
        match message:
            case Ready(execution):
                self._on_ready(member, execution)
            case Failed(reason):
                member.failure = reason
            case GiveReport(report, question):
                self._scrapes.remember(member.number, report, question)
            case AskTotal(report):
                self._ask_others(member, report)

    def _ask_others(self, asker: Member, report: Report) -> None:
        self._scrapes.remember(asker.number, report)
        others = [member.number for member in self._members if member is not asker and member.listens]
        self._scrapes.begin(asker.number, others)

    def _on_ready(self, member: Member, execution: str) -> None:
        member.listens = True
        member.restarts.ready()
        self._execution = self._execution or execution
        for waiting in self._members:
            if not self._ending and not waiting.process and waiting.start_at_s is None:
                self._start(waiting)

    def _on_end(self, member: Member) -> None:
        """A process has ended; its last words may still be in the pipe."""
        while member.pipe and member.pipe.poll():
            self._on_message(member)
        self._hang_up(member)
        process, member.process = member.process, None
        code = _closed(process) if process else None
        self._scrapes.forget(member.number)
        self._board.clear(member.number)
        if not self._ending:
            self._replace(member, code)
        elif code:
            logger.error("a process ended with an error", extra={"worker": member.number, "code": code})

    def _replace(self, member: Member, code: int | None) -> None:
        if self._execution is None and member.failure:
            self._give_up(member.failure)
            return
        delay_s = member.restarts.died()
        if member.restarts.hopeless:
            cause = member.failure or f"its exit code is {code}"
            self._give_up(
                f"process {member.number} died {member.restarts.failed_starts} times before it served: {cause}"
            )
            return
        fields = {"worker": member.number, "code": code, "again_in_s": delay_s, "reason": member.failure or ""}
        logger.log(logging.ERROR if code else logging.WARNING, "a process has ended and is started again", extra=fields)
        member.start_at_s = self._clock() + delay_s
        # One that was told to leave has not died.
        self._restarted += code != 0

    def _give_up(self, reason: str) -> None:
        self._failure = StartupError(reason)
        self._end(signal.SIGTERM)

    def _own_report(self) -> Report:
        restarts = BY_NAME["process_restarts"]
        counted: dict[Key, float] = {(restarts.full_name, ()): float(self._restarted)}
        family = Family(restarts.full_name.removesuffix("_total"), restarts.meaning, "counter", "", counted)
        return [*report_of(self._registry), family]

    @staticmethod
    def _hang_up(member: Member) -> None:
        if member.pipe:
            member.pipe.close()
        member.pipe, member.listens = None, False


def _closed(process: BaseProcess) -> int | None:
    process.join()
    code = process.exitcode
    process.close()
    return code
