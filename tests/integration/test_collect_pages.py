"""Answers of several pages, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from controller.collect.capacity.provider_quotas import AzureUsages, OracleLimits
from controller.collect.capacity.quotas import Quota
from tests.integration.collecting import FeedServer, Served
from tests.integration.test_collect_capacity import POOL, limits, once


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    """Answers whatever it is asked."""
    async with FeedServer().listening() as listening:
        yield listening


async def test_quotas_come_on_several_pages(server: FeedServer) -> None:
    """Each page is asked for at the place of the first, with its secret. One that is said to be elsewhere, or
    that never ends, states nothing."""
    entries = (Quota(quota="a", pool=POOL, units=60), Quota(quota="b", pool=POOL, units=60))
    ways = {
        AzureUsages: (
            "nextLink",
            {"name": {"value": "a"}, "limit": 100},
            {"name": {"value": "b"}, "limit": 20},
        ),
        OracleLimits: ("", {"name": "a", "value": 100}, {"name": "b", "value": 20}),
    }

    def respond(request: web.Request) -> Served:
        number = int(request.query.get("page", "0"))
        body: Any = {"value": [pages[number % 2]]} if link else [pages[number % 2]]
        if number >= last:
            return Served(body=json.dumps(body).encode())
        if link:
            body = {**body, link: f"{elsewhere or server.url}?page={number + 1}"}
        headers = {"Content-Type": "application/json", "opc-next-page": "" if link else str(number + 1)}
        return Served(headers=headers, body=json.dumps(body).encode())

    server.respond = respond
    for kind, (link, *pages) in ways.items():  # noqa: B007 (`respond` uses them)
        settings = kind(
            name="quota",
            url=server.url,
            provider="coreweave",
            quotas=entries,
            headers={"X-Secret": "s"},
        )
        last, elsewhere = 1, ""
        assert limits((await once(settings))[1]) == [120.0]
        assert server.requests[-1][1]["X-Secret"] == "s"
        last = 1_000
        assert "more than 50 pages" in (await once(settings))[0]
        if link:
            elsewhere, asked = "http://127.0.0.2:1/", len(server.requests)
            assert "at another host" in (await once(settings))[0]
            assert len(server.requests) == asked + 1
