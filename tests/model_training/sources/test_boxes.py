import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_training.sources.boxes import around, clipped, fractions_of, sticks_out

corner = st.floats(-2, 3)


def test_pixels_become_fractions_of_width_and_height():
    assert fractions_of((10, 10, 50, 30), 100, 40) == (0.1, 0.25, 0.5, 0.75)


def test_polygon_becomes_the_smallest_box_around_it():
    assert around([(3, 9), (1, 5), (2, 7)]) == (1, 5, 3, 9)


def test_box_that_leaves_the_frame_is_clipped_to_it():
    assert clipped((-0.5, 0.25, 1.5, 2)) == (0, 0.25, 1, 1)
    assert sticks_out((-0.5, 0.25, 1.5, 2))


def test_exporters_rounding_does_not_count_as_leaving_the_frame():
    assert not sticks_out((-0.0004, 0, 1.0004, 1))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0.2, 0.2, 0.2, 0.5), id="no width"),
        pytest.param((0.4, 0.2, 0.2, 0.5), id="corners swapped"),
        pytest.param((1.1, 0.2, 1.2, 0.5), id="outside"),
        pytest.param((math.nan, 0.2, 0.2, 0.5), id="not a number"),
        pytest.param((0.1, 0.2, math.inf, 0.5), id="infinite"),
    ],
)
def test_box_without_area_inside_the_frame_is_none(box):
    assert clipped(box) is None


@given(st.tuples(corner, corner, corner, corner))
def test_clipped_box_lies_inside_the_frame_and_inside_the_box(box):
    inside = clipped(box)
    if inside is not None:
        x0, y0, x1, y1 = inside
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert x0 >= min(box[0], 1)
        assert x1 <= max(box[2], 0)
