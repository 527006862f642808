"""A server whose delays are known: it answers one request after the other, each after so many seconds."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Reply = Callable[[int], tuple[float, bytes]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REFUSED_BARELY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
NOTHING = b""


class KnownServer:
    """`reply(n)` gives the seconds that the n-th request takes, and the bytes of its answer; none: it closes the line.

    `bodies` are those that came, in order.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply, self._count, self._turn = reply, 0, asyncio.Lock()
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                async with self._turn:
                    self.bodies.append(head + body)
                    number, self._count = self._count, self._count + 1
                    seconds, answer = self._reply(number)
                    await asyncio.sleep(seconds)
                writer.write(answer)
                if not answer or b"close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


def _length(head: bytes) -> int:
    (length,) = (int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line.lower())
    return length


@contextmanager
def serving(reply: Reply) -> Iterator[tuple[KnownServer, int]]:
    """The server on a thread of its own, and its port."""
    loop = asyncio.new_event_loop()
    known = KnownServer(reply)
    server = loop.run_until_complete(asyncio.start_server(known.serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield known, server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
