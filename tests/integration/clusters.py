"""A real HTTP server that answers as the API server of Kubernetes does, for one list and watch of pods and
nodes each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.integration.http_server import listening_on

JSON = {"Content-Type": "application/json"}


@dataclass
class ClusterServer:
    """Lists ``items`` in pages of ``page_items``, and streams what ``tell`` gives to the watches.

    ``gone``: answers watches with 410 as long as it is set. ``broken``: answers everything with 500.
    ``watches`` and ``lists``: the queries of the requests, by resource.
    """

    items: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"pods": [], "nodes": []})
    page_items: int = 500
    version: int = 100
    gone: bool = False
    broken: bool = False
    url: str = ""
    lists: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    watches: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    _open: dict[str, set[asyncio.Queue[bytes | None]]] = field(
        default_factory=lambda: {"pods": set(), "nodes": set()}
    )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        resource = request.path.rpartition("/")[2]
        query = dict(request.query)
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.broken:
            return web.Response(status=500)
        if query.get("watch") == "1":
            self.watches.append((resource, query))
            return await self._watch(request, resource)
        self.lists.append((resource, query))
        start = int(query.get("continue", "0"))
        end = start + self.page_items
        metadata = {"resourceVersion": str(self.version)}
        if end < len(self.items[resource]):
            metadata["continue"] = str(end)
        body = {"kind": "List", "metadata": metadata, "items": self.items[resource][start:end]}
        return web.Response(body=json.dumps(body).encode(), headers=JSON)

    async def _watch(self, request: web.Request, resource: str) -> web.StreamResponse:
        if self.gone:
            status = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
            return web.Response(status=410, body=json.dumps(status).encode(), headers=JSON)
        response = web.StreamResponse(headers=JSON)
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._open[resource].add(queue)
        try:
            while (line := await queue.get()) is not None:
                await response.write(line)
        finally:
            self._open[resource].discard(queue)
        return response

    def watched(self) -> bool:
        """Whether a watch is open of each resource."""
        return all(self._open.values())

    def tell(self, resource: str, kind: str, item: dict[str, Any]) -> None:
        """Sends a line to the open watches of a resource."""
        self.version += 1
        item.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        self.send(resource, json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def send(self, resource: str, line: bytes | None) -> None:
        """Sends bytes to the open watches of a resource; None ends them."""
        for queue in self._open[resource]:
            queue.put_nowait(line)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ClusterServer]:
        async with listening_on(self.answer) as self.url:
            try:
                yield self
            finally:
                for resource in self._open:
                    self.send(resource, None)
