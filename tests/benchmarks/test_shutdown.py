"""What counts as a request that was lost."""

import socket
import threading
from collections.abc import Callable

import pytest

from benchmarks.shutdown import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def serve() -> Callable[..., Client]:
    """A client that has met a server which gives each connection its answers, and then is gone."""

    def met(*connections: tuple[bytes, ...], keeps_connection: bool = True) -> Client:
        listener = socket.create_server(("127.0.0.1", 0))
        server = threading.Thread(target=answer, args=(listener, connections))
        server.start()
        host, port = listener.getsockname()
        client = Client(f"{host}:{port}", b"frame", keeps_connection)
        client.run()
        server.join()
        return client

    return met


def answer(listener: socket.socket, connections: tuple[tuple[bytes, ...], ...]) -> None:
    """Answer every request of a connection in turn, then close it; the port closes with the last one."""
    for number, answers in enumerate(connections, start=1):
        connection, _ = listener.accept()
        if number == len(connections):
            listener.close()
        with connection:
            for content in answers:
                while not connection.recv(65536).endswith(b"frame"):
                    pass
                connection.sendall(content)


def test_connection_that_is_refused_is_no_loss(serve: Callable[..., Client]) -> None:
    """Both frames on one connection are answered; the server says that it closes it."""
    client = serve((OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert (client.statuses, client.lost) == ({200: 2}, [])


def test_connection_for_each_frame(serve: Callable[..., Client]) -> None:
    client = serve((OK,), (OK,), keeps_connection=False)
    assert (client.statuses, client.lost) == ({200: 2}, [])


@pytest.mark.parametrize("answers", [(CUT_OFF,), ()])
def test_request_without_a_complete_answer_is_lost(serve: Callable[..., Client], answers: tuple[bytes, ...]) -> None:
    client = serve(answers)
    assert not client.statuses
    assert len(client.lost) == 1


def test_refusal_is_an_answer_of_its_own(serve: Callable[..., Client]) -> None:
    client = serve((BUSY,))
    assert (client.statuses, client.lost) == ({503: 1}, [])
