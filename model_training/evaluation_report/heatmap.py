"""Small pictures of frames, with the evidence of a label laid over them, for the reports.

# H/W = height/width in pixels, C = 3 (RGB), h/w = evidence grid
"""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model_training.report_page import data_uri
from model_training.sources.annotated_frame import Box
from model_training.sources.readable_images import decoded
from service.inference.decoding import decode_at_least

Frame = NDArray[np.uint8]

LONGER_SIDE_PX = 256
# Full evidence still lets the frame shine through.
_OPACITY = 0.65
_BOX, _PEAK = (255, 214, 10), (255, 255, 255)


def small_frame(image: Path) -> Frame:
    """The frame as the service decodes it, with `LONGER_SIDE_PX` pixels along its longer side."""
    frame_HWC = decoded(decode_at_least, image, LONGER_SIDE_PX, LONGER_SIDE_PX)
    scale = LONGER_SIDE_PX / max(frame_HWC.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame_HWC.shape[:2])
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def overlaid(frame_HWC: Frame, evidence_hw: NDArray[np.float32]) -> Frame:
    """The frame with evidence (0 to 1) over it: none where there is none, from blue to red the more there is."""
    height, width = frame_HWC.shape[:2]
    evidence_HW = np.clip(cv2.resize(evidence_hw, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    colours_HWC = cv2.applyColorMap((255 * evidence_HW).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    opacity_HW1 = _OPACITY * evidence_HW[..., np.newaxis]
    return np.asarray(np.rint(frame_HWC * (1 - opacity_HW1) + colours_HWC * opacity_HW1), np.uint8)


def picture(frame_HWC: Frame, boxes: Sequence[Box] = (), peak: tuple[float, float] | None = None) -> str:
    """The frame as a picture's address, with boxes and a peak (in fractions of width and height) drawn into it."""
    image = Image.fromarray(frame_HWC)
    draw = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in boxes:
        corners = (x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height)
        draw.rectangle(corners, outline=_BOX)
    if peak:
        x, y = peak[0] * image.width, peak[1] * image.height
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=_PEAK, width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=72)
    return data_uri(buffer.getvalue(), "image/jpeg")
