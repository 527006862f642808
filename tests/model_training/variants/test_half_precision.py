"""float16 halves the network and leaves the pooling alone."""

import numpy as np
import onnx
import onnxruntime
import pytest

from model_training.variants.half_precision import halved
from tests.model_training.small_network import answers, random_frames, small_network


def run(model, frames_BHWC):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "evidence"], {"frames": frames_BHWC})


def test_half_answers_like_the_hand_computation():
    """Half precision keeps eleven bits: 6 in a local logit of up to 9 is 0.003."""
    frames_BHWC = random_frames(20)
    probabilities_BL, evidence_BLhw = run(halved(small_network()), frames_BHWC)
    assert probabilities_BL.dtype == evidence_BLhw.dtype == np.float32
    np.testing.assert_allclose(probabilities_BL, answers(frames_BHWC), atol=0.003)


def test_weights_of_the_network_are_halved_and_those_of_the_pooling_are_not():
    weights = {tensor.name: tensor.data_type for tensor in halved(small_network()).graph.initializer}
    networks = [kind for name, kind in weights.items() if name.startswith(("stem", "local"))]
    assert networks == [onnx.TensorProto.FLOAT16] * 4
    assert weights["log_cells"] == onnx.TensorProto.FLOAT


def test_local_logits_past_the_range_of_half_precision_once_exponentiated_are_pooled():
    """e ** 20 is past 65504."""
    frames_BHWC = np.zeros((1, 8, 12, 3), np.uint8)
    frames_BHWC[..., 0] = 255
    half = run(halved(small_network(strength=12.0)), frames_BHWC)[0]
    np.testing.assert_allclose(half, answers(frames_BHWC, strength=12.0), atol=0.003)
    assert half[0, 0] > 0.999


def test_model_is_valid_onnx():
    onnx.checker.check_model(halved(small_network()), full_check=True)


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_axis_stays_free(batch):
    assert run(halved(small_network()), random_frames(batch))[0].shape == (batch, 2)
