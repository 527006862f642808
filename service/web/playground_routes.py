"""GET /: the playground, a page that asks this service and nobody else. Its files lie in `playground/`."""

import hashlib
from functools import cache
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.web.page_headers import page_headers

router = APIRouter(include_in_schema=False)

PAGE: Final = "page.html"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = page_headers(
    # A browser asks each time whether its copy is still the right one: page and scripts are always of one version.
    cache="no-cache",
    policy={
        "img-src": "'self' blob:",
        "media-src": "blob:",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    },
) | {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@router.get("/")
async def playground(request: Request) -> Response:
    """The page to drop frames on."""
    return _reply(request, PAGE)


@router.get("/playground/{name}")
async def playground_file(request: Request, name: str) -> Response:
    """A style, script or icon of the page."""
    if name == PAGE or name not in files():
        raise HTTPException(404)
    return _reply(request, name)


@cache
def files() -> dict[str, tuple[bytes, str]]:
    """Content and entity tag of each file that may be served, by name."""
    web = resources.files("service.web")
    entries = [*web.joinpath("playground").iterdir(), web.joinpath("palette.css")]
    named = {entry.name: entry for entry in entries if _suffix(entry.name) in TYPES}
    contents = {name: entry.read_bytes() for name, entry in named.items()}
    return {name: (data, f'"{hashlib.sha256(data).hexdigest()[:32]}"') for name, data in contents.items()}


def _reply(request: Request, name: str) -> Response:
    content, tag = files()[name]
    headers = HEADERS | {"ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=TYPES[_suffix(name)], headers=headers)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
