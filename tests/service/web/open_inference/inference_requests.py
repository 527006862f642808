"""Requests of the protocol by hand: one frame of 8 x 12 pixels, or encoded frames, for the tiny model."""

import json
from typing import Any

import httpx

from service.web.open_inference.body import HEADER_LENGTH
from tests.tiny_model import HEIGHT, WIDTH

INFER = "/v2/models/tiny/infer"
PURPLE = [[[204, 51, 0]] * WIDTH] * HEIGHT
"""Red 204/255 = 0.8, green 51/255 = 0.2."""


def pixel_request(**members: Any) -> dict[str, Any]:
    """One frame of pixels as nested JSON."""
    tensor = {"name": "frames", "shape": [1, HEIGHT, WIDTH, 3], "datatype": "UINT8", "data": [PURPLE]}
    return {"inputs": [tensor], "outputs": [{"name": "probabilities"}], **members}


def with_bytes(document: dict[str, Any], *tensors: bytes) -> dict[str, Any]:
    """The body and headers of a request whose tensors follow the JSON."""
    text = json.dumps(document).encode()
    headers = {HEADER_LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
    return {"content": b"".join((text, *tensors)), "headers": headers}


def binary_pixels(size: int = HEIGHT * WIDTH * 3, shape: tuple[int, ...] = (1, HEIGHT, WIDTH, 3)) -> dict[str, Any]:
    tensor = {"name": "frames", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    return {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}


def binary_encoded(size: int, frames: int = 1) -> dict[str, Any]:
    tensor = {
        "name": "encoded_frames",
        "shape": [frames],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": size},
    }
    return {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}


def base64_request(*texts: object) -> dict[str, Any]:
    tensor = {"name": "encoded_frames", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    return {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}


async def refused(client: httpx.AsyncClient, **request: Any) -> tuple[int, str]:
    """Status and message of a refusal, which has nothing but the protocol's one member."""
    reply = await client.post(INFER, **request)
    assert reply.headers["content-type"] == "application/json"
    assert reply.json().keys() == {"error"}
    return reply.status_code, reply.json()["error"]
