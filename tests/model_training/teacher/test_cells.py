"""What a detector computes in every cell; a small one by hand, a real one against its own whole answer."""

import pickle

import numpy as np
import onnxruntime
import pytest

from model_training.errors import InvalidConfiguration
from model_training.teacher.cells import DetectorCells
from model_training.teacher.classes import COCO_CLASSES
from tests.model_training.small_detector import CLASSES, write_small_detector
from tests.model_training.teacher.test_detector import write_detector


@pytest.fixture
def detector(tmp_path):
    return DetectorCells(write_small_detector(tmp_path / "d.onnx"), CLASSES)


def test_cells_hold_features_then_objectness_then_scores(detector):
    """RGB 90, 26, 10: B, G, R are features; (90 - 26) / 32 = 2, sigmoid 2 = 0.8808, times 0.5; sigmoid -2 = 0.1192."""
    frame_HWC = np.full((64, 64, 3), (90, 26, 10), np.uint8)
    for level_Chw in detector.levels(frame_HWC, 64, 64):
        assert level_Chw.dtype == np.float16
        assert level_Chw[:, 0, 0] == pytest.approx([10, 26, 90, 0.5, 0.4404, 0.0596], abs=1e-3)
        assert (level_Chw == level_Chw[:, :1, :1]).all()
    assert (detector.features, detector.scores) == (3, 3)


def test_every_cell_is_about_its_own_part_of_the_frame(detector):
    """The right half is white: column 4 of 8, 2 of 4 and 1 of 2 is where it begins."""
    frame_HWC = np.zeros((64, 64, 3), np.uint8)
    frame_HWC[:, 32:] = 255
    blues = [level_Chw[0, 0].tolist() for level_Chw in detector.levels(frame_HWC, 64, 64)]
    assert blues == [[0] * 4 + [255] * 4, [0, 0, 255, 255], [0, 255]]


@pytest.mark.parametrize("shape", [(64, 64), (50, 200), (300, 40)])
def test_levels_lie_on_the_grids_of_the_network_whatever_the_shape_of_the_frame(detector, shape):
    """40 x 60 pixels are 5 x 8 cells at stride 8, 3 x 4 at 16 and 2 x 2 at 32, the last ones begun."""
    levels = detector.levels(np.zeros((*shape, 3), np.uint8), 40, 60)
    assert [level_Chw.shape[1:] for level_Chw in levels] == [(5, 8), (3, 4), (2, 2)]


def test_frame_keeps_its_shape_and_gets_as_many_pixels_as_the_detector_was_made_for(tmp_path):
    """64 x 64 pixels in the shape 1 to 4 are 32 x 128, which are 4 x 16 cells at stride 8: nothing is interpolated."""
    detector = DetectorCells(write_small_detector(tmp_path / "d.onnx"), CLASSES)
    columns_W = np.repeat(np.arange(16, dtype=np.uint8), 16)
    frame_HWC = np.broadcast_to(columns_W[None, :, None], (64, 256, 3))
    finest_Chw = detector.levels(np.ascontiguousarray(frame_HWC), 32, 128)[0]
    assert finest_Chw[0].tolist() == [list(range(16))] * 4


def test_another_process_gets_the_same(detector):
    """Sessions cannot be sent; what is sent answers alike, after the first answer too."""
    frame_HWC = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    here = detector.levels(frame_HWC, 64, 96)
    there = pickle.loads(pickle.dumps(detector)).levels(frame_HWC, 64, 96)
    assert all((a == b).all() for a, b in zip(here, there, strict=True))


def test_detectors_are_told_apart(tmp_path):
    one, same, other = (
        DetectorCells(write_small_detector(tmp_path / f"{name}.onnx", side), CLASSES)
        for name, side in (("one", 64), ("same", 64), ("other", 96))
    )
    swapped = DetectorCells(tmp_path / "one.onnx", {"red": 1, "green": 0})
    assert one.digest == same.digest
    assert len({one.digest, other.digest, swapped.digest}) == 3


def test_file_that_is_not_made_of_levels_is_refused(tmp_path):
    """One of the right shapes that ends in no convolutions."""
    with pytest.raises(InvalidConfiguration, match=r"d\.onnx is no YOLOX file as its authors export it"):
        DetectorCells(write_detector(tmp_path / "d.onnx"), CLASSES)


def test_class_that_the_detector_has_not_is_refused(tmp_path):
    with pytest.raises(InvalidConfiguration, match="no YOLOX file with the classes"):
        DetectorCells(write_small_detector(tmp_path / "d.onnx"), {"red": 2})


def test_cells_of_a_real_detector_are_those_of_its_whole_answer(yardstick):
    """On the square that it takes, cell for cell, of all three levels."""
    path = yardstick / "yolox_nano.onnx"
    frame_HWC = np.random.default_rng(1).integers(0, 256, (416, 416, 3), np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    bgr_1CHW = frame_HWC[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    whole_AX = session.run(None, {"images": bgr_1CHW})[0][0]
    expected_SA = np.stack([whole_AX[:, 4], *(whole_AX[:, 4] * whole_AX[:, 5 + n] for n in COCO_CLASSES.values())])
    detector = DetectorCells(path, COCO_CLASSES)
    levels = detector.levels(frame_HWC, 416, 416)
    found_SA = np.concatenate([level_Chw[detector.features :].reshape(5, -1) for level_Chw in levels], axis=1)
    assert detector.features == 64
    assert found_SA == pytest.approx(expected_SA, abs=1e-3)
