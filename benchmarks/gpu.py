"""What the service answers on a GPU, beside what its two halves can do alone.

    python -m benchmarks.gpu

measures, one after the other and in several rounds: every CPU decoding and resizing a JPEG of 1280 x 720; the session
alone, through the buffers that the service binds, at each batch size that a plan may have and at all of them in turn,
which tells whether they stay warm beside each other; and the service as it tunes itself, with clients in processes of
their own on the same CPUs. The service should answer at least 0.8 of what the slower half can do. Writes gpu.json, and
its table into RESULTS.md beside it. `--device cpu` goes through all of it where there is no GPU, says nothing of one
and leaves the page alone.
"""

import asyncio
import json
import multiprocessing
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final, Literal

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.marked_section import write_section
from benchmarks.service_process import machine, served
from benchmarks.serving.contenders import LONG_QUEUE
from benchmarks.soak.crowd import Crowd
from service.inference.decoding import FrameLimits, decode_frame
from service.inference.detector import Detector, load_detector
from service.inference.driving_frame import driving_frame
from service.inference.execution import available_cpus
from service.inference.machine import gpu_names
from service.inference.tuning import BATCHES_ON_GPU
from service.settings import DEFAULT_MODEL

HERE: Final = Path(__file__).parent
ASKED: Final = 0.8
QUIET: Final = ("--drain-seconds", "0", "--access-log-level", "debug")
WARM_UP_SHARE: Final = 0.2
SECTION: Final = "gpu"


@dataclass(frozen=True, slots=True)
class Round:
    """Frames a second of each half, and of the service; `session` by batch size, with and without CUDA graphs."""

    decoding: float
    session: dict[str, float]
    service: float

    @property
    def limit(self) -> float:
        """What the slower half can do."""
        return min(self.decoding, max(self.session.values()))

    @property
    def share(self) -> float:
        """Of the limit, what the service answers."""
        return self.service / self.limit


def decoding(frame: bytes, detector: Detector, seconds: float) -> float:
    """Frames a second of all CPUs that do nothing else."""
    size = detector.metadata.input

    def decode_on(_: int) -> float:
        return rate_of(lambda: decode_frame(frame, size.height, size.width, FrameLimits()), 1, seconds)

    cpus = available_cpus()
    with ThreadPoolExecutor(cpus) as pool:
        return sum(pool.map(decode_on, range(cpus)))


def session_alone(detector: Detector, batch: int, seconds: float) -> float:
    """Frames a second of the session with batches of one size, which are copied to it and back."""
    return sizes_in_turn(detector, (batch,), seconds)


def sizes_in_turn(detector: Detector, batches: Sequence[int], seconds: float) -> float:
    """Frames a second of the session with a batch of each of these sizes, again and again."""
    size = detector.metadata.input
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)
    run = detector.session.bind(sorted(batches))

    def run_each() -> None:
        for batch in batches:
            run([pixels_HWC] * batch)

    return rate_of(run_each, sum(batches), seconds)


def rate_of(work: Callable[[], object], frames: int, seconds: float) -> float:
    """Frames a second of work that does so many each time, once it has been done before."""
    work()
    begun_s, done = time.monotonic(), 0
    while (spent_s := time.monotonic() - begun_s) < seconds:
        work()
        done += frames
    return done / spent_s


def service_rate(url: str, frame: bytes, processes: int, clients: int, seconds: float) -> float:
    """Frames a second that are answered to so many clients, who share the processes out."""
    port = int(url.rpartition(":")[2])
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, meet, [context.Barrier(processes)]) as pool:
        return sum(pool.starmap(answered_per_s, [(port, frame, share, seconds) for share in shares]))


def meet(everybody: Barrier) -> None:
    """Let no process begin before all have come up: their seconds must be the same ones."""
    everybody.wait()


def answered_per_s(port: int, frame: bytes, clients: int, seconds: float) -> float:
    """Of the clients of one process, after a while in which everybody comes up to speed."""
    crowd = Crowd(port, frame, random.Random(0))  # noqa: S311 - nothing here is drawn
    answered, lasted_s = asyncio.run(answered_meanwhile(crowd, clients, seconds))
    return answered / lasted_s


async def answered_meanwhile(crowd: Crowd, clients: int, seconds: float) -> tuple[int, float]:
    """Frames, and the seconds in which they were; who waits at their end, as for Retry-After, is left there."""
    async with asyncio.TaskGroup() as group:
        staying = [group.create_task(crowd.stay(lambda: False)) for _ in range(clients)]
        await asyncio.sleep(WARM_UP_SHARE * seconds)
        before, begun_s = crowd.statuses["200"], time.monotonic()
        await asyncio.sleep(seconds)
        answered, lasted_s = crowd.statuses["200"] - before, time.monotonic() - begun_s
        for client in staying:
            client.cancel()
    return answered, lasted_s


def table(rounds: Sequence[Round]) -> Table:
    """Medians over the rounds."""
    shown = Table("frames/s", "median", title=verdict(rounds))
    for row in rows(rounds):
        shown.add_row(*row)
    return shown


def verdict(rounds: Sequence[Round]) -> str:
    """What is asked, and whether it is reached."""
    share = statistics.median(one.share for one in rounds)
    reached = "reached" if share >= ASKED else "not reached"
    return f"the service answers {share:.2f} of the limit; {ASKED} is {reached}"


def rows(rounds: Sequence[Round]) -> Iterator[tuple[str, str]]:
    """Frames a second of each half and of the service, medians over the rounds."""
    yield "all CPUs decoding", f"{statistics.median(one.decoding for one in rounds):.1f}"
    for name in rounds[0].session:
        yield f"session alone, {name}", f"{statistics.median(one.session[name] for one in rounds):.1f}"
    yield "service", f"{statistics.median(one.service for one in rounds):.1f}"


def section(report: dict[str, Any]) -> str:
    """What RESULTS.md tells of a run, from what gpu.json holds."""
    rounds = [Round(one["decoding"], one["session"], one["service"]) for one in report["rounds"]]
    lines = [f"| {what} | {median} |" for what, median in (("frames/s", "median"), ("---", "---"), *rows(rounds))]
    return (
        "## On a GPU, beside its two halves\n\n"
        f"    {report['command']}\n\n"
        f"{report['date']}, {', '.join(report['gpus'])}, {report['machine']}. Over {len(rounds)} rounds "
        f"{verdict(rounds)}.\n\n"
    ) + "\n".join(lines)


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=DEFAULT_MODEL, help="Model file.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", help="Where the model runs.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes of the service.")
@click.option("--processes", type=click.IntRange(min=1), default=2, help="Processes of clients.")
@click.option("--clients", type=click.IntRange(min=1), default=256, help="Clients in all.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="Rounds.")
@click.option("--seconds", type=click.FloatRange(min=0.01), default=5.0, help="Seconds of each measurement.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "gpu.json", help="File to write.")
def main(
    model: Path,
    device: Literal["cuda", "cpu"],
    workers: int,
    processes: int,
    clients: int,
    rounds: int,
    seconds: float,
    output: Path,
) -> None:
    """Measure the service on a GPU beside its halves."""
    frame = driving_frame()
    graphs = (False, True) if device == "cuda" else (False,)
    detectors = {kind: load_detector(model, device, 1, FrameLimits(), cuda_graphs=kind) for kind in graphs}
    flags = ("--model", str(model), "--device", device, "--workers", str(workers))
    found = []
    with served(*flags, *LONG_QUEUE, *QUIET) as service:
        service.wait_for_processes(workers)
        for _ in range(rounds):
            session = {
                f"batches of {batch}{', CUDA graphs' if kind else ''}": session_alone(detector, batch, seconds)
                for kind, detector in detectors.items()
                for batch in BATCHES_ON_GPU
            }
            session |= {
                f"batches of all sizes in turn{', CUDA graphs' if kind else ''}": sizes_in_turn(
                    detector, BATCHES_ON_GPU, seconds
                )
                for kind, detector in detectors.items()
            }
            answered = service_rate(service.url, frame, processes, clients, seconds)
            found.append(Round(decoding(frame, detectors[False], seconds), session, answered))
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "machine": machine(),
        "gpus": gpu_names() if device == "cuda" else (),
        "rounds": [{**asdict(one), "limit": one.limit, "share": one.share} for one in found],
    }
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if device == "cuda":
        write_section(output.with_name("RESULTS.md"), SECTION, section(report))
    Console().print(table(found))


if __name__ == "__main__":
    main()
