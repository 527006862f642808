"""The playground's files as they are served."""

import re

import httpx
import pytest

from service.web.playground_routes import PAGE, files

pytestmark = pytest.mark.anyio


async def test_the_front_page_is_the_playground_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    reply = await client.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(directive.split(" ", 1) for directive in reply.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"


async def test_every_file_that_the_page_names_is_there(client: httpx.AsyncClient) -> None:
    """Scripts import each other, so the names are collected from all of them; none is there for nobody."""
    page = (await client.get("/")).text
    named = set(re.findall(r'(?:src|href)="playground/([^"]+)"', page))
    for name, (content, _) in files().items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', content.decode()))
    assert named == files().keys() - {PAGE}
    for name in named:
        reply = await client.get(f"/playground/{name}")
        assert reply.status_code == 200, name
        assert "content-security-policy" in reply.headers


def test_no_file_names_another_origin() -> None:
    """Names of namespaces are no addresses."""
    for name, (content, _) in files().items():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", content.decode())
        assert [address for address in addresses if not address.startswith("http://www.w3.org/")] == [], name


def test_no_file_turns_text_into_code_or_html() -> None:
    dangerous = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc")
    for name, (content, _) in files().items():
        assert [word for word in dangerous if word in content.decode()] == [], name


async def test_a_copy_that_is_still_right_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/playground/page.js")
    again = await client.get("/playground/page.js", headers={"If-None-Match": first.headers["etag"]})
    other = await client.get("/playground/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.headers["cache-control"], again.status_code, again.content) == ("no-cache", 304, b"")
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["page.html", "none.js", "..%2Fschemas.py", "../problems.py", "palette.css.map"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/playground/{name}")).status_code == 404


async def test_the_page_works_below_a_path_of_a_proxy(client: httpx.AsyncClient) -> None:
    """All addresses are relative to the page's own."""
    page = (await client.get("/")).text
    assert [address for address in re.findall(r'(?:src|href)="([^"]+)"', page) if address.startswith("/")] == []
    asked = [
        path for content, _ in files().values() for path in re.findall(r"(?:fetch|ask)\([`'\"](\W?)", content.decode())
    ]
    assert "/" not in asked
