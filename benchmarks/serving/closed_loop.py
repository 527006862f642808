"""So many clients, each of which sends its next frame when it has its answer: wrk, in a process of its own."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.serving.frames import COUNT
from benchmarks.serving.peers.launch import Body

SCRIPT: Final = Path(__file__).with_suffix(".lua")
# wrk gives a request up after this long, and we give wrk up so long after its time.
REQUEST_TIMEOUT_S: Final = 60
PATIENCE_S: Final = 30


class GeneratorFailed(Exception):
    """The load generator is missing or did not do its work."""


@dataclass(frozen=True, slots=True)
class Load:
    """What became of the frames of one measurement.

    `answered` came back with 200, `refused` with 429, `failed` with anything else or not at all. Latencies are of all
    of them. CPU seconds are user and system, of the whole service and of the client.
    """

    seconds: float
    answered: int
    refused: int
    failed: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    service_cpu_s: float
    client_cpu_s: float

    @property
    def frames_per_s(self) -> float:
        """Answered frames."""
        return self.answered / self.seconds

    @property
    def service_cpu_ms_per_frame(self) -> float:
        """Of one answered frame; infinite where none was."""
        return 1000 * self.service_cpu_s / self.answered if self.answered else float("inf")

    @property
    def client_cpu_ms_per_frame(self) -> float:
        """Of one answered frame; infinite where none was."""
        return 1000 * self.client_cpu_s / self.answered if self.answered else float("inf")


def find_wrk() -> str:
    """The program. Raises GeneratorFailed where it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise GeneratorFailed("wrk is not installed; on Debian and Ubuntu: apt install wrk")
    return found


def closed_loop(
    url: str, frames: Path, body: Body, field: str, clients: int, seconds: int, service_cpu_s: Callable[[], float]
) -> Load:
    """Let `clients` clients post the frames of a folder for so many seconds. Raises GeneratorFailed.

    The service's CPU time is read as the clients stop: what it does for those who have left is nobody's frame.
    """
    script = ["-s", str(SCRIPT), url, "--", str(frames), str(COUNT), body, field]
    load = ["--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s"]
    command = [find_wrk(), *load, "--timeout", f"{REQUEST_TIMEOUT_S}s", *script]
    service_before_s, client_before_s = service_cpu_s(), _children_cpu_s()
    said = _run(command, seconds + PATIENCE_S)
    service_s, client_s = service_cpu_s() - service_before_s, _children_cpu_s() - client_before_s
    counted = json.loads(said.strip().splitlines()[-1])
    return Load(answered=counted.pop("ok"), service_cpu_s=service_s, client_cpu_s=client_s, **counted)


def _run(command: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s)  # noqa: S603
    except subprocess.SubprocessError as problem:
        raise GeneratorFailed(f"{problem}; it said {getattr(problem, 'stderr', '')!r}") from problem
    return done.stdout


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
