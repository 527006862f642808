"""BentoML: one worker process for each core; file input as its documentation describes it, raw by root input.

Adaptive batching stays off, which is its default: on one thread a batch is no faster than its frames one by one.
"""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.peers.launch import Launch

launch = Launch.from_environment()
Frame = Annotated[Path, ContentType("image/jpeg")]
QUIET = {"access": {"enabled": False}}


class _Model:
    def __init__(self) -> None:
        self.model = FrameModel.launched()


if launch.body == "raw":

    @bentoml.service(workers=launch.workers, threads=1, traffic={"timeout": 120}, logging=QUIET)
    class FrameService(_Model):
        """Frame in, probabilities out."""

        @bentoml.api
        def predict(self, frame: Frame, /) -> dict[str, float]:
            """What the frame shows."""
            return self.model.answer(frame.read_bytes())

else:

    @bentoml.service(workers=launch.workers, threads=1, traffic={"timeout": 120}, logging=QUIET)
    class FrameService(_Model):
        """Frame in, probabilities out."""

        @bentoml.api
        def predict(self, request: Frame) -> dict[str, float]:
            """What the frame shows."""
            return self.model.answer(request.read_bytes())
