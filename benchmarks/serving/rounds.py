"""In which order: in each round, for each cell, everybody in an order drawn anew, while all the others are frozen.

Whatever else the machine does, and however its speed drifts, meets all alike within seconds; what is compared is within
a cell of a round. Who fails is told, started once more and measured again, and after that left out; the others go on.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from benchmarks.serving.answers import largest_difference
from benchmarks.serving.closed_loop import GeneratorFailed, Load, closed_loop
from benchmarks.serving.contenders import LIMIT, Contender
from benchmarks.serving.environments import EnvironmentFailed, environment
from benchmarks.serving.in_process import InProcessLoop
from benchmarks.serving.peers.launch import Body
from benchmarks.serving.plan import Cell, Plan
from benchmarks.serving.servers import Server, ServerFailed, started

IDLE_PATIENCE_S: Final = 20.0
WARM_UP_CLIENTS: Final = 16
CHECKED_FRAMES: Final = 4

Tell = Callable[[str], None]
FAILURES: Final = (ServerFailed, GeneratorFailed, EnvironmentFailed, OSError)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all measurements of a run share: the model, the frames (their bytes, and where they lie), who is measured.

    `expected` maps a variant to the answers to the first frames of the key size.
    """

    model: Path
    folder: Path
    frames: Mapping[str, Sequence[bytes]]
    cache: Path
    workers: int
    contenders: tuple[Contender, ...]
    with_limit: bool
    plan: Plan
    expected: Mapping[str, Sequence[Mapping[str, float]]]
    tell: Tell

    @property
    def key_frames(self) -> Path:
        """The folder of the key size."""
        return self.folder / self.plan.key_size


@dataclass(frozen=True, slots=True)
class Start:
    """How a contender came up: seconds from its start to its first answer, and how far its answers are off."""

    contender: str
    body: Body
    ready_s: float
    difference: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender in one cell of one round; `memory_bytes` is what its processes hold right after."""

    contender: str
    cell: Cell
    round: int
    load: Load
    memory_bytes: int


@dataclass(slots=True)
class Record:
    """What was seen, and what went wrong."""

    starts: list[Start] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextlib.contextmanager
def ready(setting: Setting, contender: Contender, body: Body, record: Record) -> Iterator[Server]:
    """The contender, checked and warm. Raises one of FAILURES."""
    programs = environment(contender.environment, setting.cache) if contender.environment else Path()
    frames = setting.frames[setting.plan.key_size][:CHECKED_FRAMES]
    with started(contender, programs, setting.model, setting.workers, body) as server:
        seconds = server.wait_until_ready(frames[0])
        difference = largest_difference(server, frames, setting.expected[contender.variant])
        record.starts.append(Start(contender.name, body, round(seconds, 2), difference))
        load(server, setting.key_frames, WARM_UP_CLIENTS, setting.plan.warm_up_seconds)
        server.processes.wait_until_idle(IDLE_PATIENCE_S)
        yield server


def load(server: Server, frames: Path, clients: int, seconds: int) -> Load:
    """A closed loop on a server."""
    field_name, cpu_s = server.contender.form_field, server.processes.cpu_s
    return closed_loop(server.url, frames, server.launch.body, field_name, clients, seconds, cpu_s)


class Stand:
    """A contender's place in the rounds: runs it, freezes it between, starts it again once."""

    def __init__(self, setting: Setting, contender: Contender, body: Body, record: Record) -> None:
        self._setting, self._contender, self._body, self._record = setting, contender, body, record
        self._stack = contextlib.ExitStack()
        self._server: Server | None = None
        self._lives = 2

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, cell: Cell, turn: int) -> None:
        """Record one measurement, and why it took another start, or why there is none."""
        while self._server is not None:
            try:
                self._record.measurements.append(self._measured(self._server, cell, turn))
            except FAILURES as problem:
                self._tell(problem)
                self._start()
            else:
                return

    def _measured(self, server: Server, cell: Cell, turn: int) -> Measurement:
        folder, seconds = self._setting.folder / cell.size, self._setting.plan.seconds_of(cell)
        try:
            server.wake(self._setting.frames[cell.size][0])
            server.processes.wait_until_idle(IDLE_PATIENCE_S)
            found = load(server, folder, cell.clients, seconds)
            memory_bytes = server.processes.memory_bytes()
            server.processes.wait_until_idle(IDLE_PATIENCE_S)
        finally:
            server.processes.freeze()
        if not found.answered:
            raise server.failure(f"no frame was answered ({found.refused} refused, {found.failed} failed)")
        return Measurement(self._contender.name, cell, turn, found, memory_bytes)

    def _start(self) -> None:
        self._stack.close()
        self._server, self._lives = None, self._lives - 1
        if self._lives < 0:
            return
        try:
            self._server = self._stack.enter_context(ready(self._setting, self._contender, self._body, self._record))
            self._server.processes.freeze()
        except FAILURES as problem:
            self._tell(problem)
            self._start()

    def _tell(self, problem: Exception) -> None:
        self._record.problems.append(f"{self._contender.name}, {self._body}: {problem}")
        self._setting.tell(self._record.problems[-1])


def run_rounds(setting: Setting, body: Body, record: Record, order: random.Random) -> None:
    """Measure everybody who takes this body."""
    with contextlib.ExitStack() as stack:
        stands: list[Callable[[Cell, int], None]] = []
        for contender in (one for one in setting.contenders if body in one.bodies):
            setting.tell(f"{body}: starting {contender.name}")
            stands.append(stack.enter_context(Stand(setting, contender, body, record)).measure)
        if setting.with_limit:
            limit = stack.enter_context(InProcessLoop(setting.model))
            stands.append(lambda cell, turn: _measure_limit(setting, limit, record, cell, turn))
        for turn, cells in enumerate(setting.plan.rounds_of(body)):
            for cell in cells:
                setting.tell(f"{body}, round {turn + 1}: {cell.size}, {cell.clients} clients")
                for measure in order.sample(stands, len(stands)):
                    measure(cell, turn)


def _measure_limit(setting: Setting, limit: InProcessLoop, record: Record, cell: Cell, turn: int) -> None:
    """One client keeps one core busy; more of them keep all."""
    threads = min(cell.clients, setting.workers)
    found = limit.measure(setting.folder / cell.size, threads, setting.plan.seconds_of(cell))
    record.measurements.append(Measurement(LIMIT, cell, turn, found, 0))
