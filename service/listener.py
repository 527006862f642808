"""The socket that listens, and how it is closed without resetting anybody."""

import contextlib
import ctypes
import socket
import struct
import sys
from typing import Final

from service.errors import AddressUnavailable

BACKLOG: Final = 2048

_SO_ATTACH_FILTER: Final = 26
# Classic BPF (Linux, Documentation/networking/filter.rst) over the TCP header, as (code, jump if, jump else, operand).
_DROP_NEW_CONNECTIONS: Final = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep ACK and SYN
    (0x15, 0, 1, 0x02),  # SYN alone opens a connection:
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # pass everything else
)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on host and port; on `::` for IPv4 as well. Raises AddressUnavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise AddressUnavailable(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose others with --host and --port"
        ) from error


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def refuse_new_connections(listener: socket.socket) -> None:
    """Let the kernel drop what asks for a new connection, while those it has begun are still completed and accepted.

    Without it, whoever connects between the last look into the queue and the closing of the port is reset. A client
    whose SYN is dropped sends it again after a second and is then refused. Linux only; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _DROP_NEW_CONNECTIONS)
    program = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(_DROP_NEW_CONNECTIONS), ctypes.addressof(program))
    with contextlib.suppress(OSError):  # a sandbox may not know filters; what is left is a gap of microseconds
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def accepted(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait in the listener's queue, without waiting for more; another look may find the rest."""
    listener.setblocking(False)
    connections: list[socket.socket] = []
    with contextlib.suppress(OSError):  # the queue is empty, somebody has left, or no file descriptor is free
        while True:
            connections.append(listener.accept()[0])
    return connections
