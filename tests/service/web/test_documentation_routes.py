"""/docs without a network."""

import re

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_docs_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) == 3
    assert all(source.startswith("/docs/") for source in sources)
    for source in sources:
        asset = await client.get(source)
        assert asset.status_code == 200
        assert len(asset.content) > 500


async def test_unknown_asset_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs/../errors.py")).status_code == 404
    assert (await client.get("/docs/main.py")).status_code == 404
