"""The Server-Timing header."""

import re

import httpx
import pytest

from service.web.server_timing import ServerTiming
from tests.service.conftest import OpenClient

pytestmark = pytest.mark.anyio

# W3C Server Timing, 3: names are tokens, `dur` is milliseconds.
ENTRY = re.compile(r"([a-z]+);dur=(\d+\.\d{3})")


def durations(reply: httpx.Response) -> dict[str, float]:
    """The header's entries; fails on anything that is none."""
    entries = [ENTRY.fullmatch(entry) for entry in reply.headers["server-timing"].split(", ")]
    assert all(entries)
    return {entry[1]: float(entry[2]) for entry in entries if entry}


def test_entries_come_in_order_with_the_total_at_the_end() -> None:
    timing = ServerTiming(started_s=10.0)
    timing.record("read", 1.25)
    timing.record("queue", 0.0)
    assert timing.header(now_s=10.0035) == "read;dur=1.250, queue;dur=0.000, total;dur=3.500"


async def test_answer_says_where_its_time_went(client: httpx.AsyncClient, red_png: bytes) -> None:
    """The stages of one frame follow each other, so that together they take no longer than the whole."""
    reply = await client.post("/predict", files={"file": red_png})
    told = durations(reply)
    total = told.pop("total")
    assert list(told) == ["read", "queue", "decode", "inference"]
    assert 0 < sum(told.values()) <= total
    body = reply.json()["timing_ms"]
    assert {name: body[name] for name in ("queue", "decode", "inference")} == {
        name: told[name] for name in ("queue", "decode", "inference")
    }


@pytest.mark.parametrize("path", ["/health", "/health/live", "/model", "/metrics", "/docs", "/problems", "/absent"])
async def test_every_reply_says_at_least_how_long_it_took(client: httpx.AsyncClient, path: str) -> None:
    assert durations(await client.get(path)).keys() == {"total"}


async def test_refusals_say_how_long_they_took(open_client: OpenClient, red_png: bytes) -> None:
    async with open_client(max_frame_bytes=1024) as client:
        wrong_method = await client.get("/predict")
        too_large = await client.post("/predict", files={"file": bytes(2000)})
        too_long = await client.post("/predict", files={"file": red_png}, headers={"X-Timeout-Ms": "never"})
    assert [reply.status_code for reply in (wrong_method, too_large, too_long)] == [405, 413, 400]
    assert all("total" in durations(reply) for reply in (wrong_method, too_large, too_long))
