import base64
import io

import numpy as np
import pytest
from PIL import Image

from model_training.evaluation_report.heatmap import LONGER_SIDE_PX, overlaid, picture, small_frame

GREY = np.full((40, 60, 3), 100, np.uint8)


def drawn(address):
    """The picture that a data address holds."""
    start, data = address.split(",")
    assert start == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def test_no_evidence_leaves_the_frame_as_it_is():
    assert (overlaid(GREY, np.zeros((5, 7), np.float32)) == GREY).all()


def test_evidence_colours_its_own_place_only():
    """A map that is full on the left is red there, and nothing on the right."""
    evidence = np.zeros((2, 4), np.float32)
    evidence[:, 0] = 1
    found = overlaid(GREY, evidence).astype(int)
    red, green, blue = found[20, 3]
    assert red > green
    assert red > blue
    assert (found[:, 40:] == 100).all()


def test_small_frame_keeps_the_ratio_of_its_sides(tmp_path):
    for name, size, expected in (("wide.png", (1024, 512), (128, 256, 3)), ("tall.png", (30, 60), (256, 128, 3))):
        Image.new("RGB", size).save(tmp_path / name)
        assert small_frame(tmp_path / name).shape == expected
        assert max(expected) == LONGER_SIDE_PX


def test_picture_shows_boxes_and_the_peak():
    """The box is yellow along its edge, the peak a white ring around its place."""
    plain = drawn(picture(GREY))
    assert plain == pytest.approx(np.full_like(plain, 100), abs=3)
    marked = drawn(picture(np.zeros((200, 400, 3), np.uint8), [(0.5, 0.1, 0.9, 0.9)], (0.25, 0.5)))
    # JPEG spreads the colour of a thin line, not its brightness.
    red, green, blue = marked[100, 200]
    assert min(red, green) > 100
    assert min(red, green) > blue
    assert marked[100, 104].min() > 90
    assert marked[100, 30].max() < 30
