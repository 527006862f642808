"""What our server can say of a request's client beyond ASGI, as an extension in the request's scope.

ASGI tells by a message that the body is complete or that the client has left; who waits for one needs a timer or a task
for each request. Behind another server the extension is missing, and messages are all there is.
"""

from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Scope

EXTENSION: Final = "roadcue.client"
CONNECTION: Final = "connection"


class ClientConnection(Protocol):
    """The connection that a request came over."""

    @property
    def has_sent_all(self) -> bool:
        """Whether the body has arrived to its end: no message of it has to be waited for."""

    def when_left(self, tell: Callable[[], None] | None) -> None:
        """Have `tell` called on the event loop once the client is gone, at once if it is; None calls nobody."""


def connection_of(scope: Scope) -> ClientConnection | None:
    """The extension; None behind another server."""
    extension = scope.get("extensions", {}).get(EXTENSION)
    connection: ClientConnection | None = extension[CONNECTION] if extension else None
    return connection
