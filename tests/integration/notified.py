"""A real HTTP server that takes notifications as it is told to, for the tests of `tieline notify`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.integration.http_server import listening_on
from tests.waiting import until


@dataclass
class Sink:
    """An HTTP server that notes what it is told. ``script``: its next answers, as status and Retry-After;
    status 0 never answers. Without a script it takes everything."""

    url: str = ""
    script: list[tuple[int, str]] = field(default_factory=list)
    requests: list[tuple[float, dict[str, str], Any]] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        is_json = request.content_type == "application/json"
        self.requests.append((time.monotonic(), dict(request.headers), json.loads(body) if is_json else body))
        status, retry_after = self.script.pop(0) if self.script else (200, "")
        if status == 0:
            await self._ended.wait()
        return web.Response(status=status or 200, headers={"Retry-After": retry_after} if retry_after else {})

    def texts(self) -> list[str]:
        """What it was told, in words."""
        return [f"{body['phase']} {body['text']}".strip() for _, _, body in self.requests]

    def kinds(self) -> set[str]:
        """The kinds of what it was told."""
        return {body["kind"] for _, _, body in self.requests}

    def told(self) -> set[tuple[str, str, str]]:
        """Kind, subject and severity of what it was told."""
        return {(body["kind"], body["about"], body["severity"]) for _, _, body in self.requests}

    async def until_told(self, count: int) -> None:
        await until(lambda: len(self.requests) >= count, what=f"{count} notifications")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Sink]:
        async with listening_on(self.answer, method="POST") as self.url:
            try:
                yield self
            finally:
                self._ended.set()
