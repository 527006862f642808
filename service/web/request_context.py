"""What surrounds every request: its id, its access-log line, its metrics, and the last resort when code fails.

Pure ASGI, so that bodies stream through and a client that leaves is seen.
"""

import asyncio
import logging
import re
import time
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Draining
from service.telemetry import Metrics
from service.web.lifecycle import Lifecycle
from service.web.problems import problem_response

access_log = logging.getLogger("service.access")
logger = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-ID"
SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Probed every few seconds by machines: logged only when asked for.
QUIET: Final = ("/health", "/metrics")
NO_RESPONSE: Final = 499


class RequestContext:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, lifecycle: Lifecycle) -> None:
        self._app, self._metrics, self._lifecycle = app, metrics, lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._lifecycle)
        try:
            await self._answer(exchange)
        finally:
            self._record(exchange)

    async def _answer(self, exchange: "_Exchange") -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status is not None or not self._lifecycle.draining:
                raise
            # uvicorn cancels what has not finished when the time to shut down is over; a reply beats a reset.
            await self._refuse(exchange, Draining("the process ends before this request is complete; send it again"))
        except Exception as error:
            logger.exception("the request failed", extra={"request_id": exchange.request_id, "path": exchange.path})
            if exchange.status is not None:
                raise
            await self._refuse(exchange, error)

    async def _refuse(self, exchange: "_Exchange", error: Exception) -> None:
        await problem_response(error, exchange.path)(exchange.scope, exchange.receive, exchange.send)

    def _record(self, exchange: "_Exchange") -> None:
        seconds = time.monotonic() - exchange.started_s
        method = exchange.scope["method"] if exchange.scope["method"] in METHODS else "other"
        status = NO_RESPONSE if exchange.status is None else exchange.status
        self._metrics.requests.labels(route=exchange.route, method=method, status=status).inc()
        self._metrics.request_seconds.labels(route=exchange.route).observe(seconds)
        level = logging.DEBUG if exchange.path.startswith(QUIET) and status < 500 else logging.INFO
        fields = {"request_id": exchange.request_id, "ms": round(seconds * 1000, 3), "client": exchange.client}
        access_log.log(level, "%s %s %d", exchange.scope["method"], exchange.path, status, extra=fields)


class _Exchange:
    """One request and its reply, as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, lifecycle: Lifecycle) -> None:
        self.started_s = time.monotonic()
        self.scope, self._receive, self._send, self._lifecycle = scope, receive, send, lifecycle
        self._headers = Headers(scope=scope)
        self.request_id = request_id(self._headers.get(REQUEST_ID))
        self.status: int | None = None
        self._began_reading = False
        self._has_more_body = "content-length" in self._headers or "transfer-encoding" in self._headers
        scope.setdefault("state", {})["request_id"] = self.request_id

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def client(self) -> str:
        return str((self.scope.get("client") or ("unknown",))[0])

    @property
    def route(self) -> str:
        """The template of the route, never the path: a metric must not grow with what clients ask for."""
        return getattr(self.scope.get("route"), "path", "unmatched")

    async def receive(self) -> Message:
        self._began_reading = True
        message = await self._receive()
        self._has_more_body = self._has_more_body and bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            if self._must_close():
                headers["Connection"] = "close"
        await self._send(message)

    def _must_close(self) -> bool:
        if self._has_more_body:
            # Closing on a client that still sends resets the connection and loses the reply, unless it waits for
            # our go-ahead: then RFC 9110, 10.1.1 leaves only closing, as it may or may not send the body later.
            return "expect" in self._headers and not self._began_reading
        return self._lifecycle.draining


def request_id(given: str | None) -> str:
    """The client's id where it is short and plain, else a new one."""
    return given if given and SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
