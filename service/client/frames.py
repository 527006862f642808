"""What a client takes for a frame: encoded bytes, the path of a file, or either with a name."""

import os
from pathlib import Path
from typing import Final, TypeGuard

from service.client.errors import BadFrame, Problem

Source = bytes | bytearray | memoryview | str | os.PathLike[str]
"""An encoded image, or the path of one; a str is a path."""
Frame = Source | tuple[str, Source]
"""A source, or a pair of a name and a source: a tuple is always one frame."""

DEFAULT_NAME: Final = "frame"
# The most that a service can be set up to take for a frame; a larger file would only fill the memory.
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024


def is_frame(given: object) -> TypeGuard[Frame]:
    """Whether this is one frame, and not several."""
    return isinstance(given, bytes | bytearray | memoryview | str | os.PathLike | tuple)


def name_of(frame: Frame) -> str:
    """Its own name, or the path that it is read from."""
    if isinstance(frame, tuple):
        return frame[0]
    return DEFAULT_NAME if isinstance(frame, bytes | bytearray | memoryview) else os.fspath(frame)


def path_of(frame: Frame) -> Path | None:
    """The file that has to be read for it, None where its bytes are here."""
    source = frame[1] if isinstance(frame, tuple) else frame
    return None if isinstance(source, bytes | bytearray | memoryview) else Path(source)


def read(frame: Frame) -> bytes:
    """The encoded image. Raises BadFrame where its file cannot be read, or is larger than any service takes."""
    source = frame[1] if isinstance(frame, tuple) else frame
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    path = Path(source)
    try:
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        detail = f"{path} cannot be read: {reason}"
        problem = Problem("/problems/unreadable_file", "Unreadable file", 422, "unreadable_file", detail, None, {})
        raise BadFrame(detail, problem) from error
    raise _too_large(f"{path} holds {size} bytes; allowed are {MAX_FILE_BYTES}")


def _too_large(detail: str) -> BadFrame:
    facts = {"limit_bytes": MAX_FILE_BYTES}
    kind = ("/problems/frame_too_large", "Frame too large", 413, "frame_too_large")
    return BadFrame(detail, Problem(*kind, detail, None, facts))
