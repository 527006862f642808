"""A client of a service that answers from a list, on a clock that only sleeping moves."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from service.client import (
    Client,
)
from tests.service.client.answers import FakeTime, Service


@pytest.fixture
def time_() -> FakeTime:
    """A clock that only sleeping moves."""
    return FakeTime()


@pytest.fixture
def connect(time_: FakeTime) -> Iterator[Callable[..., Client]]:
    """Opens a client of a service; chance never changes a wait unless it is given."""
    opened: list[Client] = []

    def connect_(service: Service, **settings: Any) -> Client:
        transport = httpx.MockTransport(service)
        defaults = {"clock": time_.clock, "sleep": time_.sleep, "chance": lambda: 0.0}
        opened.append(Client("http://service", transport=transport, **{**defaults, **settings}))
        return opened[-1]

    yield connect_
    for client in opened:
        client.close()
