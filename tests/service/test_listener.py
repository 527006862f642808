"""The listening socket: nobody who has connected is lost when it closes."""

import errno
import socket
import sys
from contextlib import closing
from typing import cast

import pytest

from service.listener import accepted, listen, refuse_new_connections, url_of


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_every_interface_of_ipv6_is_every_interface_of_ipv4_too() -> None:
    """The image's health check, for one, asks 127.0.0.1 whatever the host is set to."""
    with closing(listen("::", 0)) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=30).close()


@pytest.mark.skipif(sys.platform != "linux", reason="packet filters of sockets are Linux's")
def test_port_that_is_about_to_close_loses_nobody_who_has_connected() -> None:
    """Who comes later gets no connection, instead of one that is reset when the port closes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = listener.getsockname()
        with closing(socket.create_connection(address, timeout=30)) as early:
            refuse_new_connections(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            early.sendall(b"a request")
            waiting = accepted(listener)
            assert len(waiting) == 1
            with closing(waiting[0]) as connection:
                connection.settimeout(30)
                assert connection.recv(100) == b"a request"


class Exhausted:
    """A listener with one connection; for the next there is no file descriptor, and then there is."""

    def __init__(self, *connections: socket.socket) -> None:
        self._left: list[socket.socket | int] = [connections[0], errno.EMFILE, *connections[1:], errno.EAGAIN]

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def accept(self) -> tuple[socket.socket, None]:
        if isinstance(found := self._left.pop(0), int):
            raise OSError(found, "")
        return found, None


def test_connection_without_a_file_descriptor_is_found_by_the_next_look() -> None:
    one, other = socket.socketpair()
    with one, other:
        listener = cast(socket.socket, Exhausted(one, other))
        assert accepted(listener) == [one]
        assert accepted(listener) == [other]
