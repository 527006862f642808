import onnx
import pytest

from model_training.reproduction import disagreements, has_same_weights
from service.inference.artifact import Figure, TrainingData
from tests.tiny_model import tiny_metadata, write_tiny_model


def figure(value, low=0.0, high=1.0, label="red", metric="average_precision"):
    return Figure(test_set="road", label=label, metric=metric, value=value, low=low, high=high, n=9, positives=4)


def metadata(*figures, data="same"):
    training_data = TrainingData(hash=data, frames=9, licences=())
    return tiny_metadata().model_copy(update={"figures": figures, "training_data": training_data})


PUBLISHED = metadata(figure(0.8, 0.7, 0.9))


@pytest.mark.parametrize("value", [0.7, 0.8, 0.9])
def test_figure_within_the_published_interval_agrees(value):
    assert list(disagreements(metadata(figure(value)), PUBLISHED)) == []


@pytest.mark.parametrize(("value", "agrees"), [(0.9996, True), (0.9994, False)])
def test_interval_without_width_is_as_wide_as_its_last_digit(value, agrees):
    assert (not list(disagreements(metadata(figure(value)), metadata(figure(1.0, 1.0, 1.0))))) is agrees


@pytest.mark.parametrize("value", [0.69, 0.91])
def test_figure_outside_the_published_interval_is_named_with_it(value):
    (said,) = disagreements(metadata(figure(value)), PUBLISHED)
    assert said == f"the average precision of red on road is {value}; published are 0.8 (0.7 to 0.9)"


def test_other_data_is_no_reproduction_however_good_it_is():
    (said,) = disagreements(metadata(figure(0.8), data="other"), PUBLISHED)
    assert "other data: other instead of same" in said


def test_figure_that_was_not_measured_again_is_missed():
    (said,) = disagreements(metadata(), PUBLISHED)
    assert "average precision of red on road was not measured" in said


def test_other_metrics_are_not_held_to_their_intervals():
    published = metadata(figure(0.1, 0.05, 0.2, metric="expected_calibration_error"))
    assert list(disagreements(metadata(), published)) == []


def test_weights_are_the_same_until_one_bit_of_one_differs(tmp_path):
    published = write_tiny_model(tmp_path / "published.onnx")
    model = onnx.load(published)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
    onnx.helper.set_model_props(model, {"roadcue": "of another day"})
    onnx.save(model, tmp_path / "again.onnx")
    assert has_same_weights(tmp_path / "again.onnx", published)
    scale.raw_data = bytes([scale.raw_data[0] ^ 1]) + scale.raw_data[1:]
    onnx.save(model, tmp_path / "again.onnx")
    assert not has_same_weights(tmp_path / "again.onnx", published)
