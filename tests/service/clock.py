"""A clock that is told."""


class Clock:
    """Seconds that pass only when told."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
