"""File names -> frames to score: a file is one frame, a video several."""

from collections.abc import Iterable, Iterator

import numpy as np

from service.errors import TooManyPixels, UnreadableVideo
from service.inference.decoding import FrameLimits
from service.scoring.paths import ListedFile
from service.scoring.resuming import WrittenRows
from service.scoring.rows import FrameToScore, Place
from service.scoring.videos import DEFAULT_LIMITS, Sampling, video_frames


def frames_to_score(
    files: Iterable[ListedFile], sampling: Sampling, written: WrittenRows, limits: FrameLimits = DEFAULT_LIMITS
) -> Iterator[FrameToScore]:
    """The frames of all files in order, but those that have their row already."""
    for number, file in enumerate(files):
        if written.covers(file.path):
            continue
        if file.is_video and not file.failure:
            yield from _frames_of_video(file.path, number, sampling, written.last_frame_of(file.path), limits)
        else:
            yield FrameToScore(Place(file.path), number + 1, failure=file.failure)


def _frames_of_video(
    path: str, number: int, sampling: Sampling, after: int, limits: FrameLimits
) -> Iterator[FrameToScore]:
    try:
        for frame in video_frames(path, sampling, after, limits):
            place, content = Place(path, frame.number, frame.seconds), frame.content
            pixels_HWC, damage = (content, None) if isinstance(content, np.ndarray) else (None, content)
            yield FrameToScore(place, number + frame.share, pixels_HWC, damage)
    except (UnreadableVideo, TooManyPixels) as error:
        yield FrameToScore(Place(path), number + 1, failure=error)
