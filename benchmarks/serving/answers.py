"""Nobody is timed before his answers are those of the in-process loop: wrong answers can be had at any speed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.serving.servers import Server
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector


def reference(model: Path, variant: str, frames: Sequence[bytes]) -> list[Mapping[str, float]]:
    """What the model says in this process."""
    detector = load_detector(model, "cpu", 1, FrameLimits(), variant)  # type: ignore[arg-type]  # of contenders.py
    return [detector.detect(frame).probabilities for frame in frames]


def largest_difference(server: Server, frames: Sequence[bytes], expected: Sequence[Mapping[str, float]]) -> float:
    """Between the server's probabilities and those expected. Raises ServerFailed where it is too large."""
    found = max(_difference(server, server.answer(frame), right) for frame, right in zip(frames, expected, strict=True))
    if not found <= server.contender.tolerance:
        raise server.failure(f"its probabilities are off by {found:.2g}; allowed are {server.contender.tolerance:.2g}")
    return found


def _difference(server: Server, answer: Mapping[str, float], right: Mapping[str, float]) -> float:
    if answer.keys() != right.keys():
        raise server.failure(f"it answers for {sorted(answer)}, not for {sorted(right)}")
    return max(abs(answer[label] - right[label]) for label in right)
