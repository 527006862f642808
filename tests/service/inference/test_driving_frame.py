"""The frame that is measured with where none is given."""

import io
import math

import pytest
from PIL import Image

from service.inference.decoding import FrameLimits, decode_frame
from service.inference.driving_frame import driving_frame


def test_it_is_a_jpeg_of_a_dashboard_camera() -> None:
    """1280 x 720 pixels, colours at half the size, and about the 136 kB that such a photograph has."""
    data = driving_frame()
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (1280, 720))
    assert image.layer[0][1:3] == (2, 2)  # type: ignore[attr-defined]  # Pillow's JPEG plugin: sampling of luminance
    assert 100_000 < len(data) < 170_000


def test_it_is_the_same_at_every_call() -> None:
    assert driving_frame() == driving_frame()


@pytest.mark.parametrize("max_pixels", [1024, 100_000, 921_600, 50_000_000])
def test_it_keeps_to_the_limit_and_its_shape(max_pixels: int) -> None:
    decoded = decode_frame(driving_frame(max_pixels), 8, 12, FrameLimits(max_pixels=max_pixels))
    assert decoded.source_width * decoded.source_height <= min(max_pixels, 1280 * 720)
    assert math.isclose(decoded.source_width / decoded.source_height, 16 / 9, rel_tol=0.05)
