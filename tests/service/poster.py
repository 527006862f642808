"""A client under whose load a server is shut down."""

import threading

import httpx


class Poster(threading.Thread):
    """A client that posts one frame after the other until the port is closed."""

    def __init__(self, url: str, frame: bytes, keep_alive: bool) -> None:
        super().__init__()
        self._url, self._frame, self._keep_alive = url, frame, keep_alive
        self.statuses: list[int] = []
        self.lost: list[str] = []

    def run(self) -> None:
        """Post until connecting is refused; anything else that goes wrong is a lost request."""
        headers = {} if self._keep_alive else {"Connection": "close"}
        with httpx.Client(timeout=60, headers=headers) as client:
            try:
                while True:
                    self.statuses.append(client.post(f"{self._url}/predict", files={"file": self._frame}).status_code)
            except httpx.ConnectError:
                return
            except httpx.HTTPError as error:
                self.lost.append(repr(error))
