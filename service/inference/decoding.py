"""A frame as it came -> RGB frame of the network's size; the one decode and the one resize of the project.

Serving, validation, calibration and evaluation all go through `decode_frame`, so the same bytes give them the same
tensor. Training's augmentation starts from `decode_at_least`: the same decoder, at a size that leaves room to crop.

# H/W = height/width in pixels, C = 3 (RGB)
"""

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from service.errors import DamagedImage, TooManyPixels, UnsupportedImage

FORMATS: Final = ("JPEG", "PNG", "WEBP")
RESIZE_RULE: Final = "stretch"
"""Width and height are scaled independently: area averaging where both shrink, bilinear otherwise."""

MAX_JPEG_SCANS: Final = 100
"""Encoders write about ten. Hundreds of bytes can announce a pass over all pixels, thousands of times over."""
MAX_JPEG_SEGMENTS: Final = 1000
"""Before the pixels. Cameras write tens; Pillow copies all of the EXIF before it for each further piece."""
MAX_JPEG_STRAY_BYTES: Final = 65_536
"""Between those segments: fill bytes and junk, which Pillow skips one at a time."""
MAX_PNG_CHUNKS: Final = 1000
"""Beside those of the pixels, which may be as many and one more a KiB of the file; libpng writes one for 8 KiB."""

# Frames are decoded on many threads at once; OpenCV's own pool would fight them for the cores.
cv2.setNumThreads(1)
# `FrameLimits` is checked from the header instead; Pillow's own limit warns about frames that we allow.
Image.MAX_IMAGE_PIXELS = None
# One line on standard error for each broken EXIF tag, past any log format; `catch_warnings` is not for threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Frame = NDArray[np.uint8]
Incoming = bytes | Frame
"""A frame as it came: an encoded image, or its pixels, uint8 RGB [H, W, 3]."""

_MAGIC: Final = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"RIFF....WEBP": "WebP"}
_FOREIGN_MAGIC: Final = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II\\*\0|MM\0\\*": "TIFF",
    b"....ftyp(heic|heix|heim|heis|hevc|mif1|msf1)": "HEIC",
    b"....ftypavi[fs]": "AVIF",
    b"....ftyp|\x1aE\xdf\xa3": "video",
    b"\xff\x0a|....JXL ": "JPEG XL",
    b"\xff\x4f\xff\x51|....jP  ": "JPEG 2000",
    b"%PDF": "PDF",
    b"(\xef\xbb\xbf)?\\s*<": "SVG, XML or HTML",
}
# What libjpeg-turbo says where pixels are missing or wrong; it fills them in and goes on.
_LOST_PIXELS: Final = ("premature end", "bad huffman code", "bad arithmetic code", "instead of rst")
# ITU-T T.81 B.2.3: a start of scan has 6 + 2n bytes for n components. Trailing data holds \xff\xda by chance.
_START_OF_SCAN: Final = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)", re.DOTALL)
_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xfe])", re.DOTALL)
# By Pillow's own table: a segment that is longer here than there would hide others from the count.
_WITHOUT_LENGTH: Final = frozenset(code & 0xFF for code, (*_, read) in JpegImagePlugin.MARKER.items() if read is None)
_PIXEL_CHUNKS: Final = (b"IDAT", b"fdAT")


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
    over white, as a browser shows it. Of an animation or a phone's multi-picture file the first picture counts.
    Colour profiles are ignored.

    A picture that lacks rows is damaged, also where the decoder could fill them with grey: a JPEG without its end
    marker counts as cut. What follows the picture is ignored, and so are oddities that cost no pixel.

    Raises UnsupportedImage, DamagedImage or TooManyPixels.
    """
    header = _read_header(data, limits)
    turned = header.orientation >= 5
    stored_height, stored_width = (width, height) if turned else (height, width)
    stored_HWC = _decode_stored(data, header, stored_height, stored_width)
    frame_HWC = _upright(resize(stored_HWC, stored_height, stored_width), header.orientation)
    return DecodedFrame(frame_HWC, *((header.height, header.width) if turned else (header.width, header.height)))


def fit_frame(pixels_HWC: Frame, height: int, width: int, limits: FrameLimits) -> DecodedFrame:
    """Pixels that came decoded, resized to [height, width, 3] as `decode_frame` does. Raises TooManyPixels."""
    source_height, source_width = pixels_HWC.shape[:2]
    check_size(source_width, source_height, limits)
    return DecodedFrame(resize(pixels_HWC, height, width), source_width, source_height)


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

    image: ImageFile.ImageFile
    width: int
    height: int
    orientation: int


def _read_header(data: bytes, limits: FrameLimits) -> _Header:
    if (canvas := _webp_canvas(data)) is not None:
        check_size(*canvas, limits)
    _check_parts(data)
    image = _open(data)
    width, height = image.size
    check_size(width, height, limits)
    return _Header(image, width, height, _orientation(data, image))


def check_size(width: int, height: int, limits: FrameLimits) -> None:
    """Raise TooManyPixels where a frame of this size is more than allowed."""
    if width * height > limits.max_pixels:
        raise TooManyPixels(
            f"the frame is {width} x {height} = {width * height} pixels; at most {limits.max_pixels} are allowed"
        )


def _check_parts(data: bytes) -> None:
    match _named(data, _MAGIC):
        case "JPEG":
            _check_segments(data)
        case "PNG":
            _check_chunks(data)


def _check_segments(data: bytes) -> None:
    """Refuse a JPEG that would keep Pillow busy before it comes to the pixels; walks over it as Pillow does."""
    place, stray_bytes = 2, 0
    for _ in range(MAX_JPEG_SEGMENTS + 1):
        end = min(len(data), place + MAX_JPEG_STRAY_BYTES + 2)
        marker = _JPEG_MARKER.search(data, place, end)
        stray_bytes += (marker.start() if marker else end) - place
        if stray_bytes > MAX_JPEG_STRAY_BYTES:
            raise DamagedImage(f"the JPEG has {stray_bytes} bytes or more between its segments")
        if marker is None or marker[1] == b"\xda":
            return
        place = marker.end()
        if marker[1][0] not in _WITHOUT_LENGTH:
            place += max(2, int.from_bytes(data[place : place + 2]))
    raise UnsupportedImage(f"the JPEG has more segments before its pixels than the {MAX_JPEG_SEGMENTS} that are read")


def _check_chunks(data: bytes) -> None:
    most_of_pixels = MAX_PNG_CHUNKS + len(data) // 1024
    pixel_chunks = others = 0
    for kind, _ in _png_layout(data):
        if kind in _PIXEL_CHUNKS:
            pixel_chunks += 1
        else:
            others += 1
        if pixel_chunks > most_of_pixels or others > MAX_PNG_CHUNKS:
            raise UnsupportedImage(
                f"the PNG has {pixel_chunks} chunks of pixels and {others} others, or more; in {len(data)} bytes "
                f"at most {most_of_pixels} and {MAX_PNG_CHUNKS} are read"
            )


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height that an extended WebP announces; opening one reserves memory for all of its canvas."""
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8X":
        return None
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(data) from None
    except Exception as problem:  # Pillow's parsers raise whatever broke: SyntaxError, struct.error, ValueError, ...
        raise DamagedImage(f"the image header cannot be read: {_said(problem)}") from problem


def _unreadable(data: bytes) -> UnsupportedImage | DamagedImage:
    """A file that begins like one of our formats is damaged; anything else is not an image we read."""
    allowed = "JPEG, PNG and WebP are read"
    if not data:
        return UnsupportedImage(f"the frame is empty (0 bytes); {allowed}")
    if name := _named(data, _MAGIC):
        return DamagedImage(f"the frame begins like a {name} file of {len(data)} bytes, but its header cannot be read")
    name = _named(data, _FOREIGN_MAGIC)
    came = f"{data[:12]!r} ({name})" if name else f"{data[:12]!r}"
    return UnsupportedImage(f"the frame begins with {came}, which is no image format we read; {allowed}")


def _named(data: bytes, magic: dict[bytes, str]) -> str | None:
    return next((name for start, name in magic.items() if re.match(start, data[:64], re.DOTALL)), None)


def _said(problem: Exception) -> str:
    return str(problem) or type(problem).__name__


def _orientation(data: bytes, image: Image.Image) -> int:
    """EXIF orientation 1 to 8 (TIFF 6.0 tag 274); 1 where there is none or it cannot be read."""
    if image.format == "PNG" and (exif := next(_png_chunks(data, b"eXIf"), None)) is not None:
        image.info["exif"] = b"Exif\0\0" + bytes(exif)
    try:
        # A PNG's own method decodes all pixels first, in search of an eXIf chunk behind them.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block does not make the picture unreadable
        return 1
    return value if value in range(1, 9) else 1


def _png_chunks(data: bytes, wanted: bytes) -> Iterator[memoryview]:
    """Bodies of the chunks of that type (PNG 3rd edition, 5.3). Raises DamagedImage at a wrong checksum of one."""
    view = memoryview(data)
    for kind, (start, end) in _png_layout(data):
        if kind == wanted and end + 4 <= len(data):
            if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4]):
                raise DamagedImage(f"the PNG image is damaged: wrong checksum of its {wanted.decode()} chunk")
            yield view[start:end]


def _png_layout(data: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Type of each chunk, and where its body starts and ends."""
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4])
        yield data[start + 4 : start + 8], (start + 8, end)
        start = end + 4


def _decode_stored(data: bytes, header: _Header, height: int, width: int) -> Frame:
    """Decode as stored; a JPEG at 1/2, 1/4 or 1/8 where that is no smaller than [height, width]."""
    match header.image.format:
        case "JPEG" | "MPO":
            return _decode_jpeg(data, header, height, width)
        case "WEBP":
            return _decode_webp(data)
        case _:
            for _ in _png_chunks(data, b"IDAT"):
                pass  # Pillow never compares the checksums of the pixels
            return _decode_with_pillow(header.image)


def _decode_jpeg(data: bytes, header: _Header, height: int, width: int) -> Frame:
    _check_scans(data, header.image)
    if header.image.mode not in ("RGB", "L"):
        return _decode_with_pillow(header.image)
    shrink = min(header.height // height, header.width // width)
    factor = next((factor for factor in (8, 4, 2) if shrink >= factor), 1)
    least_height, least_width = -(-header.height // factor), -(-header.width // factor)
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=least_height, min_width=least_width), np.uint8)
    except ValueError as problem:
        if any(sign in str(problem).lower() for sign in _LOST_PIXELS):
            raise DamagedImage(f"the JPEG image is cut or damaged: {problem}") from problem
    # An oddity: Pillow's libjpeg goes on where it is harmless.
    return _decode_with_pillow(header.image)


def _check_scans(data: bytes, image: Image.Image) -> None:
    if "progressive" not in image.info:
        return
    scans = len(_START_OF_SCAN.findall(data))
    if scans > MAX_JPEG_SCANS:
        raise UnsupportedImage(f"the progressive JPEG has {scans} scans; at most {MAX_JPEG_SCANS} are decoded")


def _decode_webp(data: bytes) -> Frame:
    # OpenCV and not Pillow, whose WebP decoder stops all other threads while it works.
    pixels_HWC = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels_HWC is None:
        raise DamagedImage(f"the WebP image of {len(data)} bytes cannot be decoded")
    if pixels_HWC.shape[2] == 4:
        return _over_white(Image.fromarray(cv2.cvtColor(pixels_HWC, cv2.COLOR_BGRA2RGBA)))
    return np.asarray(cv2.cvtColor(pixels_HWC, cv2.COLOR_BGR2RGB), np.uint8)


def _decode_with_pillow(image: ImageFile.ImageFile) -> Frame:
    try:
        _scale_transparency(image)
        image.load()
        if image.mode.startswith("I"):
            return _from_16_bit(image)
        if image.has_transparency_data:
            return _over_white(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except Exception as problem:  # Pillow's decoders raise whatever broke
        raise DamagedImage(f"the {image.format} image cannot be decoded: {_said(problem)}") from problem


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """Pillow scales the pixels of 2 and 4 bit greys to 8 bits, but not the level that is transparent."""
    level = image.info.get("transparency")
    if image.mode == "L" and isinstance(level, int) and image.tile:
        image.info["transparency"] = level * {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)


def _from_16_bit(image: Image.Image) -> Frame:
    grey_HW = np.asarray(image).astype(np.uint32)
    grey_HW[grey_HW == image.info.get("transparency", -1)] = 65535
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
