"""The page of `roadcue label`: one frame, one label, one key; every answer is in labels.csv before the next question.

GET  /            the page, with its style and script; nothing comes from anywhere else
GET  /frames      every frame of the table, the most uncertain first
GET  /image       the bytes of one frame
POST /answers     one answer; refused where another one stands there than the page has shown
"""

import socket
from collections.abc import Awaitable, Callable
from importlib import resources
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, cast
from urllib.parse import urlsplit

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from service.errors import RoadcueError
from service.label_folder.folder import LabelFolder
from service.label_folder.tables import ListedFrame
from service.web.page_headers import page_headers
from service.web.problems import (
    INTERNAL_ERROR,
    MEDIA_TYPE,
    answer_http_error,
    answer_roadcue_error,
    answer_validation_error,
    problem_object,
)

FILES: Final = {
    "page.html": "text/html",
    "page.css": "text/css",
    "palette.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
IMAGE_TYPES: Final = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
HEADERS: Final = page_headers(cache="no-store")

Answered = Literal["present", "absent", "unknown", ""]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Frame(_Document):
    """One frame: each label's answer ("" for none yet) and probability, and the labels to ask about."""

    image: str
    group: str
    source: str
    answers: dict[str, Answered]
    probabilities: dict[str, float]
    near: tuple[str, ...]
    distance: float | None


class Frames(_Document):
    """The whole table."""

    folder: str
    labels: tuple[str, ...]
    frames: list[Frame]


class Answer(_Document):
    """A person's answer; `seen` is the one that the page showed when the person gave it."""

    image: str
    label: str
    answer: Literal["present", "absent", "unknown"]
    seen: Answered = Field(description="Empty where nobody had answered")


def create_answer_page(folder: LabelFolder, host: str = "127.0.0.1") -> FastAPI:
    """The application for one folder; it answers only who asks for a name or address of this machine."""
    app = FastAPI(
        title="Roadcue labels",
        openapi_url=None,
        exception_handlers={
            RoadcueError: answer_roadcue_error,
            OSError: _answer_disk_error,
            RequestValidationError: answer_validation_error,
            HTTPException: answer_http_error,
        },
    )
    app.middleware("http")(_guard(_names_of_this_machine(host)))
    _add_page(app)
    _add_frames(app, folder)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/")
    def page() -> Response:
        return _file("page.html")

    @app.get("/page.css")
    def style() -> Response:
        return _file("page.css")

    @app.get("/palette.css")
    def palette() -> Response:
        return _file("palette.css", "service.web")

    @app.get("/page.js")
    def script() -> Response:
        return _file("page.js")

    @app.get("/icon.svg")
    def icon() -> Response:
        return _file("icon.svg")


def _add_frames(app: FastAPI, folder: LabelFolder) -> None:
    @app.get("/frames")
    def frames() -> Frames:
        listed = [_frame(frame) for frame in folder.listed()]
        return Frames(folder=str(folder.path.resolve()), labels=folder.labels(), frames=listed)

    @app.get("/image")
    def image(name: Annotated[str, Query()]) -> Response:
        path = folder.image_file(name)
        # The next frame is fetched while a person looks at this one; it has to be there a moment later.
        return FileResponse(path, media_type=_image_type(path), headers={"Cache-Control": "private, max-age=300"})

    @app.post("/answers")
    def answers(given: Answer) -> Frame:
        return _frame(folder.answer(given.image, given.label, given.answer, given.seen))


def _frame(listed: ListedFrame) -> Frame:
    return Frame.model_validate(listed)


def _image_type(path: Path) -> str:
    # Whatever else a table may list, a browser must not take it for a page.
    return IMAGE_TYPES.get(path.suffix.lower(), "application/octet-stream")


def _file(name: str, package: str = "service.answer_page") -> Response:
    content = resources.files(package).joinpath(name).read_bytes()
    return Response(content, media_type=FILES[name])


def _names_of_this_machine(host: str) -> Callable[[str], bool]:
    """Whether a name that was asked for is one of this machine, which listens on `host`.

    An address is: only a name can be made to lead here. On a loopback address no other than such is asked for.
    """
    if _is_loopback(host):
        return _is_loopback
    names = {name.lower() for name in (host, socket.gethostname(), socket.getfqdn())}
    return lambda name: name in names or _is_loopback(name) or _address(name) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return host == "localhost" or (address is not None and (mapped or address).is_loopback)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _guard(is_ours: Callable[[str], bool]) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], object]:
    """Refuses what another site's page sends, and names that another site made lead here (DNS rebinding)."""

    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        asked, origin = request.headers.get("host", ""), request.headers.get("origin")
        foreign_name = not is_ours(_host_name(asked))
        foreign_page = origin is not None and urlsplit(origin).netloc != asked
        if foreign_name or foreign_page:
            came = f"Host {asked!r}" + (f", Origin {origin!r}" if origin else "")
            error = HTTPException(403, f"the request came with {came}; open the address that the command has printed")
            response: Response = await answer_http_error(request, error)
        else:
            response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guard


def _host_name(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


async def _answer_disk_error(request: Request, error: Exception) -> JSONResponse:
    detail = f"{cast(OSError, error).filename or 'the folder'}: {cast(OSError, error).strerror}; nothing was written"
    body = problem_object(INTERNAL_ERROR, detail, request.url.path)
    return JSONResponse(body, status_code=INTERNAL_ERROR.status, media_type=MEDIA_TYPE)
