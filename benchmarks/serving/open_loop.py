"""So many frames a second, whether the earlier ones are answered or not: an open-loop load generator.

    python -m benchmarks.serving.open_loop URL FOLDER --body raw --field file --phase 50:5 --phase 300:10

sends the k-th frame of a phase at k / rate seconds, on an idle connection or a new one, and never waits for an answer
before it sends the next. Latency counts from the intended time: what a frame lost because the client or the server was
late is part of it, which a generator that waits would leave out (coordinated omission). Prints JSON: for each request
its phase, intended time, lateness of its sending, latency, status (0: no answer), and whether it named Retry-After.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import click
import httptools
import uvloop

BOUNDARY: Final = "frame-boundary-7f3a9c"
NO_ANSWER: Final = 0
# Beyond, so many frames wait at once that more connections would only measure the client.
MAX_CONNECTIONS: Final = 8000


@dataclass(slots=True)
class Exchange:
    """One request: when it was to be sent, when it was, and what came back; times in seconds from the start."""

    phase: int
    intended_s: float
    sent_s: float = 0.0
    latency_s: float | None = None
    status: int = NO_ANSWER
    retry_after: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A constant rate for a while."""

    rate: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Phase":
        """From `rate:seconds`. Raises ValueError."""
        rate, _, seconds = text.partition(":")
        return cls(float(rate), float(seconds))


class Connection(asyncio.Protocol):
    """A kept connection to the server; one exchange at a time."""

    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._exchange: Exchange | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._generator.connections.add(self)

    def send(self, exchange: Exchange, request: bytes) -> None:
        """Post a frame."""
        self._exchange = exchange
        exchange.sent_s = self._generator.now_s()
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """The server, or we, closed it; what was not answered stays so."""
        self._generator.lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        if self._exchange and name.lower() == b"retry-after":
            self._exchange.retry_after = value.isdigit()

    def on_message_complete(self) -> None:
        """All of the answer."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.latency_s = self._generator.now_s() - exchange.intended_s
        exchange.status = self._parser.get_status_code()
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._generator.idle.append(self)
        else:
            self.close()

    def close(self) -> None:
        """No more of it."""
        if self._transport is not None:
            self._transport.close()


class Generator:
    """Sends the frames of its phases to one address, each at its time."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes]) -> None:
        self._host, self._port, self._requests = host, port, requests
        self.idle: list[Connection] = []
        self.connections: set[Connection] = set()
        self._open = 0
        self._started_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_s

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open -= 1
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    async def run(self, phases: Sequence[Phase], grace_s: float) -> list[Exchange]:
        """What became of each; what has no answer `grace_s` seconds after the last phase has none."""
        self._started_s = time.monotonic()
        exchanges = list(intended(phases))
        for number, exchange in enumerate(exchanges):
            await self._until(exchange.intended_s)
            self._begin(exchange, self._requests[number % len(self._requests)])
        await self._settle(sum(phase.seconds for phase in phases) + grace_s)
        self._end()
        return exchanges

    async def _until(self, due_s: float) -> None:
        # A timer may fire a little early; at its time even a late frame lets answers be read before it is sent.
        await asyncio.sleep(max(0.0, due_s - self.now_s()))
        while (early_s := due_s - self.now_s()) > 0:  # noqa: ASYNC110 - there is nobody to set an event
            await asyncio.sleep(early_s)

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self.connections):
            connection.close()

    def _begin(self, exchange: Exchange, request: bytes) -> None:
        if self.idle:
            self.idle.pop().send(exchange, request)
        elif self._open < MAX_CONNECTIONS:
            self._open += 1
            task = asyncio.get_running_loop().create_task(self._connect(exchange, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, exchange: Exchange, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
        except OSError:
            self._open -= 1
        else:
            connection.send(exchange, request)

    async def _settle(self, end_s: float) -> None:
        # The end is a time; to poll for it costs nothing.
        while self.now_s() < end_s and (self._tasks or len(self.idle) < self._open):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def intended(phases: Sequence[Phase]) -> Iterator[Exchange]:
    """Every request at its time.

    >>> [exchange.intended_s for exchange in intended([Phase(2, 1), Phase(4, 0.5)])]
    [0.0, 0.5, 1.0, 1.25]
    """
    begin_s = 0.0
    for number, phase in enumerate(phases):
        yield from (Exchange(number, begin_s + turn / phase.rate) for turn in range(round(phase.rate * phase.seconds)))
        begin_s += phase.seconds


def post(path: str, host: str, frame: bytes, body: str, field: str) -> bytes:
    """The bytes of a request."""
    kind, content = "image/jpeg", frame
    if body == "multipart":
        kind, content = f"multipart/form-data; boundary={BOUNDARY}", _form(frame, field)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _form(frame: bytes, field: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{field}"; filename="frame.jpg"'
    return (
        f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
        + frame
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


@click.command(context_settings={"show_default": True})
@click.argument("url")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--body", type=click.Choice(["raw", "multipart"]), default="raw", help="How a frame is sent.")
@click.option("--field", default="file", help="The form's field that holds it.")
@click.option("--phase", "phases", multiple=True, required=True, help="RATE:SECONDS, in frames a second; may repeat.")
@click.option("--grace-seconds", default=10.0, help="How long answers are waited for after the last phase.")
def main(url: str, folder: Path, body: str, field: str, phases: tuple[str, ...], grace_seconds: float) -> None:
    """Post the frames of a folder at constant rates and print what became of each."""
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    frames = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    generator = Generator(host, port, [post(address.path, host, frame, body, field) for frame in frames])
    exchanges = uvloop.run(generator.run([Phase.parse(phase) for phase in phases], grace_seconds))
    rows = [(e.phase, e.intended_s, e.sent_s - e.intended_s, e.latency_s, e.status, e.retry_after) for e in exchanges]
    json.dump({"cpu_s": time.process_time(), "exchanges": rows}, sys.stdout)


if __name__ == "__main__":
    main()
