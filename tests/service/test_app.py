"""The wiring: loading in the background, and what becomes of a model that cannot be loaded."""

import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.app import create_app, detector_of
from service.errors import ModelFileError, ProviderUnavailable, StartupError
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector
from service.inference.session import Outputs
from service.settings import Settings
from tests.service.conftest import GatedSession, OpenClient, encoded, running, wait_until
from tests.service.label_folder.frames import rows
from tests.service.server_process import ServerProcess
from tests.tiny_model import tiny_metadata

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


class BatchesFail(GatedSession):
    """Runs a single frame where CUDA would, and has no room for batches."""

    provider = "CUDAExecutionProvider"

    def __init__(self, breaks_later: bool) -> None:
        super().__init__()
        self._breaks_later = breaks_later

    def bind(self, _: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        """Never any batch: either at once, or not until frames come."""
        if self._breaks_later:
            return self._fail
        raise ProviderUnavailable("device=cuda was asked for, but batches fail", reason="batches of 1, 2, 4 failed")

    @staticmethod
    def _fail(_: Sequence[NDArray[np.uint8]]) -> Outputs:
        raise RuntimeError("CUDA failure 700")


def loaded_on(asked: list[str], breaks_later: bool = False) -> Callable[[Settings], Detector]:
    """Loads the real thing on the CPU, and notes the device that is asked for; elsewhere batches fail."""

    def load(settings: Settings) -> Detector:
        asked.append(settings.device)
        if settings.device == "cpu":
            return detector_of(settings)
        return Detector(tiny_metadata(), BatchesFail(breaks_later), FrameLimits())

    return load


@pytest.mark.parametrize(
    ("tuning_seconds", "breaks_later", "reason"),
    [
        (0, False, "batches of 1, 2, 4 failed"),
        (0.5, False, "batches of 1, 2, 4 failed"),
        (0.5, True, "frames failed while plans were measured: CUDA failure 700"),
    ],
    ids=["opened by default", "opened to be measured", "measured"],
)
async def test_auto_serves_on_the_cpu_where_cuda_fails_at_batches(
    model: Path, red_png: bytes, tuning_seconds: float, breaks_later: bool, reason: str
) -> None:
    """When the plan that was chosen is opened, and while plans are measured."""
    asked: list[str] = []
    settings = Settings(model=model, device="auto", tuning_seconds=tuning_seconds)
    app = create_app(settings, loaded_on(asked, breaks_later))
    async with running(app) as client:
        await wait_until(lambda: app.state.lifecycle.stage == "ready")
        answer, health = await client.post("/predict", files={"file": red_png}), (await client.get("/health")).json()
    assert answer.status_code == 200
    assert (health["provider"], health["fallback_reason"]) == ("CPUExecutionProvider", reason)
    assert asked[:2] == ["auto", "cpu"]


class BatchesRun(GatedSession):
    """Runs batches where CUDA would."""

    provider = "CUDAExecutionProvider"

    def bind(self, _: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        """One for every label, once the gate is open."""
        return lambda frames_HWC: self.run(np.stack(frames_HWC))


@pytest.mark.parametrize("workers", [1, 2])
async def test_processes_that_share_a_gpu_are_a_warning(
    model: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    """One process for each GPU is meant; on a CPU several are for HTTP."""
    app = create_app(
        Settings(model=model, device="cuda", tuning_seconds=0, workers=workers),
        lambda _: Detector(tiny_metadata(), BatchesRun(), FrameLimits()),
    )
    async with running(app):
        await wait_until(lambda: app.state.lifecycle.stage == "ready")
    assert any("all processes share one GPU" in message for message in caplog.messages) is (workers == 2)


async def test_cuda_that_fails_at_batches_fails_the_start(model: Path) -> None:
    asked: list[str] = []
    app = create_app(Settings(model=model, device="cuda", tuning_seconds=0), loaded_on(asked))
    async with running(app):
        await wait_until(lambda: app.state.lifecycle.stage == "failed")
    assert isinstance(app.state.lifecycle.failure, ProviderUnavailable)
    assert asked == ["cuda"]


def test_a_signal_while_plans_are_measured_ends_the_process_in_order(
    start_server: Callable[..., ServerProcess],
) -> None:
    """Measuring would go on for a minute and end with figures; nothing failed, so the code is 0."""
    server = start_server("--tuning-seconds", "60")
    server.wait_for_line("listening")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert any("loading stopped" in line for line in server.lines)
    assert not any(text in line for line in server.lines for text in ("Traceback", "plan measured", "ready"))


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


async def test_inference_workers_default_to_the_cpus_of_the_process(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.plan_choice.available_cpus", lambda: 3)
    async with open_client(inference_workers=0) as client:
        assert (await client.get("/health")).json()["queue"]["workers"] == 3


@pytest.fixture
def photograph(street_photograph: Path) -> bytes:
    """A real photograph's bytes."""
    return street_photograph.read_bytes()


async def test_real_photograph_is_answered(client: httpx.AsyncClient, photograph: bytes) -> None:
    reply = await client.post("/predict", files={"file": photograph})
    assert reply.status_code == 200
    assert reply.json()["frames"][0]["probabilities"].keys() == {"red", "green"}


# Red at 0.6 is near its threshold of 0.5.
NEAR_PNG = encoded(153, 0, 0)


async def kept_frames(client: httpx.AsyncClient, **outcomes: float) -> None:
    """Wait until the metric says what became of uncertain frames."""

    def counted() -> bool:
        registry = client.app.state.metrics.registry  # type: ignore[attr-defined]
        name = "roadcue_uncertain_frames_total"
        return all(registry.get_sample_value(name, {"outcome": key}) == count for key, count in outcomes.items())

    await wait_until(counted)


async def test_uncertain_frames_of_requests_are_kept_and_counted(
    open_client: OpenClient, tmp_path: Path, red_png: bytes
) -> None:
    """Of three frames, one certain and one broken; the group is the day."""
    async with open_client(uncertain=tmp_path / "kept", uncertain_licence="CC0-1.0") as client:
        files = [("files", red_png), ("files", NEAR_PNG), ("files", b"broken")]
        reply = await client.post("/predict", files=files)
        await kept_frames(client, kept=1.0)
        await client.post("/predict", content=NEAR_PNG, headers={"Content-Type": "image/png"})
        await kept_frames(client, kept=1.0, known=1.0)
    assert reply.status_code == 200
    (row,) = rows(tmp_path / "kept")
    assert (tmp_path / "kept" / row["image"]).read_bytes() == NEAR_PNG
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["group"])
    assert (row["red"], row["green"], row["licence"]) == ("", "", "CC0-1.0")


async def test_nothing_is_kept_unless_it_is_wanted(open_client: OpenClient) -> None:
    async with open_client() as client:
        await client.post("/predict", files={"file": NEAR_PNG})
        assert client.app.state.lifecycle.serving().keeper is None  # type: ignore[attr-defined]


async def test_frames_that_wait_are_written_before_the_process_ends(open_client: OpenClient, tmp_path: Path) -> None:
    """The second waits in the pause that follows the first."""
    async with open_client(uncertain=tmp_path / "kept") as client:
        await client.post("/predict", files={"file": NEAR_PNG})
        await kept_frames(client, kept=1.0)
        await client.post("/predict", files={"file": encoded(102, 0, 0)})
    assert len((tmp_path / "kept" / "labels.csv").read_text().splitlines()) == 3


async def test_a_full_disk_is_a_warning_and_a_number_and_requests_are_answered(
    open_client: OpenClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with open_client(uncertain=tmp_path / "kept") as client:
        monkeypatch.setattr("service.label_folder.intake.replace_file", full)
        reply = await client.post("/predict", files={"file": NEAR_PNG})
        await kept_frames(client, failed=1.0)
    assert reply.status_code == 200
    said = f"uncertain frames are not kept in {tmp_path / 'kept'}: [Errno 28] No space left on device"
    assert said in [record.message for record in caplog.records]


async def test_a_folder_for_uncertain_frames_that_cannot_be_used_fails_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    app = create_app(settings.model_copy(update={"uncertain": tmp_path / "file"}))
    async with running(app):
        await wait_until(lambda: app.state.lifecycle.stage == "failed")
    assert str(app.state.lifecycle.failure).startswith(f"uncertain frames cannot be kept in {tmp_path / 'file'}: ")


async def test_start_is_logged_with_the_precision_that_runs_and_why(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "service.app")
    async with open_client(variant="float32"):
        pass
    (ready,) = [record for record in caplog.records if record.message == "ready"]
    assert vars(ready)["precision"] == "float32"
    assert vars(ready)["precision_reason"] == "variant=float32 was asked for"
