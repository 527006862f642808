"""Clients of the service, on plain connections: they post frames, and wait for the answers or leave."""

import asyncio
import contextlib
import itertools
import math
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

FRAMES_OF_MANY: Final = 4
SHARE_OF_MANY: Final = 0.2
LONGEST_STAY_S: Final = 0.3


def raw(frame: bytes) -> bytes:
    """A request with one frame."""
    return _request("image/jpeg", frame)


def form(frame: bytes, count: int) -> bytes:
    """A request with several frames."""
    boundary = b"------------------------7d81324b6f0c9a55"
    part = b"--%b\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n\r\n%b\r\n" % (boundary, frame)
    return _request(f"multipart/form-data; boundary={boundary.decode()}", part * count + b"--%b--\r\n" % boundary)


def _request(content_type: str, body: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: roadcue\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection:
    """A connection to the service from one of many local addresses: those that close leave their port unusable."""

    _addresses = itertools.cycle(f"127.0.0.{number}" for number in range(2, 250))

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(next(cls._addresses), 0)))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def reply(self) -> tuple[int, float]:
        """The next reply's status and Retry-After in seconds (0 without), once all of it is there."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        await self._reader.readexactly(_number(head, b"content-length"))
        return int(head[9:12]), _number(head, b"retry-after")

    def close(self, with_reset: bool = False) -> None:
        if with_reset:
            connection: socket.socket = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _number(head: bytes, name: bytes) -> int:
    _, _, after = head.partition(b"\r\n" + name + b": ")
    return int(after.split(b"\r\n", 1)[0] or 0)


class Pace:
    """So many frames a second for everybody together; without a rate, as many as they can."""

    def __init__(self, frames_per_s: float | None) -> None:
        self._frames_per_s = frames_per_s
        self._next_s = time.monotonic()

    async def turn(self, frames: int) -> None:
        """Until these frames may be posted."""
        if self._frames_per_s is None:
            return
        # Who was late does not catch up: the rate is a most.
        due_s = max(self._next_s, time.monotonic())
        self._next_s = due_s + frames / self._frames_per_s
        await asyncio.sleep(due_s - time.monotonic())


@dataclass
class Crowd:
    """Clients of one port, and what became of their requests."""

    port: int
    frame: bytes
    chance: random.Random
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    frames: int = 0

    async def stay(self, until: Callable[[], bool], pause_s: float = 0.0, longest_pause_s: float = math.inf) -> None:
        """Post and wait for the answer, again and again; refused, wait for as long as the reply says."""
        request, connection = raw(self.frame), await Connection.open(self.port)
        try:
            while not until():
                retry_after_s = await self._post(connection, request)
                await asyncio.sleep(min(max(pause_s, retry_after_s), longest_pause_s))
        finally:
            connection.close()

    async def _post(self, connection: Connection, request: bytes) -> float:
        begun_s = time.monotonic()
        connection.send(request)
        status, retry_after_s = await connection.reply()
        self.statuses[str(status)] += 1
        self.frames += 1
        if status == httpx.codes.OK:
            self.seconds.append(time.monotonic() - begun_s)
        return retry_after_s

    async def leave(self, until: Callable[[], bool], pace: Pace) -> None:
        """Post and leave at a random moment, again and again."""
        one, many = raw(self.frame), form(self.frame, FRAMES_OF_MANY)
        while not until():
            request, frames = (many, FRAMES_OF_MANY) if self.chance.random() < SHARE_OF_MANY else (one, 1)
            await pace.turn(frames)
            connection = await Connection.open(self.port)
            cut_off = self.chance.random() < 1 / 3
            connection.send(request[: self.chance.randrange(1, len(request))] if cut_off else request)
            self.frames += frames
            await self._stay_a_while(connection, self.chance.random() * LONGEST_STAY_S)
            connection.close(with_reset=self.chance.random() < 1 / 2)

    async def _stay_a_while(self, connection: Connection, seconds: float) -> None:
        outcome = "left"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                status, _ = await connection.reply()
                outcome = str(status)
        self.statuses[outcome] += 1
