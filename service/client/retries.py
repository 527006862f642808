"""When to ask again: after the seconds that the service names, a little later by chance, never past the deadline."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from service.client.errors import ClientError, NotReady, Overloaded, Unreachable

# Answering a frame changes nothing in the service: it may be asked twice for the same one.
WORTH_ANOTHER_TRY: Final = (Overloaded, NotReady, Unreachable)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried again at most, and how long is waited where the service does not say.

    The waits double from `first_wait_s` to `longest_wait_s`; chance takes up to half of each away. What the service
    asks for in Retry-After is waited in full, and up to `jitter` of it more, so that not everybody comes back at once.
    With `waits_out_429` a 429 that says when to come back counts for nothing, however many follow, and the request's
    time begins anew after the wait: for who has many frames and no hurry.
    """

    most: int = 6
    first_wait_s: float = 0.25
    longest_wait_s: float = 8.0
    jitter: float = 0.25
    waits_out_429: bool = False

    def wait_s(self, tried: int, retry_after_s: float | None, chance: float) -> float:
        """Seconds to wait when so many tries had failed before this one; `chance` is in [0, 1).

        >>> Retries(first_wait_s=1.0).wait_s(tried=2, retry_after_s=None, chance=0.5)
        3.0
        """
        if retry_after_s is not None:
            return retry_after_s + chance * self.jitter * max(retry_after_s, self.first_wait_s)
        full_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(tried, 60))
        return full_s * (1 - chance / 2)


class Attempts:
    """The tries of one request, until `deadline_s` (on the clock; None: no end)."""

    def __init__(
        self,
        retries: Retries,
        timeout_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._retries, self._clock, self._chance = retries, clock, chance
        self._timeout_s, self._tried = timeout_s, 0
        self._end_s = self._end_after(0.0)

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, at least a thousandth; None where there is none."""
        return None if self._end_s is None else max(0.001, self._end_s - self._clock())

    def wait_s(self, error: ClientError) -> float:
        """Seconds to wait before the next try. Raises the error where another one is of no use or too late."""
        wait_s = self._retries.wait_s(self._tried, error.retry_after_s, self._chance())
        if self._retries.waits_out_429 and isinstance(error, Overloaded) and error.retry_after_s is not None:
            self._tried, self._end_s = 0, self._end_after(wait_s)
            return wait_s
        self._tried += 1
        if not isinstance(error, WORTH_ANOTHER_TRY) or self._tried > self._retries.most:
            raise error
        if self._end_s is not None and self._clock() + wait_s >= self._end_s:
            raise error
        return wait_s

    def _end_after(self, wait_s: float) -> float | None:
        return None if self._timeout_s is None else self._clock() + wait_s + self._timeout_s


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3): a number or a date; None where it cannot be read.

    >>> retry_after_s("3")
    3.0
    """
    if header is None:
        return None
    if header.strip().isdecimal() and len(header) < 10:
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
