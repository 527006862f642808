"""Small videos whose frames are known to the pixel."""

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE = 48, 32, 10


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def write_video(path: Path, frames_HWC: Sequence[NDArray[np.uint8]], codec: str = "ffv1", pixels: str = "bgr0") -> Path:
    """A video of ten frames a second; FFV1 keeps RGB without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = frames_HWC[0].shape[:2]
        stream.pix_fmt = pixels
        for frame_HWC in frames_HWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    return path


def fading_video(path: Path, frames: int = 30) -> Path:
    """Frame n is grey of level 8 n: the tiny model answers 8 n / 255."""
    return write_video(path, [grey(8 * number) for number in range(frames)])


def lie_on_its_side(path: Path) -> None:
    """Write into an MP4 that it is to be shown turned by 90 degrees clockwise, as a phone held upright does.

    ISO/IEC 14496-12, 8.3.2: the matrix of the track header, which maps (x, y) to (-y, x) here.
    """
    content = bytearray(path.read_bytes())
    one = 1 << 16
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
