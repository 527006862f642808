"""The body of an inference request, read piece by piece: what cannot be taken is refused before it is kept.

    Inference-Header-Content-Length: n    n bytes of JSON, then the tensors
    Inference-Header-Content-Length: 0    one encoded frame and nothing else
    without it                            JSON alone

It may be compressed with gzip or deflate; the limits then hold for what comes out as well.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

from fastapi import Request

from service.errors import InvalidInferenceRequest, RequestTooLarge, UnsupportedContentEncoding
from service.web.upload_memory import UploadShare
from service.web.uploads import chunks_within, refuse_announced_size, request_too_large

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
# What zlib is to expect: RFC 9110, 8.4.1.2 means by deflate what RFC 1950 calls zlib.
_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
CODINGS: Final = ("identity", *_WINDOW_BITS)
# A few bytes can stand for a thousand times as many: they come out in pieces, and others get their turn in between.
PIECE_BYTES: Final = 256 * 1024


class InferenceBody:
    """A body in the order in which it comes; what is read of it is held by the share."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], max_bytes: int, share: UploadShare) -> None:
        self._chunks, self._max_bytes, self._share = chunks, max_bytes, share
        self._received = 0
        self._waiting = memoryview(b"")

    async def read(self, size: int, what: str) -> bytearray:
        """The next `size` bytes, which are of `what`. Raises InvalidInferenceRequest when the body ends before."""
        kept = bytearray()
        while len(kept) < size:
            if not await self._has_more():
                raise InvalidInferenceRequest(f"the body ends after {len(kept)} of the {size} bytes of {what}")
            kept += self._take(size - len(kept))
        return kept

    async def read_rest(self, limit: int, hint: str = "") -> bytearray:
        """All that is left. Raises RequestTooLarge when it is more than `limit` bytes; `hint` says what to do then."""
        kept = bytearray()
        while await self._has_more():
            if len(kept) + len(self._waiting) > limit:
                message = f"the body holds more than {limit} bytes{hint}"
                raise RequestTooLarge(message, limit_bytes=limit)
            kept += self._take(limit)
        return kept

    async def end(self) -> None:
        """The body has to end here, and is read to its end. Raises InvalidInferenceRequest otherwise."""
        if await self._has_more():
            raise InvalidInferenceRequest(
                "the body goes on after its last tensor; binary_data_size says how long each is"
            )

    async def _has_more(self) -> bool:
        while not self._waiting:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return False
            self._received += len(chunk)
            if self._received > self._max_bytes:
                raise request_too_large(self._received, self._max_bytes)
            self._waiting = memoryview(chunk)
        return True

    def _take(self, most: int) -> memoryview:
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        self._share.take(len(taken))
        return taken


@asynccontextmanager
async def opened(request: Request, max_bytes: int, share: UploadShare) -> AsyncIterator[InferenceBody]:
    """The request's body, decompressed. Raises UnsupportedContentEncoding and RequestTooLarge."""
    coding = request.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding not in CODINGS:
        allowed = ", ".join(CODINGS)
        message = f"the body came with Content-Encoding {coding!r}; allowed are {allowed}"
        raise UnsupportedContentEncoding(message, allowed=CODINGS)
    refuse_announced_size(request.headers, max_bytes)
    async with aclosing(chunks_within(request, max_bytes)) as raw, aclosing(decoded(raw, coding)) as chunks:
        yield InferenceBody(chunks, max_bytes, share)


def decoded(chunks: AsyncGenerator[bytes, None], coding: str) -> AsyncGenerator[bytes, None]:
    """The body without its coding, in pieces. Raises InvalidInferenceRequest where it is damaged, cut or goes on."""
    return chunks if coding == "identity" else _inflated(chunks, coding)


async def _inflated(chunks: AsyncGenerator[bytes, None], coding: str) -> AsyncGenerator[bytes, None]:
    inflater = zlib.decompressobj(_WINDOW_BITS[coding])
    async for chunk in chunks:
        while chunk:
            yield _inflate(inflater, chunk, coding)
            chunk = inflater.unconsumed_tail
            await asyncio.sleep(0)
    yield inflater.flush()
    if not inflater.eof:
        raise InvalidInferenceRequest(f"the body ends before the end of its {coding} data")


def _inflate(inflater: "zlib._Decompress", chunk: bytes, coding: str) -> bytes:
    try:
        piece = inflater.decompress(chunk, PIECE_BYTES)
    except zlib.error as error:
        raise InvalidInferenceRequest(f"the body is no {coding} data: {error}") from error
    if inflater.unused_data:
        raise InvalidInferenceRequest(f"the body goes on after the end of its {coding} data")
    return piece


def header_length(headers: Mapping[str, str]) -> int | None:
    """Bytes of JSON before the tensors; None where there is JSON alone. Raises InvalidInferenceRequest."""
    given = headers.get(HEADER_LENGTH)
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise InvalidInferenceRequest(f"{HEADER_LENGTH} is {given!r}; allowed: a whole number of bytes")
    return int(given)
