"""httptools' parser of requests, for a server that speaks nothing but HTTP/1.1.

To httptools a request that asks for another protocol ends with its header: what follows would be in that protocol.
Java's client and `curl --http2` ask so with every first request (`Upgrade: h2c`). A server that does not change the
protocol reads the body as if nobody had asked (RFC 9110, section 7.8); as the next request, it could be anything.
"""

from typing import Any, Final

import httptools

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""What tells where a body ends (RFC 9112, section 6)."""


class RequestParser:
    """Calls the methods of `protocol` as httptools' parser does, but for `on_message_complete`.

    This comes too early once: while `ends_too_early`, of a request whose body is still to be parsed.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._parser = _parser_of(protocol)

    def feed_data(self, data: bytes) -> None:
        """Parse what has arrived. Raises httptools.HttpParserError."""
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if framing := self._framing():
                    self._parser = _parser_of(_AfterHead(self._protocol))
                    self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % framing)
                if data:
                    continue
            return

    def ends_too_early(self) -> bool:
        """Whether the end of a request that is told now is only the end of its header."""
        return self._parser.should_upgrade() and bool(self._framing())

    def get_http_version(self) -> str:
        """Of the request whose header is complete."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """Of the request whose header is complete."""
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        """Whether its client expects the connection to stay."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """Never: there is nothing else to speak."""
        return False

    def _framing(self) -> bytes:
        fields = self._protocol.headers
        return b"".join(b"%s: %s\r\n" % (name, value) for name, value in fields if name in FRAMING)


class _AfterHead:
    """Tells a protocol what comes after the first header, which it knows."""

    def __init__(self, protocol: Any) -> None:
        self._protocol, self._is_known = protocol, True
        self.on_body, self.on_message_complete = protocol.on_body, protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_known:
            self._protocol.on_headers_complete()
        self._is_known = False


def _parser_of(protocol: Any) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # As uvicorn has it: what comes behind a request that ends the connection is no error of that request.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
