"""Encoded image bytes -> RGB frame of the network's size; the one decode and the one resize of the project.

Training reads its frames through this module too, so the same bytes give the same tensor on both sides.

# H/W = height/width in pixels, C = 3 (RGB)
"""

import io
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import DamagedImage, TooManyPixels, UnsupportedImage

FORMATS: Final = ("JPEG", "PNG", "WEBP")
RESIZE_RULE: Final = "stretch"
"""Width and height are scaled independently: area averaging where both shrink, bilinear otherwise."""

# Frames are decoded on many threads at once; OpenCV's own pool would fight them for the cores.
cv2.setNumThreads(1)
# `FrameLimits` is checked from the header instead; Pillow's own limit warns about frames that we allow.
Image.MAX_IMAGE_PIXELS = None

Frame = NDArray[np.uint8]

_REDUCED_JPEG: Final = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_OPAQUE_8_BIT: Final = ("RGB", "L")


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What a header may announce before anything is decoded."""

    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame at the size that was asked for, and the size it came in, as a person sees it (orientation applied)."""

    frame_HWC: Frame
    source_width: int
    source_height: int


def decode_frame(data: bytes, height: int, width: int, limits: FrameLimits) -> DecodedFrame:
    """Decode `data` to uint8 RGB [height, width, 3].

    EXIF orientation is applied. Grey, CMYK, palette and 16-bit images become 8-bit RGB; transparency is blended
    over white, as a browser shows it. Of an animation the first picture counts.

    Raises UnsupportedImage, DamagedImage or TooManyPixels.
    """
    header = _read_header(data, limits)
    turned = header.orientation >= 5
    stored_height, stored_width = (width, height) if turned else (height, width)
    stored_HWC = _decode_stored(data, header, stored_height, stored_width)
    frame_HWC = _upright(resize(stored_HWC, stored_height, stored_width), header.orientation)
    return DecodedFrame(frame_HWC, *((header.height, header.width) if turned else (header.width, header.height)))


def decode_at_least(data: bytes, height: int, width: int, limits: FrameLimits) -> Frame:
    """Decode `data` like `decode_frame`, but leave it at the first cheap size that is no smaller than asked for.

    For a caller that crops before it resizes. Returns uint8 RGB [H, W, 3].
    """
    header = _read_header(data, limits)
    if header.orientation >= 5:
        height, width = width, height
    return _upright(_decode_stored(data, header, height, width), header.orientation)


def resize(frame_HWC: Frame, height: int, width: int) -> Frame:
    """Scale to [height, width, 3] by `RESIZE_RULE`."""
    if frame_HWC.shape[:2] == (height, width):
        return frame_HWC
    shrinks = height <= frame_HWC.shape[0] and width <= frame_HWC.shape[1]
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=rule), np.uint8)


@dataclass(frozen=True, slots=True)
class _Header:
    """What the first bytes of an image say; width and height as stored, before orientation."""

    image: Image.Image
    width: int
    height: int
    orientation: int


def _read_header(data: bytes, limits: FrameLimits) -> _Header:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(data) from None
    except Exception as problem:  # Pillow's parsers raise whatever broke: SyntaxError, struct.error, ValueError, ...
        raise DamagedImage(f"the image header cannot be read: {problem}") from problem
    width, height = image.size
    if width * height > limits.max_pixels:
        raise TooManyPixels(
            f"the frame is {width} x {height} = {width * height} pixels; at most {limits.max_pixels} are allowed"
        )
    return _Header(image, width, height, _orientation(image))


def _unreadable(data: bytes) -> UnsupportedImage | DamagedImage:
    """A file that begins like one of our formats is damaged; anything else is not an image we read."""
    allowed = "JPEG, PNG and WebP are read"
    if not data:
        return UnsupportedImage(f"the frame is empty (0 bytes); {allowed}")
    known = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
    named = next((name for magic, name in known.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        named = "WebP"
    if named:
        return DamagedImage(f"the frame begins like a {named} file of {len(data)} bytes, but its header is damaged")
    return UnsupportedImage(f"the frame begins with {data[:12]!r}, which is no image format we read; {allowed}")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8 (TIFF 6.0 tag 274); 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block does not make the picture unreadable
        return 1
    return value if value in range(1, 9) else 1


def _decode_stored(data: bytes, header: _Header, height: int, width: int) -> Frame:
    """Decode as stored; a JPEG at 1/2, 1/4 or 1/8 where that is no smaller than [height, width]."""
    if header.image.mode in _OPAQUE_8_BIT and "transparency" not in header.image.info:
        bgr_HWC = cv2.imdecode(np.frombuffer(data, np.uint8), _opencv_flags(header, height, width))
        if bgr_HWC is not None:
            return np.asarray(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB), np.uint8)
    # Unusual pixels come here, and files OpenCV refuses: Pillow tells a harmless oddity from lost rows.
    return _decode_with_pillow(header.image)


def _opencv_flags(header: _Header, height: int, width: int) -> int:
    flags: int = cv2.IMREAD_COLOR
    if header.image.format in ("JPEG", "MPO"):
        shrink = min(header.height // height, header.width // width)
        flags = next((flag for factor, flag in _REDUCED_JPEG.items() if shrink >= factor), flags)
    return flags | cv2.IMREAD_IGNORE_ORIENTATION


def _decode_with_pillow(image: Image.Image) -> Frame:
    try:
        image.load()
        if image.mode.startswith("I"):
            return _from_16_bit(image)
        if image.has_transparency_data:
            return _over_white(image)
        return np.asarray(image.convert("RGB"))
    except Exception as problem:  # Pillow's decoders raise whatever broke
        raise DamagedImage(f"the {image.format} image cannot be decoded: {problem}") from problem


def _from_16_bit(image: Image.Image) -> Frame:
    grey_HW = np.asarray(image).astype(np.uint32)
    # Pillow's own conversion clips at 255 and shows nearly every pixel white; 65535 / 257 is exactly 255.
    return np.repeat(((grey_HW + 128) // 257).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def _over_white(image: Image.Image) -> Frame:
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


def _upright(stored_HWC: Frame, orientation: int) -> Frame:
    match orientation:
        case 2:
            turned_HWC = stored_HWC[:, ::-1]
        case 3:
            turned_HWC = stored_HWC[::-1, ::-1]
        case 4:
            turned_HWC = stored_HWC[::-1]
        case 5:
            turned_HWC = stored_HWC.transpose(1, 0, 2)
        case 6:
            turned_HWC = stored_HWC.transpose(1, 0, 2)[:, ::-1]
        case 7:
            turned_HWC = stored_HWC.transpose(1, 0, 2)[::-1, ::-1]
        case 8:
            turned_HWC = stored_HWC.transpose(1, 0, 2)[::-1]
        case _:
            return stored_HWC
    return np.ascontiguousarray(turned_HWC)
