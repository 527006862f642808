"""The JSON of an inference request, checked as far as JSON goes.

What the protocol names has to have its type; members that it does not name are passed over: clients add their own.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidInferenceRequest
from service.web.deadlines import Timeouts

# What these ask for changes the meaning of a request, and is not to be had here.
REFUSED_PARAMETERS: Final = ("sequence_id", "shared_memory_region")

# What JSON says in a few bytes is a hundred as Python objects: what is not wanted must not become any.
Scalar = str | int | float | bool | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Parameters(_Part):
    """The parameters that mean something here, wherever they stand."""

    timeout: Scalar = None
    binary_data_output: Scalar = None
    binary_data_size: Scalar = None
    binary_data: Scalar = None
    classification: Scalar = None
    sequence_id: Scalar = None
    shared_memory_region: Scalar = None


class InputDocument(_Part):
    """A tensor that comes; its data stands here or behind the JSON."""

    name: str
    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class OutputDocument(_Part):
    """A tensor that is asked for."""

    name: str
    parameters: Parameters | None = None


class InferenceDocument(_Part):
    """The whole request."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[InputDocument] = Field(max_length=16)
    outputs: list[OutputDocument] | None = Field(None, max_length=16)


def read_document(text: bytes | bytearray) -> InferenceDocument:
    """The request that the JSON holds. Raises InvalidInferenceRequest."""
    try:
        document = InferenceDocument.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise InvalidInferenceRequest(f"the JSON of the request cannot be used: {said}") from error
    for part in (document, *document.inputs, *(document.outputs or ())):
        _refuse(part.parameters)
    return document


def deadline_s(timeouts: Timeouts, header: str | None, document: InferenceDocument, started_s: float) -> float:
    """Until when the request has to be answered: by X-Timeout-Ms or by its parameter `timeout`, whichever is sooner.

    Raises InvalidInferenceRequest for a timeout that is no whole number of microseconds, or more than is allowed.
    """
    timeout_us = document.parameters.timeout if document.parameters else None
    if timeout_us is None or timeout_us == 0:
        return timeouts.deadline_s(header, started_s)
    limit_us = timeouts.max_ms * 1000
    if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or not 0 < timeout_us <= limit_us:
        raise InvalidInferenceRequest(
            f"the parameter timeout is {timeout_us!r}; allowed: whole microseconds from 1 to {limit_us}, or 0 for none"
        )
    own_s = started_s + timeout_us / 1_000_000
    return own_s if header is None else min(own_s, timeouts.deadline_s(header, started_s))


def flag(parameters: Parameters | None, name: str) -> bool | None:
    """A parameter that is true or false, None where it is not given. Raises InvalidInferenceRequest."""
    value = getattr(parameters, name) if parameters else None
    if value is not None and not isinstance(value, bool):
        raise InvalidInferenceRequest(f"the parameter {name} is {value!r}; allowed: true or false")
    return value


def count(parameters: Parameters | None, name: str) -> int | None:
    """A parameter that counts something, None where it is not given. Raises InvalidInferenceRequest."""
    value = getattr(parameters, name) if parameters else None
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidInferenceRequest(f"the parameter {name} is {value!r}; allowed: a whole number from 0")
    return value


def _refuse(parameters: Parameters | None) -> None:
    for name in REFUSED_PARAMETERS:
        if parameters and getattr(parameters, name):
            raise InvalidInferenceRequest(f"the parameter {name} is not supported; a request brings all that it needs")
