"""What pages of ours are served with, so that nothing of another origin is loaded, asked or framed."""

from typing import Final

# Blobs are what the browser itself made of files that a person chose.
_SOURCES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_headers(cache: str, policy: dict[str, str] | None = None) -> dict[str, str]:
    """Headers with a Content-Security-Policy that allows scripts, styles, images and requests of the own origin.

    `policy` adds directives or replaces them.

    >>> page_headers("no-store", {"img-src": "'self' blob:"})["Content-Security-Policy"].split("; ")[3]
    "img-src 'self' blob:"
    """
    directives = _SOURCES | (policy or {})
    told = "; ".join(f"{name} {sources}" for name, sources in directives.items())
    return {"Content-Security-Policy": told, "Cache-Control": cache} | _HEADERS
