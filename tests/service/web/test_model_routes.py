"""GET /model."""

import hashlib
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import OpenClient

pytestmark = pytest.mark.anyio


@pytest.fixture
def fingerprint(model: Path) -> str:
    """What `sha256sum tiny.onnx` begins with."""
    return hashlib.sha256(model.read_bytes()).hexdigest()[:8]


async def test_model_card_tells_all_but_the_self_test(client: httpx.AsyncClient, fingerprint: str) -> None:
    card = (await client.get("/model")).json()
    assert (card["name"], card["version"], card["precision"], card["licence"]) == (
        "tiny",
        "0.0.1",
        "float32",
        "Apache-2.0",
    )
    assert card["labels"] == [
        {"key": "red", "title": "red", "threshold": 0.5, "rule": {"metric": "f1", "at_least": None}},
        {"key": "green", "title": "green", "threshold": 0.5, "rule": {"metric": "f1", "at_least": None}},
    ]
    assert card["input"] == {"height": 8, "width": 12, "resize": "stretch"}
    assert card["evidence_grid"] == [2, 3]
    assert card["precision_reason"].startswith("auto takes float32: tiny.int8.onnx")
    assert card["provider"] == "CPUExecutionProvider"
    assert card["fingerprint"] == fingerprint
    assert card["figures"] == []
    assert "self_test" not in card


async def test_model_card_tells_how_the_model_runs_and_why(open_client: OpenClient) -> None:
    async with open_client(inference_workers=2, threads_per_worker=1, max_batch_frames=4) as client:
        execution = (await client.get("/model")).json()["execution"]
    assert execution == {
        "plan": {"inference_workers": 2, "threads_per_worker": 1, "batch_sizes": [1, 2, 4], "cuda_graphs": False},
        "reason": "every part of it is set",
        "origin": "pinned",
        "latency_target_ms": None,
        "measurements": None,
    }


async def test_model_card_holds_the_figures_that_were_measured(open_client: OpenClient, red_png: bytes) -> None:
    """At the start, with the tiny model; then the plan really runs."""
    async with open_client(max_batch_frames=1, tuning_seconds=1.0) as client:
        execution = (await client.get("/model")).json()["execution"]
        answer = await client.post("/predict", files={"file": red_png})
    assert execution["origin"] == "measured"
    assert execution["measurements"]["seconds"] > 0
    assert execution["plan"]["inference_workers"] == 1
    assert answer.json()["frames"][0]["labels"] == ["red"]
