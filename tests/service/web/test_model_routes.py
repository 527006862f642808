"""GET /model."""

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_model_card_tells_all_but_the_self_test(client: httpx.AsyncClient) -> None:
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
    assert card["figures"] == []
    assert "self_test" not in card
