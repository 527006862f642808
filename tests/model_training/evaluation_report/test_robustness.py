import numpy as np
import pytest
from PIL import Image

from model_training.errors import ImageChanged
from model_training.evaluation_report.corruptions import CORRUPTIONS, SIDE_PX
from model_training.evaluation_report.robustness import reduced, robustness
from model_training.evaluation_report.served_model import ServedModel
from service.inference.artifact import Artifact
from tests.model_training.tables import table_of
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_tiny_model(tmp_path_factory.mktemp("robustness") / "tiny.onnx")
    return ServedModel.about(Artifact.read(path), table_of([[1, 1]], ("red", "green")), 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Even frames; red is present in the two reddest, green everywhere but in the greenest."""
    folder = tmp_path_factory.mktemp("frames")
    colours = [(200, 10, 0), (120, 20, 0), (60, 30, 0), (30, 240, 0)]
    images = [folder / f"{row}.png" for row in range(4)]
    for image, colour in zip(images, colours, strict=True):
        Image.new("RGB", (24, 16), colour).save(image)
    return table_of([[1, 1], [1, 1], [0, 1], [0, 0]], ("red", "green"), images)


def found(model, table, names, **more):
    chosen = {name: CORRUPTIONS[name] for name in names}
    rows = robustness(model, table, {"set": ("s",)}, corruptions=chosen, resamples=20, **more)
    return {(row.corruption, row.label, row.severity): row for row in rows}


def test_untouched_frames_are_severity_zero(model, table):
    """Red is told rightly; green's absent frame is first, so its present ones come at 2, 3 and 4."""
    rows = found(model, table, ["fog"])
    assert rows["fog", "red", 0].value == 1.0
    assert rows["fog", "green", 0].value == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3, abs=5e-5)
    assert (rows["fog", "green", 0].n, rows["fog", "green", 0].positives) == (4, 3)


def test_fog_changes_no_order(model, table):
    """It mixes the same grey into every frame, so average precision stays."""
    rows = found(model, table, ["fog"])
    assert {row.value for (_, label, _), row in rows.items() if label == "red"} == {1.0}
    assert {severity for _, _, severity in rows} == set(range(6))


def test_brightness_makes_equal_what_exceeds_white(model, table):
    """Reds of 200 and 120 both become 255 at +150, 60 and 30 stay apart: still in order, with a tie on top."""
    rows = found(model, table, ["brightness"])
    assert rows["brightness", "red", 5].value == 1.0
    # Greens 10, 20, 30 and 240: the absent one is 255 and first, as before.
    assert rows["brightness", "green", 5].value == rows["brightness", "green", 0].value


@pytest.mark.parametrize("content", [b"<html>", None])
def test_image_that_is_replaced_or_deleted_after_loading_is_named(model, tmp_path, content):
    image = tmp_path / "gone.png"
    if content is not None:
        image.write_bytes(content)
    with pytest.raises(ImageChanged, match="could be decoded when the data was loaded, now it cannot") as raised:
        found(model, table_of([[1, 1]], ("red", "green"), [image]), ["fog"])
    assert raised.value.file == image


def test_same_seed_gives_the_same_figures(model, table):
    assert found(model, table, ["noise"], seed=4) == found(model, table, ["noise"], seed=4)


def test_long_frames_are_reduced_and_others_are_left(model):
    """So a blur of some pixels means the same for every camera."""
    assert reduced(np.zeros((600, 2 * SIDE_PX, 3), np.uint8)).shape == (300, SIDE_PX, 3)
    small = np.zeros((SIDE_PX, 10, 3), np.uint8)
    assert reduced(small) is small
