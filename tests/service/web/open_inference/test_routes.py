"""/v2 by hand, from the protocol's documents: what goes over the wire, byte for byte."""

import asyncio
import base64
import json
import struct

import httpx
import numpy as np
import pytest

from service.web.open_inference.body import HEADER_LENGTH
from tests.service.conftest import GatedSession, OpenClient, encoded, gated_load, wait_until
from tests.service.web.open_inference.inference_requests import (
    INFER,
    PURPLE,
    base64_request,
    binary_pixels,
    pixel_request,
    refused,
    with_bytes,
)
from tests.tiny_model import HEIGHT, WIDTH

pytestmark = pytest.mark.anyio


async def test_json_is_answered_with_json(client: httpx.AsyncClient) -> None:
    reply = await client.post(INFER, json=pixel_request(id="42"))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert HEADER_LENGTH not in reply.headers
    assert reply.json() == {
        "model_name": "tiny",
        "model_version": "0.0.1",
        "id": "42",
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.8, 0.2]}],
    }


async def test_without_outputs_all_of_them_come_and_without_id_none(client: httpx.AsyncClient) -> None:
    request = pixel_request()
    del request["outputs"]
    body = (await client.post("/v2/models/tiny/versions/0.0.1/infer", json=request)).json()
    assert "id" not in body
    assert [(output["name"], output["shape"]) for output in body["outputs"]] == [
        ("probabilities", [1, 2]),
        ("evidence", [1, 2, 2, 3]),
    ]
    assert body["outputs"][1]["data"] == [0.8] * 6 + [0.2] * 6


async def test_requests_are_counted_by_the_template_of_their_route(client: httpx.AsyncClient) -> None:
    """Alerts and the dashboard know them by it."""
    for path in (INFER, "/v2/models/tiny/versions/0.0.1/infer"):
        await client.post(path, json=pixel_request())
    counted = (await client.get("/metrics")).text
    for route in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        assert f'roadcue_http_requests_total{{method="POST",route="{route}",status="200"}} 1.0' in counted


async def test_bytes_follow_the_json_of_request_and_reply(client: httpx.AsyncClient) -> None:
    """Little-endian, row by row, in the order in which the outputs were asked for."""
    document = binary_pixels() | {"parameters": {"binary_data_output": True}}
    frame = np.asarray(PURPLE, np.uint8).tobytes()
    reply = await client.post(INFER, **with_bytes(document, frame))
    json_bytes = int(reply.headers[HEADER_LENGTH])
    assert reply.headers["content-type"] == "application/octet-stream"
    described = json.loads(reply.content[:json_bytes])["outputs"]
    assert described == [
        {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    ]
    assert struct.unpack("<2f", reply.content[json_bytes:]) == pytest.approx((0.8, 0.2))


async def test_own_choice_of_an_output_outweighs_that_for_all(client: httpx.AsyncClient) -> None:
    wanted = [{"name": "probabilities", "parameters": {"binary_data": False}}, {"name": "evidence"}]
    request = pixel_request(outputs=wanted, parameters={"binary_data_output": True})
    reply = await client.post(INFER, json=request)
    outputs = json.loads(reply.content[: int(reply.headers[HEADER_LENGTH])])["outputs"]
    assert outputs[0]["data"] == [0.8, 0.2]
    assert outputs[1]["parameters"] == {"binary_data_size": 2 * 2 * 3 * 4}


async def test_body_without_json_is_one_encoded_frame(client: httpx.AsyncClient, red_png: bytes) -> None:
    reply = await client.post(INFER, content=red_png, headers={HEADER_LENGTH: "0"})
    json_bytes = int(reply.headers[HEADER_LENGTH])
    outputs = json.loads(reply.content[:json_bytes])["outputs"]
    assert [output["name"] for output in outputs] == ["probabilities", "evidence"]
    assert struct.unpack("<2f", reply.content[json_bytes : json_bytes + 8]) == (1.0, 0.0)


async def test_until_the_model_is_loaded_all_but_live_is_503(open_client: OpenClient) -> None:
    async with open_client() as client:
        lifecycle = client.app.state.lifecycle  # type: ignore[attr-defined]
        serving, lifecycle._serving = lifecycle._serving, None
        for path in ("/v2/health/ready", "/v2/models/tiny", "/v2/models/tiny/ready", "/v2/models/tiny/config"):
            reply = await client.get(path)
            assert (reply.status_code, reply.json()) == (503, {"error": "the model is still being loaded"})
            assert reply.headers["retry-after"] == "1"
        assert (await refused(client, json=pixel_request()))[0] == 503
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2")).status_code == 200
        lifecycle._serving = serving
        lifecycle.draining = True
        assert (await client.get("/v2/models/tiny/ready")).status_code == 503
        assert (await client.post(INFER, json=pixel_request())).status_code == 200
        lifecycle.draining = False


async def test_ready_is_told_in_the_protocols_words(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await client.get("/v2/models/tiny/ready")).json() == {"name": "tiny", "ready": True}
    assert (await client.head("/v2/health/ready")).status_code == 200
    assert (await client.head("/v2/health/live")).status_code == 200


async def test_wrong_paths_and_methods_are_errors_of_the_protocol(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/nothing")).json() == {"error": "There is nothing at /v2/nothing"}
    wrong = await client.get(INFER)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json() == {"error": f"GET is not allowed at {INFER}; allowed: POST"}
    assert "error" not in (await client.get("/v2x")).json()


async def test_full_queue_is_429_with_retry_after(open_client: OpenClient, gated: GatedSession) -> None:
    async with open_client(gated_load(gated), max_queue_frames=1, max_frames_per_request=1) as client:
        first = asyncio.create_task(client.post(INFER, json=pixel_request()))
        await asyncio.to_thread(gated.entered.acquire)
        second = asyncio.create_task(client.post(INFER, json=pixel_request()))
        scheduler = client.app.state.lifecycle.loaded.scheduler  # type: ignore[attr-defined]
        await wait_until(lambda: scheduler.state().waiting_frames == 1)
        third = await client.post(INFER, json=pixel_request())
        assert (third.status_code, third.headers["retry-after"]) == (429, "1")
        gated.gate.set()
        assert [reply.status_code for reply in await asyncio.gather(first, second)] == [200, 200]


@pytest.mark.parametrize(
    ("headers", "parameters"),
    [
        ({"X-Timeout-Ms": "50"}, {}),
        ({}, {"timeout": 50_000}),
        ({"X-Timeout-Ms": "50"}, {"timeout": 60_000_000}),
        ({"X-Timeout-Ms": "60000"}, {"timeout": 50_000}),
    ],
)
async def test_sooner_of_header_and_parameter_is_the_deadline(
    open_client: OpenClient, gated: GatedSession, headers: dict[str, str], parameters: dict[str, int]
) -> None:
    async with open_client(gated_load(gated)) as client:
        status, error = await refused(client, json=pixel_request(parameters=parameters), headers=headers)
        assert (status, "deadline" in error) == (504, True), error
        gated.gate.set()


async def test_frames_are_counted_like_those_of_predict(client: httpx.AsyncClient) -> None:
    await client.post(INFER, json=pixel_request(), headers={"X-Request-ID": "mine"})
    reply = await client.post(INFER, json=base64_request("AAAA"))
    assert reply.status_code == 415
    scraped = (await client.get("/metrics")).text
    assert 'roadcue_frames_total{outcome="answered"} 1.0' in scraped
    assert 'roadcue_frames_total{outcome="unsupported_image"} 1.0' in scraped
    assert 'roadcue_http_requests_total{method="POST",route="/v2/models/{model}/infer",status="200"} 1.0' in scraped
    assert "roadcue_upload_bytes 0.0" in scraped


async def test_reply_tells_id_and_timing(client: httpx.AsyncClient) -> None:
    reply = await client.post(INFER, json=pixel_request(), headers={"X-Request-ID": "mine"})
    assert reply.headers["x-request-id"] == "mine"
    stages = [stage.partition(";")[0] for stage in reply.headers["server-timing"].split(", ")]
    assert stages == ["read", "queue", "decode", "inference", "total"]


async def test_uncertain_encoded_frames_are_kept_and_pixels_are_not(open_client: OpenClient, tmp_path: object) -> None:
    """Red 128/255 is near the threshold of 0.5; pixels have no file to keep."""
    near = encoded(128, 0, 0)
    async with open_client(uncertain=f"{tmp_path}/kept") as client:
        grey = [128] * (HEIGHT * WIDTH * 3)
        tensor = {"name": "frames", "shape": [1, HEIGHT, WIDTH, 3], "datatype": "UINT8", "data": grey}
        assert (await client.post(INFER, json={"inputs": [tensor]})).status_code == 200
        reply = await client.post(INFER, json=base64_request(base64.b64encode(near).decode()))
        assert reply.status_code == 200
        keeper = client.app.state.lifecycle.loaded.keeper  # type: ignore[attr-defined]
        await asyncio.to_thread(keeper.close)
        scraped = (await client.get("/metrics")).text
        assert 'roadcue_uncertain_frames_total{outcome="kept"} 1.0' in scraped
