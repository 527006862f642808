"""Frames scored by a running service: the same rows as here, in order, and an end that can be gone on with."""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from rich.console import Console

from service.client import Client
from service.client.retries import Retries
from service.errors import (
    DamagedImage,
    DeadlineExceeded,
    InvalidParameter,
    QueueFull,
    RequestTooLarge,
    RoadcueError,
    ServiceUnusable,
    UnreadableVideo,
    UploadTimeout,
)
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.execution import ExecutionPlan
from service.scoring.local import LocalScorer
from service.scoring.remote import RemoteScorer, remote_scorer
from service.scoring.rows import Answer, FrameToScore, Place
from service.web.deadlines import Timeouts
from service.web.problems import problem
from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess

CONSOLE = Console(quiet=True)


def mixed_frames(folder: Path) -> list[FrameToScore]:
    """Images, files that are none, not there or larger than any memory, a failed video, and video frames of noise."""
    noise_HWC = np.random.default_rng(1).integers(0, 256, (37, 61, 3), np.uint8)
    (folder / "notes.txt").write_text("no image")
    for number in range(10):
        (folder / f"{number}.png").write_bytes(encoded(20 * number, 10, 0, 30, 20))
    with (folder / "huge.jpg").open("wb") as huge:
        huge.truncate(7 * 1024**4)
    files = ["notes.txt", "huge.jpg", *(f"{number}.png" for number in range(10)), "absent.png"]
    failed = FrameToScore(Place(str(folder / "cut.mp4")), 1, failure=UnreadableVideo("it is cut"))
    return [
        failed,
        *(FrameToScore(Place(str(folder / name)), 1) for name in files),
        FrameToScore(Place("drive.mp4", 3, 0.1), 1.5, noise_HWC),
        failed,
    ]


def test_rows_are_those_of_the_model_here(
    start_server: Callable[..., ServerProcess], model: Path, tmp_path: Path
) -> None:
    """Of a video's frame to the last digit: it goes out at the network's size and without loss."""
    frames = mixed_frames(tmp_path)
    url = start_server().ready().url
    with remote_scorer(url, CONSOLE) as (remote, _):
        there = list(remote.rows(frames))
        assert remote.model.thresholds == {"red": 0.5, "green": 0.5}
    local = LocalScorer(load_detector(model, "cpu", 1, FrameLimits()), ExecutionPlan(1))
    assert remote.model == local.model
    assert str(remote.model) == f"tiny 0.0.1 float32 {hashlib.sha256(model.read_bytes()).hexdigest()[:8]}"
    here = list(local.rows(frames))
    assert [row.place for row in there] == [frame.place for frame in frames]
    for one, other in zip(there, here, strict=True):
        if isinstance(other.outcome, Answer):
            assert one.outcome == other.outcome
        else:
            assert isinstance(one.outcome, dict)
            assert one.outcome["code"] == other.outcome["code"]
            assert one.outcome["detail"] == other.outcome["detail"]


FILE = "3f2a91c0"
CARD = {
    "name": "tiny",
    "version": "0.0.1",
    "precision": "float32",
    "fingerprint": FILE,
    "provider": "CPUExecutionProvider",
    "labels": [{"key": "red", "title": "red", "threshold": 0.5}],
    "input": {"height": 8, "width": 12},
}


def scorer(answer: Callable[[httpx.Request], httpx.Response], tries: int = 1) -> RemoteScorer:
    """A scorer whose service is `answer`; it asks so many times for a frame."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=CARD) if request.url.path == "/model" else answer(request)

    transport, retries = httpx.MockTransport(reply), Retries(most=tries - 1)
    client = Client(transport=transport, retries=retries, concurrency=1, sleep=lambda _: None)
    return RemoteScorer(client, client.model())


def reply_of(version: str, fingerprint: str = FILE) -> httpx.Response:
    frame = {"name": "frame", "width": 3, "height": 2, "probabilities": {"red": 0.75}, "labels": ["red"]}
    timing = {"decode": 0.0, "queue": 0.0, "inference": 0.0, "total": 0.0}
    model = {"name": "tiny", "version": version}
    body = {"model": model, "thresholds": {"red": 0.5}, "frames": [frame], "timing_ms": timing}
    return httpx.Response(200, json=body, headers={"X-Request-ID": "1", "X-Model-Fingerprint": fingerprint})


def refusal(error: Exception) -> httpx.Response:
    told = problem(error, "/predict")
    return httpx.Response(told["status"], json=told)


@pytest.fixture
def images(tmp_path: Path) -> list[FrameToScore]:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(255, 0, 0))
    return [FrameToScore(Place(str(tmp_path / name)), 1) for name in ("a.png", "b.png")]


def test_a_service_that_goes_away_ends_it_instead_of_failing_every_frame(images: list[FrameToScore]) -> None:
    """The frames that are left can be gone on with; rows of failure would count as done."""
    replies = iter([reply_of("0.0.1")])

    def answer(request: httpx.Request) -> httpx.Response:
        try:
            return next(replies)
        except StopIteration:
            raise httpx.ConnectError("refused") from None

    rows = scorer(answer).rows(images)
    assert next(rows).place.path.endswith("a.png")
    with pytest.raises(ServiceUnusable, match=r"b\.png: .*--resume goes on"):
        next(rows)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidParameter("evidence is 'no'", parameter="evidence"), "invalid_parameter"),
        (UploadTimeout("the body did not arrive"), "upload_timeout"),
        (RuntimeError("a fault"), "internal_error"),
        (DeadlineExceeded("too late"), "deadline_exceeded"),
        (QueueFull("full"), "queue_full"),
    ],
)
def test_what_says_nothing_about_the_frame_ends_it_instead_of_becoming_its_row(
    images: list[FrameToScore], error: Exception, code: str
) -> None:
    """400, 408, 500, 504 and 429: --resume would take the row for the frame's last word."""
    replies = iter([reply_of("0.0.1"), refusal(error)])
    rows = scorer(lambda _: next(replies)).rows(images)
    next(rows)
    with pytest.raises(ServiceUnusable, match=rf"b\.png: {code}, .*--resume goes on"):
        next(rows)


def test_a_service_that_allows_less_time_than_this_client_asks_for_is_told_as_that(images: list[FrameToScore]) -> None:
    """The client asks for a minute, and nothing on the command line makes it less."""

    def answer(request: httpx.Request) -> httpx.Response:
        with pytest.raises(InvalidParameter) as refused:
            Timeouts(default_ms=1000, max_ms=1000).deadline_s(request.headers["X-Timeout-Ms"], 0.0)
        return refusal(refused.value)

    said = r"a\.png: invalid_parameter, X-Timeout-Ms is .* timeout of this client: .* --max-timeout-ms 60000 or more"
    with pytest.raises(ServiceUnusable, match=said):
        next(scorer(answer).rows(images))


@pytest.mark.parametrize("error", [DamagedImage("it is cut"), RequestTooLarge("the request holds 65 MiB")])
def test_what_is_wrong_with_the_file_itself_becomes_its_row(images: list[FrameToScore], error: RoadcueError) -> None:
    """A request holds one frame, so that one too large is a file too large: no later run could get past it."""
    replies = iter([refusal(error), reply_of("0.0.1")])
    first, second = scorer(lambda _: next(replies)).rows(images)
    assert isinstance(first.outcome, dict)
    assert first.outcome["detail"] == str(error)
    assert isinstance(second.outcome, Answer)


def test_a_busy_service_is_asked_again_before_it_ends(images: list[FrameToScore]) -> None:
    replies = iter([refusal(QueueFull("full")), refusal(QueueFull("full")), reply_of("0.0.1"), reply_of("0.0.1")])
    rows = list(scorer(lambda _: next(replies), tries=3).rows(images))
    assert [type(row.outcome) for row in rows] == [Answer, Answer]


class FullAtFirst(BaseHTTPRequestHandler):
    """Refuses ten times, politely, before it answers."""

    refused = 0

    def do_GET(self) -> None:
        self._reply(200, CARD)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).refused += 1
        told = reply_of("0.0.1") if self.refused > 10 else refusal(QueueFull("full"))
        self._reply(told.status_code, json.loads(told.content))

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (("Content-Length", str(len(content))), ("Retry-After", "0"), ("X-Model-Fingerprint", FILE)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def test_a_service_that_is_full_is_waited_for_as_long_as_it_says_when_to_come_back(images: list[FrameToScore]) -> None:
    """Seven tries are what a single frame has; thousands of frames have no hurry."""
    with ThreadingHTTPServer(("127.0.0.1", 0), FullAtFirst) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with remote_scorer(f"http://127.0.0.1:{server.server_port}", CONSOLE) as (remote, _):
            (row,) = remote.rows(images[:1])
        server.shutdown()
    assert isinstance(row.outcome, Answer)
    assert FullAtFirst.refused == 11


def test_a_model_that_changes_meanwhile_ends_it(images: list[FrameToScore]) -> None:
    """Rows of two models in one file would be told apart by nobody."""
    rows = scorer(lambda _: reply_of("0.0.2")).rows(images)
    with pytest.raises(ServiceUnusable, match=r"from tiny 0\.0\.1 float32 3f2a91c0 to tiny 0\.0\.2 3f2a91c0"):
        next(rows)


def test_another_file_of_the_same_name_and_version_ends_it(images: list[FrameToScore]) -> None:
    """The service was started again meanwhile, with a model that was trained again."""
    replies = iter([reply_of("0.0.1"), reply_of("0.0.1", fingerprint="00000000")])
    rows = scorer(lambda _: next(replies)).rows(images)
    assert isinstance(next(rows).outcome, Answer)
    with pytest.raises(ServiceUnusable, match=r"from tiny 0\.0\.1 float32 3f2a91c0 to tiny 0\.0\.1 00000000"):
        next(rows)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://"])
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ServiceUnusable, match="no address of a service"), remote_scorer(url, CONSOLE):
        pytest.fail("it was taken")
