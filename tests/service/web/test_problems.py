"""The one table from errors to problems."""

import re
from collections.abc import Iterator

import httpx
import pytest

from service import errors
from service.web.problem_documents import DETAILS
from service.web.problems import KINDS, PROBLEMS, kind_of, problem, problem_response


def leaves(cls: type[errors.RoadcueError]) -> Iterator[type[errors.RoadcueError]]:
    """The classes of the tree that have no subclasses."""
    below = cls.__subclasses__()
    yield from (leaf for child in below for leaf in leaves(child)) if below else iter([cls])


@pytest.mark.parametrize("leaf", list(leaves(errors.RoadcueError)))
def test_every_leaf_of_the_error_tree_is_mapped(leaf: type[errors.RoadcueError]) -> None:
    """Start-up errors share a row: no request meets them but in the moment before the process ends."""
    row = errors.StartupError if issubclass(leaf, errors.StartupError) else leaf
    assert kind_of(leaf("message")) is PROBLEMS[row]


def test_every_class_of_the_tree_is_drawn_in_its_docstring() -> None:
    assert errors.__doc__
    drawn = set(re.findall(r"\b[A-Z]\w+", errors.__doc__))
    tree = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {cls.__name__ for cls in tree} <= drawn


def test_codes_are_snake_case_unique_and_have_an_example() -> None:
    assert len(KINDS) == len(PROBLEMS) + 5
    assert all(code.isidentifier() and code.islower() for code in KINDS)
    assert KINDS.keys() == DETAILS.keys()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.MalformedMultipart, 400),
        (errors.UnexpectedField, 400),
        (errors.NoFrames, 400),
        (errors.InvalidParameter, 400),
        (errors.UploadTimeout, 408),
        (errors.RequestTooLarge, 413),
        (errors.TooManyFrames, 413),
        (errors.FrameTooLarge, 413),
        (errors.TooManyPixels, 413),
        (errors.UnsupportedContentType, 415),
        (errors.UnsupportedContentEncoding, 415),
        (errors.UnsupportedImage, 415),
        (errors.DamagedImage, 422),
        (errors.QueueFull, 429),
        (errors.UploadsFull, 429),
        (errors.DeadlineExceeded, 504),
        (errors.NotReady, 503),
        (errors.Draining, 503),
    ],
)
def test_status_of_an_error_is_the_promised_one(error: type[errors.RoadcueError], status: int) -> None:
    assert kind_of(error("message")).status == status


def test_problem_has_the_members_of_rfc_9457_and_its_facts() -> None:
    error = errors.FrameTooLarge("a.jpg holds 9 bytes; allowed are 8", received_bytes=9, limit_bytes=8)
    assert problem(error, "/predict") == {
        "type": "/problems/frame_too_large",
        "title": "Frame too large",
        "status": 413,
        "code": "frame_too_large",
        "detail": "a.jpg holds 9 bytes; allowed are 8",
        "instance": "/predict",
        "received_bytes": 9,
        "limit_bytes": 8,
    }


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.01, "2"), (12.5, "13")])
def test_retry_after_is_rounded_up_to_whole_seconds(seconds: float, header: str) -> None:
    reply = problem_response(errors.QueueFull("full", retry_after_s=seconds), "/predict")
    assert reply.headers["retry-after"] == header


@pytest.mark.anyio
async def test_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    reply = await client.get("/predictions/")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "not_found"
    assert reply.json()["detail"] == "There is nothing at /predictions/"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/model", "GET"), ("POST", "/health/live", "GET, HEAD")],
)
async def test_wrong_method_is_a_problem_that_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == 405
    assert reply.headers["allow"] == allowed
    assert reply.json()["code"] == "method_not_allowed"
    assert reply.json()["detail"] == f"{method} is not allowed at {path}; allowed: {allowed}"


@pytest.mark.anyio
async def test_compressed_body_is_told_the_accepted_encoding(client: httpx.AsyncClient) -> None:
    reply = await client.post("/predict", content=b"x", headers={"Content-Encoding": "br", "Content-Type": "image/png"})
    assert reply.status_code == 415
    assert reply.headers["accept-encoding"] == "identity"
