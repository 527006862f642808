"""The page behind each problem's type."""

import httpx
import pytest

from service.web.problems import KINDS

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", KINDS)
async def test_type_of_every_problem_leads_to_its_page(client: httpx.AsyncClient, code: str) -> None:
    page = (await client.get(KINDS[code].type)).json()
    assert (page["code"], page["status"], page["title"]) == (code, KINDS[code].status, KINDS[code].title)
    assert page["remedy"]


async def test_unknown_code_is_not_found(client: httpx.AsyncClient) -> None:
    reply = await client.get("/problems/absent")
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


async def test_all_problems_are_listed(client: httpx.AsyncClient) -> None:
    assert [page["code"] for page in (await client.get("/problems")).json()] == list(KINDS)


async def test_openapi_names_retry_after_where_it_is_sent(client: httpx.AsyncClient) -> None:
    responses = (await client.get("/openapi.json")).json()["paths"]["/predict"]["post"]["responses"]
    assert {status for status, told in responses.items() if "Retry-After" in told.get("headers", {})} == {
        "429", "503", "504",
    }  # fmt: skip
