"""A request leaves nothing that only the garbage collector could free: frames would pile up until it comes round."""

import re
import signal
from collections.abc import Callable

import httpx
import pytest

from tests.service.server_process import ServerProcess

REQUESTS = 60
Ask = Callable[[httpx.Client, bytes], httpx.Response]


@pytest.fixture
def server(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    return start_server(program="tests.service.garbage_counter").ready()


def garbage(server: ServerProcess) -> tuple[int, int, str]:
    """Objects, bytes in them, and the line that says so."""
    server.process.send_signal(signal.SIGUSR1)
    line = server.wait_for_line("garbage objects")
    objects, size = re.findall(r"(?:objects|bytes)=(\d+)", line)
    return int(objects), int(size), line


def raw(client: httpx.Client, frame: bytes) -> httpx.Response:
    return client.post("/predict", content=frame, headers={"content-type": "image/jpeg"})


def form(client: httpx.Client, frame: bytes) -> httpx.Response:
    return client.post("/predict?evidence=true", files=[("file", ("a.jpg", frame)), ("file", ("b.jpg", frame))])


def no_image_by_open_inference(client: httpx.Client, frame: bytes) -> httpx.Response:
    return open_inference(client, b"x" * len(frame))


def open_inference(client: httpx.Client, frame: bytes) -> httpx.Response:
    head = (
        b'{"inputs": [{"name": "encoded_frames", "shape": [1], "datatype": "BYTES", '
        b'"parameters": {"binary_data_size": %d}}]}' % (len(frame) + 4)
    )
    headers = {"inference-header-content-length": str(len(head))}
    content = head + len(frame).to_bytes(4, "little") + frame
    return client.post("/v2/models/tiny/infer", content=content, headers=headers)


def no_image(client: httpx.Client, frame: bytes) -> httpx.Response:
    return client.post("/predict", content=b"x" * len(frame), headers={"content-type": "image/jpeg"})


def too_many(client: httpx.Client, frame: bytes) -> httpx.Response:
    return client.post("/predict", files=[("file", ("a.jpg", frame))] * 70)


def too_late(client: httpx.Client, frame: bytes) -> httpx.Response:
    headers = {"content-type": "image/jpeg", "x-timeout-ms": "1"}
    return client.post("/predict", content=frame, headers=headers)


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (raw, 200),
        (form, 200),
        (open_inference, 200),
        (no_image, 415),
        (no_image_by_open_inference, 415),
        (too_many, 413),
        (too_late, 504),
    ],
)
def test_what_is_sent_is_freed_with_its_answer(server: ServerProcess, large_jpeg: bytes, ask: Ask, status: int) -> None:
    """What is left is of the few connections that have closed; a ring a request would be several objects each."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        ask(client, large_jpeg)
        garbage(server)  # what a first time leaves
        statuses = [ask(client, large_jpeg).status_code for _ in range(REQUESTS)]
    assert statuses == [status] * REQUESTS
    objects, size, line = garbage(server)
    assert objects < 3 * REQUESTS, line
    assert size < len(large_jpeg) / 100, line
