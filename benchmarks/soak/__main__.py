"""The command: all phases against one service, then a table and soak.json."""

import asyncio
import json
import os
import random
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import httpx
import uvloop
from rich.console import Console
from rich.progress import Progress

from benchmarks.service_process import ServiceProcess, machine, served
from benchmarks.soak.crowd import Crowd, Pace
from benchmarks.soak.report import WARM_SHARE, Phase, Report, Resources, table
from benchmarks.soak.stayers import stayers
from service.inference.driving_frame import driving_frame

HERE: Final = Path(__file__).parents[1]
QUIET: Final = ("--tuning-seconds", "0", "--access-log-level", "debug")
SETTLE_SECONDS: Final = 10.0
IN_FLIGHT: Final = "roadcue_http_requests_in_flight"
EMPTY: Final = ("roadcue_queue_frames", "roadcue_running_frames", "roadcue_upload_bytes", IN_FLIGHT)

Over = Callable[[], bool]


class Soak:
    """One run against one service."""

    def __init__(self, service: ServiceProcess, staying: int, clients: int, seconds: float) -> None:
        self._service, self._staying, self._clients, self._seconds = service, staying, clients, seconds
        self._port, self._frame = int(service.url.rpartition(":")[2]), driving_frame()
        self._chance = random.Random(0)  # noqa: S311 - a repeatable choice of moments

    async def calm(self, name: str) -> Phase:
        """Nobody beside."""
        return await self._phase(name, self._crowd(), lambda: [asyncio.sleep(self._seconds)])

    async def patient(self) -> Phase:
        """A crowd that waits for its answers."""
        crowd = self._crowd()

        def begin() -> list[Awaitable[None]]:
            over = self._timer()
            return [crowd.stay(over) for _ in range(self._clients)]

        return await self._phase("patient", crowd, begin)

    async def leaving(self, frames_per_s: float) -> Phase:
        """A crowd that leaves and posts no more than so many frames a second."""
        crowd = self._crowd()
        return await self._phase("leaving", crowd, lambda: self._leave(crowd, self._timer(), Pace(frames_per_s)))

    async def leaving_fast(self, requests: int, watch: Callable[[int], None]) -> Phase:
        """A crowd that leaves, as fast as it can, until it has left so many requests alone."""
        crowd = self._crowd()

        def over() -> bool:
            watch(crowd.statuses["left"])
            return crowd.statuses["left"] >= requests

        return await self._phase("leaving fast", crowd, lambda: self._leave(crowd, over, Pace(None)))

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
        return held(httpx.get(f"{self._service.url}/metrics").text)

    async def _phase(self, name: str, crowd: Crowd, begin: Callable[[], Sequence[Awaitable[None]]]) -> Phase:
        with stayers(self._port, self._frame, self._staying) as seconds:
            begun_s = time.monotonic()
            await asyncio.gather(*begin())
            lasted_s = time.monotonic() - begun_s
        return Phase.of(name, seconds, dict(crowd.statuses), crowd.frames, lasted_s)

    def _leave(self, crowd: Crowd, over: Over, pace: Pace) -> list[Awaitable[None]]:
        return [crowd.leave(over, pace) for _ in range(self._clients)]

    def _crowd(self) -> Crowd:
        return Crowd(self._port, self._frame, self._chance)

    def _timer(self) -> Over:
        end_s = time.monotonic() + self._seconds
        return lambda: time.monotonic() >= end_s


def held(metrics: str) -> dict[str, float]:
    """What the service holds of requests, by a scrape, which is a request in flight itself."""
    samples = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    return {name: float(samples[name]) - (name == IN_FLIGHT) for name in EMPTY}


async def run(soak: Soak, requests: int, progress: Progress) -> Report:
    """All phases, one after the other."""
    task = progress.add_task("requests left alone", total=requests)
    marks = [round(requests * share) for share in (WARM_SHARE, 0.4, 0.6, 0.8, 1.0)]
    phases = [await soak.calm("calm")]
    resources = [soak.resources(0)]
    phases.append(await soak.patient())
    phases.append(await soak.leaving(phases[-1].frames_per_s))

    def watch(begun: int) -> None:
        progress.update(task, completed=begun)
        if marks and begun >= marks[0]:
            resources.append(soak.resources(marks.pop(0)))

    phases.append(await soak.leaving_fast(requests, watch))
    left_over = await soak.left_over()
    phases.append(await soak.calm("calm after"))
    return Report(phases, [*resources, soak.resources(requests)], left_over)


@click.command(context_settings={"show_default": True})
@click.option("--requests", type=click.IntRange(min=100), default=100_000, help="Requests that are left alone.")
@click.option("--clients", type=click.IntRange(min=1), default=256, help="Clients in the crowd.")
@click.option("--stayers", type=click.IntRange(min=1), default=4, help="Clients that wait for each answer.")
@click.option("--seconds", type=click.FloatRange(min=1), default=120.0, help="Length of the other phases, s.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "soak.json", help="File to write.")
def main(requests: int, clients: int, stayers: int, seconds: float, output: Path) -> None:
    """See whether clients that leave leave anything behind; exit code 1 when they do."""
    console = Console(stderr=True)
    with served(*QUIET) as service, Progress(console=console) as progress:
        report = uvloop.run(run(Soak(service, stayers, clients, seconds), requests, progress))
    faults = list(report.faults())
    told = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.soak", *sys.argv[1:]]),
        "machine": machine(),
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
