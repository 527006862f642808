"""The real server in a process of its own."""

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until `condition` holds; a test that hangs fails after a minute."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


class ServerProcess:
    """`python -m service serve` on a free port of the loopback interface; flags may ask for what it leaves out.

    `program` is a module that runs the service in its own way.
    """

    def __init__(self, *flags: str, program: str = "service") -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROADCUE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", program, "serve", "--port", "0", "--tuning-seconds", "0", *flags],
            cwd=REPOSITORY,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._is_deaf = False
        self._new_lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Where it listens; waits until it does."""
        if not hasattr(self, "_url"):
            self._url = re.findall(r"url\W+(http://[\w.:]+)", self.wait_for_line("listening"))[0]
        return self._url

    def ready(self) -> "ServerProcess":
        """Itself, once it is ready."""
        end_s = time.monotonic() + PATIENCE_S
        while httpx.get(f"{self.url}/health/ready", timeout=PATIENCE_S).status_code != 200:
            assert time.monotonic() < end_s, self.lines
            time.sleep(0.02)
        return self

    def wait_for_line(self, text: str) -> str:
        """The next line on standard error that holds `text`."""
        while (line := self._new_lines.get(timeout=PATIENCE_S)) is not None:
            if text in line:
                return line
        raise AssertionError(f"ended without {text!r}: {self.lines}")

    def wait(self) -> int:
        """The exit code, once it ends."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def kill(self) -> None:
        """End it if it runs still."""
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        if self.process.stderr:
            self.process.stderr.close()

    def read_no_more(self) -> None:
        """Leave unread what comes from now on, but for one line more."""
        self._is_deaf = True

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line.rstrip())
            self._new_lines.put(line)
            if self._is_deaf:
                return
        self._new_lines.put(None)
