"""Bytes to labels with a model whose answers are computable by hand."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import DamagedImage, ModelFileError, SelfTestFailed, TooManyPixels, UnsupportedImage
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector, load_detector
from tests.service.conftest import encoded
from tests.tiny_model import tiny_metadata, write_tiny_model

LIMITS = FrameLimits(max_pixels=1_000_000)


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    """The tiny model on the CPU."""
    return load_detector(model, "cpu", 1, LIMITS)


def test_detection_holds_the_means_of_the_colours(detector: Detector) -> None:
    """red 204/255 = 0.8, green 51/255 = 0.2; the threshold of both is 0.5."""
    detection = detector.detect(encoded(204, 51, 0, width=30, height=20))
    assert detection.probabilities == {"red": 0.8, "green": 0.2}
    assert detection.labels == ("red",)
    assert (detection.width, detection.height) == (30, 20)
    assert detection.evidence_Lhw.shape == (2, 2, 3)
    np.testing.assert_allclose(detection.evidence_Lhw[0], 0.8, atol=1e-6)
    assert detection.decode_s > 0
    assert detection.inference_s > 0


def test_pixels_are_answered_like_the_image_they_come_from(detector: Detector) -> None:
    """A PNG loses nothing: its pixels and its bytes are one frame, here of another size than the network's."""
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    ready, same = detector.decode(pixels_HWC), detector.decode(buffer.getvalue())
    np.testing.assert_array_equal(ready.frame.frame_HWC, same.frame.frame_HWC)
    assert (ready.frame.source_width, ready.frame.source_height) == (30, 20)


def test_pixels_have_the_limit_of_images(detector: Detector) -> None:
    with pytest.raises(TooManyPixels, match=r"1001 x 1000 = 1001000 pixels; at most 1000000"):
        detector.decode(np.zeros((1000, 1001, 3), np.uint8))


def test_probability_equal_to_the_threshold_is_a_label(tmp_path: Path) -> None:
    """153/255 is 0.6 exactly where it is shown, though float32 holds a little more or less."""
    model = write_tiny_model(tmp_path / "model.onnx", threshold=0.6)
    detection = load_detector(model, "cpu", 1, LIMITS).detect(encoded(153, 152, 0))
    assert detection.probabilities["red"] == 0.6
    assert detection.labels == ("red",)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImage),
        (b"text called .jpg", UnsupportedImage),
        (encoded(1, 2, 3)[:40], DamagedImage),
        (encoded(1, 2, 3, width=1001, height=1000), TooManyPixels),
    ],
)
def test_bad_frame_raises_its_error(detector: Detector, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        detector.detect(data)


def test_model_that_fails_its_self_test_is_not_served(tmp_path: Path) -> None:
    metadata = tiny_metadata()
    wrong = metadata.self_test[0].model_copy(update={"probabilities": (0.9, 0.9)})
    planted = metadata.model_copy(update={"self_test": (wrong,)}).model_dump_json()
    model = write_tiny_model(tmp_path / "model.onnx", metadata_json=planted)
    with pytest.raises(SelfTestFailed):
        load_detector(model, "cpu", 1, LIMITS)


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent\.onnx cannot be read"):
        load_detector(tmp_path / "absent.onnx", "cpu", 1, LIMITS)
