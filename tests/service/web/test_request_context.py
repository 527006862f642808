"""What surrounds every request."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.responses import StreamingResponse

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


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/model"), ("POST", "/v2/models/tiny/infer")], ids=["page", "inference"]
)
async def test_failing_code_of_any_route_is_a_problem_that_is_counted_and_logged_once(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Beyond /predict it is Starlette that answers; below /v2 the answer has the protocol's form."""

    def fail() -> None:
        raise ZeroDivisionError("unforeseen")

    caplog.set_level("INFO")
    monkeypatch.setattr(client.app.state.lifecycle, "serving", fail)  # type: ignore[attr-defined]
    reply = await client.request(method, path)
    assert reply.status_code == 500
    said = "The service failed here; the request need not be at fault"
    if path == "/model":
        told = reply.json()
        assert (told["code"], told["detail"], told["instance"]) == ("internal_error", said, path)
    else:
        assert reply.json() == {"error": said}
    assert [record.message for record in caplog.records if record.exc_info] == ["the request failed"]
    (access,) = [record for record in caplog.records if record.name == "service.access"]
    assert access.problem == "internal_error"  # type: ignore[attr-defined]
    counted = client.app.state.metrics.registry.get_sample_value  # type: ignore[attr-defined]
    assert counted("roadcue_rejected_requests_total", {"reason": "internal_error"}) == 1


async def test_failure_is_handed_on_only_where_the_reply_is_incomplete(client: httpx.AsyncClient) -> None:
    """The server closes the connection on such a reply, and would log a complete one a second time."""
    app = client.app  # type: ignore[attr-defined]

    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("unforeseen")

    app.add_api_route("/broken", lambda: StreamingResponse(breaks_off()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as strict:
        app.state.lifecycle.serving = lambda: 1 / 0
        assert (await strict.get("/model")).status_code == 500
        with pytest.raises(ZeroDivisionError):
            await strict.get("/broken")
