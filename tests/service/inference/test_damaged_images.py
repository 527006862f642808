"""What is damaged, or no image that is read, is an error that says why; a picture is never answered in part."""

import contextlib
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import DamagedImage, FrameError, UnsupportedImage
from service.inference.decoding import decode_frame
from tests.service.inference.encoded_images import (
    EVERY_FILE,
    EVERY_JPEG,
    JPEG,
    LIMITS,
    PILLOW_MAY_WARN,
    PNG,
    RESTARTS,
    WEBP,
    chunk,
    decoded,
    distance,
    encode,
    gradient,
    png,
)

pytestmark = PILLOW_MAY_WARN


# Damage


@EVERY_FILE
@pytest.mark.parametrize("size", [(60, 80), (7, 10)])
def test_cut_file_is_refused_wherever_it_is_cut(data: bytes, size: tuple[int, int]) -> None:
    """A PNG may lack what follows its pixels: 4 bytes of zlib's and 4 of the chunk's checksum, 12 of end chunk."""
    needed = len(data) - (20 if data.startswith(b"\x89PNG") else 0)
    for length in {*range(0, needed, 7), *range(needed - 8, needed)}:
        with pytest.raises((DamagedImage, UnsupportedImage)):
            decoded(data[:length], *size)


def test_png_without_its_end_chunk_decodes() -> None:
    np.testing.assert_array_equal(decoded(PNG[:-12], 60, 80), gradient(60, 80))


@EVERY_JPEG
@pytest.mark.parametrize("size", [(60, 80), (7, 10)])
def test_jpeg_whose_scan_is_cut_is_not_answered_in_grey(data: bytes, size: tuple[int, int]) -> None:
    """With an end marker behind the cut, decoders fill the missing rows and report success."""
    scan = data.rindex(b"\xff\xda") + 14
    for length in range(scan, len(data) - 3, 5):
        with pytest.raises(DamagedImage, match="JPEG image"):
            decoded(data[:length].rstrip(b"\xff") + b"\xff\xd9", *size)


def test_jpeg_that_lost_a_stretch_in_the_middle_is_refused() -> None:
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", RESTARTS)]
    lost = RESTARTS[: markers[1]] + RESTARTS[markers[2] :]
    with pytest.raises(DamagedImage, match="cut or damaged"):
        decoded(lost, 60, 80)


def test_jpeg_without_end_marker_counts_as_cut() -> None:
    with pytest.raises(DamagedImage, match="cut or damaged: Premature end"):
        decoded(JPEG.removesuffix(b"\xff\xd9"), 60, 80)


@EVERY_FILE
@pytest.mark.parametrize("tail", [b"\0" * 100, b"\xff\xd9", b"MotionPhoto_Data\0\0\0\x18ftypmp42", JPEG])
def test_what_follows_the_picture_is_ignored(data: bytes, tail: bytes) -> None:
    np.testing.assert_array_equal(decoded(data + tail, 60, 80), decoded(data, 60, 80))


@pytest.mark.parametrize(
    ("before", "inserted"),
    [(b"\xff\xdb", b"\0\0\0"), (b"\xff\xd9", b"\0\0"), (b"\xff\xc0", b"\xff\xff\xff")],
    ids=["bytes between segments", "bytes before the end", "fill bytes"],
)
def test_oddity_that_costs_no_pixel_decodes(before: bytes, inserted: bytes) -> None:
    """Cameras write them; every viewer shows the picture."""
    odd = JPEG.replace(before, inserted + before, 1)
    assert distance(decoded(odd, 60, 80), decoded(JPEG, 60, 80)) <= 1


def test_unknown_version_of_jfif_decodes() -> None:
    odd = JPEG.replace(b"JFIF\0\x01\x01", b"JFIF\0\x09\x09")
    assert odd != JPEG
    assert distance(decoded(odd, 60, 80), decoded(JPEG, 60, 80)) <= 1


def test_png_with_wrong_pixel_checksum_is_refused() -> None:
    """Pixels are stored uncompressed: without the checksum a changed colour would go unnoticed."""
    stored = encode(gradient(60, 80), "PNG", compress_level=0)
    start = stored.index(b"IDAT")
    for offset in (4, 8, 100, 4000, 14_000):
        changed = bytearray(stored)
        changed[start + offset] ^= 1
        with pytest.raises(DamagedImage, match="wrong checksum of its IDAT chunk"):
            decoded(bytes(changed), 60, 80)


def test_png_whose_stream_is_broken_behind_right_checksums_is_refused() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    whole = zlib.compress(bytes(14))
    for stream in (b"", b"no zlib stream", whole[:4], whole[:-4] + b"abcd", zlib.compress(b"\x09" * 14)):
        with pytest.raises(DamagedImage):
            decoded(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", stream) + chunk(b"IEND", b""), 2, 2)


def test_palette_image_without_palette_is_refused_with_a_reason() -> None:
    with pytest.raises(DamagedImage, match=r"the PNG image cannot be decoded: \w+"):
        decoded(png(2, 8, 3, [bytes([0, 1])]), 1, 2)


@EVERY_FILE
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_give_a_frame_or_a_frame_error(data: bytes, changes: list[tuple[float, int]]) -> None:
    changed = bytearray(data)
    for place, value in changes:
        changed[int(place * len(data))] = value
    with contextlib.suppress(FrameError):
        frame_HWC = decoded(bytes(changed), 15, 20)
        assert frame_HWC.shape == (15, 20, 3)
        assert frame_HWC.dtype == np.uint8


@EVERY_FILE
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 60), tail=st.binary(max_size=60))
def test_noise_behind_the_first_bytes_gives_a_frame_error(data: bytes, cut: int, tail: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data[:cut] + tail, 15, 20, LIMITS)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.binary(max_size=200))
def test_noise_is_no_image(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data, 15, 20, LIMITS)


# What is no image of ours


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (encode(gradient(8, 8), "GIF"), r"GIF"),
        (encode(gradient(8, 8), "BMP"), r"BMP"),
        (encode(gradient(8, 8), "TIFF"), r"TIFF"),
        (b"MM\0*\0\0\0\x08", r"TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", r"AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", r"video"),
        (b"\xff\x0a\x00\x10", r"JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", r"JPEG 2000"),
        (b"%PDF-1.7\n", r"PDF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', r"SVG, XML or HTML"),
        (b"\xef\xbb\xbf\n  <?xml version='1.0'?><svg/>", r"SVG, XML or HTML"),
    ],
)
def test_foreign_format_is_named(data: bytes, named: str) -> None:
    with pytest.raises(UnsupportedImage, match=rf"\({named}\), which is no image format we read; JPEG, PNG and WebP"):
        decoded(data, 8, 12)


@pytest.mark.parametrize("data", [b"a text", b"\0", b"\xff\xd8", b"RIFF\x10\0\0\0WAVE", b"\x89PNG"])
def test_unknown_bytes_are_shown(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match=re.escape(f"begins with {data[:12]!r}, which is no image format")):
        decoded(data, 8, 12)


def test_empty_frame_is_called_empty() -> None:
    with pytest.raises(UnsupportedImage, match=r"the frame is empty \(0 bytes\); JPEG, PNG and WebP are read"):
        decoded(b"", 8, 12)


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"\xff\xd8\xff" + b"\0" * 50, "JPEG"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "PNG"), (WEBP[:12], "WebP")],
)
def test_damaged_header_is_told_from_a_foreign_format(data: bytes, name: str) -> None:
    with pytest.raises(DamagedImage, match=f"begins like a {name} file of {len(data)} bytes"):
        decoded(data, 8, 12)
