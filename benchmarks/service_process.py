"""The service as a process of its own, as a benchmark starts it: on a free port, with what it logs at hand."""

import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import onnxruntime

from service import __version__
from service.inference.execution import available_cpus
from service.inference.machine import cpu_name

PATIENCE_S: Final = 60.0
POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A started service; `started_s` is when, on the monotonic clock."""

    process: subprocess.Popen[bytes]
    url: str
    started_s: float
    ready_s: float

    def wait_for_processes(self, workers: int) -> None:
        """Wait until so many processes serve; the first one makes the service ready."""
        while f"roadcue_processes {workers}.0" not in httpx.get(f"{self.url}/metrics", timeout=PATIENCE_S).text:
            time.sleep(POLL_S)

    def end(self, received: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code, after a signal."""
        self.process.send_signal(received)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def served(*flags: str) -> Iterator[ServiceProcess]:
    """A service that is ready, killed at the end where it runs still."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("ROADCUE_")}
    with tempfile.TemporaryFile() as log:
        started_s = time.monotonic()
        command = [sys.executable, "-m", "service", "serve", "--port", "0", *flags]
        process = subprocess.Popen(command, env=bare, stderr=log)  # noqa: S603 - our own command
        try:
            url = _address(process, Path(f"/proc/self/fd/{log.fileno()}"))
            yield ServiceProcess(process, url, started_s, _when_ready(url))
        finally:
            process.kill()
            process.wait()


def machine() -> str:
    """What figures of the service hold for, in words."""
    versions = f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}, roadcue {__version__}"
    return f"{available_cpus()} cores of {cpu_name()}, {versions}"


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while not (found := re.search(r"listening url=(\S+)", log.read_text(encoding="utf-8"))):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}: {log.read_text(encoding='utf-8')}")
        time.sleep(POLL_S)
    return found[1]


def _when_ready(url: str) -> float:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready").status_code == httpx.codes.OK:
                return time.monotonic()
        time.sleep(POLL_S)
    raise RuntimeError("the service does not become ready")
