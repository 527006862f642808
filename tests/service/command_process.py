"""A command of ours as a process of its own: on a terminal, and stopped by Ctrl-C."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.service.server_process import REPOSITORY, wait_for

PATIENCE_S = 120


def on_a_terminal(program: str, *arguments: object, stream: str = "stdout") -> tuple[int, str, str]:
    """Exit code, what a terminal of 200 columns shows but for its colours, and what goes into a pipe.

    On the terminal is the named one of standard output and standard error, in the pipe the other.
    """
    terminal, shown = os.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: shown}
    process = started(program, *arguments, **streams, env={**os.environ, "COLUMNS": "200", "TERM": "xterm"})
    os.close(shown)
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(all_of(terminal)), daemon=True)
    reader.start()
    try:
        piped = b"".join(some or b"" for some in process.communicate(timeout=PATIENCE_S))
        reader.join(PATIENCE_S)
    finally:
        process.kill()
        os.close(terminal)
    text = re.sub(r"\x1b\[[\d;]*m", "", b"".join(seen).decode())
    return process.returncode, text.replace("\r\n", "\n"), piped.decode()


def all_of(terminal: int) -> bytes:
    """What is written to a terminal until its last writer has closed it, which Linux tells by an error."""
    read = b""
    try:
        while some := os.read(terminal, 65536):
            read += some
    except OSError as ended:
        if ended.errno != errno.EIO:
            raise
    return read


def interrupted_while_reading(path: Path, program: str, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that gets SIGINT when it waits for bytes of `path`.

    It is made a pipe here that nobody writes to.
    """
    os.mkfifo(path)
    process = started(program, *arguments, stdout=subprocess.PIPE)
    try:
        writer: list[int] = []
        wait_for(lambda: process.poll() is not None or opened_by_a_reader(path, writer))
        # A signal that comes on the way from opening to reading is noticed only when there is something to read.
        wait_for(lambda: process.poll() is not None or sleeps(process.pid))
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        for descriptor in writer:
            os.close(descriptor)
    return process.returncode, out.decode(), said.decode()


def sleeps(pid: int) -> bool:
    """Whether a process waits for something rather than computes, by Linux's state of its main thread."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "S"


def opened_by_a_reader(path: Path, writer: list[int]) -> bool:
    """Whether somebody reads the pipe; the end for writing is then in `writer`, so that its reader waits."""
    try:
        writer.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as absent:
        if absent.errno != errno.ENXIO:
            raise
        return False
    return True


def started(program: str, *arguments: object, **streams: object) -> "subprocess.Popen[bytes]":
    """`python -m program arguments` with standard error in a pipe."""
    command = [sys.executable, "-m", program, *map(str, arguments)]
    pipes = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": REPOSITORY, **streams}
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
