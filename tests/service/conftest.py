"""An application around the tiny model, in process and as a process of its own."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from service.app import create_app, detector_of
from service.inference.detector import Detector
from service.inference.session import Outputs
from service.settings import Settings
from tests.service.server_process import ServerProcess
from tests.tiny_model import GRID, tiny_metadata, write_tiny_model

OpenClient = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked anyio run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def encoded(red: int, green: int, blue: int, width: int = 24, height: int = 16, form: str = "PNG") -> bytes:
    """An image of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (red, green, blue)).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def red_png() -> bytes:
    """24 x 16 pixels of pure red: the tiny model answers red 1, green 0."""
    return encoded(255, 0, 0)


@pytest.fixture(scope="session")
def large_jpeg() -> bytes:
    """A photograph-like JPEG of some megabytes: noise, which does not compress."""
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class GatedSession:
    """Answers 1 for every label, but each run waits for the gate; counts what has entered."""

    provider = "CPUExecutionProvider"
    fallback_reason: str | None = None
    cuda_graphs = False

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    def run(self, frames_BHWC: NDArray[np.uint8]) -> Outputs:
        """One for every label, once the gate is open."""
        self.entered.release()
        self.gate.wait(timeout=30)
        batch = len(frames_BHWC)
        return Outputs(np.ones((batch, 2), np.float32), np.ones((batch, 2, *GRID), np.float32))


@pytest.fixture
def gated() -> Iterator[GatedSession]:
    """A session whose runs wait; the gate opens at the end at the latest."""
    session = GatedSession()
    yield session
    session.gate.set()


def gated_load(session: GatedSession) -> Callable[[Settings], Detector]:
    """A loader that puts the gated session in place of the real one."""
    return lambda settings: Detector(tiny_metadata(), session, detector_of(settings).limits)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Yield to the loop until `condition` holds; a test that hangs fails after 30 seconds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application between its start and its end."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client


@pytest.fixture
def settings(model: Path) -> Settings:
    """The tiny model on one worker on the CPU."""
    return Settings(model=model, device="cpu", inference_workers=1, tuning_seconds=0)


@pytest.fixture
def open_client(model: Path) -> OpenClient:
    """Opens a client of an application with the given settings, ready to answer."""

    @asynccontextmanager
    async def open_(
        load: Callable[[Settings], Detector] = detector_of, **settings: object
    ) -> AsyncIterator[httpx.AsyncClient]:
        defaults = {"model": model, "device": "cpu", "inference_workers": 1, "tuning_seconds": 0}
        app = create_app(Settings(**{**defaults, **settings}), load)
        async with running(app) as client:
            await wait_until(lambda: app.state.lifecycle.stage == "ready")
            client.app = app  # type: ignore[attr-defined]
            yield client

    return open_


@pytest.fixture
async def client(open_client: OpenClient) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a ready application with default settings."""
    async with open_client() as opened:
        yield opened


@pytest.fixture
def start_server(model: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts `python -m service serve` on a free port; every process ends with the test."""
    started: list[ServerProcess] = []

    def start(*flags: str, model: Path = model, program: str = "service") -> ServerProcess:
        started.append(ServerProcess("--model", str(model), "--device", "cpu", *flags, program=program))
        return started[-1]

    yield start
    for process in started:
        process.kill()
