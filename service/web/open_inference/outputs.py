"""Detections -> the tensors that were asked for, in JSON or as bytes behind it.

    probabilities   FP32 [N, L]          one column a label, in the model's order
    evidence        FP32 [N, L, h, w]    where in the frame each label's evidence lies

`classification: k` makes of probabilities the k most probable labels, BYTES [N, k], as Triton writes them:
"0.930000:1:car". In JSON evidence has three decimals, as in /predict; bytes are exact.

# N = frames in the request, L = labels, h/w = height/width of the evidence grid
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic_core import to_json

from service.errors import InvalidInferenceRequest
from service.inference.artifact import EVIDENCE, PROBABILITIES
from service.inference.detector import DECIMALS, Detection
from service.web.open_inference.documents import InferenceDocument, OutputDocument, count, flag
from service.web.schemas import EVIDENCE_DECIMALS

NAMES: Final = (PROBABILITIES, EVIDENCE)


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One tensor of the reply: as bytes or in JSON, and of how many classes where not all are wanted."""

    name: str
    binary: bool = False
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | list[Any]

    def described(self) -> dict[str, Any]:
        head = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        if isinstance(self.content, bytes):
            return head | {"parameters": {"binary_data_size": len(self.content)}}
        return head | {"data": self.content}


def wanted_outputs(document: InferenceDocument) -> list[WantedOutput]:
    """What the reply is to hold: what was asked for, or all that there is. Raises InvalidInferenceRequest."""
    binary = flag(document.parameters, "binary_data_output") or False
    wanted = [_wanted(output, binary) for output in document.outputs or [OutputDocument(name=name) for name in NAMES]]
    names = [output.name for output in wanted]
    if len({*names}) < len(names):
        raise InvalidInferenceRequest(f"the request asks for outputs {names}; ask for each once")
    return wanted


def all_as_bytes() -> list[WantedOutput]:
    """What the reply to a body without JSON holds."""
    return [WantedOutput(name, binary=True) for name in NAMES]


def encode_reply(
    head: dict[str, Any], wanted: Sequence[WantedOutput], detections: Sequence[Detection]
) -> tuple[bytes, int | None]:
    """The body of a reply, and how many bytes of it are JSON where tensors follow; `head` are its other members."""
    tensors = [_tensor(output, detections) for output in wanted]
    text = to_json(head | {"outputs": [tensor.described() for tensor in tensors]})
    contents = [tensor.content for tensor in tensors if isinstance(tensor.content, bytes)]
    return b"".join((text, *contents)), len(text) if contents else None


def _wanted(output: OutputDocument, binary: bool) -> WantedOutput:
    if output.name not in NAMES:
        raise InvalidInferenceRequest(f"the model has no output {output.name!r}; there are {' and '.join(NAMES)}")
    own_choice = flag(output.parameters, "binary_data")
    classes = count(output.parameters, "classification") or None
    if classes and output.name != PROBABILITIES:
        raise InvalidInferenceRequest(f"the parameter classification is for {PROBABILITIES}, not for {output.name}")
    return WantedOutput(output.name, binary if own_choice is None else own_choice, classes)


def _tensor(wanted: WantedOutput, detections: Sequence[Detection]) -> _Tensor:
    if wanted.classes:
        return _classes(wanted, wanted.classes, detections)
    return _probabilities(wanted, detections) if wanted.name == PROBABILITIES else _evidence(wanted, detections)


def _probabilities(wanted: WantedOutput, detections: Sequence[Detection]) -> _Tensor:
    values = [value for detection in detections for value in detection.probabilities.values()]
    content = np.array(values, "<f4").tobytes() if wanted.binary else values
    return _Tensor(wanted.name, "FP32", (len(detections), len(values) // len(detections)), content)


def _evidence(wanted: WantedOutput, detections: Sequence[Detection]) -> _Tensor:
    evidence_NLhw = np.stack([detection.evidence_Lhw for detection in detections])
    if wanted.binary:
        content: bytes | list[Any] = evidence_NLhw.astype("<f4", copy=False).tobytes()
    else:
        content = evidence_NLhw.astype(float).round(EVIDENCE_DECIMALS).ravel().tolist()
    return _Tensor(wanted.name, "FP32", evidence_NLhw.shape, content)


def _classes(wanted: WantedOutput, classes: int, detections: Sequence[Detection]) -> _Tensor:
    rows = [_most_probable(detection, classes) for detection in detections]
    texts = [text for row in rows for text in row]
    content = b"".join(map(_with_length, texts)) if wanted.binary else texts
    return _Tensor(wanted.name, "BYTES", (len(rows), len(rows[0])), content)


def _most_probable(detection: Detection, classes: int) -> list[str]:
    """At most so many labels, the most probable first; of equals, the first in the model's order."""
    ranked = sorted(enumerate(detection.probabilities.items()), key=lambda entry: -entry[1][1])
    return [f"{value:.{DECIMALS}f}:{index}:{label}" for index, (label, value) in ranked[:classes]]


def _with_length(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded
