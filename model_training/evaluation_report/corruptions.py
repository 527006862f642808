"""Ways in which a frame gets worse, each in five severities (after Hendrycks and Dietterich, ICLR 2019).

Each takes a frame uint8 [H, W, 3] in RGB, a severity from 1 to 5 and a random generator, and returns a new frame of
the same type. Lengths are meant for frames whose longer side has `SIDE_PX` pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Values = NDArray[np.uint8] | NDArray[np.float32]
Corruption = Callable[[Frame, int, np.random.Generator], Frame]

SIDE_PX: Final = 512
SEVERITIES: Final = (1, 2, 3, 4, 5)

NIGHT_GAINS: Final = (0.6, 0.45, 0.32, 0.22, 0.14)
NIGHT_NOISE: Final = (2.0, 4.0, 6.0, 8.0, 10.0)
BRIGHTER_BY: Final = (30, 60, 90, 120, 150)
BLUR_SIGMA_PX: Final = (0.8, 1.5, 2.5, 4.0, 6.0)
NOISE_SIGMA: Final = (8.0, 16.0, 26.0, 40.0, 60.0)
JPEG_QUALITY: Final = (40, 25, 15, 9, 5)
FOG_SHARE: Final = (0.2, 0.35, 0.5, 0.65, 0.8)
FOG_GREY: Final = 215.0
DROPS_SHARE: Final = (0.001, 0.002, 0.004, 0.007, 0.012)
RAIN_GREY: Final = 200.0
RAIN_HAZE: Final = (0.05, 0.1, 0.15, 0.2, 0.25)
STREAK_PX: Final = 17
SMALLER_TO: Final = (0.6, 0.4, 0.28, 0.2, 0.14)


def night(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:
    """Every value times a gain below 1, and a dark sensor's noise on top."""
    darker_HWC = frame_HWC * np.float32(NIGHT_GAINS[severity - 1])
    return _as_frame(darker_HWC + _noise(frame_HWC, NIGHT_NOISE[severity - 1], random))


def brightness(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:  # noqa: ARG001 - a Corruption
    """The same amount added everywhere; what exceeds white is lost, as against the sun."""
    return _as_frame(frame_HWC.astype(np.float32) + BRIGHTER_BY[severity - 1])


def blur(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:  # noqa: ARG001 - a Corruption
    """Out of focus: a Gaussian blur."""
    return _as_frame(cv2.GaussianBlur(frame_HWC, (0, 0), BLUR_SIGMA_PX[severity - 1]))


def noise(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:
    """Gaussian noise, on its own in each pixel and channel."""
    return _as_frame(frame_HWC + _noise(frame_HWC, NOISE_SIGMA[severity - 1], random))


def jpeg(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:  # noqa: ARG001 - a Corruption
    """Through a JPEG file of low quality."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[severity - 1]]
    _, file = cv2.imencode(".jpg", frame_HWC[..., ::-1], quality)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def fog(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:  # noqa: ARG001 - a Corruption
    """A share of one light grey mixed in, alike everywhere, since nothing says how far away anything is."""
    return _as_frame(_mixed(frame_HWC, FOG_GREY, FOG_SHARE[severity - 1]))


def rain(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:
    """Some haze, and light slanting streaks at places drawn at random."""
    drops_HW = (random.random(frame_HWC.shape[:2]) < DROPS_SHARE[severity - 1]).astype(np.float32)
    streaks_HW = np.minimum(cv2.filter2D(drops_HW, -1, _slanted_line()), 1)[..., np.newaxis]
    hazy_HWC = _mixed(frame_HWC, RAIN_GREY, RAIN_HAZE[severity - 1])
    return _as_frame(_mixed(hazy_HWC, RAIN_GREY, np.float32(0.7) * streaks_HW))


def smaller(frame_HWC: Frame, severity: int, random: np.random.Generator) -> Frame:  # noqa: ARG001 - a Corruption
    """Fewer pixels, each the mean of those that it covers: a small or distant camera."""
    height, width = (max(1, round(side * SMALLER_TO[severity - 1])) for side in frame_HWC.shape[:2])
    return _as_frame(cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA))


CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    function.__name__: function for function in (night, brightness, blur, noise, jpeg, fog, rain, smaller)
}


def _mixed(values_HWC: Values, grey: float, share: float | Values) -> NDArray[np.float32]:
    return np.asarray(values_HWC * (1 - share) + grey * share, np.float32)


def _noise(frame_HWC: Frame, sigma: float, random: np.random.Generator) -> NDArray[np.float32]:
    return random.standard_normal(frame_HWC.shape, np.float32) * np.float32(sigma)


def _slanted_line() -> NDArray[np.float32]:
    """A line of `STREAK_PX` rows that moves one column to the side every four rows."""
    kernel = np.zeros((STREAK_PX, STREAK_PX), np.float32)
    rows = np.arange(STREAK_PX)
    kernel[rows, STREAK_PX // 2 + (rows - STREAK_PX // 2) // 4] = 1
    return kernel


def _as_frame(values_HWC: Any) -> Frame:
    return np.asarray(np.clip(np.rint(values_HWC), 0, 255), np.uint8)
