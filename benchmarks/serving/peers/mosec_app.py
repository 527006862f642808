"""mosec: one worker process for each core; the body is the frame, which it hands to the worker as bytes.

It reads no forms, so it serves raw bodies alone. Batching stays off, as on one thread a batch is no faster.
"""

from mosec import Server, Worker

from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.peers.launch import Launch


class FrameWorker(Worker):
    """Frame in, probabilities out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = FrameModel.launched()

    def deserialize(self, data: bytes) -> bytes:
        """The frame as it came."""
        return data

    def forward(self, data: bytes) -> dict[str, float]:
        """What the frame shows."""
        return self.model.answer(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(FrameWorker, num=Launch.from_environment().workers)
    server.run()
