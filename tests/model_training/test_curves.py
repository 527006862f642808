import math

import numpy as np
import pytest
from PIL import Image

from model_training.curves import save_curves


def epoch(number, car=0.5, stop_sign=0.4):
    return {"epoch": number, "loss": 1 / (1 + number), "ap_car": car, "ap_stop_sign": stop_sign, "map": 0.45}


@pytest.mark.parametrize(
    "history",
    [
        [epoch(0), epoch(1), epoch(2)],
        [epoch(0)],
        [epoch(0, math.nan), epoch(1), epoch(2, math.nan)],
        [epoch(0, stop_sign=math.nan), epoch(1, stop_sign=math.nan)],
        [],
    ],
    ids=["three epochs", "one epoch", "gaps", "never known", "no epoch"],
)
def test_any_history_is_written_as_a_png(tmp_path, history):
    path = tmp_path / "curves.png"
    save_curves(history, ("car", "stop_sign"), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (1200, 480)


def test_single_epoch_can_be_seen(tmp_path):
    """Its loss is drawn in the left half: matplotlib's first blue, beside axes that are grey."""
    path = tmp_path / "curves.png"
    save_curves([epoch(0)], ("car", "stop_sign"), path)
    with Image.open(path) as image:
        left_HWC = np.asarray(image.convert("RGB"))[:, :600]
    assert (left_HWC == (0x1F, 0x77, 0xB4)).all(axis=2).any()
