"""Server-Timing: where the time of a request went, as a header of every reply (W3C Server Timing)."""

import time


class ServerTiming:
    """What has been measured of one request since its head arrived; instants are seconds of time.monotonic.

    >>> timing = ServerTiming(started_s=100.0)
    >>> timing.record("decode", 2.1)
    >>> timing.header(now_s=100.0095)
    'decode;dur=2.100, total;dur=9.500'
    """

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self._ms: dict[str, float] = {}

    def record(self, name: str, ms: float) -> None:
        """Name what took so many milliseconds; names come in the order in which they are first given."""
        self._ms[name] = ms

    def header(self, now_s: float | None = None) -> str:
        """The header's value, in milliseconds; `total` is the time until now."""
        total_ms = ((time.monotonic() if now_s is None else now_s) - self.started_s) * 1000
        # Microseconds: anything finer is noise, and would tell a stranger more than it tells the caller.
        return ", ".join(f"{name};dur={ms:.3f}" for name, ms in (*self._ms.items(), ("total", total_ms)))
