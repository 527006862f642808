"""The frames that everybody answers: real ones where there are some, in every size the same pictures.

# H/W = height/width in pixels, C = 3 (RGB)
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from service.inference.driving_frame import driving_frame

SIZES: Final = ("640x480", "1280x720", "1920x1080")
COUNT: Final = 16
JPEG_QUALITY: Final = 85
# Enlarged pictures are smooth and decode too fast; the largest of so many are taken.
LOOKED_AT: Final = 2000


def write_frames(source: Path | None, target: Path, sizes: tuple[str, ...]) -> dict[str, list[bytes]]:
    """COUNT frames in each size, also as `target`/size/00.jpg and so on, where load generators read them."""
    pictures = [_pixels(path.read_bytes()) for path in _largest(source)] if source else [_pixels(driving_frame())]
    return {size: _written(target / size, pictures, size) for size in sizes}


def _written(folder: Path, pictures: list[NDArray[np.uint8]], size: str) -> list[bytes]:
    width, height = map(int, size.split("x"))
    folder.mkdir(parents=True)
    frames = [_encoded(pictures[index % len(pictures)], width, height) for index in range(COUNT)]
    for index, frame in enumerate(frames):
        (folder / f"{index:02}.jpg").write_bytes(frame)
    return frames


def _encoded(picture_HWC: NDArray[np.uint8], width: int, height: int) -> bytes:
    shrinks = width <= picture_HWC.shape[1] and height <= picture_HWC.shape[0]
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    frame_HWC = cv2.resize(picture_HWC, (width, height), interpolation=rule)
    return bytes(simplejpeg.encode_jpeg(frame_HWC, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))


def _pixels(data: bytes) -> NDArray[np.uint8]:
    return np.ascontiguousarray(simplejpeg.decode_jpeg(data, "RGB"))


def _largest(source: Path) -> list[Path]:
    found = list(_jpegs(source))[:LOOKED_AT]
    if not found:
        raise FileNotFoundError(f"{source} names no JPEG in labels.csv; give another --frames, or none")
    return sorted(found, key=_area, reverse=True)[:COUNT]


def _jpegs(source: Path) -> Iterator[Path]:
    """Those that the label table names, spread over it."""
    with (source / "labels.csv").open(newline="", encoding="utf-8") as file:
        images = [row["image"] for row in csv.DictReader(file)]
    step = max(1, len(images) // LOOKED_AT)
    yield from (source / image for image in images[::step] if image.lower().endswith((".jpg", ".jpeg")))


def _area(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height if image.mode == "RGB" else 0
