"""Compressed bodies: what comes out counts, and what is damaged is refused."""

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from service.web.open_inference.body import HEADER_LENGTH
from tests.service.conftest import OpenClient
from tests.service.web.open_inference.inference_requests import (
    INFER,
    binary_encoded,
    refused,
    with_bytes,
)

pytestmark = pytest.mark.anyio


async def test_compressed_bytes_cannot_hide_more_than_allowed(open_client: OpenClient) -> None:
    async with open_client(max_frame_bytes=1024, max_request_bytes=4096) as client:
        bomb = gzip.compress(bytes(10_000_000))
        assert len(bomb) > 4096
        small = gzip.compress(bytes(100_000))
        assert len(small) < 4096
        assert (await refused(client, content=bomb, headers={"Content-Encoding": "gzip"}))[0] == 413
        status, error = await refused(
            client, content=small, headers={"Content-Encoding": "gzip", HEADER_LENGTH: "50000"}
        )
        assert (status, "allowed are 4096" in error) == (413, True)


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
async def test_body_may_come_in_pieces_of_any_size(client: httpx.AsyncClient, red_png: bytes, coding: str) -> None:
    whole = with_bytes(binary_encoded(len(red_png) + 4), len(red_png).to_bytes(4, "little") + red_png)
    content = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding](whole["content"])

    async def pieces() -> AsyncIterator[bytes]:
        for byte in content:
            yield bytes([byte])
            yield b""

    reply = await client.post(INFER, content=pieces(), headers={**whole["headers"], "Content-Encoding": coding})
    assert reply.json()["outputs"][0]["data"] == [1.0, 0.0]


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
async def test_other_codings_are_refused_with_those_there_are(client: httpx.AsyncClient, coding: str) -> None:
    reply = await client.post(INFER, content=b"{}", headers={"Content-Encoding": coding})
    assert reply.status_code == 415
    assert reply.headers["accept-encoding"] == "identity, gzip, deflate"
    assert reply.json() == {
        "error": f"the body came with Content-Encoding {coding!r}; allowed are identity, gzip, deflate"
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "the body is no gzip data"),
        (gzip.compress(b"{}" * 100, mtime=0)[:-12], "the body ends before the end of its gzip data"),
        (gzip.compress(b"{}", mtime=0) + b"{}", "the body goes on after the end of its gzip data"),
    ],
)
async def test_damaged_compression_is_refused(client: httpx.AsyncClient, content: bytes, message: str) -> None:
    status, error = await refused(client, content=content, headers={"Content-Encoding": "gzip"})
    assert (status, message in error) == (400, True), error
