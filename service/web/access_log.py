"""One event for each request; where there is no room for more, one event every few seconds that counts them.

An overload that wrote a line for each refusal would fill the disk just when the machine has no time for it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

access_log = logging.getLogger("service.access")

# Probed every few seconds by machines: logged only when asked for.
QUIET: Final = ("/health", "/v2/health", "/metrics")
# What a service answers that is full, loading, draining or late; told together.
REFUSALS: Final = frozenset({429, 503, 504})
REFUSALS_EVERY_S: Final = 5.0

Fields = Callable[[], Mapping[str, object]]


class AccessLog:
    """Writes requests at `level`, those of probes and refusals at DEBUG; `clock` gives seconds that never run back."""

    def __init__(self, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._level, self._clock = level, clock
        self._refused: Counter[str] = Counter()
        self._told_s = -REFUSALS_EVERY_S

    def record(self, method: str, path: str, status: int, problem: str | None, fields: Fields) -> None:
        """A request is over, perhaps with the code of a problem; `fields` is called where it is written down."""
        refused = status in REFUSALS and not path.startswith(QUIET)
        if refused:
            self._refused[problem or str(status)] += 1
        if self._refused:
            self._tell_refusals()
        level = logging.DEBUG if refused or (path.startswith(QUIET) and status < 500) else self._level
        if access_log.isEnabledFor(level):
            access_log.log(level, "%s %s %d", method, path, status, extra=dict(fields()))

    def _tell_refusals(self) -> None:
        now_s = self._clock()
        if now_s - self._told_s < REFUSALS_EVERY_S:
            return
        access_log.warning("requests refused", extra={"requests": self._refused.total(), **self._refused})
        self._refused.clear()
        self._told_s = now_s
