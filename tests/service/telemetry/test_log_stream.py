"""Events that nobody reads are lost, and whoever writes them goes on."""

import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from service.telemetry.log_stream import WAIT_S, LosingHandler

F_SETPIPE_SZ = 1031
PIPE_BYTES = 4 * 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end that reads, and the other as a stream; both are small."""
    read, write = os.pipe()
    if sys.platform == "linux":
        fcntl.fcntl(write, F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(write, "w") as stream:
        yield read, stream
    os.close(read)


def read_all(pipe: int) -> str:
    """What waits in it."""
    return os.read(pipe, 2**20).decode()


def event(message: str) -> logging.LogRecord:
    return logging.LogRecord("a", logging.INFO, __file__, 1, message, (), None)


def test_events_that_nobody_reads_are_counted_and_told_when_somebody_does(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    handler = LosingHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(events)s", defaults={"events": ""}))
    began_s = time.monotonic()
    for number in range(400):
        handler.emit(event(f"{number:0100}"))
    assert time.monotonic() - began_s < 10 * WAIT_S, "only the first that is lost has been waited for"
    kept = read_all(read).splitlines()
    assert [int(line) for line in kept] == list(range(len(kept)))
    assert 0 < len(kept) < 400
    handler.emit(event("again"))
    assert read_all(read).splitlines() == [f"events were lost, nobody read them {400 - len(kept)}", "again "]
    handler.emit(event("and again"))
    assert read_all(read) == "and again \n"


def test_slow_reader_takes_no_more_time_than_one_who_stopped(pipe: tuple[int, TextIO]) -> None:
    """It makes room for some events each time that one has waited for long enough."""
    read, stream = pipe
    handler, over = LosingHandler(stream), threading.Event()

    def dribble() -> None:
        while not over.wait(0.8 * WAIT_S):
            os.read(read, 4096)

    reader = threading.Thread(target=dribble)
    reader.start()
    began_s = time.monotonic()
    for _ in range(20):
        handler.emit(event("x" * 4000))
    lasted_s = time.monotonic() - began_s
    over.set()
    reader.join()
    assert lasted_s < 3 * WAIT_S, "each event by itself had waited: 16 of them for most of WAIT_S"


def test_event_that_was_cut_ends_its_line(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    handler = LosingHandler(stream)
    handler.emit(event("x" * 3 * 2**16))
    assert set(read_all(read)) == {"x"}
    handler.emit(event("next"))
    assert read_all(read) == "\nevents were lost, nobody read them\nnext\n"


def test_stream_without_a_descriptor_is_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    LosingHandler(sys.stderr).emit(event("here"))
    assert capsys.readouterr().err == "here\n"
