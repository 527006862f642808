"""A service that answers from a list, a clock that only sleeping moves, and what a real answer looks like."""

import json
from collections.abc import Callable
from typing import Any

import httpx

FRAME_ANSWER: dict[str, Any] = {
    "model": {"name": "tiny", "version": "0.0.1"},
    "thresholds": {"red": 0.5, "green": 0.5},
    "frames": [
        {
            "name": "frame",
            "width": 24,
            "height": 16,
            "probabilities": {"red": 0.8, "green": 0.2},
            "labels": ["red"],
        }
    ],
    "timing_ms": {"decode": 1.5, "queue": 0.25, "inference": 6.0, "total": 8.0},
}


def answer(**members: Any) -> httpx.Response:
    """The answer to one frame; members replace those of its frame."""
    frame = {**FRAME_ANSWER["frames"][0], **members}
    return httpx.Response(200, json={**FRAME_ANSWER, "frames": [frame]}, headers={"X-Request-ID": "the-id"})


def refusal(status: int, code: str, retry_after: str | None = None, **facts: Any) -> httpx.Response:
    """A problem of the service."""
    problem = {
        "type": f"/problems/{code}",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": f"because of {code}",
        "instance": "/predict",
    }
    headers = {"Content-Type": "application/problem+json", "X-Request-ID": "the-id"}
    headers |= {"Retry-After": retry_after} if retry_after is not None else {}
    return httpx.Response(status, content=json.dumps(problem | facts), headers=headers)


class FakeTime:
    """A clock that only sleeping moves; remembers each sleep."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 6))
        self.now_s += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class Service:
    """Answers from a list, or by a function of the request; remembers the requests."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self._answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, httpx.Response) else given(request)
