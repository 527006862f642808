"""Real sockets before an application that is full, slow or left alone; its model waits for a gate."""

import asyncio
import gc
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.server import DrainingServer, configuration
from service.settings import Settings
from tests.service.conftest import GatedSession, gated_load, wait_until

pytestmark = pytest.mark.anyio

PATIENCE_S = 30
# More than the kernel's buffers of both sides hold: the client still sends when it is refused.
LARGE = 16 * 1024 * 1024


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send all of it; returns when the kernel has taken most of it."""
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, header and JSON body of the next reply."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            header = {name.lower(): value for line in head[1:-2] for name, value in [line.split(": ", 1)]}
            body = await self._reader.readexactly(int(header["content-length"]))
        return int(head[0].split()[1]), header, json.loads(body)

    async def rest(self) -> bytes:
        """What comes until the service closes; raises ConnectionError where it resets."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    def leave(self) -> None:
        """Vanish: a reset, as of a process that was killed."""
        self._writer.transport.abort()


class Service:
    """A running server, with a look at its inside."""

    def __init__(self, app: FastAPI, port: int) -> None:
        self._app, self._port = app, port
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self._port))
        self._connections.append(connection)
        return connection

    async def ask(self, frame: bytes, *lines: str) -> Connection:
        """A new connection on which one frame was posted."""
        connection = await self.connect()
        await connection.send(post(frame, *lines))
        return connection

    @property
    def waiting_frames(self) -> int:
        return int(self._app.state.lifecycle.loaded.scheduler.state().waiting_frames)

    @property
    def running_frames(self) -> int:
        return int(self._app.state.lifecycle.loaded.scheduler.state().running_frames)

    @property
    def held_bytes(self) -> int:
        return int(self._app.state.upload_memory.held_bytes)

    def is_idle(self) -> bool:
        return (self.waiting_frames, self.running_frames, self.held_bytes) == (0, 0, 0)

    def drop_all(self) -> None:
        for connection in self._connections:
            connection.leave()


OpenService = Callable[..., AbstractAsyncContextManager[Service]]


def post(frame: bytes, *lines: str, announced: int | None = None) -> bytes:
    """A request with one frame as its body; `announced` bytes where it does not send all of them at once."""
    size = len(frame) if announced is None else announced
    head = ["POST /predict HTTP/1.1", "Host: a", "Content-Type: image/png", f"Content-Length: {size}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + frame


def form(frame: bytes, count: int) -> tuple[bytes, str]:
    """A form with the frame `count` times, and its Content-Type."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + frame + b"\r\n"
    return part * count + b"--b--\r\n", "Content-Type: multipart/form-data; boundary=b"


def post_form(frame: bytes, count: int, *lines: str) -> bytes:
    """A request with the frame `count` times."""
    body, content_type = form(frame, count)
    head = ["POST /predict HTTP/1.1", "Host: a", content_type, f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest.fixture
def open_service(model: Path, gated: GatedSession) -> OpenService:
    """Serves a gated model with one worker on a real port."""

    @asynccontextmanager
    async def open_(**given: object) -> AsyncIterator[Service]:
        settings = Settings(
            **{
                "model": model,
                "device": "cpu",
                "inference_workers": 1,
                "tuning_seconds": 0,
                "drain_seconds": 0,
                **given,
            }
        )
        app = create_app(settings, gated_load(gated))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = DrainingServer(configuration(app, settings), app.state.lifecycle, settings.drain_seconds)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await wait_until(lambda: app.state.lifecycle.stage == "ready")
            service = Service(app, listener.getsockname()[1])
            try:
                yield service
            finally:
                gated.gate.set()
                service.drop_all()
                server.stop()
                await serving
                gc.unfreeze()  # what outlives a server outlives no test

    return open_


async def fill(service: Service, frame: bytes) -> list[Connection]:
    """One frame runs and one waits: a queue of one is full."""
    running = await service.ask(frame)
    await wait_until(lambda: service.running_frames == 1)
    waiting = await service.ask(frame)
    await wait_until(lambda: service.waiting_frames == 1)
    return [running, waiting]


FULL = {"max_queue_frames": 1, "max_frames_per_request": 1}


async def test_429_comes_before_the_body_and_the_connection_goes_on(open_service: OpenService, red_png: bytes) -> None:
    """The rest of the refused body is read and thrown away, and the next request on the connection is understood."""
    async with open_service(**FULL) as service:
        await fill(service, red_png)
        connection = await service.connect()
        await connection.send(post(bytes(1000), announced=LARGE))
        status, header, problem = await connection.reply()
        assert (status, header["retry-after"], problem["code"]) == (429, "1", "queue_full")
        assert "connection" not in header
        await connection.send(bytes(LARGE - 1000))
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.reply())[0] == 200
        assert service.held_bytes == 2 * len(red_png)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_429_reaches_a_client_that_sends_everything_first_and_wants_to_close(
    open_service: OpenService, red_png: bytes, version: str
) -> None:
    """Closing while its body arrives would reset the connection, and the answer would be lost with it."""
    async with open_service(**FULL) as service:
        await fill(service, red_png)
        connection = await service.connect()
        request = post(bytes(LARGE), "Connection: close").replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)
        await connection.send(request)
        status, header, problem = await connection.reply()
        assert (status, header["connection"], problem["code"]) == (429, "close", "queue_full")
        assert await connection.rest() == b""


async def test_request_with_many_frames_that_do_not_fit_leaves_the_queue_as_it_is(
    open_service: OpenService, red_png: bytes
) -> None:
    """One of three places is taken: three frames more are refused whole, and the problem says what waits and may."""
    async with open_service(max_queue_frames=3, max_frames_per_request=3) as service:
        await fill(service, red_png)
        connection = await service.connect()
        await connection.send(post_form(red_png, 3))
        status, _, problem = await connection.reply()
        assert (status, problem["waiting_frames"], problem["limit_frames"]) == (429, 1, 3)
        assert service.waiting_frames == 1


async def test_frame_that_waits_too_long_is_a_504_while_the_worker_is_busy(
    open_service: OpenService, gated: GatedSession, red_png: bytes
) -> None:
    """The one before it runs without end; the answer does not wait for that."""
    async with open_service() as service:
        running = await service.ask(red_png)
        await wait_until(lambda: service.running_frames == 1)
        late = await service.ask(red_png, "X-Timeout-Ms: 50")
        status, header, problem = await late.reply()
        assert (status, problem["code"]) == (504, "deadline_exceeded")
        assert float(header["server-timing"].rpartition("=")[2]) >= 49
        assert service.waiting_frames == 0
        gated.gate.set()
        assert (await running.reply())[0] == 200


async def test_frame_that_runs_at_its_deadline_is_given_up_and_the_next_is_answered(
    open_service: OpenService, gated: GatedSession, red_png: bytes
) -> None:
    async with open_service() as service:
        late = await service.ask(red_png, "X-Timeout-Ms: 50")
        assert (await late.reply())[0] == 504
        gated.gate.set()
        after = await service.ask(red_png)
        assert (await after.reply())[0] == 200
        await wait_until(service.is_idle)


async def test_each_frame_of_a_request_meets_the_deadline_for_itself(open_service: OpenService, red_png: bytes) -> None:
    """Behind one that runs, three wait and are late; one of them is no image, but nobody came to look at it."""
    async with open_service() as service:
        await service.ask(red_png)
        await wait_until(lambda: service.running_frames == 1)
        body, content_type = form(red_png, 2)
        body = body[: -len(b"--b--\r\n")] + form(b"text" * 10, 1)[0]
        connection = await service.connect()
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\n{content_type}\r\nContent-Length: {len(body)}\r\n"
        await connection.send(head.encode() + b"X-Timeout-Ms: 60\r\n\r\n" + body)
        status, _, reply = await connection.reply()
        codes = [frame["problem"]["code"] for frame in reply["frames"]]
        assert status == 200
        assert codes == ["deadline_exceeded"] * 3
        assert service.waiting_frames == 0


async def test_upload_that_takes_longer_than_the_deadline_is_a_504(open_service: OpenService, red_png: bytes) -> None:
    """Time spent uploading counts, and what it held is freed."""
    async with open_service() as service:
        connection = await service.connect()
        await connection.send(post(red_png[:10], "X-Timeout-Ms: 50", announced=len(red_png)))
        status, _, problem = await connection.reply()
        assert (status, problem["code"], problem["received_bytes"]) == (504, "deadline_exceeded", 10)
        assert service.held_bytes == 0


@pytest.mark.parametrize("value", ["0", "-5", "soon", "2001"])
async def test_other_timeouts_are_refused_with_what_is_allowed(
    open_service: OpenService, red_png: bytes, value: str
) -> None:
    async with open_service(default_timeout_ms=1000, max_timeout_ms=2000) as service:
        connection = await service.ask(red_png, f"X-Timeout-Ms: {value}")
        status, _, problem = await connection.reply()
    assert (status, problem["code"]) == (400, "invalid_parameter")
    assert problem["detail"] == f"X-Timeout-Ms is {value!r}; allowed: whole milliseconds from 1 to 2000"
    assert (problem["parameter"], problem["limit_ms"]) == ("X-Timeout-Ms", 2000)


async def test_default_timeout_holds_where_none_is_sent(open_service: OpenService, red_png: bytes) -> None:
    async with open_service(default_timeout_ms=50) as service:
        connection = await service.ask(red_png)
        assert (await connection.reply())[0] == 504


async def test_client_that_leaves_while_it_uploads_frees_its_memory(open_service: OpenService, red_png: bytes) -> None:
    async with open_service() as service:
        connection = await service.connect()
        await connection.send(post(red_png[:20], announced=len(red_png)))
        await wait_until(lambda: service.held_bytes == 20)
        connection.leave()
        await wait_until(service.is_idle)


async def test_client_that_leaves_with_many_frames_frees_all_their_places(
    open_service: OpenService, gated: GatedSession, red_png: bytes
) -> None:
    """Its batch-mates go on: one that runs before and one that came after."""
    async with open_service() as service:
        before = await service.ask(red_png)
        await wait_until(lambda: service.running_frames == 1)
        leaving = await service.connect()
        await leaving.send(post_form(red_png, 20))
        await wait_until(lambda: service.waiting_frames == 20)
        after = await service.ask(red_png)
        await wait_until(lambda: service.waiting_frames == 21)
        leaving.leave()
        await wait_until(lambda: service.waiting_frames == 1)
        gated.gate.set()
        assert [(await other.reply())[0] for other in (before, after)] == [200, 200]
        await wait_until(service.is_idle)


async def test_hundreds_of_clients_that_leave_at_random_leave_nothing_behind(
    open_service: OpenService, gated: GatedSession, red_png: bytes
) -> None:
    """Some in the header, some in the body, some while they wait, some with many frames; who stays is answered."""
    gated.gate.set()
    chance = random.Random(4)
    async with open_service() as service:
        request, many = post(red_png), post_form(red_png, 5)

        async def leave() -> None:
            whole = chance.choice([request, many])
            connection = await service.connect()
            await connection.send(whole[: chance.randrange(1, len(whole))] if chance.random() < 0.5 else whole)
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))
            connection.leave()

        async def stay() -> list[int]:
            connection = await service.connect()
            statuses = []
            for _ in range(40):
                await connection.send(request)
                statuses.append((await connection.reply())[0])
            return statuses

        async def leave_often() -> None:
            for _ in range(25):
                await leave()

        staying = asyncio.gather(*[stay() for _ in range(2)])
        await asyncio.gather(*[leave_often() for _ in range(16)])
        assert {status for statuses in await staying for status in statuses} <= {200, 429}
        await wait_until(service.is_idle)


async def test_collector_leaves_alone_what_the_start_has_made(open_service: OpenService) -> None:
    """A full collection would stop every thread while it looks through the modules and the routes once more."""
    before = gc.get_freeze_count()
    async with open_service():
        assert gc.get_freeze_count() > before + 10_000
