"""A detector that answers the same whatever it sees stands for a real one; a real one is compared where it is there."""

import csv

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_training.errors import InvalidConfiguration
from model_training.teacher.classes import COCO_CLASSES
from model_training.teacher.detector import VIEWS, YoloxDetector, found, taught
from service.inference.decoding import FrameLimits, decode_at_least
from tests.model_training.images import write_image
from tests.tiny_model import write_tiny_model

SIDE, CELLS = 32, 16 + 4 + 1
"""32 pixels have 4 x 4 cells at stride 8, 2 x 2 at 16 and 1 at 32."""


def write_detector(path, cells=(), side=SIDE, count=CELLS):
    """A YOLOX file of two classes; `cells` gives some their centre, log size, objectness and scores, the rest is 0."""
    answer = np.zeros((1, count, 7), np.float32)
    for number, values in cells:
        answer[0, number] = values
    shape = [1, 3, side, side]
    # The input goes through the graph, or there would be none.
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "zero"], ["nothing"]),
            helper.make_node("Add", ["answer", "nothing"], ["output"]),
        ],
        "constant detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(answer.shape))],
        [
            helper.make_tensor("answer", TensorProto.FLOAT, answer.shape, answer.ravel()),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


CLASSES = {"car": 0, "stop_sign": 1}


def test_box_is_decoded_from_its_cell(tmp_path):
    """Cell 6 of stride 8 is row 1, column 2; centre (2 + 0.5, 1 + 0.5) * 8, size e^ln(2) * 8 = 16 by 8; 0.8 * 0.5."""
    path = write_detector(tmp_path / "d.onnx", [(6, (0.5, 0.5, np.log(2), 0, 0.8, 0.5, 0))])
    boxes_K6 = YoloxDetector(path, CLASSES).boxes(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert boxes_K6 == pytest.approx(np.array([[0, 0.4, 12, 8, 28, 16]]), abs=1e-5)


def test_box_is_scaled_to_the_frame(tmp_path):
    """A frame of 64 x 48 is halved to fit 32; what the detector sees is twice as large in it."""
    path = write_detector(tmp_path / "d.onnx", [(6, (0.5, 0.5, np.log(2), 0, 0.8, 0, 0.5))])
    boxes_K6 = YoloxDetector(path, CLASSES).boxes(np.zeros((48, 64, 3), np.uint8))
    assert boxes_K6 == pytest.approx(np.array([[1, 0.4, 24, 16, 56, 32]]), abs=1e-5)


def test_object_that_all_views_see_keeps_its_score(tmp_path):
    """The largest cell fills the frame and its mirror image, and each tile; a tile shows but a part, so the third
    kind says 0.01 for the whole: (2 logit 0.4 + logit 0.01) / 3 = -1.8020, of which the sigmoid is 0.1416."""
    path = write_detector(tmp_path / "d.onnx", [(20, (0.5, 0.5, np.log(0.7), np.log(0.7), 0.8, 0.5, 0))])
    image = write_image(tmp_path / "a.png", size=(64, 64))
    best = found(YoloxDetector(path, CLASSES), image)["car"][0]
    assert best.box == pytest.approx((0.15, 0.15, 0.85, 0.85), abs=1e-3)
    assert best.probability == pytest.approx(0.1416, abs=1e-3)


def test_box_that_has_no_area_in_the_file_that_it_is_written_to_is_none(tmp_path):
    """It reaches 0.000025 of the width into the frame: four digits say 0."""
    # The first cell of 8 x 8 pixels lies at the left edge; width exp(w) * 8 pixels around x * 8.
    path = write_detector(tmp_path / "d.onnx", [(0, (-0.5 + 0.0001, 0.5, 0.0, 0.0, 0.9, 0.9, 0))])
    assert found(YoloxDetector(path, CLASSES), write_image(tmp_path / "a.png", size=(64, 64))) == {}


def test_tiles_cover_the_frame_and_overlap():
    tiles = [view for view in VIEWS if view.side < 1]
    points = [(x / 20 + 0.025, y / 20 + 0.025) for x in range(20) for y in range(20)]
    seen = [sum(v.x0 <= x <= v.x0 + v.side and v.y0 <= y <= v.y0 + v.side for v in tiles) for x, y in points]
    assert min(seen) >= 1
    assert max(seen) == 4


def test_frame_in_which_nothing_is_found_has_no_hints(tmp_path):
    detector = YoloxDetector(write_detector(tmp_path / "d.onnx"), CLASSES)
    assert list(taught(detector, [write_image(tmp_path / "a.png")], threads=2)) == [{}]


@pytest.mark.parametrize("changes", [{"side": 40}, {"count": 20}])
def test_file_that_is_no_yolox_detector_is_refused(tmp_path, changes):
    path = write_detector(tmp_path / "d.onnx", **changes)
    with pytest.raises(InvalidConfiguration, match=r"d\.onnx takes .* no YOLOX file"):
        YoloxDetector(path, CLASSES)


def test_model_of_another_form_is_refused(tmp_path):
    """Ours: pixels last, and a probability for each label."""
    with pytest.raises(
        InvalidConfiguration, match=r"tiny\.onnx takes .* no YOLOX file with the classes red=0, green=1"
    ):
        YoloxDetector(write_tiny_model(tmp_path / "tiny.onnx"), {"red": 0, "green": 1})


def test_class_that_the_detector_has_not_is_refused(tmp_path):
    with pytest.raises(InvalidConfiguration, match="no YOLOX file with the classes car=2"):
        YoloxDetector(write_detector(tmp_path / "d.onnx"), {"car": 2})


def test_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "d.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidConfiguration, match=r"d\.onnx cannot be run"):
        YoloxDetector(tmp_path / "d.onnx", CLASSES)


def test_best_box_of_the_real_detector_is_its_published_presence_score(streetframes, yardstick):
    """The scores beside the frames were made by another program from the same detector."""
    detector = YoloxDetector(yardstick / "yolox_nano.onnx", COCO_CLASSES)
    with (streetframes / "teacher.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::500]
    for row in rows:
        frame_HWC = decode_at_least((streetframes / row["image"]).read_bytes(), 4096, 4096, FrameLimits())
        boxes_K6 = detector.boxes(frame_HWC)
        for j, label in enumerate(COCO_CLASSES):
            published = float(row[label])
            best = boxes_K6[boxes_K6[:, 0] == j, 1].max(initial=0)
            # Below 0.01 no box is written down; decoders differ by a grey level here and there.
            assert best == pytest.approx(published if published > 0.01 else 0, abs=0.03)
