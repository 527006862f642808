"""A contender that runs: started, answering, frozen while others are measured, and ended whatever happens."""

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.serving.contenders import Contender
from benchmarks.serving.peers.launch import Body, Launch
from benchmarks.serving.processes import MARK, MarkedProcesses

REPOSITORY: Final = Path(__file__).parents[2]
START_TIMEOUT_S: Final = 240.0
WAKE_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1
# MLServer listens on three ports in a row.
PORTS_IN_A_ROW: Final = 3
LOG_TAIL: Final = 1500
# What colours a terminal, ECMA-48.
ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# What the caller's environment must not decide: how our service, or a peer, is set up.
FOREIGN: Final = ("ROADCUE_", "RAY_", "MLSERVER_", "MOSEC_", "BENTOML_", "OTEL_", "BENCHMARK_")


class ServerFailed(Exception):
    """A server did not start, ended, or answered wrong; the message ends with what it logged."""


@dataclass(frozen=True, slots=True)
class Server:
    """A contender's processes, and the URL that takes a frame."""

    contender: Contender
    launch: Launch
    process: "subprocess.Popen[bytes]"
    processes: MarkedProcesses
    log: Path
    started_s: float

    @property
    def url(self) -> str:
        """Where frames are posted."""
        return f"http://127.0.0.1:{self.launch.port}{self.contender.path}"

    def ask(self, frame: bytes, timeout_s: float = 30.0) -> httpx.Response:
        """The reply to one frame. Raises httpx.TransportError."""
        if self.launch.body == "raw":
            return httpx.post(self.url, content=frame, headers={"content-type": "image/jpeg"}, timeout=timeout_s)
        return httpx.post(
            self.url, files={self.contender.form_field: ("frame.jpg", frame, "image/jpeg")}, timeout=timeout_s
        )

    def answer(self, frame: bytes) -> dict[str, float]:
        """The probability of every label. Raises ServerFailed where there is none."""
        try:
            reply = self.ask(frame)
            answer: Any = reply.raise_for_status().json()
            return dict(self.contender.read(answer))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as problem:
            raise self.failure(f"no answer: {problem!r}") from problem

    def failure(self, said: str) -> ServerFailed:
        """What to raise, with the end of the log."""
        return ServerFailed(f"{self.contender.name}, {self.launch.body}: {said}\n{self._log_tail()}")

    def wait_until_ready(self, frame: bytes) -> float:
        """Seconds from start to the first answer. Raises ServerFailed."""
        while time.monotonic() < self.started_s + START_TIMEOUT_S:
            if self.process.poll() is not None:
                raise self.failure(f"it ended with {self.process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if self.ask(frame, timeout_s=10.0).status_code == httpx.codes.OK:
                    return time.monotonic() - self.started_s
            time.sleep(POLL_S)
        raise self.failure(f"it did not answer within {START_TIMEOUT_S:g} s")

    def wake(self, frame: bytes) -> None:
        """Let it go on after it was frozen, and wait until it answers again. Raises ServerFailed."""
        self.processes.thaw()
        try:
            self.ask(frame, timeout_s=WAKE_TIMEOUT_S).raise_for_status()
        except httpx.HTTPError as problem:
            raise self.failure(
                f"it does not answer after this benchmark stopped it for a while (SIGSTOP): {problem!r}"
            ) from problem

    def end(self) -> None:
        """End every process of it."""
        self.processes.end()
        self.process.wait()

    def _log_tail(self) -> str:
        return ESCAPES.sub("", self.log.read_text(encoding="utf-8", errors="replace"))[-LOG_TAIL:]


@contextlib.contextmanager
def started(contender: Contender, programs: Path, model: Path, workers: int, body: Body) -> Iterator[Server]:
    """The contender's processes, just started in a folder of their own; at the end none of them is left."""
    with tempfile.TemporaryDirectory(prefix="roadcue-benchmark-") as folder:
        launch = Launch(model.resolve(), free_ports(PORTS_IN_A_ROW), workers, body)
        server = _start(contender, programs, launch, Path(folder))
        try:
            yield server
        finally:
            server.end()


def _start(contender: Contender, programs: Path, launch: Launch, folder: Path) -> Server:
    mark, log = uuid.uuid4().hex, folder / "log.txt"
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    told = {**launch.environment(), **contender.variables(launch)}
    fixed = {MARK: mark, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - commands of our own table
            contender.command(programs, launch),
            env={**own, **told, **fixed},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Server(contender, launch, process, MarkedProcesses(mark), log, time.monotonic())


def free_ports(count: int) -> int:
    """The first of `count` ports in a row on which nobody listens."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            first = int(probe.getsockname()[1])
        if first + count < 65536 and all(map(_is_free, range(first, first + count))):
            return first


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
