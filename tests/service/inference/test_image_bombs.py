"""No file costs more time or memory than its bytes and the limit on pixels allow."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from service.errors import DamagedImage, TooManyPixels, UnsupportedImage
from service.inference.decoding import (
    MAX_JPEG_SCANS,
    MAX_JPEG_SEGMENTS,
    MAX_JPEG_STRAY_BYTES,
    MAX_PNG_CHUNKS,
    FrameLimits,
    decode_frame,
)
from tests.service.inference.encoded_images import (
    JPEG,
    PILLOW_MAY_WARN,
    PNG,
    PROGRESSIVE,
    chunk,
    decoded,
    distance,
    encode,
    gradient,
    noise,
    png,
    with_orientation,
)

pytestmark = PILLOW_MAY_WARN


def announcing(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its header, and nothing behind it that would fit."""
    changed = bytearray(data)
    if data.startswith(b"\xff\xd8"):
        start = data.index(b"\xff\xc0") + 5
        changed[start : start + 4] = struct.pack(">HH", height, width)
    elif data.startswith(b"\x89PNG"):
        changed[8:33] = chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
    else:
        changed[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(changed)


ANIMATED_WEBP = encode(
    Image.new("RGB", (8, 8), "red"), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "lime")]
)
BOMBS = {
    form: announcing(data, 60_000, 60_000) for form, data in (("jpeg", JPEG), ("png", PNG), ("webp", ANIMATED_WEBP))
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_announced_size_above_the_limit_is_refused_from_the_header(data: bytes) -> None:
    with pytest.raises(TooManyPixels, match=r"60000 x 60000 = 3600000000 pixels; at most 1000000 are allowed"):
        decoded(data, 8, 12)


def test_announced_size_above_the_limit_reserves_no_memory() -> None:
    """In a process that may not have the 14 GB of such a picture."""
    program = (
        "import resource, sys; from service.errors import TooManyPixels;"
        "from service.inference.decoding import FrameLimits, decode_frame;"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30));"
        "data = sys.stdin.buffer.read()\n"
        "try: decode_frame(data, 8, 12, FrameLimits())\n"
        "except TooManyPixels: print('refused')"
    )
    for data in BOMBS.values():
        ran = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=120)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"refused\n", b"")


def test_size_at_the_limit_is_allowed() -> None:
    assert decode_frame(PNG, 8, 12, FrameLimits(60 * 80)).source_width == 80
    with pytest.raises(TooManyPixels, match="80 x 60 = 4800 pixels; at most 4799"):
        decode_frame(PNG, 8, 12, FrameLimits(60 * 80 - 1))


def test_limit_above_pillows_own_warns_of_nothing() -> None:
    """Pillow warns above 89 million pixels; ours is the only limit."""
    data = png(9_500, 1, 0, [bytes(1188)] * 9_500)
    assert decode_frame(data, 8, 12, FrameLimits(100_000_000)).source_height == 9_500


def test_text_bomb_gives_a_frame_or_a_frame_error() -> None:
    """64 MiB of text in 64 KiB of file, before and behind the pixels."""
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(64 << 20), 9))
    with pytest.raises(DamagedImage):
        decoded(png(1, 8, 2, [bytes(3)], before=text), 8, 12)
    with pytest.raises(DamagedImage):
        decoded(png(1, 8, 2, [bytes(3)], after=text), 8, 12)


def test_text_of_a_png_is_no_obstacle() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "an ordinary comment", zip=True)
    text.add_itxt("Title", "Straße", zip=True)
    np.testing.assert_array_equal(decoded(encode(gradient(6, 8), "PNG", pnginfo=text), 6, 8), gradient(6, 8))


def test_jpeg_with_a_flood_of_scans_is_refused() -> None:
    """Each further scan is a pass over all pixels for a few bytes."""
    scan = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    flood = PROGRESSIVE[:-2] + scan * MAX_JPEG_SCANS + b"\xff\xd9"
    with pytest.raises(UnsupportedImage, match=rf"scans; at most {MAX_JPEG_SCANS} are decoded"):
        decoded(flood, 60, 80)


def segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "piece",
    [segment(0xE1, b"Exif\0\0" + bytes(10)), segment(0xEA, b""), segment(0xFE, b""), b"\xff\xd0", b"\xff\xf0"],
    ids=["EXIF", "application", "comment", "restart", "extension"],
)
def test_jpeg_with_a_flood_of_segments_is_refused(piece: bytes) -> None:
    """A million of EXIF took Pillow minutes, each copying all before it; the last two kinds have no length."""
    for count in (MAX_JPEG_SEGMENTS, 200_000):
        with pytest.raises(UnsupportedImage, match=f"more segments before its pixels than the {MAX_JPEG_SEGMENTS}"):
            decoded(JPEG[:2] + piece * count + JPEG[2:], 60, 80)


@pytest.mark.parametrize("piece", [b"\xff", b"\0", b"\xff\0"], ids=["fill bytes", "junk", "escaped"])
def test_jpeg_with_a_flood_of_bytes_between_its_segments_is_refused(piece: bytes) -> None:
    start = JPEG.index(b"\xff\xdb")
    padded = JPEG[:start] + piece * 1000 + JPEG[start:]
    assert distance(decoded(padded, 60, 80), decoded(JPEG, 60, 80)) <= 1
    with pytest.raises(DamagedImage, match="bytes or more between its segments"):
        decoded(JPEG[:start] + piece * (MAX_JPEG_STRAY_BYTES + 1) + JPEG[start:], 60, 80)


def test_jpeg_with_all_that_cameras_and_editors_write_decodes() -> None:
    """A profile of 1 MB and a depth map of 6 MB in XMP, which makes about 120 segments, and a second picture."""
    extended = b"".join(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) for _ in range(100))
    rich = encode(
        gradient(60, 80),
        "MPO",
        quality=90,
        save_all=True,
        append_images=[Image.fromarray(gradient(60, 80))],
        exif=with_orientation(1),
        icc_profile=bytes(1_000_000),
        xmp=bytes(60_000),
        comment=b"a comment",
    )
    np.testing.assert_array_equal(decoded(rich[:2] + extended + rich[2:], 60, 80), decoded(JPEG, 60, 80))


@pytest.mark.parametrize("kind", [b"abCd", b"IDAT"])
def test_png_with_a_flood_of_chunks_is_refused(kind: bytes) -> None:
    flood = chunk(kind, b"") * 100_000
    for data in (
        png(1, 8, 2, [bytes(4)], before=flood),
        png(1, 8, 2, [bytes(4)], after=flood),
    ):
        with pytest.raises(UnsupportedImage, match=f"and {MAX_PNG_CHUNKS} are read"):
            decoded(data, 8, 12)


def test_png_whose_pixels_come_in_many_chunks_decodes() -> None:
    """Four thousand of 1 KiB each."""
    frame_HWC = noise(1000, 1300)
    whole = encode(frame_HWC, "PNG", compress_level=0)
    start = whole.index(b"IDAT") - 4
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in frame_HWC), 0)
    split = b"".join(chunk(b"IDAT", stream[place : place + 1024]) for place in range(0, len(stream), 1024))
    data = whole[:start] + split + chunk(b"IEND", b"")
    large = FrameLimits(1000 * 1300)
    np.testing.assert_array_equal(decode_frame(data, 1000, 1300, large).frame_HWC, frame_HWC)


def test_scan_markers_by_chance_behind_the_picture_do_not_count() -> None:
    """A phone appends its motion picture, whose bytes are as good as random."""
    tail = b"\xff\xda\x12\x34" * 1000
    np.testing.assert_array_equal(decoded(PROGRESSIVE + tail, 60, 80), decoded(PROGRESSIVE, 60, 80))
