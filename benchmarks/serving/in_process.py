"""The machine's limit: a plain loop in one process, with the same decode, resize and session, and no HTTP.

    python -m benchmarks.serving.in_process MODEL

reads a line `folder threads seconds` and answers it with a line of JSON, again and again: so many threads, each of
which takes the frames of the folder in turn, one after the other.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.serving.closed_loop import GeneratorFailed, Load
from benchmarks.serving.peers.frame_model import FrameModel

END_S: Final = 10.0


class InProcessLoop:
    """The loop in its own process, so that its CPU time is its own and its locks are nobody's."""

    def __init__(self, model: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.serving.in_process", str(model)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def measure(self, frames: Path, threads: int, seconds: float) -> Load:
        """What the loop does on so many threads. Raises GeneratorFailed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise GeneratorFailed("the in-process loop has no pipes")
        try:
            self._process.stdin.write(f"{frames}\t{threads}\t{seconds}\n")
            self._process.stdin.flush()
            return Load(**json.loads(self._process.stdout.readline()))
        except (OSError, ValueError) as problem:
            raise GeneratorFailed(f"the in-process loop ended: {problem}") from problem


def loop(model: FrameModel, frames: Sequence[bytes], threads: int, seconds: float) -> Load:
    """Answer frames on so many threads for so long, each to the end of its last one."""
    before_s = time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda first: _answer(model, frames, first, seconds), range(threads)))
    latencies_ms = sorted(1000 * second for taken in found for second in taken)
    cuts_ms = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    # Threads end a part of a frame apart, so each has its own rate.
    rate = sum(len(taken) / sum(taken) for taken in found)
    return Load(
        seconds=len(latencies_ms) / rate,
        answered=len(latencies_ms),
        refused=0,
        failed=0,
        p50_ms=cuts_ms[49],
        p90_ms=cuts_ms[89],
        p99_ms=cuts_ms[98],
        service_cpu_s=time.process_time() - before_s,
        client_cpu_s=0.0,
    )


def _answer(model: FrameModel, frames: Sequence[bytes], first: int, seconds: float) -> list[float]:
    """Seconds of each frame; at least two, so that there is a distribution."""
    taken: list[float] = []
    end_s = time.monotonic() + seconds
    while len(taken) < 2 or time.monotonic() < end_s:
        started_s = time.perf_counter()
        model.answer(frames[(first + len(taken)) % len(frames)])
        taken.append(time.perf_counter() - started_s)
    return taken


def main() -> None:
    """Answer lines until there are no more."""
    model = FrameModel(Path(sys.argv[1]))
    for line in sys.stdin:
        folder, threads, seconds = line.rstrip("\n").split("\t")
        frames = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
        found = loop(model, frames, int(threads), float(seconds))
        fields = {name: getattr(found, name) for name in Load.__dataclass_fields__}
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    main()
