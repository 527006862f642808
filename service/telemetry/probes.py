"""What machines ask every few seconds, to see whether the service lives: neither logged as a request nor traced."""

from typing import Final

_PROBED: Final = ("/health", "/v2/health", "/metrics")
_MODELS: Final = "/v2/models/"


def is_probe(path: str) -> bool:
    """Whether a path is asked by probes and scrapes.

    >>> is_probe("/v2/models/street/ready"), is_probe("/v2/models/street")
    (True, False)
    """
    return path.startswith(_PROBED) or (path.startswith(_MODELS) and path.endswith("/ready"))
