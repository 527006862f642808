"""A fake for what computes when: work that waits at a gate."""

import threading


class GatedWork:
    """Work that reports its start and then waits for the gate; remembers what it has worked on, in order."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.seen: list[bytes] = []

    def __call__(self, frame: bytes) -> bytes:
        self.seen.append(frame)
        self.started.release()
        assert self.gate.wait(30)
        return frame.upper()

    def has_started(self) -> bool:
        """Whether one more frame has entered, within 30 seconds."""
        return self.started.acquire(timeout=30)
