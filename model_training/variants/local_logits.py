"""Where in an exported graph the network ends and pooling and calibration begin.

What comes after the local logits, a log-sum-exp and a few numbers per label, costs next to nothing and decides every
probability: in each variant it stays float32.
"""

from collections.abc import Iterator

import onnx

from model_training.errors import VariantError
from service.inference.artifact import EVIDENCE


def local_logits(model: onnx.ModelProto) -> onnx.NodeProto:
    """The convolution that makes the maps of local logits: the last one before the evidence."""
    makers: dict[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output}
    name = EVIDENCE
    while (node := makers.get(name)) is not None:
        if node.op_type == "Conv":
            return node
        name = node.input[0]
    raise VariantError(f"no convolution leads to the output '{EVIDENCE}', so this graph has no known variants")


def pooling(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node that depends on the local logits, in the graph's order."""
    depending = set(local_logits(model).output)
    for node in model.graph.node:
        if not depending.isdisjoint(node.input):
            depending.update(node.output)
            yield node
