"""One event for each request, and one for many refusals."""

import logging

import httpx
import pytest

from service.web.access_log import AccessLog
from tests.service.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "service.access")
    return caplog


def test_request_is_told_with_its_fields(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    AccessLog(logging.INFO, clock).record("POST", "/predict", 200, None, lambda: {"frames": 3, "route": "/predict"})
    (record,) = told.records
    assert (record.message, record.frames, record.route) == ("POST /predict 200", 3, "/predict")  # type: ignore[attr-defined]


def test_level_of_requests_is_the_given_one(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    AccessLog(logging.DEBUG, clock).record("POST", "/predict", 200, None, dict)
    assert told.records == []


def test_refusals_are_told_together_at_most_every_five_seconds(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    """By hand: the first at once, 999 more with the request at 105 s, none of them alone."""
    log = AccessLog(logging.INFO, clock)
    for _ in range(1000):
        log.record("POST", "/predict", 429, "queue_full", dict)
        clock.now_s += 0.001
    clock.now_s = 105.0
    log.record("POST", "/predict", 504, "deadline_exceeded", dict)
    first, second = told.records
    assert (first.levelname, first.requests, first.queue_full) == ("WARNING", 1, 1)  # type: ignore[attr-defined]
    assert (second.requests, second.queue_full, second.deadline_exceeded) == (1000, 999, 1)  # type: ignore[attr-defined]


def test_last_refusals_are_told_with_a_later_request(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    """An overload that ends leaves nothing untold: the next probe brings it out."""
    log = AccessLog(logging.INFO, clock)
    for _ in range(3):
        log.record("POST", "/predict", 429, "queue_full", dict)
    clock.now_s += 6
    log.record("GET", "/health/ready", 200, None, dict)
    assert [record.requests for record in told.records] == [1, 2]  # type: ignore[attr-defined]


def test_failing_probe_is_told_but_is_no_refusal(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    AccessLog(logging.INFO, clock).record("GET", "/health/ready", 503, "draining", dict)
    assert [record.message for record in told.records] == ["GET /health/ready 503"]


def test_path_can_forge_no_field_and_is_not_without_end(told: pytest.LogCaptureFixture, clock: Clock) -> None:
    log = AccessLog(logging.INFO, clock)
    log.record("GET", "/a b request_id=x\n\u00e4", 404, None, dict)
    log.record("GET", "/" + 1000 * "x", 404, None, dict)
    forged, long = (record.message for record in told.records)
    assert forged == "GET /a%20b%20request_id%3Dx%0A%C3%A4 404"
    assert long == f"GET /{255 * 'x'}... 404"


@pytest.mark.parametrize("path", ["/health/live", "/metrics", "/v2/health/ready", "/v2/models/street/ready"])
def test_probes_are_told_at_debug_only(told: pytest.LogCaptureFixture, clock: Clock, path: str) -> None:
    AccessLog(logging.INFO, clock).record("GET", path, 200, None, dict)
    assert told.records == []


@pytest.mark.anyio
async def test_event_tells_route_frames_and_times(
    client: httpx.AsyncClient, red_png: bytes, told: pytest.LogCaptureFixture
) -> None:
    files = [("files", red_png), ("files", red_png), ("files", b"no image")]
    assert (await client.post("/predict", files=files)).status_code == 200
    event = vars(next(record for record in told.records if record.name == "service.access"))
    assert (event["route"], event["frames"], event["answered"]) == ("/predict", 3, 2)
    assert event["decode_ms"] > 0
    assert event["ms"] >= event["decode_ms"] + event["inference_ms"]


@pytest.mark.anyio
async def test_refused_request_is_counted_and_told_by_its_problem(
    client: httpx.AsyncClient, told: pytest.LogCaptureFixture
) -> None:
    await client.get("/absent")
    await client.post("/predict", files={"file": b"no image"})
    metrics = (await client.get("/metrics")).text
    assert 'roadcue_rejected_requests_total{reason="not_found"} 1.0' in metrics
    assert 'roadcue_rejected_requests_total{reason="unsupported_image"} 1.0' in metrics
    problems = [record.problem for record in told.records if record.name == "service.access"]  # type: ignore[attr-defined]
    assert problems == ["not_found", "unsupported_image"]
