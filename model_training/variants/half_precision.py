"""A float32 model -> the same with float16 weights and activations, for GPUs."""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from model_training.variants.local_logits import local_logits
from service.inference.artifact import EVIDENCE, INPUT, PROBABILITIES


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Float16 up to the local logits, float32 from there on: a log-sum-exp overflows where its terms pass 65504.

    Inputs and outputs stay what they are.
    """
    (border,) = local_logits(model).output
    # Cut in two, since the converter rounds between the nodes that it is told to leave alone.
    parts = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model))
    network = parts.extract_model([INPUT], [border])
    pooling = parts.extract_model([border], [PROBABILITIES, EVIDENCE])
    half = convert_float_to_float16(network, keep_io_types=True, disable_shape_infer=True)
    for part in (half, pooling):
        # Inferred for float32, and both parts tell of the border.
        del part.graph.value_info[:]
    return onnx.compose.merge_models(half, pooling, io_map=[(border, border)])
