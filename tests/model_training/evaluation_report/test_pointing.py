import numpy as np
import pytest
from PIL import Image

from model_training.evaluation_report.pointing import (
    Aim,
    aim_of,
    aims,
    distance_px,
    peak_centres,
    pointing_game,
    upright_size,
)
from model_training.evaluation_report.served_model import ServedModel
from service.inference.artifact import Artifact
from tests.model_training.tables import table_of
from tests.tiny_model import write_tiny_model

# Of a map of 2 x 4 cells the peak's centre is at x = 5/8, y = 1/4.
EVIDENCE = np.array([[0, 0, 0.9, 0.1], [0, 0.2, 0, 0]], np.float32)


def aim(boxes, evidence=EVIDENCE, size=(400, 200)):
    return aim_of(0, "car", np.asarray(evidence, np.float32), boxes, size)


def test_peak_is_the_centre_of_the_cell_with_the_most_evidence():
    assert list(peak_centres(EVIDENCE)) == [(5 / 8, 1 / 4)]


def test_peak_in_a_box_is_a_hit():
    """In one of several boxes; its edge counts."""
    assert aim([(0, 0.9, 0.1, 1), (0.5, 0.2, 0.7, 0.3)]).strict == 1
    assert aim([(5 / 8, 1 / 4, 1, 1)]).strict == 1


def test_peak_beside_a_box_is_a_hit_within_the_tolerance_only():
    """The box begins 0.0375 of 400 pixels, 15, to the right; then 16; then 12 and 10 away across a corner."""
    near = aim([(5 / 8 + 15 / 400, 0, 1, 1)])
    assert (near.strict, near.tolerant) == (0, 1)
    assert aim([(5 / 8 + 16 / 400, 0, 1, 1)]).tolerant == 0
    assert aim([(5 / 8 + 12 / 400, 1 / 4 + 10 / 200, 1, 1)]).tolerant == 0
    assert aim([(5 / 8 + 12 / 400, 1 / 4 + 8 / 200, 1, 1)]).tolerant == 1


def test_distance_is_that_to_the_nearest_point_of_the_box():
    """3 pixels across and 4 down are 5."""
    assert distance_px(0.2, 0.2, (0.23, 0.24, 0.5, 0.5), (100, 100)) == pytest.approx(5)
    assert distance_px(0.3, 0.6, (0.2, 0.1, 0.5, 0.5), (100, 50)) == pytest.approx(5)


def test_a_peak_that_several_cells_share_hits_by_their_share():
    """A map that says nothing must not hit because its first cell lies in a box."""
    flat = aim([(0, 0, 0.5, 1)], np.full((2, 4), 0.5))
    assert flat.strict == 0.5


def test_chance_is_the_part_of_the_cells_in_a_box():
    """Two overlapping boxes hold the centres of the first two columns and of one cell more: 5 of 8."""
    assert aim([(0, 0, 0.5, 1), (0.2, 0, 0.7, 0.4)]).by_chance == 5 / 8


def test_shares_are_per_label_over_frames():
    table = table_of([[1, 1]] * 4, ("car", "stop_sign"), groups=("a", "a", "b", "b"))
    hits = [Aim(row, "car", 0.5, 0.5, strict, 1, 0.25) for row, strict in enumerate((1, 1, 0, 1))]
    (found,) = pointing_game(hits, table)
    assert (found.label, found.n, found.strict, found.tolerant, found.by_chance) == ("car", 4, 0.75, 1, 0.25)
    # Scenes of share 1 and 0.5 are drawn whole.
    assert (found.strict_low, found.strict_high) == (0.5, 1)


def test_only_present_entries_with_boxes_are_asked_about(tmp_path):
    """The tiny model's red evidence is largest in the cell that is red: column 3 of 3, row 1 of 2."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, 16:, 0] = 250
    images = [tmp_path / f"{row}.png" for row in range(3)]
    for row, image in enumerate(images):
        Image.fromarray(pixels + np.uint8(row)).save(image)
    boxes = ({"red": ((0.7, 0.1, 0.9, 0.4),)}, {"red": ((0, 0.5, 0.3, 0.9),)}, {})
    table = table_of([[1, 1], [1, -1], [1, 0]], ("red", "green"), images, boxes=boxes)
    model = ServedModel.about(Artifact.read(write_tiny_model(tmp_path / "tiny.onnx")), table, 1)
    found = aims(model, table)
    assert [(aim.row, aim.label, aim.strict) for aim in found] == [(0, "red", 1), (1, "red", 0)]
    assert (found[0].x, found[0].y) == (pytest.approx(5 / 6), 1 / 4)


def test_size_is_that_of_the_frame_as_shown(tmp_path):
    """A photograph on its side carries its orientation in EXIF."""
    image, turned = Image.new("RGB", (30, 20)), Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    image.save(tmp_path / "plain.jpg")
    assert upright_size(tmp_path / "turned.jpg") == (20, 30)
    assert upright_size(tmp_path / "plain.jpg") == (30, 20)
