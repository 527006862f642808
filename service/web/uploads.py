"""A request body -> named frame bytes, within limits that hold while the bytes arrive.

    multipart/form-data                                    every file in the fields `file` and `files` is a frame
    image/jpeg, image/png, image/webp,
    application/octet-stream                               the body is one frame; its format is read from its bytes

Nothing is written to disk, nothing beyond a limit is kept in memory, and nobody is waited for without end.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import ClientDisconnect

from service.errors import (
    DeadlineExceeded,
    FrameError,
    FrameTooLarge,
    MalformedMultipart,
    NoFrames,
    RequestTooLarge,
    TooManyFrames,
    UnexpectedField,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UploadTimeout,
)
from service.web.client_connection import connection_of
from service.web.file_names import DEFAULT_NAME, as_utf8, file_name
from service.web.upload_memory import UploadShare

MULTIPART: Final = "multipart/form-data"
RAW_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
FIELDS: Final = ("file", "files")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may hold, and how many seconds its body may take to arrive."""

    max_frame_bytes: int
    max_request_bytes: int
    max_frames: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class UploadedFrame:
    """The bytes of one frame, or in `error` why they were not kept."""

    name: str
    data: bytes
    error: FrameError | None = None


async def read_frames(
    request: Request, limits: UploadLimits, share: UploadShare, deadline_s: float = math.inf
) -> list[UploadedFrame]:
    """The frames of a request in their order, at least one; `share` holds their bytes.

    Raises RequestError for what spoils the whole request, UploadsFull when the memory of all requests is used up,
    DeadlineExceeded when the deadline (of time.monotonic) comes first, and starlette's ClientDisconnect when the client
    leaves.
    """
    connection = connection_of(request.scope)
    if connection and connection.has_sent_all:
        return await _read(request, limits, share)
    async with arriving(limits, share, deadline_s):
        return await _read(request, limits, share)


@asynccontextmanager
async def arriving(limits: UploadLimits, share: UploadShare, deadline_s: float) -> AsyncIterator[None]:
    """A block in which a body is read; raises UploadTimeout or DeadlineExceeded where that takes too long."""
    left_s = deadline_s - time.monotonic()
    try:
        async with asyncio.timeout(min(limits.timeout_s, left_s)):
            yield
    except TimeoutError as error:
        if left_s < limits.timeout_s:
            raise _deadline_passed(share.held_bytes) from error
        raise _too_late(limits.timeout_s, share.held_bytes) from error


async def _read(request: Request, limits: UploadLimits, share: UploadShare) -> list[UploadedFrame]:
    _refuse_encoding(request.headers)
    given = request.headers.get("content-type", "")
    content_type, options = (given, {}) if given in RAW_TYPES else parse_options_header(given)
    refuse_announced_size(request.headers, limits.max_request_bytes)
    if content_type == MULTIPART:
        return await _read_multipart(request, options.get("boundary", ""), limits, share)
    if content_type in RAW_TYPES:
        return [await _read_raw(request, limits, share)]
    raise _unsupported_type(given)


def _refuse_encoding(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedContentEncoding(
            f"the body came with Content-Encoding {encoding!r}; allowed is identity", allowed=["identity"]
        )


def refuse_announced_size(headers: Mapping[str, str], limit: int) -> None:
    """Raises RequestTooLarge where Content-Length is beyond the limit."""
    announced = _announced_bytes(headers)
    if announced > limit:
        raise request_too_large(announced, limit)


def _announced_bytes(headers: Mapping[str, str]) -> int:
    """Content-Length in bytes; 0 where there is none (chunked bodies are counted as they arrive)."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def request_too_large(received: int, limit: int) -> RequestTooLarge:
    """The error of a body that holds so many bytes or more."""
    return RequestTooLarge(
        f"the request holds {received} bytes or more; allowed are {limit}", received_bytes=received, limit_bytes=limit
    )


def frame_too_large(name: str, received: int, limit: int) -> FrameTooLarge:
    """The error of a frame that holds so many bytes or more."""
    message = f"{name} holds {received} bytes or more; allowed are {limit} a frame"
    return FrameTooLarge(message, received_bytes=received, limit_bytes=limit)


def too_many_frames(limit: int) -> TooManyFrames:
    """The error of a request that holds more frames than the limit."""
    return TooManyFrames(f"the request holds more than {limit} frames; allowed are {limit}", limit_frames=limit)


def _too_late(timeout_s: float, kept_bytes: int) -> UploadTimeout:
    message = f"the body did not arrive within {timeout_s:g} seconds; {kept_bytes} bytes of frames did"
    return UploadTimeout(message, timeout_seconds=timeout_s, received_bytes=kept_bytes)


def _deadline_passed(kept_bytes: int) -> DeadlineExceeded:
    message = f"the body did not arrive by the request's deadline; {kept_bytes} bytes of frames did. Allow more time"
    return DeadlineExceeded(message, received_bytes=kept_bytes)


def _unsupported_type(content_type: str) -> UnsupportedContentType:
    came = f"the body came as {content_type!r}" if content_type else "the body came without Content-Type"
    hint = "; with curl, write -F file=@frame.jpg" if content_type == "application/x-www-form-urlencoded" else ""
    allowed = [MULTIPART, *RAW_TYPES]
    return UnsupportedContentType(f"{came}; allowed are {', '.join(allowed)}{hint}", allowed=allowed)


async def chunks_within(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks as they arrive; raises RequestTooLarge with the first byte beyond the limit."""
    received = 0
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            received += len(chunk)
            if received > limit:
                raise request_too_large(received, limit)
            yield chunk


async def _read_raw(request: Request, limits: UploadLimits, share: UploadShare) -> UploadedFrame:
    disposition = request.headers.get("content-disposition")
    name = file_name(as_utf8(disposition)) if disposition else DEFAULT_NAME
    part = _Part(name, limits.max_frame_bytes, share)
    announced = _announced_bytes(request.headers)
    if announced > part.limit:
        raise frame_too_large(part.name, announced, part.limit)
    share.refuse_without_room(announced)
    # A frame may hold no more than a request: the bound on the frame is the bound on the body.
    more = True
    while more and not part.too_large:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part.add(message.get("body", b""))
        more = message.get("more_body", False)
    return part.frame()


async def _read_multipart(
    request: Request, boundary: str, limits: UploadLimits, share: UploadShare
) -> list[UploadedFrame]:
    if not boundary:
        raise MalformedMultipart("the Content-Type names no boundary; send multipart/form-data; boundary=...")
    form = _Form(boundary, limits, share)
    try:
        async with aclosing(chunks_within(request, limits.max_request_bytes)) as chunks:
            async for chunk in chunks:
                form.feed(chunk)
        return form.close()
    except MultipartError as error:
        raise MalformedMultipart(f"the multipart body cannot be read: {error}") from error


@dataclass(slots=True)
class _Part:
    """One frame as it arrives; what lies beyond the limit is counted, not kept."""

    name: str
    limit: int
    share: UploadShare
    text_field: str | None = None
    may_be_blank: bool = False
    received: int = 0
    # The first chunk as it came, as most frames are one; then one block and not a list of chunks: a client may send its
    # bytes one by one.
    kept: bytes | bytearray = b""

    @property
    def too_large(self) -> bool:
        return self.received > self.limit

    def add(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.too_large:
            self.share.give_back(len(self.kept))
            self.kept = b""
        else:
            self.share.take(len(chunk))
            self._keep(chunk)

    def frame(self) -> UploadedFrame:
        if self.too_large:
            return UploadedFrame(self.name, b"", frame_too_large(self.name, self.received, self.limit))
        data, self.kept = bytes(self.kept), b""
        return UploadedFrame(self.name, data)

    def _keep(self, chunk: bytes) -> None:
        if not self.kept:
            self.kept = chunk
            return
        if isinstance(self.kept, bytes):
            self.kept = bytearray(self.kept)
        self.kept += chunk


class _Form:
    """A multipart body as it arrives, turned into frames."""

    def __init__(self, boundary: str, limits: UploadLimits, share: UploadShare) -> None:
        self._limits, self._share = limits, share
        self._parser = PushMultipartParser(boundary)
        self._frames: list[UploadedFrame] = []
        self._part: _Part | None = None
        self._begun = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        for event in self._events(chunk):
            if isinstance(event, MultipartSegment):
                self._part = self._begin(event)
            elif self._part is None:
                continue
            elif event is None:
                self._end(self._part)
            else:
                self._take(self._part, bytes(event))

    def close(self) -> list[UploadedFrame]:
        """The frames of the complete body. Raises MalformedMultipart when it is cut off, NoFrames when it has none."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise MalformedMultipart("the multipart body ends before its last boundary; send all of it") from error
        if not self._frames:
            raise NoFrames(f"the form holds no file; send at least one in a field named {' or '.join(FIELDS)}")
        return self._frames

    def _events(self, chunk: bytes) -> Iterator[MultipartSegment | bytes | None]:
        # The parser takes an empty chunk for the end of the body; the server sends them in between, too.
        return iter(()) if not chunk else self._parser.parse(chunk)

    def _begin(self, segment: MultipartSegment) -> _Part:
        if segment.name not in FIELDS:
            allowed = " and ".join(FIELDS)
            raise UnexpectedField(f"the form has a field {segment.name!r}; allowed are {allowed}", allowed=FIELDS)
        disposition = segment.header("Content-Disposition", "")
        is_file = "filename" in disposition.lower() or segment.content_type not in (None, "text/plain")
        part = _Part(
            file_name(disposition),
            self._limits.max_frame_bytes,
            self._share,
            text_field=None if is_file else segment.name,
            may_be_blank=not is_file or segment.filename == "",
        )
        self._begun += 1
        self._refuse_too_many(part)
        return part

    def _take(self, part: _Part, chunk: bytes) -> None:
        if part.text_field:
            curl = f"with curl, write -F {part.text_field}=@frame.jpg"
            raise UnexpectedField(f"the field {part.text_field!r} is text, not a file; {curl}", allowed=FIELDS)
        if len(self._frames) == self._limits.max_frames:
            raise too_many_frames(self._limits.max_frames)
        part.add(chunk)

    def _end(self, part: _Part) -> None:
        # Browsers and Swagger UI send an input that was left empty as a part without name and bytes.
        if part.received or not part.may_be_blank:
            self._frames.append(part.frame())

    def _refuse_too_many(self, part: _Part) -> None:
        limit = self._limits.max_frames
        is_full = len(self._frames) == limit and not part.may_be_blank
        # Inputs left empty are no frames, but a form has no more of them than it has fields.
        if is_full or self._begun > limit + len(FIELDS):
            raise too_many_frames(self._limits.max_frames)
