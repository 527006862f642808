"""The client that waits, against a service that answers from a list and a clock that only sleeping moves."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import (
    BadFrame,
    Client,
    ClientError,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    RequestRefused,
    Retries,
    ServiceFailed,
    TimingMs,
    Unreachable,
)
from service.client.retries import retry_after_s
from tests.service.client.answers import FakeTime, Service, answer, refusal

Connect = Callable[..., Client]


def test_frame_is_answered_with_types(connect: Connect) -> None:
    service = Service(answer())
    prediction = connect(service).predict(("a.jpg", b"bytes"))
    assert (prediction.name, prediction.labels, prediction.width, prediction.height) == ("a.jpg", ("red",), 24, 16)
    assert prediction.probabilities == {"red": 0.8, "green": 0.2}
    assert prediction.thresholds == {"red": 0.5, "green": 0.5}
    assert (prediction.model_name, prediction.model_version) == ("tiny", "0.0.1")
    assert prediction.timing_ms == TimingMs(decode=1.5, queue=0.25, inference=6.0, total=8.0)
    assert prediction.request_id == "the-id"
    assert prediction.evidence_Lhw is None
    (request,) = service.requests
    assert (request.method, request.url.path, request.url.query) == ("POST", "/predict", b"")
    assert (request.content, request.headers["content-type"]) == (b"bytes", "application/octet-stream")


def test_evidence_comes_as_an_array_in_the_order_of_the_labels(connect: Connect) -> None:
    maps = {"green": [[0.0, 0.25]], "red": [[0.5, 1.0]]}
    service = Service(answer(evidence={"grid": [1, 2], "maps": maps}))
    evidence_Lhw = connect(service).predict(b"bytes", evidence=True).evidence_Lhw
    assert evidence_Lhw is not None
    assert evidence_Lhw.dtype == np.float32
    np.testing.assert_array_equal(evidence_Lhw, [[[0.5, 1.0]], [[0.0, 0.25]]])
    assert service.requests[0].url.query == b"evidence=true"


def test_path_is_read_and_names_the_frame(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"of the file")
    service = Service(answer())
    assert connect(service).predict(path).name == str(path)
    assert connect(service).predict(str(path)).name == str(path)
    assert connect(service).predict(("mine", path)).name == "mine"
    assert [request.content for request in service.requests] == [b"of the file"] * 3


def test_unreadable_file_is_a_bad_frame(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(BadFrame, match=r"none.jpg cannot be read: No such file") as caught:
        connect(Service(answer())).predict(tmp_path / "none.jpg")
    assert caught.value.problem
    assert caught.value.problem.code == "unreadable_file"


@pytest.mark.parametrize(
    ("status", "code", "family"),
    [
        (415, "unsupported_image", BadFrame),
        (422, "damaged_image", BadFrame),
        (413, "frame_too_large", BadFrame),
        (413, "request_too_large", RequestRefused),
        (415, "unsupported_content_type", RequestRefused),
        (400, "invalid_parameter", RequestRefused),
        (404, "not_found", RequestRefused),
        (504, "deadline_exceeded", DeadlineExceeded),
        (500, "internal_error", ServiceFailed),
    ],
)
def test_refusal_that_waiting_does_not_help_is_raised_at_once(
    connect: Connect, time_: FakeTime, status: int, code: str, family: type[ClientError]
) -> None:
    service = Service(refusal(status, code, limit_bytes=7))
    with pytest.raises(ClientError, match=f"because of {code}") as caught:
        connect(service).predict(b"bytes")
    assert type(caught.value) is family
    problem = caught.value.problem
    assert problem
    assert (problem.status, problem.code, problem.instance, problem.facts) == (
        status,
        code,
        "/predict",
        {"limit_bytes": 7},
    )
    assert caught.value.request_id == "the-id"
    assert (len(service.requests), time_.sleeps) == (1, [])


@pytest.mark.parametrize(("status", "code"), [(429, "queue_full"), (429, "uploads_full"), (503, "not_ready")])
def test_busy_service_is_asked_again_when_it_says(connect: Connect, time_: FakeTime, status: int, code: str) -> None:
    service = Service(refusal(status, code, "3"), refusal(status, code, "2"), answer())
    assert connect(service).predict(b"bytes").labels == ("red",)
    assert time_.sleeps == [3.0, 2.0]


def test_chance_makes_the_wait_longer_than_asked_for_and_never_shorter(connect: Connect, time_: FakeTime) -> None:
    """A quarter of 4 s at most; half of it by this chance."""
    connect(Service(refusal(429, "queue_full", "4"), answer()), chance=lambda: 0.5).predict(b"bytes")
    assert time_.sleeps == [4.5]


def test_chance_is_another_one_each_time(time_: FakeTime) -> None:
    """Clients that were refused together do not come back together: nobody has to ask for that."""
    refused = [refusal(429, "queue_full", "4")] * 3
    transport = httpx.MockTransport(Service(*refused, answer()))
    with Client("http://service", transport=transport, clock=time_.clock, sleep=time_.sleep) as client:
        client.predict(b"bytes")
    assert len(set(time_.sleeps)) == 3
    assert all(4 <= slept_s <= 5 for slept_s in time_.sleeps)


def test_without_retry_after_the_waits_double_up_to_the_longest(connect: Connect, time_: FakeTime) -> None:
    client = connect(Service(httpx.ConnectError("refused")), retries=Retries(most=5, first_wait_s=1, longest_wait_s=5))
    with pytest.raises(Unreachable, match="the service cannot be reached: refused"):
        client.predict(b"bytes")
    assert time_.sleeps == [1, 2, 4, 5, 5]


def test_tries_stand_under_one_id_and_tell_what_is_left_of_the_time(connect: Connect) -> None:
    service = Service(refusal(429, "queue_full", "3"), answer())
    connect(service, timeout_s=10).predict(b"bytes")
    first, second = service.requests
    assert [first.headers["x-timeout-ms"], second.headers["x-timeout-ms"]] == ["10000", "7000"]
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    assert first.extensions["timeout"] == {"connect": 10, "read": 11, "write": 10, "pool": 10}


def test_wait_that_would_pass_the_deadline_is_not_begun(connect: Connect, time_: FakeTime) -> None:
    service = Service(refusal(429, "queue_full", "3"))
    with pytest.raises(Overloaded) as caught:
        connect(service, timeout_s=5).predict(b"bytes")
    assert caught.value.retry_after_s == 3.0
    assert (len(service.requests), time_.sleeps) == (2, [3.0])


def test_429_is_waited_out_where_that_is_wanted_however_often_it_comes(connect: Connect, time_: FakeTime) -> None:
    """Fifty waits of 3 s are far beyond the six tries and the 5 s of a frame; each try has its whole time."""
    service = Service(*[refusal(429, "queue_full", "3")] * 50, answer())
    client = connect(service, timeout_s=5, retries=Retries(waits_out_429=True))
    assert client.predict(b"bytes").labels == ("red",)
    assert time_.sleeps == [3.0] * 50
    assert {request.headers["x-timeout-ms"] for request in service.requests} == {"5000"}


@pytest.mark.parametrize(("status", "after"), [(429, None), (503, "1")])
def test_what_is_no_429_that_says_when_to_come_back_is_tried_as_often_as_ever(
    connect: Connect, status: int, after: str | None
) -> None:
    service = Service(*[refusal(429, "queue_full", "3")] * 9, refusal(status, "queue_full", after))
    with pytest.raises((Overloaded, NotReady)):
        connect(service, retries=Retries(most=2, waits_out_429=True)).predict(b"bytes")
    assert len(service.requests) == 9 + 3


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [("7", 7), (" 7", 7), (None, None), ("soon", None), ("-1", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected_s: float | None) -> None:
    """RFC 9110, 10.2.3; a date that has passed asks for no wait."""
    assert retry_after_s(header) == expected_s


def test_retry_after_a_date_to_come_is_the_time_until_then() -> None:
    assert 50 < (retry_after_s(format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)) or 0) <= 60


def test_timeout_of_a_call_outweighs_that_of_the_client(connect: Connect) -> None:
    service = Service(answer())
    connect(service, timeout_s=10).predict(b"bytes", timeout_s=0.25)
    connect(service, timeout_s=None).predict(b"bytes")
    connect(service, timeout_s=100_000).predict(b"bytes")
    assert [request.headers.get("x-timeout-ms") for request in service.requests] == ["250", None, "600000"]


def test_service_that_stays_busy_is_left_alone_after_the_most_retries(connect: Connect, time_: FakeTime) -> None:
    service = Service(refusal(503, "draining", "1"))
    with pytest.raises(NotReady):
        connect(service, retries=Retries(most=2)).predict(b"bytes")
    assert len(service.requests) == 3


def test_a_file_that_no_service_takes_is_not_read(connect: Connect, tmp_path: Path) -> None:
    """7 TB take no place on the disk, but would take it in memory; a service can be set up for 1 GiB."""
    path, service = tmp_path / "huge.jpg", Service(answer())
    with path.open("wb") as file:
        file.truncate(7 * 10**12)
    with pytest.raises(BadFrame, match=r"huge\.jpg holds 7000000000000 bytes; allowed are 1073741824") as caught:
        connect(service).predict(path)
    assert caught.value.problem
    assert (caught.value.problem.code, caught.value.problem.status) == ("frame_too_large", 413)
    assert service.requests == []


def test_silence_is_a_missed_deadline(connect: Connect) -> None:
    with pytest.raises(DeadlineExceeded):
        connect(Service(httpx.ReadTimeout("timed out"))).predict(b"bytes")


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(200, json={"frames": []}),
        httpx.Response(200, json={"frames": [{}]}),
        httpx.Response(502, text="<html>Bad gateway</html>"),
        httpx.Response(302, headers={"Location": "/login"}),
    ],
)
def test_answer_of_somebody_else_is_a_failure_of_the_service(connect: Connect, reply: httpx.Response) -> None:
    with pytest.raises(ServiceFailed) as caught:
        connect(Service(reply)).predict(b"bytes")
    assert caught.value.problem is None


def test_refusal_of_somebody_else_shows_what_it_said(connect: Connect) -> None:
    with pytest.raises(RequestRefused, match="403 Forbidden: no entry"):
        connect(Service(httpx.Response(403, text="no\n  entry"))).predict(b"bytes")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://service", "http://", "http://service:port"])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        Client(url)


def test_concurrency_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="concurrency is 0"):
        Client(concurrency=0)


def test_path_of_the_address_is_kept(connect: Connect) -> None:
    service = Service(answer())
    with Client("http://service/roadcue/", transport=httpx.MockTransport(service)) as client:
        client.predict(b"bytes")
    assert service.requests[0].url.path == "/roadcue/predict"


def test_model_is_told_with_types(connect: Connect) -> None:
    card = {
        "name": "tiny",
        "version": "0.0.1",
        "labels": [{"key": "red", "title": "red", "threshold": 0.5, "rule": {"metric": "f1"}}],
        "input": {"height": 8, "width": 12, "resize": "stretch"},
        "precision": "float32",
        "provider": "CPUExecutionProvider",
        "licence": "Apache-2.0",
    }
    model = connect(Service(httpx.Response(200, json=card))).model()
    assert (model.name, model.version, model.width, model.height) == ("tiny", "0.0.1", 12, 8)
    assert [(label.key, label.threshold) for label in model.labels] == [("red", 0.5)]
    assert model.card["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("given", "ready"),
    [
        (httpx.Response(200, json={"status": "ready"}), True),
        (refusal(503, "draining"), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_ready_is_yes_or_no(connect: Connect, given: Any, ready: bool) -> None:
    assert connect(Service(given)).ready() is ready


def test_who_waits_is_told_when_the_service_is_ready(connect: Connect, time_: FakeTime) -> None:
    service = Service(
        httpx.ConnectError("refused"), refusal(503, "not_ready", "1"), httpx.Response(200, json={"status": "ready"})
    )
    connect(service).wait_until_ready()
    assert time_.sleeps == [0.1, 1.0]


@pytest.mark.parametrize(
    ("given", "error"), [(httpx.ConnectError("refused"), Unreachable), (refusal(503, "not_ready", "1"), NotReady)]
)
def test_who_waits_is_told_when_it_takes_too_long(
    connect: Connect, time_: FakeTime, given: Any, error: type[ClientError]
) -> None:
    with pytest.raises(error):
        connect(Service(given)).wait_until_ready(timeout_s=20)
    assert 18 <= time_.now_s - 100 < 20
