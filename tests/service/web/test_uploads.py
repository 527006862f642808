"""Hostile and honest bodies, byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import (
    FrameTooLarge,
    MalformedMultipart,
    NoFrames,
    RequestTooLarge,
    TooManyFrames,
    UnexpectedField,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UploadsFull,
    UploadTimeout,
)
from service.web.upload_memory import UploadMemory, UploadShare
from service.web.uploads import UploadedFrame, UploadLimits, read_frames

pytestmark = pytest.mark.anyio

LIMITS = UploadLimits(max_frame_bytes=100, max_request_bytes=1000, max_frames=3, timeout_s=60)
FORM = "multipart/form-data; boundary=b"


def body_of(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """A multipart body of (Content-Disposition parameters, content) parts."""
    return b"".join(part(parameters, content) for parameters, content in parts) + end


def part(parameters: str, content: bytes, content_type: str = "") -> bytes:
    """One part of a multipart body."""
    typed = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"--b\r\nContent-Disposition: form-data; {parameters}\r\n{typed}\r\n".encode() + content + b"\r\n"


def file_part(content: bytes, name: str = "a.jpg", field: str = "file") -> tuple[str, bytes]:
    """A part that holds a file."""
    return f'name="{field}"; filename="{name}"', content


def a_share(limit_bytes: int = 10_000_000) -> UploadShare:
    """What one request holds, where no other does."""
    return UploadShare(UploadMemory(limit_bytes))


class Body:
    """A request whose body arrives in pieces; counts the pieces that were asked for."""

    def __init__(self, pieces: list[bytes], headers: dict[str, str]) -> None:
        self.taken = 0
        self._pieces = pieces
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "method": "POST", "path": "/predict", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, object]:
        piece = self._pieces[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self._pieces)}


async def frames_of(
    body: bytes, content_type: str | None = FORM, piece: int = 7, limits: UploadLimits = LIMITS, **headers: str
) -> list[UploadedFrame]:
    """The frames of a body that arrives in pieces of a few bytes."""
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)] or [b""]
    typed = {"Content-Type": content_type} if content_type is not None else {}
    return await read_frames(Body(pieces, {**typed, **headers}).request, limits, a_share())


async def test_files_of_both_fields_are_frames_in_their_order() -> None:
    body = body_of(file_part(b"one", "1.jpg"), file_part(b"two", "2.jpg", "files"), file_part(b"", "3.jpg"))
    assert await frames_of(body) == [
        UploadedFrame("1.jpg", b"one"),
        UploadedFrame("2.jpg", b"two"),
        UploadedFrame("3.jpg", b""),
    ]


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "IMAGE/WEBP; q=1", "application/octet-stream"])
async def test_raw_image_is_one_frame(content_type: str) -> None:
    assert await frames_of(b"image bytes", content_type) == [UploadedFrame("frame", b"image bytes")]


async def test_raw_image_is_named_by_content_disposition() -> None:
    frames = await frames_of(b"x", "image/png", **{"Content-Disposition": 'attachment; filename="a/b.png"'})
    assert frames[0].name == "b.png"


@given(content=st.binary(max_size=90), piece=st.integers(1, 200))
@settings(max_examples=50, deadline=None)
async def test_content_arrives_unchanged_whatever_it_holds(content: bytes, piece: int) -> None:
    if b"\r\n--b" in content:
        content = b""
    frames = await frames_of(body_of(file_part(content)), piece=piece)
    assert frames[0].data == content


async def test_too_large_frame_fails_alone() -> None:
    body = body_of(file_part(b"x" * 101, "big.jpg"), file_part(b"y" * 100, "fits.jpg"))
    big, fits = await frames_of(body)
    assert big.data == b""
    assert isinstance(big.error, FrameTooLarge)
    assert big.error.facts == {"received_bytes": 101, "limit_bytes": 100}
    assert fits == UploadedFrame("fits.jpg", b"y" * 100)


async def test_raw_frame_is_dropped_with_the_first_byte_too_many() -> None:
    body = Body([b"x" * 60, b"x" * 60, b"never asked for"], {"Content-Type": "image/png"})
    frame = (await read_frames(body.request, LIMITS, a_share()))[0]
    assert isinstance(frame.error, FrameTooLarge)
    assert body.taken == 2


@pytest.mark.parametrize(
    ("content_type", "announced", "error"),
    [("image/png", "101", FrameTooLarge), ("image/png", "1001", RequestTooLarge), (FORM, "1001", RequestTooLarge)],
)
async def test_announced_size_is_refused_before_anything_is_read(
    content_type: str, announced: str, error: type[Exception]
) -> None:
    body = Body([b"never asked for"], {"Content-Type": content_type, "Content-Length": announced})
    with pytest.raises(error):
        await read_frames(body.request, LIMITS, a_share())
    assert body.taken == 0


async def test_request_too_large_is_refused_as_it_arrives() -> None:
    start = part('name="file"; filename="a"', b"")[:-2]
    body = Body([start, b"x" * 600, b"x" * 600, b"never asked for"], {"Content-Type": FORM})
    with pytest.raises(RequestTooLarge, match="allowed are 1000"):
        await read_frames(body.request, LIMITS, a_share())
    assert body.taken == 3


async def test_frame_beyond_the_allowed_number_refuses_the_request() -> None:
    with pytest.raises(TooManyFrames, match="more than 3 frames"):
        await frames_of(body_of(*[file_part(b"x")] * 4))


async def test_ten_thousand_parts_are_refused_at_the_first_too_many() -> None:
    pieces = [part(*file_part(b"")) for _ in range(10_000)]
    body = Body(pieces, {"Content-Type": FORM})
    with pytest.raises(TooManyFrames):
        await read_frames(body.request, UploadLimits(100, 10_000_000, 64, 60), a_share())
    assert body.taken <= 66


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('name="image"; filename="a.jpg"', "has a field 'image'; allowed are file and files"),
        ('name="comment"', "has a field 'comment'"),
        ('filename="a.jpg"', "has a field ''"),
        ('name="file"', "the field 'file' is text, not a file; with curl, write -F file=@frame.jpg"),
    ],
)
async def test_foreign_field_is_refused_by_name(parameters: str, message: str) -> None:
    with pytest.raises(UnexpectedField, match=message.replace("(", r"\(")):
        await frames_of(body_of((parameters, b"x")))


async def test_image_part_without_file_name_is_a_frame() -> None:
    body = part('name="file"', b"x", "image/jpeg") + b"--b--\r\n"
    assert await frames_of(body) == [UploadedFrame("frame", b"x")]


@pytest.mark.parametrize("blank", [file_part(b"", ""), ('name="file"', b"")])
async def test_file_input_left_empty_is_no_frame(blank: tuple[str, bytes]) -> None:
    """Browsers send it as a file without name and bytes, Swagger UI as an empty text."""
    body = body_of(blank, file_part(b"x", "a.jpg", "files"))
    assert [frame.name for frame in await frames_of(body)] == ["a.jpg"]


async def test_input_left_empty_takes_no_place_of_a_frame() -> None:
    body = body_of(file_part(b"", ""), *[file_part(b"x")] * 3, file_part(b"", ""))
    assert len(await frames_of(body)) == 3


async def test_frame_without_name_counts_like_any_other() -> None:
    with pytest.raises(TooManyFrames):
        await frames_of(body_of(*[file_part(b"x", "")] * 4))


async def test_ten_thousand_empty_inputs_are_refused() -> None:
    body = Body([part(*file_part(b"", "")) for _ in range(10_000)], {"Content-Type": FORM})
    with pytest.raises(TooManyFrames):
        await read_frames(body.request, UploadLimits(100, 10_000_000, 64, 60), a_share())
    assert body.taken <= 68


@pytest.mark.parametrize("body", [b"--b--\r\n", body_of(file_part(b"", ""))])
async def test_form_without_file_is_refused(body: bytes) -> None:
    with pytest.raises(NoFrames, match="file or files"):
        await frames_of(body)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (body_of(file_part(b"x")), "multipart/form-data"),
        (body_of(file_part(b"x")), "multipart/form-data; boundary="),
        (b"", FORM),
        (body_of(file_part(b"x"), end=b""), FORM),
        (body_of(file_part(b"x"), end=b"--b"), FORM),
        (body_of(file_part(b"x"))[:30], FORM),
        (b"no boundary in here", FORM),
        (body_of(file_part(b"x")), "multipart/form-data; boundary=other"),
        (b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n", FORM),
        (b"--b\r\nContent-Disposition: attachment; name=file\r\n\r\nx\r\n--b--\r\n", FORM),
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--\r\n", FORM),
        (b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--b--\r\n", FORM),
        (b"--b\r\n" + b"A: b\r\n" * 100 + b"\r\nx\r\n--b--\r\n", FORM),
        (b"--b\r\nA: " + b"b" * 10_000 + b"\r\n\r\nx\r\n--b--\r\n", FORM),
        (b"--b\nContent-Disposition: form-data; name=file\n\nx\n--b--\n", FORM),
    ],
)
async def test_malformed_multipart_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(MalformedMultipart):
        await frames_of(body, content_type, limits=UploadLimits(100, 100_000, 3, 60))


@given(body=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
async def test_no_body_breaks_the_parser(body: bytes) -> None:
    """Whatever arrives, the answer is frames or a named error."""
    with pytest.raises((MalformedMultipart, NoFrames, UnexpectedField)):
        await frames_of(b"--b\r\n" + body)


async def test_epilogue_is_ignored() -> None:
    assert len(await frames_of(body_of(file_part(b"x")) + b"epilogue")) == 1


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json", "image/gif", "multipart/mixed"])
async def test_foreign_content_type_is_refused_with_what_is_allowed(content_type: str | None) -> None:
    with pytest.raises(UnsupportedContentType, match="multipart/form-data, image/jpeg, image/png, image/webp"):
        await frames_of(b"x", content_type)


async def test_curl_data_upload_is_told_the_right_flag() -> None:
    with pytest.raises(UnsupportedContentType, match=r"-F file=@frame\.jpg"):
        await frames_of(b"x", "application/x-www-form-urlencoded")


async def test_compressed_body_is_refused() -> None:
    with pytest.raises(UnsupportedContentEncoding, match="'gzip'; allowed is identity"):
        await frames_of(b"x", "image/png", **{"Content-Encoding": "gzip"})


async def test_identity_encoding_is_no_encoding() -> None:
    assert await frames_of(b"x", "image/png", **{"Content-Encoding": "identity"}) == [UploadedFrame("frame", b"x")]


async def test_stream_is_closed_behind_a_refused_request() -> None:
    """No generator is left to the garbage collector."""
    closed = []

    class Watched(Request):
        async def stream(self) -> AsyncIterator[bytes]:
            try:
                async with aclosing(super().stream()) as chunks:
                    async for piece in chunks:
                        yield piece
            finally:
                closed.append(True)

    body = Body([b"x" * 60, b"x" * 60, b""], {"Content-Type": FORM})
    with pytest.raises(MalformedMultipart):
        await read_frames(Watched(body.request.scope, body.request.receive), LIMITS, a_share())
    assert closed == [True]


async def test_share_holds_the_bytes_of_the_frames_and_nothing_else() -> None:
    share = a_share()
    body = body_of(file_part(b"x" * 30), file_part(b"x" * 101), file_part(b"y" * 20))
    await read_frames(Body([body[:200], body[200:]], {"Content-Type": FORM}).request, LIMITS, share)
    assert share.held_bytes == 50


@pytest.mark.parametrize("pieces", [[b"x" * 60, b"x" * 60, b""], [b"x" * 120, b""]])
async def test_frame_that_is_dropped_holds_nothing(pieces: list[bytes]) -> None:
    share = a_share()
    await read_frames(Body(pieces, {"Content-Type": "image/png"}).request, LIMITS, share)
    assert share.held_bytes == 0


async def test_upload_beyond_the_memory_is_refused_as_it_arrives() -> None:
    body = Body([b"x" * 30, b"x" * 30, b"never asked for"], {"Content-Type": "image/png"})
    with pytest.raises(UploadsFull, match="30 bytes of frames are in memory, 30 more have no room; allowed are 50"):
        await read_frames(body.request, LIMITS, a_share(50))
    assert body.taken == 2


async def test_announced_upload_without_room_is_refused_before_anything_is_read() -> None:
    body = Body([b"never asked for"], {"Content-Type": "image/png", "Content-Length": "51"})
    with pytest.raises(UploadsFull):
        await read_frames(body.request, LIMITS, a_share(50))
    assert body.taken == 0


@pytest.mark.parametrize(
    ("content_type", "start"), [("image/png", b"x" * 30), (FORM, part('name="file"; filename="a"', b"x" * 30)[:-2])]
)
async def test_body_that_does_not_arrive_in_time_is_refused(content_type: str, start: bytes) -> None:
    first = [{"type": "http.request", "body": start, "more_body": True}]

    async def receive() -> dict[str, object]:
        return first.pop() if first else await asyncio.get_running_loop().create_future()

    headers = [(b"content-type", content_type.encode())]
    request = Request({"type": "http", "method": "POST", "path": "/predict", "headers": headers}, receive)
    with pytest.raises(UploadTimeout, match=r"within 0\.05 seconds") as refused:
        await read_frames(request, UploadLimits(100, 1000, 3, timeout_s=0.05), a_share())
    assert refused.value.facts["timeout_seconds"] == 0.05
