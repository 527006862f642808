"""A frame to measure with where none is given: a made street, as costly to decode and to answer as a photographed one.

# H/W = height/width in pixels, C = 3 (RGB)
"""

import math
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 720
JPEG_QUALITY: Final = 85
HORIZON: Final = 0.45
SKY, FAR_ROAD, NEAR_ROAD = (150, 185, 225), (125, 125, 130), (70, 70, 75)
LINE, CAR = (235, 235, 225), (150, 30, 35)
# Fine texture is weaker than coarse, as in photographs; together they make some 1.2 bits a pixel.
OCTAVES: Final = 7
CONTRAST: Final = 18.0
FALL: Final = 1.35


def driving_frame(max_pixels: int = WIDTH * HEIGHT) -> bytes:
    """The same JPEG at every call: 1280 x 720 pixels, or fewer of the same shape where so many are not allowed."""
    scale = min(1.0, math.sqrt(max_pixels / (WIDTH * HEIGHT)))
    frame_HWC = _street(max(1, int(HEIGHT * scale)), max(1, int(WIDTH * scale)))
    return bytes(simplejpeg.encode_jpeg(frame_HWC, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))


def _street(height: int, width: int) -> NDArray[np.uint8]:
    """Sky over a road that runs to the horizon, with lines, cars and the texture of a photograph."""
    horizon = round(HORIZON * height)
    frame_HWC = np.empty((height, width, 3), np.uint8)
    frame_HWC[:horizon] = SKY
    ends_2x1C = np.array([[FAR_ROAD], [NEAR_ROAD]], np.uint8)
    frame_HWC[horizon:] = cv2.resize(ends_2x1C, (width, height - horizon), interpolation=cv2.INTER_LINEAR)
    for left, right in ((0.0, 0.03), (0.48, 0.52), (0.97, 1.0)):
        _paint(frame_HWC, [(0.5, HORIZON), (left, 1.0), (right, 1.0)], LINE)
    for x, y, size in ((0.3, 0.5, 0.1), (0.62, 0.48, 0.06), (0.75, 0.6, 0.17)):
        _paint(frame_HWC, [(x, y), (x + size, y), (x + size, y + size), (x, y + size)], CAR)
    texture_HWC = cv2.merge([_texture(height, width)] * 3)
    return np.asarray(cv2.add(frame_HWC, texture_HWC, dtype=cv2.CV_8U), np.uint8)


def _paint(frame_HWC: NDArray[np.uint8], corners: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    """Fill a convex shape whose corners are shares of the width and the height."""
    height, width, _ = frame_HWC.shape
    points = np.array([(round(x * width), round(y * height)) for x, y in corners], np.int32)
    cv2.fillConvexPoly(frame_HWC, points, colour)


def _texture(height: int, width: int) -> NDArray[np.float32]:
    """Noise with the spectrum of natural images, one value for all colours of a pixel."""
    random = np.random.default_rng(0)
    texture_HW = np.zeros((height, width), np.float32)
    for octave in range(OCTAVES):
        coarse_HW = random.standard_normal((9 << octave, 16 << octave), np.float32) * (CONTRAST / FALL**octave)
        texture_HW += cv2.resize(coarse_HW, (width, height), interpolation=cv2.INTER_LINEAR)
    return texture_HW
