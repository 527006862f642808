"""Routes whose function reads the request by itself."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from service.web.direct_route import DirectRequest, DirectRoute, PlainHeaders, by_address

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> FastAPI:
    """One direct route, one that FastAPI resolves."""
    direct, app = APIRouter(route_class=DirectRoute), FastAPI()

    @direct.post("/direct", openapi_extra={"parameters": [{"name": "a", "in": "query", "schema": {"type": "string"}}]})
    async def read(request: Request) -> Response:
        return Response(request.query_params["a"].encode() + await request.body())

    app.include_router(direct)
    return app


async def test_function_gets_the_request_as_it_came(app: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        reply = await client.post("/direct?a=x", content=b"yz")
    assert (reply.status_code, reply.content) == (200, b"xyz")


def test_route_is_documented_like_any_other(app: FastAPI) -> None:
    documented = app.openapi()["paths"]["/direct"]["post"]
    assert [parameter["name"] for parameter in documented["parameters"]] == ["a"]
    assert documented["responses"].keys() == {"200"}


def test_table_holds_direct_routes_without_parameters_alone() -> None:
    router = APIRouter(route_class=DirectRoute)

    async def answer(request: Request) -> Response:
        return Response(await request.body())

    router.add_api_route("/plain", answer, methods=["POST", "PUT"])
    router.add_api_route("/{name}", answer, methods=["POST"])
    indirect = APIRouter()
    indirect.add_api_route("/indirect", answer, methods=["POST"])
    found = by_address([*router.routes, *indirect.routes])
    assert found.keys() == {("POST", "/plain"), ("PUT", "/plain")}
    assert found["PUT", "/plain"].endpoint is answer


def test_headers_are_found_in_any_case_and_the_first_of_two_counts() -> None:
    """As starlette's own Headers find them, which compare one after the other."""
    scope = {"type": "http", "headers": [(b"x-a", b"1"), (b"accept", "caf\xe9".encode("latin-1")), (b"x-a", b"2")]}
    plain, theirs = PlainHeaders.of(scope), Request(scope).headers
    request = DirectRequest({**scope, "state": {"headers": plain}})
    for name in ("X-A", "x-a", "Accept", "absent"):
        assert request.headers.get(name, "none") == theirs.get(name, "none")
    assert "x-a" in plain
