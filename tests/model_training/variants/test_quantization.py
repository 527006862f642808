"""int8 answers like float32 within its steps, keeps the pooling, and takes pixels as they are where it can."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from model_training.variants.quantization import RANGE_METHODS, quantized
from tests.model_training.small_network import answers, random_frames, small_network


def run(model, frames_BHWC):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "evidence"], {"frames": frames_BHWC})


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="module")
def int8():
    return quantized(small_network(), random_frames(40, seed=1), "minmax")


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_int8_answers_like_the_hand_computation(method):
    """Red less green reaches 2 in 255 steps; six steps' worth of local logit is 0.05, a quarter of it probability."""
    model = quantized(small_network(), random_frames(40, seed=1), method)
    frames_BHWC = random_frames(20)
    error_BL = np.abs(run(model, frames_BHWC)[0] - answers(frames_BHWC))
    assert error_BL.mean() < 0.01
    assert error_BL.max() < 0.05


def test_weights_are_int8_with_a_scale_for_each_channel_and_activations_uint8(int8):
    weights = {tensor.name: tensor for tensor in int8.graph.initializer}
    stem = next(tensor for name, tensor in weights.items() if name.startswith("stem_quantized"))
    scales = numpy_helper.to_array(weights["stem_scale"])
    assert (stem.data_type, scales.shape) == (onnx.TensorProto.INT8, (3,))
    np.testing.assert_allclose(scales, 1 / 16 / 127, rtol=0.01)
    points = [weights[node.input[2]] for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert {point.data_type for point in points} == {onnx.TensorProto.UINT8}


def test_local_logits_and_pooling_stay_float32(int8):
    weights = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert weights["local"] == onnx.TensorProto.FLOAT
    assert sorted(kinds(int8)[-5:]) == ["Conv", "ReduceLogSumExp", "Sigmoid", "Sigmoid", "Sub"]


def test_pixels_are_taken_as_they_are_where_normalising_and_quantising_cancel(int8):
    """(x - 127) / 128 in steps of 1/128 around 127."""
    assert kinds(int8)[0] == "Transpose"
    assert int8.graph.node[0].input == ["frames"]
    assert not {"Cast", "Div"} & set(kinds(int8))


def test_pixels_are_normalised_where_they_do_not_cancel():
    """Steps around 127.5 are at whole pixels nowhere."""
    model = quantized(small_network(mean=127.5), random_frames(40, seed=1), "minmax")
    assert {"Cast", "Div"} <= set(kinds(model))
    frames_BHWC = random_frames(20)
    assert np.abs(run(model, frames_BHWC)[0] - answers(frames_BHWC)).mean() < 0.02


def test_quantiser_keeps_quiet_and_the_source_whole(capsys):
    """What is printed by a library would stand between our own lines."""
    source = small_network()
    before = source.SerializeToString()
    quantized(source, random_frames(8), "entropy")
    assert capsys.readouterr().out == ""
    assert source.SerializeToString() == before


def test_model_is_valid_onnx(int8):
    onnx.checker.check_model(int8, full_check=True)
