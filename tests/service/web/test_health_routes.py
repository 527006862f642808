"""Live, ready, health and metrics."""

import threading

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app, detector_of
from service.inference.detector import Detector
from service.settings import Settings
from tests.service.conftest import OpenClient, running, wait_until

pytestmark = pytest.mark.anyio


async def test_ready_service_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "live"}
    assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_health_tells_provider_model_uptime_and_queue(client: httpx.AsyncClient) -> None:
    reply = await client.get("/health")
    body = reply.json()
    assert reply.status_code == 200
    assert body.pop("uptime_seconds") > 0
    assert body == {
        "status": "ready",
        "live": True,
        "ready": True,
        "model": {"name": "tiny", "version": "0.0.1"},
        "provider": "CPUExecutionProvider",
        "fallback_reason": None,
        "queue": {"waiting_frames": 0, "running_frames": 0, "max_waiting_frames": 128, "workers": 1},
    }


async def test_loading_service_is_live_and_refuses_frames_until_ready(settings: Settings, red_png: bytes) -> None:
    loading = threading.Event()

    def load_later(settings: Settings) -> Detector:
        assert loading.wait(30)
        return detector_of(settings)

    app = create_app(settings, load_later)
    async with running(app) as client:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        refused, card = await client.post("/predict", files={"file": red_png}), await client.get("/model")
        health = (await client.get("/health")).json()
        metrics = (await client.get("/metrics")).text
        loading.set()
        await wait_until(lambda: app.state.lifecycle.stage == "ready")
        answered = await client.post("/predict", files={"file": red_png})
    assert live.status_code == 200
    assert [reply.status_code for reply in (ready, refused, card)] == [503] * 3
    assert {reply.json()["code"] for reply in (ready, refused, card)} == {"not_ready"}
    assert refused.headers["retry-after"] == "1"
    assert (health["status"], health["ready"], health["model"], health["queue"]) == ("loading", False, None, None)
    assert "roadcue_ready 0.0" in metrics
    assert answered.status_code == 200


async def test_draining_service_is_live_refuses_ready_and_still_answers(
    client: httpx.AsyncClient, red_png: bytes
) -> None:
    client.app.state.lifecycle.draining = True  # type: ignore[attr-defined]
    live, ready = await client.get("/health/live"), await client.get("/health/ready")
    answered = await client.post("/predict", files={"file": red_png})
    assert (live.status_code, ready.status_code, answered.status_code) == (200, 503, 200)
    assert ready.json()["code"] == "draining"
    assert answered.headers["connection"] == "close"
    assert "roadcue_draining 1.0" in (await client.get("/metrics")).text


async def test_service_whose_worker_died_is_not_ready(client: httpx.AsyncClient) -> None:
    client.app.state.lifecycle.loaded.scheduler.close()  # type: ignore[attr-defined]
    reply = await client.get("/health/ready")
    assert reply.status_code == 503
    assert "a worker has died" in reply.json()["detail"]


async def test_service_whose_device_is_lost_says_so_and_answers_503(client: httpx.AsyncClient, red_png: bytes) -> None:
    queue = client.app.state.lifecycle.loaded.scheduler._queue  # type: ignore[attr-defined]
    queue.break_off("the device answers nothing any more: CUDA failure 700")
    ready, answer = await client.get("/health/ready"), await client.post("/predict", files={"file": red_png})
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert "CUDA failure 700; the process needs a restart" in ready.json()["detail"]
    assert "700" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_probe_may_use_head(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_fallback_to_the_cpu_is_told_everywhere(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With device=auto and no CUDA: in the log, /health, /model and the metrics."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    caplog.set_level("INFO")
    async with open_client(device="auto") as client:
        health, model = (await client.get("/health")).json(), (await client.get("/model")).json()
        metrics = (await client.get("/metrics")).text
    reason = "this build of ONNX Runtime has no CUDA provider"
    assert (health["provider"], health["fallback_reason"]) == ("CPUExecutionProvider", reason)
    assert (model["provider"], model["fallback_reason"]) == ("CPUExecutionProvider", reason)
    assert f'roadcue_provider_info{{fallback_reason="{reason}",provider="CPUExecutionProvider"}} 1.0' in metrics
    assert any("serves on the CPU" in record.message and record.reason == reason for record in caplog.records)  # type: ignore[attr-defined]


async def test_metrics_are_valid_and_follow_prometheus_names(client: httpx.AsyncClient) -> None:
    await client.get("/absent/1")
    await client.get("/absent/2")
    reply = await client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert {"roadcue_http_requests", "roadcue_frames", "roadcue_queue_frames", "roadcue_model_info"} <= families.keys()
    unmatched = [s for s in families["roadcue_http_requests"].samples if s.labels.get("route") == "unmatched"]
    assert [s.value for s in unmatched if s.name.endswith("_total")] == [2]


async def test_applications_do_not_share_metrics(open_client: OpenClient) -> None:
    async with open_client() as first, open_client() as second:
        await first.get("/model")
        assert 'route="/model"' not in (await second.get("/metrics")).text
