"""One of several processes: how it ends by itself."""

import multiprocessing
import socket
from contextlib import closing
from types import SimpleNamespace

import pytest

from service.app import create_app
from service.processes.board import Board, Standing
from service.processes.messages import Place
from service.processes.worker import WorkerServer
from service.server import configuration
from service.settings import Settings
from service.web.lifecycle import Lifecycle

pytestmark = pytest.mark.anyio


async def test_process_whose_device_is_lost_leaves_in_order_and_no_start_has_failed(settings: Settings) -> None:
    """The supervisor starts another then; a failed start would count against the whole service."""
    app, board = create_app(settings), Board(1)
    lifecycle: Lifecycle = app.state.lifecycle
    mine, other = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(mine), closing(other):
        server = WorkerServer(configuration(app, settings), lifecycle, 0, Place(0, mine, listener, board))
        told: list[object] = []
        server.link = SimpleNamespace(tell=told.append)  # type: ignore[assignment]
        execution = SimpleNamespace(model_dump_json=lambda: "{}")
        scheduler = SimpleNamespace(healthy=lambda: True, failure=None)
        lifecycle.open(SimpleNamespace(scheduler=scheduler, execution=execution))  # type: ignore[arg-type]
        assert not await server.on_tick(1)
        assert board.row(0).standing == Standing.READY
        scheduler.healthy, scheduler.failure = (lambda: False), "the device answers nothing any more"
        assert await server.on_tick(2)
        assert board.row(0).standing == Standing.DRAINING
        assert (lifecycle.stage, lifecycle.failure, len(told)) == ("draining", None, 1)
