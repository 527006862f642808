"""MLServer: a custom runtime in `parallel_workers` processes, one for each core.

Its own protocol would wrap the frame in base64 and JSON; a custom handler, which its documentation offers for other
payloads, spares it that. Handlers run in the parallel workers as inference does.
"""

from typing import Annotated, Any

from fastapi import Body, File
from mlserver import MLModel
from mlserver.handlers import custom_handler

from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.peers.launch import Launch

Frame = (
    Annotated[bytes, Body(media_type="image/jpeg")]
    if Launch.from_environment().body == "raw"
    else Annotated[bytes, File()]
)


class FrameRuntime(MLModel):
    """Frame in, probabilities out."""

    async def load(self) -> bool:
        """Load once a worker."""
        self.model = FrameModel.launched()
        return True

    @custom_handler(rest_path="/predict")
    async def answer(self, request: Frame) -> dict[str, Any]:  # type: ignore[valid-type]
        """What the frame shows."""
        return self.model.answer(request)
