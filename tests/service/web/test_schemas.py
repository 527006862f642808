"""The OpenAPI document and what is really answered, held to each other by an independent validator."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.web.problems import KINDS
from tests.service.conftest import encoded

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    """The OpenAPI document as served."""
    return dict((await client.get("/openapi.json")).json())


def validate(instance: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Raises when `instance` does not follow `schema`, whose references point into the document."""
    resolvable = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(resolvable).validate(instance)


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every documented reply of every route: where it stands, and its media type object."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, reply in operation["responses"].items():
                for media_type, content in reply.get("content", {}).items():
                    yield f"{method} {path} {status} {media_type}", content


def examples(document: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every example in the document: where it stands, the example, and the schema it is an example of."""
    for name, schema in document["components"]["schemas"].items():
        yield from ((name, example, {"$ref": f"#/components/schemas/{name}"}) for example in schema.get("examples", []))
    for place, content in contents(document):
        for code, example in content.get("examples", {}).items():
            yield f"{place} {code}", example["value"], content["schema"]


async def test_every_example_follows_its_schema(document: dict[str, Any]) -> None:
    found = list(examples(document))
    assert len(found) > 20
    for _, example, schema in found:
        validate(example, schema, document)


async def test_examples_of_problems_stand_at_their_status(document: dict[str, Any]) -> None:
    problems = [(place, example) for place, example, _ in examples(document) if "problem+json" in place]
    assert problems
    for place, example in problems:
        assert place.split()[2] == str(example["status"])
        assert place.split()[-1] == example["code"]


async def test_predict_documents_every_problem_it_answers_with(document: dict[str, Any]) -> None:
    """All but those of other routes, of the command line and of the page that asks for answers."""
    elsewhere = {
        "answered_elsewhere",
        "label_folder_busy",
        "uncertain_frames_lost",
        "unlisted_frame",
        "unreadable_label_table",
        "draining",
        "startup_failed",
        "unreadable_file",
        "unreadable_video",
        "not_found",
        "method_not_allowed",
        "bad_request",
        "header_too_large",
        "invalid_inference_request",
        "unknown_model",
    }
    places = [place for place, _, _ in examples(document) if place.startswith("post /predict ")]
    assert {place.split()[-1] for place in places} == KINDS.keys() - elsewhere


async def test_real_answers_follow_the_document(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    files = [("file", ("a.png", encoded(1, 2, 3))), ("file", ("b.jpg", b"text"))]
    paths = document["paths"]
    replies = {
        ("/predict", "post"): await client.post("/predict?evidence=true", files=files),
        ("/model", "get"): await client.get("/model"),
        ("/health", "get"): await client.get("/health"),
        ("/health/live", "get"): await client.get("/health/live"),
        ("/health/ready", "get"): await client.get("/health/ready"),
        ("/problems", "get"): await client.get("/problems"),
    }
    for (path, method), reply in replies.items():
        schema = paths[path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        validate(reply.json(), schema, document)


async def test_real_problems_follow_the_document(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    for reply in (await client.post("/predict"), await client.post("/predict", files={"file": b"text"})):
        responses = document["paths"]["/predict"]["post"]["responses"]
        content = responses[str(reply.status_code)]["content"]["application/problem+json"]
        validate(reply.json(), content["schema"], document)


async def test_an_answer_with_a_foreign_member_does_not_follow_the_document(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    """The validation above can fail."""
    body = (await client.get("/health/live")).json() | {"extra": 1}
    with pytest.raises(jsonschema.ValidationError):
        validate(body, {"$ref": "#/components/schemas/Live"}, document)


async def test_predict_documents_form_and_raw_bodies(document: dict[str, Any]) -> None:
    body = document["paths"]["/predict"]["post"]["requestBody"]
    assert list(body["content"]) == [
        "multipart/form-data",
        "image/jpeg",
        "image/png",
        "image/webp",
        "application/octet-stream",
    ]
    assert body["content"]["multipart/form-data"]["schema"]["properties"].keys() == {"file", "files"}


async def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    assert "HTTPValidationError" not in document["components"]["schemas"]
