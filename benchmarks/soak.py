"""256 clients that leave at random: does the service keep anything of them, and do the others notice?

    python -m benchmarks.soak

starts the service and a few clients that post one frame after the other and wait for each answer. Beside them come, in
turn: nobody (calm); a crowd that waits for its answers too (patient); the same crowd, but everyone leaves at a random
moment (leaving): in the header, in the body, while its frames wait or while they are computed, closing or resetting the
connection, a fifth of them with several frames; and nobody again (calm after). What counts:

    queue, uploads, connections    back to nothing within seconds after the crowd
    resident memory                flat over all requests that were left alone
    p99 of the clients that stay   beside a leaving crowd no worse than beside a patient one of the same size

Writes soak.json. Linux only: it reads /proc.
"""

import asyncio
import contextlib
import itertools
import json
import os
import platform
import random
import shlex
import socket
import statistics
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import httpx
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.service_process import ServiceProcess, served
from service.inference.driving_frame import driving_frame

HERE: Final = Path(__file__).parent
QUIET: Final = ("--tuning-seconds", "0", "--access-log-level", "debug")
FRAMES_OF_MANY: Final = 4
SHARE_OF_MANY: Final = 0.2
LONGEST_STAY_S: Final = 0.3
SETTLE_SECONDS: Final = 10.0
# Memory is compared from here on: before, buffers and caches still grow to their size.
WARM_SHARE: Final = 0.2
MAY_GROW: Final = 1.05
P99_MAY_GROW: Final = 1.1
EMPTY: Final = ("roadcue_queue_frames", "roadcue_running_frames", "roadcue_upload_bytes")


def raw(frame: bytes) -> bytes:
    """A request with one frame."""
    return _request("image/jpeg", frame)


def form(frame: bytes, count: int) -> bytes:
    """A request with several frames."""
    boundary = b"------------------------7d81324b6f0c9a55"
    part = b"--%b\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n\r\n%b\r\n" % (boundary, frame)
    return _request(f"multipart/form-data; boundary={boundary.decode()}", part * count + b"--%b--\r\n" % boundary)


def _request(content_type: str, body: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: roadcue\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection:
    """A connection to the service from one of many local addresses: those that close leave their port unusable."""

    _addresses = itertools.cycle(f"127.0.0.{number}" for number in range(2, 250))

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(next(cls._addresses), 0)))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def status(self) -> int:
        """The status of the next reply, once all of it is there."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"content-length: ")
        await self._reader.readexactly(int(after.split(b"\r\n", 1)[0]))
        return int(head[9:12])

    def close(self, with_reset: bool = False) -> None:
        if with_reset:
            connection: socket.socket = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@dataclass
class Crowd:
    """Clients of one port, and what became of their requests."""

    port: int
    frame: bytes
    chance: random.Random
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    async def stay(self, until: Callable[[], bool], pause_s: float = 0.0) -> None:
        """Post and wait for the answer, again and again."""
        request, connection = raw(self.frame), await Connection.open(self.port)
        while not until():
            begun_s = time.monotonic()
            connection.send(request)
            status = await connection.status()
            self.statuses[str(status)] += 1
            if status == httpx.codes.OK:
                self.seconds.append(time.monotonic() - begun_s)
            await asyncio.sleep(pause_s if status == httpx.codes.OK else 0.05)
        connection.close()

    async def leave(self, until: Callable[[], bool]) -> None:
        """Post and leave at a random moment, again and again."""
        requests = raw(self.frame), form(self.frame, FRAMES_OF_MANY)
        while not until():
            request = requests[self.chance.random() < SHARE_OF_MANY]
            connection = await Connection.open(self.port)
            cut_off = self.chance.random() < 1 / 3
            connection.send(request[: self.chance.randrange(1, len(request))] if cut_off else request)
            await self._stay_a_while(connection, self.chance.random() * LONGEST_STAY_S)
            connection.close(with_reset=self.chance.random() < 1 / 2)

    async def _stay_a_while(self, connection: Connection, seconds: float) -> None:
        outcome = "left"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                outcome = str(await connection.status())
        self.statuses[outcome] += 1


@dataclass(frozen=True, slots=True)
class Phase:
    """What the clients that stay saw while something went on beside them."""

    name: str
    answered: int
    p50_ms: float
    p99_ms: float
    beside: dict[str, int]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the service holds of the system."""

    requests: int
    resident_mib: float
    open_files: int


class Soak:
    """One run against one service."""

    def __init__(self, service: ServiceProcess, stayers: int, clients: int, seconds: float) -> None:
        self._service, self._stayers, self._clients, self._seconds = service, stayers, clients, seconds
        self._port, self._frame = int(service.url.rpartition(":")[2]), driving_frame()
        self._chance = random.Random(0)  # noqa: S311 - a repeatable choice of moments

    async def calm(self, name: str) -> Phase:
        """Nobody beside."""
        return await self._phase(name, self._crowd(), [], self._timer(self._seconds))

    async def patient(self) -> Phase:
        """A crowd that waits for its answers."""
        crowd, over = self._crowd(), self._timer(self._seconds)
        return await self._phase("patient", crowd, [crowd.stay(over) for _ in range(self._clients)], over)

    async def leaving(self, requests: int, watch: Callable[[int], None]) -> Phase:
        """A crowd that leaves, until it has begun so many requests."""
        crowd = self._crowd()

        def over() -> bool:
            watch(crowd.statuses.total())
            return crowd.statuses.total() >= requests

        return await self._phase("leaving", crowd, [crowd.leave(over) for _ in range(self._clients)], over)

    def resources(self, requests: int) -> Resources:
        """What the service's process holds now."""
        proc = Path(f"/proc/{self._service.process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        files = len(list((proc / "fd").iterdir()))
        return Resources(requests, round(pages * os.sysconf("SC_PAGESIZE") / 2**20, 1), files)

    async def left_over(self) -> dict[str, float]:
        """What the service still holds of requests that nobody waits for, some seconds after the last."""
        end_s = time.monotonic() + SETTLE_SECONDS
        while any(self._held().values()) and time.monotonic() < end_s:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.1)
        return self._held()

    def _held(self) -> dict[str, float]:
        lines = httpx.get(f"{self._service.url}/metrics").text.splitlines()
        samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(samples[name]) for name in EMPTY}

    async def _phase(self, name: str, crowd: Crowd, beside: list[Awaitable[None]], over: Callable[[], bool]) -> Phase:
        others = self._crowd()
        # A little pause: they are to look at the service, not to be its load.
        await asyncio.gather(*beside, *[others.stay(over, pause_s=0.02) for _ in range(self._stayers)])
        p50_ms, p99_ms = _percentiles_ms(others.seconds)
        return Phase(name, len(others.seconds), p50_ms, p99_ms, dict(crowd.statuses))

    def _crowd(self) -> Crowd:
        return Crowd(self._port, self._frame, self._chance)

    def _timer(self, seconds: float) -> Callable[[], bool]:
        end_s = time.monotonic() + seconds
        return lambda: time.monotonic() >= end_s


def _percentiles_ms(seconds: list[float]) -> tuple[float, float]:
    if len(seconds) < 2:
        raise click.ClickException("the clients that stay got too few answers; ask for more --seconds and --requests")
    cuts = statistics.quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    phases: list[Phase]
    resources: list[Resources]
    left_over: dict[str, float]

    def faults(self) -> Iterator[str]:
        """What the service should not have done, one sentence each."""
        phase = {phase.name: phase for phase in self.phases}
        if any(self.left_over.values()):
            yield f"the service still holds {self.left_over}"
        warm, last = next(one for one in self.resources if one.requests), self.resources[-1]
        if last.resident_mib > MAY_GROW * warm.resident_mib:
            yield f"memory grew from {warm.resident_mib} to {last.resident_mib} MiB"
        leaving_ms, patient_ms = phase["leaving"].p99_ms, phase["patient"].p99_ms
        if leaving_ms > P99_MAY_GROW * patient_ms:
            yield f"p99 is {leaving_ms} ms beside a leaving crowd, {patient_ms} ms beside a patient one"
        for name in phase:
            if broken := {status: count for status, count in phase[name].beside.items() if status.startswith("5")}:
                yield f"{name}: answers {broken}"


async def run(soak: Soak, requests: int, progress: Progress) -> Report:
    """All phases, one after the other."""
    task = progress.add_task("requests left alone", total=requests)
    marks = [round(requests * share) for share in (WARM_SHARE, 0.4, 0.6, 0.8, 1.0)]
    phases = [await soak.calm("calm"), await soak.patient()]
    resources = [soak.resources(0)]

    def watch(begun: int) -> None:
        progress.update(task, completed=begun)
        if marks and begun >= marks[0]:
            resources.append(soak.resources(marks.pop(0)))

    phases.append(await soak.leaving(requests, watch))
    left_over = await soak.left_over()
    phases.append(await soak.calm("calm after"))
    return Report(phases, [*resources, soak.resources(requests)], left_over)


def table(report: Report) -> Table:
    """One row a phase."""
    shown = Table("beside", "answers of those that stay", "p50 ms", "p99 ms", "what became of the crowd's requests")
    for phase in report.phases:
        beside = ", ".join(f"{name}: {count}" for name, count in sorted(phase.beside.items()))
        shown.add_row(phase.name, str(phase.answered), f"{phase.p50_ms:g}", f"{phase.p99_ms:g}", beside)
    return shown


@click.command(context_settings={"show_default": True})
@click.option("--requests", type=click.IntRange(min=100), default=100_000, help="Requests that are left alone.")
@click.option("--clients", type=click.IntRange(min=1), default=256, help="Clients in the crowd.")
@click.option("--stayers", type=click.IntRange(min=1), default=4, help="Clients that wait for each answer.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20.0, help="Length of the phases without leaving, s.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "soak.json", help="File to write.")
def main(requests: int, clients: int, stayers: int, seconds: float, output: Path) -> None:
    """See whether clients that leave leave anything behind; exit code 1 when they do."""
    console = Console(stderr=True)
    # Everybody may wait: whom a full queue turns away is another question.
    room = ("--max-queue-frames", str(2 * (clients + stayers)))
    with served(*QUIET, *room) as service, Progress(console=console) as progress:
        report = uvloop.run(run(Soak(service, stayers, clients, seconds), requests, progress))
    faults = list(report.faults())
    told = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.soak", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "clients": clients,
        **asdict(report),
        "faults": faults,
    }
    output.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    Console().print(table(report))
    Console().print(f"resident MiB: {[one.resident_mib for one in report.resources]}; left over: {report.left_over}")
    for fault in faults:
        console.print(fault, style="red")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
