"""The JSON of a request: what is refused, and with which place."""

import tracemalloc
from typing import Any

import httpx
import pytest

from service.web.open_inference.documents import read_document
from tests.service.web.open_inference.inference_requests import (
    pixel_request,
    refused,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the JSON of the request cannot be used: Invalid JSON: EOF while parsing a value"),
        (b"[]", "the JSON of the request cannot be used: Input should be an object"),
        (b"{}", "the JSON of the request cannot be used: inputs: Field required"),
        (b'{"inputs": []}', "the request has 0 inputs; send one: encoded_frames (BYTES [N]) or frames"),
        (b'{"inputs": [{"name": 1}]}', "cannot be used: inputs.0.name: Input should be a valid string"),
        (b'{"inputs": [], "id": 7}', "cannot be used: id: Input should be a valid string"),
        (b"[" * 5000, "cannot be used: Invalid JSON: recursion limit exceeded"),
    ],
)
async def test_bad_json_is_refused_with_its_place(client: httpx.AsyncClient, content: bytes, message: str) -> None:
    status, error = await refused(client, content=content)
    assert (status, message in error) == (400, True), error


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"outputs": [{"name": "evidence"}] * 2}, "the request asks for outputs ['evidence', 'evidence']"),
        (
            {"outputs": [{"name": "evidence", "parameters": {"classification": 1}}]},
            "the parameter classification is for probabilities, not for evidence",
        ),
        (
            {"outputs": [{"name": "evidence", "parameters": {"binary_data": 1}}]},
            "the parameter binary_data is 1; allowed: true or false",
        ),
        ({"parameters": {"timeout": "soon"}}, "the parameter timeout is 'soon'; allowed: whole microseconds from 1"),
        ({"parameters": {"timeout": 10**12}}, "the parameter timeout is 1000000000000; allowed: whole microseconds"),
        ({"parameters": {"timeout": True}}, "the parameter timeout is True; allowed: whole microseconds"),
        ({"parameters": {"timeout": 1.5}}, "the parameter timeout is 1.5; allowed: whole microseconds"),
        ({"parameters": {"timeout": [1]}}, "the JSON of the request cannot be used: parameters.timeout"),
        ({"parameters": {"sequence_id": 3}}, "the parameter sequence_id is not supported"),
        ({"parameters": {"sequence_id": "a"}}, "the parameter sequence_id is not supported"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    client: httpx.AsyncClient, changed: dict[str, Any], message: str
) -> None:
    status, error = await refused(client, json=pixel_request(**changed))
    assert (status, message in error) == (400, True), error


def test_what_is_not_wanted_of_a_request_becomes_no_python_objects() -> None:
    """1.2 MB of JSON that would be 24 MB of empty lists, held while the tensors behind it come in."""
    idle = '{"binary_data_size": 288, "mine": [' + "[]," * 100_000 + "[]]}"
    text = f"""{{
        "inputs": [{{"name": "frames", "shape": [1, 8, 12, 3], "datatype": "UINT8", "parameters": {idle}}}],
        "outputs": [{{"name": "evidence", "parameters": {idle}}}],
        "parameters": {idle},
        "mine": {idle}
    }}""".encode()
    tracemalloc.start()
    try:
        document = read_document(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert document.inputs[0].name == "frames"
    assert peak_bytes < 100_000
