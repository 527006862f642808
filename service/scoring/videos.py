"""The sampled frames of a video, upright, decoded as they are asked for.

# H/W = height/width in pixels, C = 3 (RGB)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from service.errors import DamagedImage, UnreadableVideo
from service.inference.decoding import FrameLimits, check_size

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# A video's announced end and the end of its last frame may lie so far apart in a whole file.
END_TOLERANCE_S: Final = 1.0
# Files that hold their frames themselves: a playlist, whatever it is called, names other files or addresses.
FORMATS: Final = ("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "m4v", "asf", "flv", "ogg")
DEFAULT_LIMITS: Final = FrameLimits()
OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video are scored: every so many frames, or the first at or after every so many seconds."""

    every_frames: int | None = None
    every_seconds: float = 1.0

    def takes(self, number: int, seconds: float, last_taken_s: float | None) -> bool:
        """Whether to take frame `number` (from 0) at `seconds`, when the last one taken was at `last_taken_s`.

        >>> [Sampling(every_seconds=0.5).takes(1, seconds, last_taken_s=0.0) for seconds in (0.49, 0.5, 0.7)]
        [False, True, True]
        """
        if self.every_frames:
            return number % self.every_frames == 0
        return last_taken_s is None or self._interval(seconds) > self._interval(last_taken_s)

    def _interval(self, seconds: float) -> int:
        # Times are fractions of a clock's ticks: 0.1 s may come as 0.0999...
        return int((seconds + 1e-6) / self.every_seconds)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """A frame of a video: its number from 0, seconds since the first frame, and uint8 RGB [H, W, 3] or its damage.

    `share` is the part of the video that is over with it, 0 to 1, as far as the video tells.
    """

    number: int
    seconds: float
    share: float
    content: NDArray[np.uint8] | DamagedImage


def video_frames(
    path: str, sampling: Sampling, after: int = -1, limits: FrameLimits = DEFAULT_LIMITS
) -> Iterator[VideoFrame]:
    """The sampled frames of the video in order, those up to number `after` left out.

    Rotation metadata is applied. Raises UnreadableVideo, once what could be decoded has been yielded, where the file is
    no video, ends early or has lost parts, and TooManyPixels for larger frames than allowed.
    """
    _require_library(path)
    with _opened(path, limits) as container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise UnreadableVideo(f"{path} holds no video stream that can be decoded")
        check_size(*_announced_size(path, container, limits), limits)
        yield from _Reading(path, container, limits).sampled(sampling, after)


def _opened(path: str, limits: FrameLimits, **options: str) -> "InputContainer":
    import av

    try:
        # FFmpeg takes names for URLs, and "12:30:05.mp4" for one of the protocol "12".
        return av.open(f"file:{path}", options=OPTIONS | _decoder_options(limits) | options)
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideo(f"{path} cannot be read as a video: {error.strerror}") from error


def _decoder_options(limits: FrameLimits) -> dict[str, str]:
    # Twice, since FFmpeg counts the padding of its rows too; what it decodes is counted here.
    return {"max_pixels": str(2 * limits.max_pixels)}


def _announced_size(path: str, container: "InputContainer", limits: FrameLimits) -> tuple[int, int]:
    """Width and height of the frames; 0 and 0 where the file does not tell them without decoding one."""
    if (known := container.streams.video[0].codec_context).width:
        return known.width, known.height
    # FFmpeg forgets a size above `max_pixels`; where no decoder is allowed, it keeps what the file says.
    with _opened(path, limits, codec_whitelist="none") as undecoded:
        announced = undecoded.streams.video[0].codec_context
        return announced.width, announced.height


class _Reading:
    """One pass over a video, which counts what it meets."""

    def __init__(self, path: str, container: "InputContainer", limits: FrameLimits) -> None:
        self._path, self._container, self._limits = path, container, limits
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = _decoder_options(limits)
        self._announced_s = announced_seconds(container)
        self._frames, self._end_s = 0, 0.0
        self._lost_packets, self._damaged_frames = 0, 0
        self._failure: str | None = None

    def sampled(self, sampling: Sampling, after: int) -> Iterator[VideoFrame]:
        last_taken_s: float | None = None
        for seconds, frame in self._timed():
            number = self._frames
            self._frames += 1
            self._damaged_frames += frame.is_corrupt
            if sampling.takes(number, seconds, last_taken_s):
                last_taken_s = seconds
                if number > after:
                    yield VideoFrame(number, seconds, self._share(seconds), self._content(frame, number))
        self._refuse_loss()

    def _timed(self) -> Iterator[tuple[float, "av.VideoFrame"]]:
        first_s: float | None = None
        for frame in self._decoded():
            at_s = self._end_s + (first_s or 0.0) if frame.pts is None else float(frame.time)
            first_s = at_s if first_s is None else first_s
            seconds = max(0.0, at_s - first_s)
            self._end_s = seconds + self._duration_s(frame)
            yield round(seconds, 6), frame

    def _decoded(self) -> Iterator["av.VideoFrame"]:
        """Every frame that can be had: a packet that cannot be decoded is counted and passed over."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._failure = error.strerror
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self._lost_packets += 1

    def _content(self, frame: "av.VideoFrame", number: int) -> NDArray[np.uint8] | DamagedImage:
        if frame.is_corrupt:
            return DamagedImage(f"frame {number} of {self._path} lacks parts of its picture")
        check_size(frame.width, frame.height, self._limits)
        return upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.rotation)

    def _duration_s(self, frame: "av.VideoFrame") -> float:
        if frame.duration and frame.time_base:
            return float(frame.duration * frame.time_base)
        return float(1 / self._stream.average_rate) if self._stream.average_rate else 0.0

    def _share(self, seconds: float) -> float:
        return min(seconds / self._announced_s, 1.0) if self._announced_s else 0.0

    def _refuse_loss(self) -> None:
        if not self._frames:
            reason = f": {self._failure}" if self._failure else ""
            raise UnreadableVideo(
                f"{self._path} holds no frame of at most {self._limits.max_pixels} pixels that can be decoded{reason}"
            )
        told = f"{self._path} is not whole: {self._frames} frames, {self._end_s:.1f} s, could be decoded"
        if self._failure:
            raise UnreadableVideo(f"{told}, then it says: {self._failure}")
        if self._announced_s and self._end_s < self._announced_s - END_TOLERANCE_S:
            raise UnreadableVideo(f"{told} of {self._announced_s:.1f} s")
        if self._lost_packets or self._damaged_frames:
            lost = f"{self._lost_packets} packets could not, {self._damaged_frames} frames lack parts of their picture"
            raise UnreadableVideo(f"{told}, {lost}")


def announced_seconds(container: "InputContainer") -> float | None:
    """How long the video says it is; None where it does not say, or may speak of a longer sound track."""
    stream = container.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska keeps it in a tag of the stream.
    if clock := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def upright(frame_HWC: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """The frame turned by its metadata: degrees counter-clockwise, of which multiples of 90 are applied."""
    return np.ascontiguousarray(np.rot90(frame_HWC, round(rotation / 90) % 4))


def _require_library(path: str) -> None:
    if find_spec("av") is None:
        raise UnreadableVideo(f"{path} is a video, which needs PyAV: pip install 'roadcue[video]'")
