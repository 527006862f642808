"""Routes whose function reads the request by itself, and how a request gets to one with the least ado.

Resolving arguments costs more than refusing a request does, and refusals come in thousands when the service is full.
Routing costs a tenth of what a frame may cost beside its inference.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Scope

Function = Callable[[Request], Coroutine[Any, Any, Response]]
Address = tuple[str, str]
"""Method and path."""


class DirectRoute(APIRoute):
    """Documents a function like any other route, and hands it the request without resolving arguments for it.

    The function raises RoadcueError and nothing else.
    """

    def get_route_handler(self) -> Function:
        """The function itself."""
        handler: Function = self.endpoint
        return handler


class PlainHeaders(dict[str, str]):
    """Header fields by lower-case name, the first where one came twice; found without comparing all of them."""

    @classmethod
    def of(cls, scope: Scope) -> "PlainHeaders":
        """Those of a request, whose names ASGI gives in lower case."""
        return cls((name.decode("latin-1"), value.decode("latin-1")) for name, value in reversed(scope["headers"]))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, however its name is written."""
        return super().get(name.lower(), default)


class DirectRequest(Request):
    """A request whose headers stand in its state."""

    @property
    def headers(self) -> PlainHeaders:  # type: ignore[override]
        headers: PlainHeaders = self.scope["state"]["headers"]
        return headers


def by_address(routes: Iterable[BaseRoute]) -> Mapping[Address, DirectRoute]:
    """The direct routes whose paths have no parameters: a look into a table finds them."""
    direct = [route for route in routes if isinstance(route, DirectRoute) and not route.param_convertors]
    return {(method, route.path): route for route in direct for method in route.methods or ()}
