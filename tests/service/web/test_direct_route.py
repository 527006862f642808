"""Routes whose function reads the request by itself."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from service.web.direct_route import DirectRoute

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
