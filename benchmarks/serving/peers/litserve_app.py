"""LitServe: one worker process for each core, as its documentation scales on CPUs.

Its batching stays off: it pays where a batch runs faster than its frames one by one, which on one thread it does not.
The body is declared with FastAPI's types, which LitServe documents for requests that are not JSON, so that bytes travel
to the worker and no base64. `fast_queue` needs ZeroMQ and is what its documentation names for high rates.
"""

from typing import Annotated

import litserve
from fastapi import Body, File

from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.peers.launch import Launch

launch = Launch.from_environment()
Frame = Annotated[bytes, Body(media_type="image/jpeg")] if launch.body == "raw" else Annotated[bytes, File()]


class FrameApi(litserve.LitAPI):
    """Frame in, probabilities out."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe names it
        """Load once a worker."""
        self.model = FrameModel.launched()

    def decode_request(self, request: Frame) -> bytes:  # type: ignore[valid-type]
        """The frame as it came; it is decoded by the worker, which `predict` is too."""
        return request

    def predict(self, data: bytes) -> dict[str, float]:
        """What the frame shows."""
        return self.model.answer(data)

    def encode_response(self, answer: dict[str, float]) -> dict[str, float]:
        """As JSON."""
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(
        FrameApi(), accelerator="cpu", workers_per_device=launch.workers, timeout=120, fast_queue=True
    )
    server.run(host="127.0.0.1", port=launch.port, generate_client_file=False, log_level="warning")
