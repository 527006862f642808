"""Ray Serve: one replica for each core, with the settings that its tuning guide names for high throughput."""

import os
import signal

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.peers.launch import Launch

launch = Launch.from_environment()


# A replica holds a few requests ready, so that it never waits for the proxy; the rest queue there.
@serve.deployment(
    num_replicas=launch.workers,
    max_ongoing_requests=16,
    ray_actor_options={"num_cpus": 1},
    logging_config={"enable_access_log": False},
)
class FrameDeployment:
    """Frame in, probabilities out."""

    def __init__(self) -> None:
        self.model = FrameModel.launched()

    async def __call__(self, request: Request) -> dict[str, float]:
        """What the frame shows."""
        if launch.body == "raw":
            return self.model.answer(await request.body())
        form = await request.form()
        return self.model.answer(await form["request"].read())


if __name__ == "__main__":
    ray.init(include_dashboard=False, configure_logging=False, num_cpus=launch.workers, object_store_memory=200_000_000)
    serve.start(http_options={"host": "127.0.0.1", "port": launch.port})
    serve.run(FrameDeployment.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)
