"""How soon the service is ready, and how much memory each of its processes takes.

    python -m benchmarks.startup

starts the service again and again by the default plan, a worker on each CPU with one thread, from a disk whose files
are in memory already, and takes the seconds from the start of the process until /health/ready answers 200; beside it
what importing alone takes. Then clients post frames, and what each process keeps resident is read: once ready, after
the load, and at its highest. Pages that processes share (libraries, the parent's) count fully in each; `own` counts
them in shares. Writes startup.json; exit code 1 where the slower median start or the largest process is beyond what is
asked.
"""

import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.service_process import machine, served
from service.inference.driving_frame import driving_frame

HERE: Final = Path(__file__).parent
# The default plan, a worker on each CPU of a process, without measuring.
PINNED: Final = ("--tuning-seconds", "0")
QUIET: Final = ("--drain-seconds", "0", "--access-log-level", "debug")
# A machine that is busy otherwise would refuse some of the clients for the time that they would wait.
PATIENT: Final = ("--max-queue-ms", "0")
IMPORTS: Final = (sys.executable, "-c", "import service.app, service.server")
CLIENTS: Final = 64
MIB: Final = 1024.0
READY_WITHIN_S: Final = 2.0
LARGEST_MIB: Final = 350.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What one process holds, in MiB: resident, its share of it, and the most it ever held."""

    process: str
    resident_mib: float
    own_mib: float
    highest_mib: float


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a service with so many processes."""

    workers: int
    seconds_to_ready: float
    when_ready: list[Memory]
    after_load: list[Memory]


def start(workers: int, frames: int) -> Start:
    """Start, look, load, look again."""
    with served("--workers", str(workers), *PINNED, *PATIENT, *QUIET) as service:
        seconds = service.ready_s - service.started_s
        service.wait_for_processes(workers)
        when_ready = memory(service.process.pid)
        _load(service.url, frames)
        after_load = memory(service.process.pid)
        service.end()
    return Start(workers, round(seconds, 3), when_ready, after_load)


def memory(parent: int) -> list[Memory]:
    """Each process of a service, the parent first."""
    children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    names = ["parent" if children else "process", *(f"worker {number}" for number in range(len(children)))]
    return [_memory_of(pid, name) for pid, name in zip((parent, *children), names, strict=True)]


def _memory_of(pid: int, name: str) -> Memory:
    status = _kibibytes(Path(f"/proc/{pid}/status"))
    rollup = _kibibytes(Path(f"/proc/{pid}/smaps_rollup"))
    figures = (status["VmRSS"], rollup["Pss"], status["VmHWM"])
    return Memory(name, *(round(kibibytes / MIB, 1) for kibibytes in figures))


def _kibibytes(file: Path) -> dict[str, int]:
    rows = [line.split() for line in file.read_text().splitlines() if line.endswith(" kB")]
    return {row[0].rstrip(":"): int(row[1]) for row in rows}


def _load(url: str, frames: int) -> None:
    frame = driving_frame()
    with httpx.Client(timeout=60, limits=httpx.Limits(max_connections=CLIENTS)) as client:

        def post(_: int) -> int:
            return client.post(f"{url}/predict", content=frame, headers={"Content-Type": "image/jpeg"}).status_code

        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = set(pool.map(post, range(frames)))
    if statuses - {httpx.codes.OK}:
        raise RuntimeError(f"the service answered {sorted(statuses)}")


def seconds_to_import() -> float:
    """What the interpreter and all imports of one process take."""
    started_s = time.monotonic()
    subprocess.run(IMPORTS, check=True)  # noqa: S603 - our own command
    return round(time.monotonic() - started_s, 3)


def faults(starts: Sequence[Start]) -> Iterator[str]:
    """What is beyond what is asked, one sentence each."""
    for workers in sorted({one.workers for one in starts}):
        ready_s = statistics.median(one.seconds_to_ready for one in starts if one.workers == workers)
        if ready_s > READY_WITHIN_S:
            yield f"with --workers {workers} the median start takes {ready_s:.2f} s; asked are {READY_WITHIN_S:g} s"
    largest_mib = max(held.highest_mib for one in starts for held in (*one.when_ready, *one.after_load))
    if largest_mib > LARGEST_MIB:
        yield f"a process held {largest_mib:.0f} MiB; asked are at most {LARGEST_MIB:g} MiB"


def table(starts: Sequence[Start], imports: Sequence[float]) -> Table:
    """Medians and worst cases for each number of processes."""
    title = f"interpreter and imports alone: {statistics.median(imports):.2f} s"
    shown = Table("processes", "ready s (median)", "slowest", "MiB", "once ready", "after load", "highest", title=title)
    for workers in sorted({one.workers for one in starts}):
        of_it = [one for one in starts if one.workers == workers]
        seconds = [one.seconds_to_ready for one in of_it]
        times = [str(workers), f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]
        for number, first in enumerate(of_it[0].after_load):
            ready, loaded = ([getattr(one, when)[number] for one in of_it] for when in ("when_ready", "after_load"))
            highest = max(held.highest_mib for held in loaded)
            shown.add_row(*times, first.process, _held(ready), _held(loaded), f"{highest:.0f}")
            times = ["", "", ""]
    return shown


def _held(figures: Sequence[Memory]) -> str:
    own = max(held.own_mib for held in figures)
    return f"{max(held.resident_mib for held in figures):.0f} (own {own:.0f})"


@click.command(context_settings={"show_default": True})
@click.option("--times", type=click.IntRange(min=1), default=10, help="Starts for each number of processes.")
@click.option("--workers", type=click.IntRange(1, 64), multiple=True, default=(1, 2), help="Processes.")
@click.option("--frames", type=click.IntRange(min=1), default=500, help="Frames of 1280 x 720 to answer.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "startup.json", help="File to write.")
def main(times: int, workers: Sequence[int], frames: int, output: Path) -> None:
    """Measure the start and the memory of the service; exit code 1 when they are beyond what is asked."""
    seconds_to_import()  # from here on everything is in the page cache
    imports, starts = [], []
    for _ in range(times):
        imports.append(seconds_to_import())
        starts += [start(number, frames) for number in workers]
    found = list(faults(starts))
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.startup", *sys.argv[1:]]),
        "machine": machine(),
        "plan": shlex.join(PINNED),
        "clients": CLIENTS,
        "seconds_to_import": imports,
        "starts": [asdict(one) for one in starts],
        "faults": found,
    }
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    Console().print(table(starts, imports))
    for fault in found:
        Console(stderr=True).print(fault, style="red")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
