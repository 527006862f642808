"""Frames whose images can be decoded: each is, once, so that no run meets a broken one hours later."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from model_training.errors import ImageChanged
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.problems import Kind, Problems
from service.errors import FrameError
from service.inference.decoding import FrameLimits, decode_at_least

LIMITS = FrameLimits()
"""What training accepts, here as in every later read."""

Decoded = TypeVar("Decoded")

# A run that stops does so within this many frames of the first broken one.
_AT_ONCE = 256


def readable_frames(frames: Iterable[AnnotatedFrame], problems: Problems) -> Iterator[AnnotatedFrame]:
    """The frames whose images decode as the service would decode them, in order; the others are reported.

    A problem names the place in the annotation file where that is known, else the image. An image that several frames
    share is decoded once. Decoding runs on threads: some 3,000 pictures of 512 pixels a second on two cores.

    Raises AnnotationError where problems stop the run.
    """
    faults: dict[Path, str | None] = {}
    waiting = iter(frames)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(waiting, _AT_ONCE)):
            fresh = [image for image in dict.fromkeys(frame.image for frame in some) if image not in faults]
            faults.update(zip(fresh, pool.map(fault, fresh), strict=True))
            for frame in some:
                if said := faults[frame.image]:
                    _report(frame, said, problems)
                else:
                    yield frame


def fault(image: Path) -> str | None:
    """Why an image cannot be decoded, or None where it can."""
    try:
        # The smallest size still reads every byte of a picture, and costs least.
        decode_at_least(image.read_bytes(), 1, 1, LIMITS)
    except (FrameError, OSError) as error:
        return str(error)
    return None


def decoded(decode: Callable[[bytes, int, int, FrameLimits], Decoded], image: Path, height: int, width: int) -> Decoded:
    """What `decode` makes of an image that has been readable; raises ImageChanged where it is no longer."""
    try:
        return decode(image.read_bytes(), height, width, LIMITS)
    except (FrameError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ImageChanged(f"{image}: could be decoded when the data was loaded, now it cannot: {reason}") from error


def _report(frame: AnnotatedFrame, said: str, problems: Problems) -> None:
    if frame.place:
        file, line = frame.place
        problems.report(Kind.BROKEN_IMAGE, file, line, f"image {frame.image} cannot be used: {said}")
    else:
        problems.report(Kind.BROKEN_IMAGE, frame.image, None, said)
