"""POST /predict: the public contract."""

import asyncio
import gc
import io
import struct
import zlib

import httpx
import pytest
from PIL import Image

from service.errors import DeadlineExceeded
from service.inference.detector import Detector
from service.web.schemas import PredictReply
from tests.service.conftest import GatedSession, OpenClient, encoded, gated_load, wait_until

pytestmark = pytest.mark.anyio


def png_announcing(width: int, height: int) -> bytes:
    """A PNG whose header announces any size: a few bytes that would decode to gigabytes."""

    def block(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", header) + block(b"IDAT", zlib.compress(b"\0")) + block(b"IEND", b"")


def turned_jpeg() -> bytes:
    """24 x 16 pixels stored, to be shown turned by 90 degrees (EXIF orientation 6)."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


async def test_one_file_is_answered_by_the_contract(client: httpx.AsyncClient) -> None:
    """204/255 = 0.8 and 51/255 = 0.2; both thresholds are 0.5."""
    reply = await client.post("/predict", files={"file": ("a.png", encoded(204, 51, 0, 30, 20))})
    body = reply.json()
    timing = body.pop("timing_ms")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-model-fingerprint"] == (await client.get("/model")).json()["fingerprint"]
    assert body == {
        "model": {"name": "tiny", "version": "0.0.1"},
        "thresholds": {"red": 0.5, "green": 0.5},
        "frames": [
            {
                "name": "a.png",
                "width": 30,
                "height": 20,
                "probabilities": {"red": 0.8, "green": 0.2},
                "labels": ["red"],
            }
        ],
    }
    assert timing.keys() == {"decode", "queue", "inference", "total"}
    assert 0 < timing["decode"] + timing["inference"] < timing["total"]


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("application/octet-stream", "WEBP"),
        ("image/jpeg", "PNG"),
    ],
)
async def test_raw_body_is_read_by_its_bytes(client: httpx.AsyncClient, content_type: str, form: str) -> None:
    frame = encoded(255, 0, 0, form=form)
    reply = await client.post("/predict", content=frame, headers={"Content-Type": content_type})
    answered = reply.json()["frames"][0]
    assert (answered["name"], answered["labels"]) == ("frame", ["red"])


async def test_width_and_height_are_those_seen_upright(client: httpx.AsyncClient) -> None:
    reply = await client.post("/predict", files={"file": turned_jpeg()})
    frame = reply.json()["frames"][0]
    assert (frame["width"], frame["height"]) == (16, 24)


async def test_evidence_comes_on_request_with_three_decimals(client: httpx.AsyncClient) -> None:
    """The left third is 100/255 = 0.392 red, the rest 200/255 = 0.784; the grid has 2 rows and 3 columns."""
    picture = Image.new("RGB", (12, 8), (200, 0, 0))
    picture.paste((100, 0, 0), (0, 0, 4, 8))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    reply = await client.post("/predict?evidence=true", files={"file": buffer.getvalue()})
    assert reply.json()["frames"][0]["evidence"] == {
        "grid": [2, 3],
        "maps": {"red": [[0.392, 0.784, 0.784]] * 2, "green": [[0.0] * 3] * 2},
    }


async def test_evidence_false_is_the_default(client: httpx.AsyncClient, red_png: bytes) -> None:
    reply = await client.post("/predict?evidence=false", files={"file": red_png})
    assert "evidence" not in reply.json()["frames"][0]


@pytest.mark.parametrize("value", ["1", "yes", "TRUE", ""])
async def test_other_evidence_is_refused_with_what_is_allowed(client: httpx.AsyncClient, value: str) -> None:
    reply = await client.post(f"/predict?evidence={value}", files={"file": b""})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_parameter"
    assert reply.json()["detail"] == f"evidence is {value!r}; allowed: 'true' or 'false'"


async def test_unknown_parameter_is_refused_with_what_is_allowed(client: httpx.AsyncClient, red_png: bytes) -> None:
    reply = await client.post("/predict?evidence=true&evidnce=true", files={"file": red_png})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_parameter"
    assert reply.json()["detail"] == "the query has a parameter 'evidnce'; allowed: evidence"
    assert (reply.json()["parameter"], reply.json()["allowed"]) == ("evidnce", ["evidence"])


@pytest.mark.parametrize("evidence", ["true", "false"])
async def test_reply_is_what_the_documented_schema_would_write(
    client: httpx.AsyncClient, red_png: bytes, evidence: str
) -> None:
    """To the byte: order of members, form of numbers, and letters beyond ASCII as they are."""
    files = [("files", ("straße.png", red_png)), ("files", ("no.png", b"no image"))]
    reply = await client.post(f"/predict?evidence={evidence}", files=files)
    document = PredictReply.model_validate_json(reply.content, strict=True)
    assert reply.text == document.model_dump_json(exclude_none=True)
    assert reply.headers["content-type"] == "application/json"


async def test_bad_frame_among_good_ones_fails_alone(client: httpx.AsyncClient, red_png: bytes) -> None:
    files = [("file", ("1.png", red_png)), ("files", ("2.jpg", b"text")), ("file", ("3.png", red_png))]
    reply = await client.post("/predict", files=files)
    first, second, third = reply.json()["frames"]
    assert reply.status_code == 200
    assert (first["name"], first["labels"], third["name"], third["labels"]) == ("1.png", ["red"], "3.png", ["red"])
    assert second["name"] == "2.jpg"
    assert (second["problem"]["status"], second["problem"]["code"]) == (415, "unsupported_image")
    assert second["problem"]["instance"] == "/predict"


async def test_only_bad_frames_among_several_are_still_a_list(client: httpx.AsyncClient) -> None:
    reply = await client.post("/predict", files=[("file", ("a.jpg", b"text")), ("file", ("b.jpg", b""))])
    assert reply.status_code == 200
    assert [frame["problem"]["code"] for frame in reply.json()["frames"]] == ["unsupported_image"] * 2
    assert reply.json()["timing_ms"]["decode"] == 0


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        (b"", 415, "unsupported_image"),
        (b"this is text, whatever its name says", 415, "unsupported_image"),
        (b"GIF89a" + bytes(100), 415, "unsupported_image"),
        (encoded(1, 2, 3, 600, 400, "JPEG")[:300], 422, "damaged_image"),
        (png_announcing(100_000, 100_000), 413, "too_many_pixels"),
    ],
)
async def test_only_bad_frame_is_the_status_of_the_reply(
    client: httpx.AsyncClient, frame: bytes, status: int, code: str
) -> None:
    reply = await client.post("/predict", files={"file": ("a.jpg", frame)})
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/problems/{code}")
    assert problem["instance"] == "/predict"
    assert problem["detail"]


async def test_too_large_frame_says_what_came_and_what_is_allowed(open_client: OpenClient) -> None:
    async with open_client(max_frame_bytes=1024) as client:
        reply = await client.post("/predict", files={"file": ("a.jpg", bytes(1025))})
    assert reply.status_code == 413
    assert reply.json()["code"] == "frame_too_large"
    assert (reply.json()["received_bytes"], reply.json()["limit_bytes"]) == (1025, 1024)


async def test_too_large_frame_among_others_fails_alone(open_client: OpenClient, red_png: bytes) -> None:
    async with open_client(max_frame_bytes=1024) as client:
        reply = await client.post("/predict", files=[("file", ("a.jpg", bytes(1025))), ("file", ("b.png", red_png))])
    large, small = reply.json()["frames"]
    assert reply.status_code == 200
    assert large["problem"]["code"] == "frame_too_large"
    assert small["labels"] == ["red"]


async def test_file_name_is_sent_back_bare(client: httpx.AsyncClient, red_png: bytes) -> None:
    reply = await client.post("/predict", files={"file": ("../../straße \N{PERSON WITH HEADSCARF}.png", red_png)})
    assert reply.json()["frames"][0]["name"] == "straße \N{PERSON WITH HEADSCARF}.png"


async def test_full_queue_rejects_with_429(open_client: OpenClient, gated: GatedSession, red_png: bytes) -> None:
    """One frame runs and one waits where one may wait: the third is refused before its body is read."""
    async with open_client(gated_load(gated), max_queue_frames=1, max_frames_per_request=1) as client:
        scheduler = client.app.state.lifecycle.loaded.scheduler  # type: ignore[attr-defined]
        first = asyncio.create_task(client.post("/predict", files={"file": red_png}))
        await wait_until(lambda: scheduler.state().running_frames == 1)
        second = asyncio.create_task(client.post("/predict", files={"file": red_png}))
        await wait_until(lambda: scheduler.state().waiting_frames == 1)
        third = await client.post("/predict", files={"file": red_png})
        metrics = (await client.get("/metrics")).text
        gated.gate.set()
        assert [(await first).status_code, (await second).status_code] == [200, 200]
    assert "\nroadcue_running_frames 1.0\n" in metrics
    assert "\nroadcue_queue_frames 1.0\n" in metrics
    assert third.status_code == 429
    assert third.headers["retry-after"] == "1"
    assert third.json()["code"] == "queue_full"
    assert (third.json()["waiting_frames"], third.json()["limit_frames"]) == (1, 1)


async def test_request_with_many_frames_is_admitted_whole_or_not_at_all(
    open_client: OpenClient, gated: GatedSession, red_png: bytes
) -> None:
    async with open_client(gated_load(gated), max_queue_frames=2, max_frames_per_request=2) as client:
        scheduler = client.app.state.lifecycle.loaded.scheduler  # type: ignore[attr-defined]
        running = asyncio.create_task(client.post("/predict", files={"file": red_png}))
        await wait_until(lambda: scheduler.state().running_frames == 1)
        waiting = asyncio.create_task(client.post("/predict", files={"file": red_png}))
        await wait_until(lambda: scheduler.state().waiting_frames == 1)
        refused = await client.post("/predict", files=[("file", red_png), ("file", red_png)])
        assert scheduler.state().waiting_frames == 1
        gated.gate.set()
        assert [(await running).status_code, (await waiting).status_code] == [200, 200]
    assert refused.status_code == 429


async def test_client_that_leaves_frees_its_place(
    open_client: OpenClient, gated: GatedSession, red_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its frame waits behind one that runs; once it has left nothing waits, and it is never computed."""
    async with open_client(gated_load(gated)) as client:
        app = client.app  # type: ignore[attr-defined]
        scheduler = app.state.lifecycle.loaded.scheduler
        running = asyncio.create_task(client.post("/predict", files={"file": red_png}))
        await wait_until(lambda: scheduler.state().running_frames == 1)
        leaving, sent = asyncio.Event(), []
        messages = iter([{"type": "http.request", "body": red_png, "more_body": False}])

        async def receive() -> dict[str, object]:
            if message := next(messages, None):
                return message
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "headers": [(b"content-type", b"image/png")],
        }
        left = asyncio.create_task(app(scope, receive, send))
        await wait_until(lambda: scheduler.state().waiting_frames == 1)
        leaving.set()
        await left
        assert scheduler.state().waiting_frames == 0
        gated.gate.set()
        assert (await running).status_code == 200
        del left
        gc.collect()
    assert sent[0]["status"] == 499
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_frames_are_held_until_they_are_answered(
    open_client: OpenClient, gated: GatedSession, red_png: bytes
) -> None:
    """While one frame runs there is no room for a second one; the metric tells its bytes."""
    async with open_client(
        gated_load(gated), max_frame_bytes=1024, max_request_bytes=1024, max_upload_bytes_in_flight=1024
    ) as client:
        raw = {"content": red_png + bytes(1000 - len(red_png)), "headers": {"Content-Type": "image/png"}}
        memory = client.app.state.upload_memory  # type: ignore[attr-defined]
        first = asyncio.create_task(client.post("/predict", **raw))
        await asyncio.to_thread(gated.entered.acquire)
        held = (await client.get("/metrics")).text
        refused = await client.post("/predict", **raw)
        gated.gate.set()
        assert (await first).status_code == 200
        assert memory.held_bytes == 0
        assert (await client.post("/predict", **raw)).status_code == 200
    assert "roadcue_upload_bytes 1000.0" in held
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["code"] == "uploads_full"
    assert (refused.json()["held_bytes"], refused.json()["limit_bytes"]) == (1000, 1024)


async def test_unexpected_failure_of_the_only_frame_is_a_500_that_tells_nothing(
    open_client: OpenClient, red_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_client(gated_load(BrokenSession())) as client:
        reply = await client.post("/predict", files={"file": red_png}, headers={"X-Request-ID": "find-me"})
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "internal_error"
    assert "secret" not in reply.text
    record = next(record for record in caplog.records if record.exc_info)
    assert record.request_id == "find-me"  # type: ignore[attr-defined]
    assert "secret" in str(record.exc_info[1])  # type: ignore[index]


async def test_unexpected_failure_of_one_frame_fails_alone(open_client: OpenClient, red_png: bytes) -> None:
    async with open_client(gated_load(BrokenSession())) as client:
        reply = await client.post("/predict", files=[("file", red_png), ("file", b"text")])
    assert reply.status_code == 200
    assert [frame["problem"]["code"] for frame in reply.json()["frames"]] == ["internal_error", "unsupported_image"]
    assert "secret" not in reply.text


async def test_late_frame_of_several_is_no_error_in_the_log(
    open_client: OpenClient, red_png: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under overload there would be one for each frame, just when nobody has time for it."""

    async def outcomes(*_: object) -> list[object]:
        return [DeadlineExceeded("too late")] * 2

    monkeypatch.setattr("service.web.predict_routes._outcomes", outcomes)
    async with open_client() as client:
        reply = await client.post("/predict", files=[("file", red_png)] * 2)
    assert [frame["problem"]["code"] for frame in reply.json()["frames"]] == ["deadline_exceeded"] * 2
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_frames_are_counted_by_outcome(client: httpx.AsyncClient, red_png: bytes) -> None:
    await client.post("/predict", files=[("file", red_png), ("file", red_png), ("file", b"text")])
    metrics = (await client.get("/metrics")).text
    assert 'roadcue_frames_total{outcome="answered"} 2.0' in metrics
    assert 'roadcue_frames_total{outcome="unsupported_image"} 1.0' in metrics
    for name in ("decode", "queue", "inference"):
        assert f"roadcue_{name}_seconds_count 2.0" in metrics


class BrokenSession(GatedSession):
    """Fails in a way nobody foresaw."""

    def run(self, frames_BHWC: object) -> "Detector":  # type: ignore[override]
        raise RuntimeError("a secret of the inside")
