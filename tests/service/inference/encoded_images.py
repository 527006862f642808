"""Pictures, and files of all formats that are read."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.inference.decoding import FrameLimits, decode_frame

Frame = NDArray[np.uint8]

LIMITS = FrameLimits(max_pixels=1_000_000)
ORIENTATION = 274

# Pillow warns of broken EXIF and MPO blocks that it then leaves out. pytest undoes what decoding does about it.
PILLOW_MAY_WARN = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def gradient(height: int, width: int) -> Frame:
    """Red grows to the right, green downwards, blue along the diagonal: no two orientations look alike."""
    y_HW, x_HW = np.mgrid[0:height, 0:width]
    planes = (255 * x_HW // width, 255 * y_HW // height, 255 * (x_HW + y_HW) // (height + width))
    return np.stack(planes, axis=2).astype(np.uint8)


def noise(height: int, width: int, channels: int = 3) -> Frame:
    """What no codec predicts."""
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def encode(image: Frame | Image.Image, form: str, **options: object) -> bytes:
    """The image as a file of that format."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, depth: int, colour_type: int, rows: Sequence[bytes], before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG from packed rows, with chunks `before` and `after` its pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (chunk(b"IHDR", header), before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def decoded(data: bytes, height: int, width: int) -> Frame:
    """The frame at that size."""
    return decode_frame(data, height, width, LIMITS).frame_HWC


def with_orientation(value: int) -> bytes:
    """An EXIF block that says how the camera was held."""
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif.tobytes()


def distance(a_HWC: NDArray[np.generic], b_HWC: NDArray[np.generic]) -> float:
    """The largest difference of two values, in levels of 255."""
    assert a_HWC.shape == b_HWC.shape
    return float(np.abs(a_HWC.astype(float) - b_HWC.astype(float)).max())


JPEG = encode(gradient(60, 80), "JPEG", quality=90)
PROGRESSIVE = encode(gradient(60, 80), "JPEG", quality=90, progressive=True)
RESTARTS = encode(gradient(60, 80), "JPEG", quality=90, restart_marker_rows=1)
PNG = encode(gradient(60, 80), "PNG")
WEBP = encode(gradient(60, 80), "WEBP", quality=90)
WEBP_LOSSLESS = encode(gradient(60, 80), "WEBP", lossless=True)
FILES = {
    "jpeg": JPEG,
    "progressive": PROGRESSIVE,
    "restarts": RESTARTS,
    "png": PNG,
    "webp": WEBP,
    "webp_lossless": WEBP_LOSSLESS,
}
EVERY_FILE = pytest.mark.parametrize("data", FILES.values(), ids=FILES)
EVERY_JPEG = pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restarts"])
