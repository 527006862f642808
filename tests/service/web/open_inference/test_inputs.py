"""Tensors of a request that fit the model, and those that do not."""

import base64
import random
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from service.web.open_inference.body import HEADER_LENGTH, InferenceBody
from service.web.open_inference.documents import InputDocument
from service.web.open_inference.inputs import read_frames
from service.web.uploads import UploadLimits
from tests.service.conftest import OpenClient, encoded
from tests.service.web.open_inference.inference_requests import (
    INFER,
    base64_request,
    binary_encoded,
    binary_pixels,
    pixel_request,
    refused,
    with_bytes,
)
from tests.tiny_model import HEIGHT, WIDTH

pytestmark = pytest.mark.anyio


async def test_flat_data_is_the_same_as_nested(client: httpx.AsyncClient) -> None:
    flat = [204, 51, 0] * (HEIGHT * WIDTH)
    tensor = {"name": "frames", "shape": [1, HEIGHT, WIDTH, 3], "datatype": "UINT8", "data": flat}
    body = (await client.post(INFER, json={**pixel_request(), "inputs": [tensor]})).json()
    assert body["outputs"][0]["data"] == [0.8, 0.2]


async def test_encoded_frame_in_json_is_base64(client: httpx.AsyncClient, red_png: bytes) -> None:
    body = (await client.post(INFER, json=base64_request(base64.b64encode(red_png).decode()))).json()
    assert body["outputs"][0]["data"] == [1.0, 0.0]


async def test_each_encoded_frame_follows_its_length(client: httpx.AsyncClient, red_png: bytes) -> None:
    frames = [red_png, encoded(0, 255, 0)]
    elements = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
    reply = await client.post(INFER, **with_bytes(binary_encoded(len(elements), 2), elements))
    assert reply.json()["outputs"][0]["data"] == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": [1, 2]}, f"data of frames has 2 elements; the shape [1, {HEIGHT}, {WIDTH}, 3] needs 288"),
        ({"data": [256] * 288}, "data of frames must be whole numbers from 0 to 255: bytes must be in range(0, 256)"),
        ({"data": [0.5] * 288}, "data of frames must be whole numbers from 0 to 255: 'float' object"),
        ({"data": [[1], 2]}, "data of frames mixes arrays and elements; nest it like the shape, or not"),
        ({"data": None}, "the input frames needs either data or the parameter binary_data_size"),
        ({"parameters": {"binary_data_size": 288}}, "the input frames needs either data or the parameter"),
        (
            {"data": None, "parameters": {"binary_data_size": 288}},
            "binary_data_size is 288, but the header Inference-Header-Content-Length is missing",
        ),
        ({"data": None, "parameters": {"binary_data_size": "x"}}, "binary_data_size is 'x'; allowed: a whole number"),
        ({"shape": [0, HEIGHT, WIDTH, 3]}, "which holds no frame; send at least one"),
        ({"shape": [-1]}, "inputs.0.shape.0: Input should be greater than or equal to 0"),
    ],
)
async def test_tensor_that_does_not_fit_is_refused(
    client: httpx.AsyncClient, changed: dict[str, Any], message: str
) -> None:
    request = pixel_request()
    request["inputs"][0].update(changed)
    status, error = await refused(client, json=request)
    assert (status, message in error) == (400, True), error


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (with_bytes(binary_pixels(5), b"12345"), "binary_data_size of frames is 5; the shape [1, 8, 12, 3] needs 288"),
        (with_bytes(binary_pixels(), bytes(200)), "the body ends after 200 of the 288 bytes of frames"),
        (with_bytes(binary_pixels(), bytes(289)), "the body goes on after its last tensor"),
        (with_bytes(binary_encoded(3), b"123"), "frame 1 of 1 goes beyond binary_data_size, which is 3"),
        (with_bytes(binary_encoded(8), b"\x09\0\0\0abcd"), "frame 1 of 1 goes beyond binary_data_size, which is 8"),
        (with_bytes(binary_encoded(8), b"\x01\0\0\0abcd"), "is 8, but its frames end 3 bytes before"),
        ({"content": b"{}", "headers": {HEADER_LENGTH: "x"}}, "is 'x'; allowed: a whole number of bytes"),
        ({"content": b"{}", "headers": {HEADER_LENGTH: "9"}}, "the body ends after 2 of the 9 bytes of JSON"),
    ],
)
async def test_bytes_that_do_not_add_up_are_refused(
    client: httpx.AsyncClient, request_: dict[str, Any], message: str
) -> None:
    status, error = await refused(client, **request_)
    assert (status, message in error) == (400, True), error


class SlowBody(InferenceBody):
    """A body that is not at its end yet; it notes what its input still holds by then."""

    def __init__(self, given: InputDocument) -> None:
        self._given = given
        self.held: list[Any] | None = None

    async def end(self) -> None:
        self.held = self._given.data


@pytest.mark.parametrize("data", [[1, 2, 3], [[[[1, 2, 3]]]]], ids=["flat", "nested"])
async def test_numbers_of_json_are_dropped_before_the_end_of_the_body_is_awaited(data: list[Any]) -> None:
    """They take many times the memory of their text, and the client decides when it ends."""
    given = InputDocument(name="frames", shape=[1, 1, 1, 3], datatype="UINT8", data=data)
    body = SlowBody(given)
    (frame,) = await read_frames(given, body, UploadLimits(1024, 1024, 1, 1.0), behind_json=True)
    assert np.array_equal(frame, [[[1, 2, 3]]])
    assert not body.held


@pytest.mark.parametrize("text", ["kein Bild", 7, None])
async def test_frame_that_is_no_base64_is_refused(client: httpx.AsyncClient, text: object) -> None:
    status, error = await refused(client, json=base64_request(text))
    assert status == 400
    assert error.startswith("frame 1 of 1 is n")


async def test_limits_are_those_of_predict(open_client: OpenClient, red_png: bytes) -> None:
    limits = {"max_frame_bytes": 1024, "max_frames_per_request": 2, "max_request_bytes": 4096, "max_json_bytes": 1024}
    async with open_client(**limits) as client:
        large = struct.pack("<I", 1025) + bytes(1025)
        assert (await refused(client, **with_bytes(binary_encoded(len(large)), large))) == (
            413,
            "frame 1 of 1 holds 1025 bytes or more; allowed are 1024 a frame",
        )
        status, error = await refused(client, **with_bytes(binary_pixels(1200, (1, 20, 20, 3)), bytes(1200)))
        assert (status, error.partition(" bytes")[0]) == (413, "a frame of shape [20, 20, 3] holds 1200")
        assert await refused(client, json=base64_request(*["AA=="] * 3)) == (
            413,
            "the request holds more than 2 frames; allowed are 2",
        )
        assert await refused(client, content=bytes(5000)) == (
            413,
            "the request holds 5000 bytes or more; allowed are 4096",
        )
        assert await refused(client, content=bytes(1025)) == (
            413,
            "the body holds more than 1024 bytes; send tensors as binary data behind the JSON",
        )
        assert (await refused(client, content=bytes(1025), headers={HEADER_LENGTH: "1025"}))[0] == 413
        assert (await refused(client, content=bytes(1025), headers={HEADER_LENGTH: "0"}))[0] == 413


async def test_no_damage_to_a_request_makes_the_service_fail(client: httpx.AsyncClient, red_png: bytes) -> None:
    """Bytes changed, cut out and doubled anywhere: an answer or a refusal, and nothing of it stays in memory."""
    chance = random.Random(7)
    element = len(red_png).to_bytes(4, "little") + red_png
    whole = [with_bytes(binary_encoded(len(element)), element), with_bytes(pixel_request())]
    statuses = set()
    for number in range(300):
        request = whole[number % 2]
        damaged = bytearray(request["content"])
        for _ in range(chance.randint(1, 3)):
            start, length = chance.randrange(len(damaged)), chance.randrange(9)
            damaged[start : start + length] = chance.choice(
                [chance.randbytes(length), b"", damaged[start : start + 2 * length]]
            )
        reply = await client.post(INFER, content=bytes(damaged), headers=request["headers"])
        assert reply.json().keys() in ({"error"}, {"model_name", "model_version", "outputs"})
        statuses.add(reply.status_code)
    assert {400} < statuses <= {200, 400, 413, 415, 422}
    assert "roadcue_upload_bytes 0.0" in (await client.get("/metrics")).text
