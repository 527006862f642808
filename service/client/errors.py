"""Everything that a client can be told instead of an answer; one class for what one does about it.

ClientError
  RequestRefused      the request is at fault: change it
  BadFrame            this frame cannot be answered: go on with the next
  Overloaded          429, also after the retries: send less, or wait
  NotReady            503, also after the retries: loading, or about to end
  DeadlineExceeded    there was no answer within the time that was given
  ServiceFailed       the service is at fault, or what answered is no Roadcue
  Unreachable         nobody answered
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

BAD_FRAME_CODES: Final = frozenset(
    {
        "frame_too_large",
        "too_many_pixels",
        "unsupported_image",
        "damaged_image",
        "unreadable_file",
        "unreadable_video",
    }
)
_MEMBERS: Final = ("type", "title", "status", "code", "detail", "instance")


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem object (RFC 9457) of a refusal; `facts` are its further members, such as `limit_bytes`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | None
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Problem":
        """The problem that a JSON object describes. Raises KeyError where it describes none."""
        return cls(
            type=str(document["type"]),
            title=str(document["title"]),
            status=int(document["status"]),
            code=str(document["code"]),
            detail=str(document["detail"]),
            instance=document.get("instance"),
            facts={name: value for name, value in document.items() if name not in _MEMBERS},
        )


class ClientError(Exception):
    """Base of all errors that a client raises on purpose.

    `problem` is what the service said, None where it was not the service that spoke. `request_id` is the one in its
    log. `retry_after_s` is how many seconds it asked to be left alone.
    """

    def __init__(
        self,
        message: str,
        problem: Problem | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.problem, self.request_id, self.retry_after_s = problem, request_id, retry_after_s


class RequestRefused(ClientError):
    """The request is at fault; asking again will not help."""


class BadFrame(ClientError):
    """The frame cannot be answered: its file cannot be read, or is no image that the service reads."""


class Overloaded(ClientError):
    """The service has more to do than it takes."""


class NotReady(ClientError):
    """The service loads its model, or is about to end."""


class DeadlineExceeded(ClientError):
    """There was no answer within the time that was given."""


class ServiceFailed(ClientError):
    """The service failed, or what answered is no Roadcue."""


class Unreachable(ClientError):
    """Nobody answered at this address, or the connection broke."""


def family(status: int, code: str | None) -> type[ClientError]:
    """The class of a refusal.

    >>> family(415, "unsupported_image").__name__, family(415, "unsupported_content_type").__name__
    ('BadFrame', 'RequestRefused')
    """
    if code in BAD_FRAME_CODES:
        return BadFrame
    known = {429: Overloaded, 503: NotReady, 504: DeadlineExceeded}
    return known.get(status, RequestRefused if 400 <= status < 500 else ServiceFailed)
