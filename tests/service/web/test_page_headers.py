"""The policy of our pages."""

from service.web.page_headers import page_headers


def test_nothing_but_the_own_origin_is_allowed() -> None:
    policy = page_headers("no-store")["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {source for directive in policy for source in directive.split()[1:]} == {"'none'", "'self'"}


def test_a_page_replaces_and_adds_directives() -> None:
    policy = page_headers("no-store", {"img-src": "'self' blob:", "media-src": "blob:"})["Content-Security-Policy"]
    assert policy.count("img-src") == 1
    assert "img-src 'self' blob:; " in policy
    assert policy.endswith("; media-src blob:")
