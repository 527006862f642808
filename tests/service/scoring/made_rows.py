"""Rows as a scorer would give them, without a model."""

from service.scoring.rows import Answer, FrameToScore, ModelFacts, Place, Row

ABOUT = ("tiny", "0.0.1", "float32", "3f2a91c0")
MODEL = ModelFacts(*ABOUT, {"red": 0.5, "green": 0.5}, {"red": "red", "green": "green"})
PROBLEM = {"type": "/problems/damaged_image", "title": "Damaged image", "status": 422, "code": "damaged_image"}


def answered(path: str, red: float = 0.75, video_frame: int | None = None) -> Row:
    """A frame of 30 x 20 pixels whose green is 0.25."""
    seconds = None if video_frame is None else video_frame / 10
    labels = tuple(label for label, value in (("red", red), ("green", 0.25)) if value >= 0.5)
    answer = Answer(30, 20, {"red": red, "green": 0.25}, labels)
    return Row(FrameToScore(Place(path, video_frame, seconds), 1), answer)


def refused(path: str, detail: str = "it is cut") -> Row:
    return Row(FrameToScore(Place(path), 1), {**PROBLEM, "detail": detail})
