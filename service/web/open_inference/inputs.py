"""Document and body -> frames: encoded images or pixels, in JSON or as bytes behind it.

    encoded_frames   BYTES [N] or [N, 1]    JPEG, PNG or WebP; in JSON as base64
    frames           UINT8 [N, H, W, 3]     RGB; another size than the network's is resized by the model's rule

A request has one of the two. Everything is checked before the bytes are kept.

# N = frames in the request, H/W = height/width in pixels, C = 3 (RGB)
"""

import base64
import binascii
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInferenceRequest, NoFrames
from service.inference.decoding import Incoming
from service.web.open_inference.body import HEADER_LENGTH, InferenceBody
from service.web.open_inference.documents import InferenceDocument, InputDocument, count
from service.web.uploads import UploadLimits, frame_too_large, too_many_frames

ENCODED: Final = "encoded_frames"
PIXELS: Final = "frames"
DATATYPES: Final = {ENCODED: "BYTES", PIXELS: "UINT8"}
CHANNELS: Final = 3
_LENGTH_BYTES: Final = 4


def only_input(document: InferenceDocument, limits: UploadLimits) -> InputDocument:
    """The one input of a request, whose name, type and shape fit the model.

    Raises InvalidInferenceRequest, NoFrames, TooManyFrames and FrameTooLarge.
    """
    if len(document.inputs) != 1:
        raise InvalidInferenceRequest(f"the request has {len(document.inputs)} inputs; send one: {_allowed()}")
    given = document.inputs[0]
    if given.name not in DATATYPES:
        raise InvalidInferenceRequest(f"the model has no input {given.name!r}; send one: {_allowed()}")
    if given.datatype != DATATYPES[given.name]:
        raise InvalidInferenceRequest(
            f"the input {given.name} came as {given.datatype}; allowed is {DATATYPES[given.name]}"
        )
    _check_shape(given, limits)
    return given


async def read_frames(
    given: InputDocument, body: InferenceBody, limits: UploadLimits, behind_json: bool
) -> list[Incoming]:
    """The frames of an input. `behind_json` says whether bytes may follow the JSON. Raises RequestError, FrameError."""
    size = count(given.parameters, "binary_data_size")
    if (size is None) == (given.data is None):
        raise InvalidInferenceRequest(f"the input {given.name} needs either data or the parameter binary_data_size")
    if size is None:
        frames = _from_json(given, limits)
        # A client may take its time to end the body, and these take many times the memory of their text.
        (given.data or []).clear()
    elif not behind_json:
        raise InvalidInferenceRequest(f"binary_data_size is {size}, but the header {HEADER_LENGTH} is missing")
    elif given.name == PIXELS:
        frames = _frames_of(await _read_pixels(given, size, body), given.shape)
    else:
        frames = await _read_encoded(given.shape[0], size, body, limits)
    await body.end()
    return frames


def _allowed() -> str:
    return f"{ENCODED} (BYTES [N]) or {PIXELS} (UINT8 [N, H, W, {CHANNELS}])"


def _check_shape(given: InputDocument, limits: UploadLimits) -> None:
    shape = given.shape
    if given.name == PIXELS:
        fits = len(shape) == 4 and shape[3] == CHANNELS and min(shape[1:]) > 0
    else:
        fits = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits:
        allowed = f"[N, H, W, {CHANNELS}]" if given.name == PIXELS else "[N] and [N, 1]"
        raise InvalidInferenceRequest(f"the input {given.name} came with shape {shape}; allowed: {allowed}")
    if shape[0] == 0:
        raise NoFrames(f"the input {given.name} has shape {shape}, which holds no frame; send at least one")
    if shape[0] > limits.max_frames:
        raise too_many_frames(limits.max_frames)
    if (frame_bytes := math.prod(shape[1:])) > limits.max_frame_bytes:
        raise frame_too_large(f"a frame of shape {shape[1:]}", frame_bytes, limits.max_frame_bytes)


async def _read_pixels(given: InputDocument, size: int, body: InferenceBody) -> NDArray[np.uint8]:
    needed = math.prod(given.shape)
    if size != needed:
        raise InvalidInferenceRequest(
            f"binary_data_size of {given.name} is {size}; the shape {given.shape} needs {needed} bytes"
        )
    return np.frombuffer(await body.read(size, given.name), np.uint8)


def _frames_of(pixels: NDArray[np.uint8], shape: Sequence[int]) -> list[Incoming]:
    return list(pixels.reshape(shape))


async def _read_encoded(frames: int, size: int, body: InferenceBody, limits: UploadLimits) -> list[Incoming]:
    """So many frames, each after its length in 4 bytes, least significant first; `size` bytes in all."""
    read: list[Incoming] = []
    left = size
    for number in range(1, frames + 1):
        name = _name(number, frames)
        left -= _LENGTH_BYTES
        _refuse_overrun(left, name, size)
        length = int.from_bytes(await body.read(_LENGTH_BYTES, f"the length of {name}"), "little")
        left -= length
        _refuse_overrun(left, name, size)
        if length > limits.max_frame_bytes:
            raise frame_too_large(name, length, limits.max_frame_bytes)
        read.append(bytes(await body.read(length, name)))
    if left:
        raise InvalidInferenceRequest(
            f"binary_data_size of {ENCODED} is {size}, but its frames end {left} bytes before"
        )
    return read


def _refuse_overrun(left: int, name: str, size: int) -> None:
    if left < 0:
        raise InvalidInferenceRequest(f"{name} goes beyond binary_data_size, which is {size} for {ENCODED}")


def _from_json(given: InputDocument, limits: UploadLimits) -> list[Incoming]:
    elements = _flat(given.data or [], given.name)
    needed = math.prod(given.shape)
    if len(elements) != needed:
        raise InvalidInferenceRequest(
            f"data of {given.name} has {len(elements)} elements; the shape {given.shape} needs {needed}"
        )
    if given.name == PIXELS:
        return _frames_of(_pixels(elements), given.shape)
    return [_from_base64(text, _name(index + 1, needed), limits) for index, text in enumerate(elements)]


def _flat(data: list[Any], name: str) -> list[Any]:
    """The elements in their order; the protocol allows them nested like the shape, or flat."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise InvalidInferenceRequest(f"data of {name} mixes arrays and elements; nest it like the shape, or not")
        data = list(chain.from_iterable(data))
    return data


def _pixels(elements: list[Any]) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes(elements), np.uint8)
    except (TypeError, ValueError) as error:
        raise InvalidInferenceRequest(f"data of {PIXELS} must be whole numbers from 0 to 255: {error}") from error


def _from_base64(text: Any, name: str, limits: UploadLimits) -> bytes:
    # JSON has no bytes. MLServer's clients name this form in the parameter content_type, and send it the same way.
    if not isinstance(text, str):
        raise InvalidInferenceRequest(f"{name} is no text; in JSON an encoded frame is base64")
    try:
        frame = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInferenceRequest(
            f"{name} is not base64 ({error}); in JSON an encoded frame is, or send binary tensor data"
        ) from error
    if len(frame) > limits.max_frame_bytes:
        raise frame_too_large(name, len(frame), limits.max_frame_bytes)
    return frame


def _name(number: int, frames: int) -> str:
    return f"frame {number} of {frames}"
