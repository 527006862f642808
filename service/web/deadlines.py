"""X-Timeout-Ms: until when a client waits for its answer.

Counted from the moment the request's head arrived, so that time spent uploading and waiting counts.
"""

from dataclasses import dataclass
from typing import Any, Final

from service.errors import InvalidParameter

HEADER: Final = "X-Timeout-Ms"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How many milliseconds a request may take: where it does not say, and at most."""

    default_ms: int
    max_ms: int

    def deadline_s(self, given: str | None, started_s: float) -> float:
        """The instant until which a request has to be answered, on the clock of `started_s`.

        Raises InvalidParameter for what is no whole number of milliseconds from 1 to the maximum: a client that was
        silently given less time than it asked for would take a 504 for a fault.

        >>> Timeouts(default_ms=60_000, max_ms=300_000).deadline_s("250", started_s=10.0)
        10.25
        """
        return started_s + (self.default_ms if given is None else self._valid_ms(given)) / 1000

    def _valid_ms(self, given: str) -> int:
        # No more digits than fit the maximum: turning thousands of them into a number would take its time.
        if given.isascii() and given.isdecimal() and len(given) <= len(str(self.max_ms)) and int(given) > 0:
            timeout_ms = int(given)
            if timeout_ms <= self.max_ms:
                return timeout_ms
        raise InvalidParameter(
            f"{HEADER} is {given!r}; allowed: whole milliseconds from 1 to {self.max_ms}",
            parameter=HEADER,
            limit_ms=self.max_ms,
        )


def documented_timeout() -> dict[str, Any]:
    """The header as OpenAPI describes it; its maximum is a setting of the running service."""
    return {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Milliseconds from the arrival of the request's head within which an answer is of use. A frame "
        "that cannot make it is dropped, with the code deadline_exceeded. More than the service allows is refused.",
        "schema": {"type": "integer", "minimum": 1},
    }
