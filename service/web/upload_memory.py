"""How many bytes of frames all requests hold together, from their arrival until their answer.

Only the event loop's thread may use it.
"""

from typing import Self

from service.errors import UploadsFull


class UploadMemory:
    """A bound on the bytes of frames in memory.

    >>> memory = UploadMemory(limit_bytes=100)
    >>> with memory.share() as share:
    ...     share.take(60)
    ...     memory.held_bytes
    60
    >>> memory.held_bytes
    0
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0

    def share(self) -> "UploadShare":
        """What one request holds, as a context manager; nothing yet."""
        return UploadShare(self)


class UploadShare:
    """What one request holds of the memory; given back at the end of a `with` block, however it ends."""

    def __init__(self, memory: UploadMemory) -> None:
        self._memory, self.held_bytes = memory, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back(self.held_bytes)

    def take(self, count: int) -> None:
        """Hold `count` bytes more. Raises UploadsFull, and holds none of them, where they have no room."""
        self.refuse_without_room(count)
        self._memory.held_bytes += count
        self.held_bytes += count

    def give_back(self, count: int) -> None:
        """Hold `count` bytes less."""
        self._memory.held_bytes -= count
        self.held_bytes -= count

    def refuse_without_room(self, count: int) -> None:
        """Raises UploadsFull when `count` bytes more have no room now."""
        held, limit = self._memory.held_bytes, self._memory.limit_bytes
        if held + count > limit:
            raise UploadsFull(
                f"{held} bytes of frames are in memory, {count} more have no room; allowed are {limit} over all "
                "requests. Ask again later",
                held_bytes=held,
                limit_bytes=limit,
            )
