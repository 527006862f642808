"""One event for each request; where there is no room for more, one event every few seconds that counts them.

An overload that wrote a line for each refusal would fill the disk just when the machine has no time for it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from service.telemetry.probes import is_probe

access_log = logging.getLogger("service.access")

# What a service answers that is full, loading, draining or late; told together.
REFUSALS: Final = frozenset({429, 503, 504})
REFUSALS_EVERY_S: Final = 5.0

LONGEST_PATH: Final = 256
# All that a path may hold as it is (RFC 3986, section 3.3), but for what looks like a field of the event.
PLAIN: Final = "/:@!$&'()*+,;~-._"

Fields = Callable[[], Mapping[str, object]]


class AccessLog:
    """Writes requests at `level`, those of probes and refusals at DEBUG; `clock` gives seconds that never run back."""

    def __init__(self, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._level, self._clock = level, clock
        self._refused: Counter[str] = Counter()
        self._told_s = -REFUSALS_EVERY_S

    def record(self, method: str, path: str, status: int, problem: str | None, fields: Fields) -> None:
        """A request is over, perhaps with the code of a problem; `fields` is called where it is written down."""
        probed = is_probe(path)
        refused = status in REFUSALS and not probed
        if refused:
            self._refused[problem or str(status)] += 1
        if self._refused:
            self._tell_refusals()
        level = logging.DEBUG if refused or (probed and status < 500) else self._level
        if access_log.isEnabledFor(level):
            access_log.log(level, "%s %s %d", method, _as_sent(path), status, extra=dict(fields()))

    def _tell_refusals(self) -> None:
        now_s = self._clock()
        if now_s - self._told_s < REFUSALS_EVERY_S:
            return
        access_log.warning("requests refused", extra={"requests": self._refused.total(), **self._refused})
        self._refused.clear()
        self._told_s = now_s


def _as_sent(path: str) -> str:
    """With its escapes, so that nothing in it can be taken for a field of the event; and not without end."""
    cut = path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}..."
    return quote(cut, safe=PLAIN)
