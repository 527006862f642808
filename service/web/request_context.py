"""What surrounds every request: its id, its timing, its access-log line, its metrics, the last resort when code fails.

Direct routes are called from here: what a frame needs beside its inference counts when thousands come in a second.

Pure ASGI, so that bodies stream through and a client that leaves is seen.
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Draining, RoadcueError, forget_origin
from service.telemetry import Metrics
from service.telemetry.logs import REQUEST_FIELDS
from service.web.access_log import AccessLog
from service.web.direct_route import Address, DirectRequest, DirectRoute, PlainHeaders
from service.web.lifecycle import Lifecycle
from service.web.problems import kind_of, problem_response
from service.web.server_timing import ServerTiming

logger = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-ID"
SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_RESPONSE: Final = 499
UNMATCHED: Final = "unmatched"
# A client that still sends after its refusal gets this long before the connection is closed on it.
LINGER_SECONDS: Final = 5.0
NO_ROUTES: Final[Mapping[Address, DirectRoute]] = MappingProxyType({})


class RequestContext:
    """Middleware around the whole application; requests for `direct` routes go to their functions without it.

    `log_fields` says what every event of a running request tells beside its id.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        lifecycle: Lifecycle,
        access_log: AccessLog,
        direct: Mapping[Address, DirectRoute] = NO_ROUTES,
        log_fields: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._app, self._metrics, self._lifecycle, self._access_log = app, metrics, lifecycle, access_log
        self._direct, self._log_fields = direct, log_fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._lifecycle)
        self._metrics.begin_request()
        told = REQUEST_FIELDS.set({"request_id": exchange.request_id, **self._log_fields()})
        try:
            await self._answer(exchange)
        finally:
            self._record(exchange)
            REQUEST_FIELDS.reset(told)

    async def _answer(self, exchange: "_Exchange") -> None:
        try:
            route = self._direct.get((exchange.scope["method"], exchange.scope["path"]))
            if route:
                await self._answer_directly(exchange, route)
            else:
                await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status is not None or not self._lifecycle.draining:
                raise
            # uvicorn cancels what has not finished when the time to shut down is over; a reply beats a reset.
            exchange.may_linger = False
            await self._refuse(exchange, Draining("the process ends before this request is complete; send it again"))
        except Exception as error:
            logger.exception("the request failed", extra={"request_id": exchange.request_id, "path": exchange.path})
            # Starlette answers what fails behind its routes, and raises it again.
            if exchange.answered_s is not None:
                return
            if exchange.status is not None:
                raise
            await self._refuse(exchange, error)

    async def _answer_directly(self, exchange: "_Exchange", route: DirectRoute) -> None:
        exchange.scope["route"] = route
        try:
            response = await route.endpoint(DirectRequest(exchange.scope, exchange.receive, exchange.send))
        except RoadcueError as error:
            await self._refuse(exchange, error)
            forget_origin(error)
        else:
            await response(exchange.scope, exchange.receive, exchange.send)

    async def _refuse(self, exchange: "_Exchange", error: Exception) -> None:
        exchange.scope["state"]["problem"] = kind_of(error).code
        await problem_response(error, exchange.path)(exchange.scope, exchange.receive, exchange.send)

    def _record(self, exchange: "_Exchange") -> None:
        seconds = (exchange.answered_s or time.monotonic()) - exchange.timing.started_s
        method = exchange.scope["method"] if exchange.scope["method"] in METHODS else "other"
        status = exchange.refused or exchange.status or NO_RESPONSE
        self._metrics.count_request(exchange.route, method, status, seconds)
        if exchange.problem:
            self._metrics.count_rejection(exchange.problem)
        self._access_log.record(method, exchange.path, status, exchange.problem, lambda: exchange.told(seconds))


class _Exchange:
    """One request and its reply, as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, lifecycle: Lifecycle) -> None:
        self.timing = ServerTiming(time.monotonic())
        self.scope, self._receive, self._send, self._lifecycle = scope, receive, send, lifecycle
        self._headers = PlainHeaders.of(scope)
        state = scope.setdefault("state", {})
        self.request_id: str = state.get("request_id") or request_id(self._headers.get(REQUEST_ID))
        self.status: int | None = None
        self.answered_s: float | None = None
        self.may_linger = True
        self._began_reading = False
        self._has_more_body = "content-length" in self._headers or "transfer-encoding" in self._headers
        state.update(request_id=self.request_id, timing=self.timing, headers=self._headers)

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def client(self) -> str:
        return str((self.scope.get("client") or ("unknown",))[0])

    @property
    def route(self) -> str:
        """The template of the route, never the path: a metric must not grow with what clients ask for."""
        return getattr(self.scope.get("route"), "path", UNMATCHED)

    @property
    def refused(self) -> int | None:
        """The status with which the connection refused a body that it could not read."""
        status: int | None = self.scope["state"].get("refused")
        return status

    @property
    def problem(self) -> str | None:
        """The code of the problem that it was answered with."""
        code: str | None = self.scope["state"].get("problem")
        return code

    def told(self, seconds: float) -> dict[str, object]:
        """What the access log says of it, beside its status."""
        told = {"request_id": self.request_id, "route": self.route, "client": self.client}
        problem = {"problem": self.problem} if self.problem else {}
        return {**told, **problem, **self.scope["state"].get("frame_figures", {}), "ms": round(seconds * 1000, 3)}

    async def receive(self) -> Message:
        self._began_reading = True
        message = await self._receive()
        self._has_more_body = self._has_more_body and bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers_of_reply()]}
        elif not message.get("more_body", False):
            self.answered_s = time.monotonic()
            if self._has_more_body and self.may_linger and self._closes_on_body():
                await self._send({**message, "more_body": True})
                await self._let_client_finish()
                message = {"type": "http.response.body"}
        await self._send(message)

    def _headers_of_reply(self) -> list[tuple[bytes, bytes]]:
        ours = [(b"x-request-id", self.request_id.encode()), (b"server-timing", self.timing.header().encode())]
        return [*ours, (b"connection", b"close")] if self._must_close() else ours

    def _must_close(self) -> bool:
        # Of a client that waits for our go-ahead, RFC 9110, 10.1.1 leaves only closing, as it may or may not send the
        # body later. Closing on any other that still sends resets the connection and loses the reply: it may finish.
        return self._lifecycle.draining or (self._has_more_body and self._waits_for_continue())

    def _waits_for_continue(self) -> bool:
        return "expect" in self._headers and not self._began_reading

    def _closes_on_body(self) -> bool:
        """Whether the connection is closed by a reply that comes before the body was read."""
        asked_for = self.scope.get("http_version") == "1.0" or "close" in self._headers.get("connection", "").lower()
        return (asked_for or self._lifecycle.draining) and not self._waits_for_continue()

    async def _let_client_finish(self) -> None:
        # RFC 9112, 9.6: what arrives at a closed connection makes the kernel reset it, and the reply is lost with it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._has_more_body:
                    await self.receive()


def request_id(given: str | None) -> str:
    """The client's id where it is short and plain, else a new one."""
    return given if given and SANE_REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
