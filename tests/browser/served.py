"""The application behind a real port of the loopback interface, on a thread of the test."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from service.app import create_app, detector_of
from service.inference.detector import Detector
from service.server import configuration
from service.settings import Settings
from tests.service.server_process import wait_for

Load = Callable[[Settings], Detector]


@contextmanager
def served(settings: Settings, load: Load = detector_of, port: int = 0, until_ready: bool = True) -> Iterator[str]:
    """Its address, with a slash at the end, while it is served and, unless that is not waited for, ready."""
    app = create_app(settings, load)
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(configuration(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    try:
        if until_ready:
            wait_for(lambda: httpx.get(f"{url}health/ready").status_code == httpx.codes.OK)
        yield url
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
