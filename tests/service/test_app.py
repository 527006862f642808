"""The wiring: loading in the background, and what becomes of a model that cannot be loaded."""

from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.errors import ModelFileError, StartupError
from service.inference.detector import Detector
from service.settings import Settings
from tests.service.conftest import OpenClient, encoded, running, wait_until

pytestmark = pytest.mark.anyio


async def test_missing_model_fails_the_start_and_is_told_until_the_process_ends(tmp_path: Path, red_png: bytes) -> None:
    app = create_app(Settings(model=tmp_path / "absent.onnx", device="cpu"))
    told = []
    app.state.lifecycle.on_failure = lambda: told.append(True)
    async with running(app) as client:
        await wait_until(lambda: app.state.lifecycle.stage == "failed")
        ready = await client.get("/health/ready")
        answer = await client.post("/predict", files={"file": red_png})
    assert isinstance(app.state.lifecycle.failure, ModelFileError)
    assert told == [True]
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert answer.json()["code"] == "startup_failed"


async def test_unforeseen_failure_of_the_start_is_a_startup_error(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(settings: Settings) -> Detector:
        raise ZeroDivisionError("unforeseen")

    app = create_app(settings, fail)
    async with running(app):
        await wait_until(lambda: app.state.lifecycle.stage == "failed")
    assert isinstance(app.state.lifecycle.failure, StartupError)
    assert "unforeseen" in str(app.state.lifecycle.failure)
    assert any(record.exc_info for record in caplog.records)


async def test_settings_reach_the_limits(open_client: OpenClient) -> None:
    async with open_client(
        max_frame_pixels=1024, max_frames_per_request=1, max_request_bytes=4096, max_frame_bytes=2048
    ) as client:
        pixels = await client.post("/predict", files={"file": encoded(0, 0, 0, 33, 32)})
        frames = await client.post("/predict", files=[("file", b"a"), ("file", b"b")])
        request = await client.post("/predict", files={"file": bytes(4096)})
    assert [reply.json()["code"] for reply in (pixels, frames, request)] == [
        "too_many_pixels",
        "too_many_frames",
        "request_too_large",
    ]


async def test_workers_default_to_the_cpus_of_the_process(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.available_cpus", lambda: 3)
    async with open_client(workers=0) as client:
        assert (await client.get("/health")).json()["queue"]["workers"] == 3


@pytest.fixture
def photograph(street_photograph: Path) -> bytes:
    """A real photograph's bytes."""
    return street_photograph.read_bytes()


async def test_real_photograph_is_answered(client: httpx.AsyncClient, photograph: bytes) -> None:
    reply = await client.post("/predict", files={"file": photograph})
    assert reply.status_code == 200
    assert reply.json()["frames"][0]["probabilities"].keys() == {"red", "green"}
