"""What a process and its supervisor say to each other, over a pipe that only they hold."""

import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from signal import Signals

from service.processes.board import Board
from service.processes.reports import Report


@dataclass(frozen=True, slots=True)
class Place:
    """What a process is given: its number, its end of the pipe, and what it shares with the others.

    `execution` is how another process found out that the model runs best, as JSON; None where nobody did yet.
    """

    number: int
    pipe: Connection
    listener: socket.socket
    board: Board
    execution: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """Process to supervisor: it wants traffic, and this is how it runs the model, as JSON."""

    execution: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Process to supervisor: it cannot start, and starting it again would not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskReport:
    """Supervisor to process: what are your metrics?"""

    question: int


@dataclass(frozen=True, slots=True)
class GiveReport:
    """Process to supervisor: these. Without a question, as the last word."""

    report: Report
    question: int | None = None


@dataclass(frozen=True, slots=True)
class AskTotal:
    """Process to supervisor: what are the metrics of all? These are mine."""

    report: Report


@dataclass(frozen=True, slots=True)
class GiveTotal:
    """Supervisor to process: these."""

    report: Report


@dataclass(frozen=True, slots=True)
class Signalled:
    """Supervisor to process: all of us have had this signal."""

    signal: Signals


FromProcess = Ready | Failed | GiveReport | AskTotal
FromSupervisor = AskReport | GiveTotal | Signalled
