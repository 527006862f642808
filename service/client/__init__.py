"""A client of the service: typed answers, patience with a busy service, many frames at once.

    from service.client import Client

    with Client("http://localhost:8000") as client:
        print(client.predict("frame.jpg").labels)
        for outcome in client.stream(Path("drive").glob("*.jpg")):
            print(outcome.name, outcome.prediction or outcome.error)

`AsyncClient` is the same with `await` and `async for`. It needs httpx and numpy only, nothing of the server.
"""

from service.client.asynchronous import AsyncClient
from service.client.blocking import Client
from service.client.errors import (
    BadFrame,
    ClientError,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    Problem,
    RequestRefused,
    ServiceFailed,
    Unreachable,
)
from service.client.frames import Frame
from service.client.results import Label, Model, Outcome, Prediction, TimingMs
from service.client.retries import Retries

__all__ = [
    "AsyncClient",
    "BadFrame",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "Frame",
    "Label",
    "Model",
    "NotReady",
    "Outcome",
    "Overloaded",
    "Prediction",
    "Problem",
    "RequestRefused",
    "Retries",
    "ServiceFailed",
    "TimingMs",
    "Unreachable",
]
