import numpy as np
import pytest

from model_training.augmentation.mosaic import mosaic, quarter_sizes


def quarter(height, width, shade=0, entry=-1, soft=None, cell=-1):
    """A frame of one label and its targets, at stride 8."""
    return {
        "frames_BHWC": np.full((height, width, 3), shade, np.uint8),
        "targets_BL": np.array([entry == 1], np.float32),
        "known_BL": np.array([entry != -1]),
        "soft_BL": np.array([soft or 0], np.float32),
        "soft_known_BL": np.array([soft is not None]),
        "cells_BLhw": np.full((1, height // 8, width // 8), cell, np.int8),
    }


def test_quarters_stand_in_reading_order_and_cells_under_their_frames():
    sizes = ((8, 16), (8, 8), (16, 16), (16, 8))
    quarters = [quarter(*size, shade=10 * i, cell=i) for i, size in enumerate(sizes)]
    made = mosaic(quarters)
    assert made["frames_BHWC"].shape == (24, 24, 3)
    assert made["cells_BLhw"].tolist() == [[[0, 0, 1], [2, 2, 3], [2, 2, 3]]]
    assert (made["frames_BHWC"][::8, ::8, 0] == 10 * made["cells_BLhw"][0]).all()


@pytest.mark.parametrize(
    ("entries", "softs", "known", "target", "soft"),
    [
        ((1, 0, -1, 0), (None,) * 4, True, 1, None),
        ((0, 0, 0, 0), (None,) * 4, True, 0, None),
        # 1 - (1 - 0.5) (1 - 0.2) = 0.6
        ((0, -1, -1, 0), (None, 0.5, 0.2, None), False, 0, 0.6),
        # Nobody says anything of the second quarter, so nothing can be said of the whole.
        ((0, -1, -1, 0), (None, None, 0.2, None), False, 0, None),
        # A label that is seen in one quarter is there, whatever a teacher thinks of others.
        ((1, -1, 0, 0), (None, 0.1, None, None), True, 1, None),
    ],
)
def test_label_of_a_mosaic_follows_from_its_quarters(entries, softs, known, target, soft):
    made = mosaic([quarter(8, 8, entry=entry, soft=p) for entry, p in zip(entries, softs, strict=True)])
    assert made["known_BL"].tolist() == [known]
    assert made["targets_BL"].tolist() == [target]
    assert made["soft_known_BL"].tolist() == [soft is not None]
    assert made["soft_BL"] == pytest.approx(soft or 0, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_quarters_fill_the_frame_and_part_on_the_grid(seed):
    sizes = quarter_sizes(288, 416, 8, np.random.default_rng(seed))
    (top, left), (_, right), (bottom, _), _ = sizes
    assert sizes == ((top, left), (top, right), (bottom, left), (bottom, right))
    assert (top + bottom, left + right) == (288, 416)
    assert (top % 8, left % 8) == (0, 0)
    assert 0.3 * 288 < top < 0.7 * 288
    assert 0.3 * 416 < left < 0.7 * 416
