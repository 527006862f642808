"""Both clients against the real service, and what importing them costs."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from service.client import AsyncClient, BadFrame, Client, RequestRefused
from service.client.errors import BAD_FRAME_CODES
from service.errors import FrameError
from service.web.problems import KINDS, PROBLEMS
from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess

pytestmark = pytest.mark.anyio
FOREIGN = ("fastapi", "starlette", "uvicorn", "onnxruntime", "pydantic", "cv2", "PIL")


def test_importing_the_client_loads_nothing_of_the_server() -> None:
    code = f"import sys, service.client; print([name for name in {FOREIGN} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_bad_frames_are_those_of_the_service() -> None:
    codes = {kind.code for error, kind in PROBLEMS.items() if issubclass(error, FrameError)}
    assert codes == BAD_FRAME_CODES
    assert KINDS.keys() > BAD_FRAME_CODES


async def test_real_service_understands_and_is_understood(start_server: Callable[..., ServerProcess]) -> None:
    """204/255 = 0.8, 51/255 = 0.2; the limits on frames and on time make a refusal each, and text another."""
    server = start_server("--max-frame-bytes", "4096", "--max-timeout-ms", "120000")
    frames = [("red", encoded(204, 51, 0)), ("text", b"no image"), ("green", encoded(0, 255, 0))]
    with Client(server.url, concurrency=2) as client:
        client.wait_until_ready()
        assert client.ready()
        assert [label.key for label in client.model().labels] == ["red", "green"]
        prediction = client.predict(frames[0], evidence=True)
        outcomes = list(client.stream(frames))
        with pytest.raises(BadFrame, match="allowed are 4096") as large:
            client.predict(bytes(5000))
        with pytest.raises(RequestRefused, match="X-Timeout-Ms is '600000'"):
            client.predict(frames[0], timeout_s=600)
    assert (prediction.name, prediction.labels, prediction.model_name) == ("red", ("red",), "tiny")
    assert prediction.evidence_Lhw is not None
    np.testing.assert_allclose(prediction.evidence_Lhw, np.broadcast_to([[[0.8]], [[0.2]]], (2, 2, 3)), atol=1e-3)
    assert [outcome.prediction.labels if outcome.prediction else type(outcome.error) for outcome in outcomes] == [
        ("red",),
        BadFrame,
        ("green",),
    ]
    assert large.value.problem
    assert large.value.problem.facts["limit_bytes"] == 4096
    async with AsyncClient(server.url) as awaited:
        assert [outcome.index async for outcome in awaited.stream(frames * 10, order="completion")]
        assert (await awaited.predict(frames[0])).probabilities == {"red": 0.8, "green": 0.2}
