"""The clients that stay, in a process of their own: a crowd in theirs would be measured with the service."""

import asyncio
import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Final

import uvloop

from benchmarks.soak.crowd import Crowd

# They are to look at the service, not to be its load; refused, they ask again soon, or they would see little of it.
PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 0.1
PATIENCE_S: Final = 60.0


@contextmanager
def stayers(port: int, frame: bytes, clients: int) -> Iterator[list[float]]:
    """So many clients while the block runs; after it, the seconds that each answer took them."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_stay, args=(theirs, port, frame, clients), daemon=True)
    process.start()
    theirs.close()
    seconds: list[float] = []
    try:
        ours.recv()
        yield seconds
        ours.send("end")
        seconds += ours.recv()
    finally:
        process.kill()
        process.join(PATIENCE_S)


def _stay(pipe: Pipe, port: int, frame: bytes, clients: int) -> None:
    crowd = Crowd(port, frame, random.Random(0))  # noqa: S311 - they choose nothing

    async def stay() -> None:
        await asyncio.gather(*(crowd.stay(pipe.poll, PAUSE_S, LONGEST_PAUSE_S) for _ in range(clients)))

    pipe.send("here")
    uvloop.run(stay())
    pipe.recv()
    pipe.send(crowd.seconds)
