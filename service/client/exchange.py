"""Requests and replies, without the way between them: what is sent, and what is made of the answer."""

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from service import __version__
from service.client.errors import ClientError, DeadlineExceeded, Problem, ServiceFailed, Unreachable, family
from service.client.results import Label, Model, Prediction, TimingMs
from service.client.retries import Retries, retry_after_s

REQUEST_ID: Final = "X-Request-ID"
FINGERPRINT: Final = "X-Model-Fingerprint"
USER_AGENT: Final = f"roadcue-client/{__version__}"
# The most that a service allows unless it is set up otherwise; who has longer may just as well ask for this.
LONGEST_TIMEOUT_MS: Final = 600_000
CONNECT_S: Final = 10.0
# A service that keeps the deadline answers just after it at the latest; only one that does not is given up.
GRACE_S: Final = 1.0
# Asked until the time is up, and not long after it is so.
UNTIL_READY: Final = Retries(most=1_000_000, first_wait_s=0.1, longest_wait_s=1.0)
_SHOWN: Final = 200


def checked_url(url: str) -> httpx.URL:
    """The address of a service. Raises ValueError for what is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is no address of a service; allowed: http://host:port or https://host")
    return parsed


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """One frame on its way to the service, in as many tries as it takes.

    All of them stand in the service's log under the same `id`.
    """

    name: str
    data: bytes
    evidence: bool
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def arguments(self, left_s: float | None) -> dict[str, Any]:
        """What httpx is called with; the service is told how many milliseconds are left."""
        headers = {REQUEST_ID: self.id, "Content-Type": "application/octet-stream"}
        if left_s is not None:
            headers["X-Timeout-Ms"] = str(min(LONGEST_TIMEOUT_MS, math.ceil(left_s * 1000)))
        params = {"evidence": "true"} if self.evidence else None
        return {"content": self.data, "headers": headers, "params": params, "timeout": timeouts(left_s)}


def timeouts(left_s: float | None) -> httpx.Timeout:
    """How long each step of an exchange may take."""
    if left_s is None:
        return httpx.Timeout(None, connect=CONNECT_S)
    return httpx.Timeout(left_s, connect=min(CONNECT_S, left_s), read=left_s + GRACE_S)


def connections(concurrency: int) -> httpx.Limits:
    """As many connections as frames are under way, all kept. Raises ValueError for less than one."""
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; at least 1 frame has to be under way")
    return httpx.Limits(max_connections=concurrency + 1, max_keepalive_connections=concurrency + 1)


def transport_error(error: httpx.RequestError, request_id: str | None = None) -> ClientError:
    """What a failure on the way means."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DeadlineExceeded(f"there was no answer in time ({said})", request_id=request_id)
    return Unreachable(f"the service cannot be reached: {said}", request_id=request_id)


def document(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of a reply. Raises the ClientError that the reply stands for."""
    if response.is_success:
        return _json(response)
    problem = _problem(response)
    message = problem.detail if problem else f"{response.status_code} {response.reason_phrase}: {_shown(response)}"
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    error = family(response.status_code, problem.code if problem else None)
    raise error(message, problem, response.headers.get(REQUEST_ID), wait_s)


def prediction(response: httpx.Response, name: str) -> Prediction:
    """What the reply to a frame says. Raises the ClientError that it stands for."""
    told = document(response)
    try:
        (frame,) = told["frames"]
        return Prediction(
            name=name,
            labels=tuple(frame["labels"]),
            probabilities=frame["probabilities"],
            thresholds=told["thresholds"],
            width=frame["width"],
            height=frame["height"],
            evidence_Lhw=_evidence(frame),
            model_name=told["model"]["name"],
            model_version=told["model"]["version"],
            timing_ms=TimingMs(**told["timing_ms"]),
            request_id=response.headers.get(REQUEST_ID, ""),
            model_fingerprint=response.headers.get(FINGERPRINT),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(response) from error


def model(response: httpx.Response) -> Model:
    """What the reply of /model says. Raises the ClientError that it stands for."""
    card = document(response)
    try:
        return Model(
            name=card["name"],
            version=card["version"],
            labels=tuple(Label(label["key"], label["title"], label["threshold"]) for label in card["labels"]),
            width=card["input"]["width"],
            height=card["input"]["height"],
            precision=card["precision"],
            provider=card["provider"],
            card=card,
            fingerprint=card.get("fingerprint"),
        )
    except (KeyError, TypeError) as error:
        raise _foreign(response) from error


def _evidence(frame: Mapping[str, Any]) -> NDArray[np.float32] | None:
    if "evidence" not in frame:
        return None
    maps = frame["evidence"]["maps"]
    return np.array([maps[label] for label in frame["probabilities"]], np.float32)


def _json(response: httpx.Response) -> Mapping[str, Any]:
    try:
        told = response.json()
    except ValueError as error:
        raise _foreign(response) from error
    if not isinstance(told, dict):
        raise _foreign(response)
    return told


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.of(_json(response))
    except (ServiceFailed, KeyError, TypeError, ValueError):
        return None


def _foreign(response: httpx.Response) -> ServiceFailed:
    message = f"{response.url} answers, but not as Roadcue does: {_shown(response)}"
    return ServiceFailed(message, request_id=response.headers.get(REQUEST_ID))


def _shown(response: httpx.Response) -> str:
    text = " ".join(response.text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
