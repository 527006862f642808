"""What surrounds every request."""

import httpx
import pytest

from service.web.request_context import request_id

pytestmark = pytest.mark.anyio


async def test_sane_request_id_is_echoed(client: httpx.AsyncClient) -> None:
    reply = await client.get("/health/live", headers={"X-Request-ID": "abc-1.2:3"})
    assert reply.headers["x-request-id"] == "abc-1.2:3"


@pytest.mark.parametrize("given", [None, "", "a b", "a\nb", "x" * 129, "ü", "<script>"])
def test_other_request_id_is_replaced(given: str | None) -> None:
    made = request_id(given)
    assert made != given
    assert len(made) == 32


async def test_problems_carry_a_request_id_too(client: httpx.AsyncClient) -> None:
    assert len((await client.get("/absent")).headers["x-request-id"]) == 32


async def test_request_is_logged_with_its_id_status_and_time(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "service.access")
    await client.get("/model", headers={"X-Request-ID": "abc"})
    record = next(record for record in caplog.records if record.name == "service.access")
    assert record.message == "GET /model 200"
    assert record.request_id == "abc"  # type: ignore[attr-defined]
    assert record.ms > 0  # type: ignore[attr-defined]


async def test_probes_are_logged_only_when_asked_for(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "service.access")
    await client.get("/health/live")
    assert [record.levelname for record in caplog.records if record.name == "service.access"] == ["DEBUG"]


async def test_invented_methods_share_one_label(client: httpx.AsyncClient) -> None:
    """A metric must not grow with what clients send."""
    for method in ("FOO", "BAR"):
        assert (await client.request(method, "/model")).status_code == 405
    assert (
        'roadcue_http_requests_total{method="other",route="/model",status="405"} 2.0'
        in (await client.get("/metrics")).text
    )


async def test_failing_code_is_a_500_with_the_request_id_in_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.app.state.upload_limits = None  # type: ignore[attr-defined]
    reply = await client.post("/predict", files={"file": b"x"}, headers={"X-Request-ID": "abc"})
    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    assert reply.headers["x-request-id"] == "abc"
    assert "NoneType" not in reply.text
    record = next(record for record in caplog.records if record.exc_info)
    assert record.request_id == "abc"  # type: ignore[attr-defined]
