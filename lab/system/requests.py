"""What an application asks of its client: requests through the whole of the client, so many in a second.

Each process asks at a steady rate, and now and then many at once. Most requests are streams, some are whole
answers, and some refer to an answer that a pool keeps. Nothing between the HTTP library and the connections
is simulated (``pools`` has those).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

import httpx2

from tieline import AsyncClient

IN_FLIGHT_MAX = 100
BURST_EVERY_S = 15.0
SESSIONS = 8
RESPONSES, COMPLETIONS = "/responses", "/chat/completions"
BROKEN = 0  # in the place of a status: the answer broke


class Ending(NamedTuple):
    """How one request ended. ``reason`` and ``gave_up``: what the client says of it, and ``story`` in words.
    ``generations``: those in force at its beginning and at its end."""

    request: str
    status: int
    reason: str
    gave_up: str
    story: str
    began_s: float
    ended_s: float
    generations: tuple[str, str]


class RequestLog(Protocol):
    """Is told of whole requests."""

    def begins(self, request: str, origin: str, body: Mapping[str, Any]) -> None:
        """A request of this id begins."""
        ...

    def finished(self, ending: Ending) -> None:
        """It has ended."""
        ...


class Application:
    """The requests of one client process, of one workload."""

    def __init__(
        self,
        client: AsyncClient,
        name: str,
        models: Sequence[str],
        *,
        origins: Sequence[str],
        per_s: float,
        seed: str,
        log: RequestLog,
    ) -> None:
        self._client, self._name, self._models, self._origins = client, name, models, origins
        self._per_s = per_s
        self._log = log
        self._chance = Random(f"{seed} {name} asks")
        self._http: httpx2.AsyncClient = client.http_client(library="httpx2", trust_env=False)
        self._urls = {path: httpx2.URL(f"{client.base_url}{path}") for path in (RESPONSES, COMPLETIONS)}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._stored: dict[str, list[str]] = {}  # by origin: ids of answers that pools keep

    async def run(self) -> None:
        """Asks until it is cancelled."""
        burst_s = self._chance.uniform(0, BURST_EVERY_S)
        while True:
            wait_s = self._chance.expovariate(self._per_s)
            await asyncio.sleep(wait_s)
            burst_s -= wait_s
            count = 1
            if burst_s <= 0:
                burst_s, count = BURST_EVERY_S, round(5 * self._per_s)
            for _ in range(min(count, IN_FLIGHT_MAX - len(self._tasks))):
                task = asyncio.create_task(self._ask(), name=f"{self._name} asks")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ask(self) -> None:
        chance, loop = self._chance, asyncio.get_running_loop()
        self._number += 1
        request, origin = f"{self._name}-{self._number}", chance.choice(self._origins)
        headers = {"x-request-id": request, "x-tieline-origin": origin}
        if chance.random() < 0.3:
            headers["x-tieline-session"] = str(chance.randrange(SESSIONS))
        path, body = self._form(origin)
        began_s, generation = loop.time(), self._client.status.generation
        self._log.begins(request, origin, body)
        status, answer_headers, story = await self._exchange(path, headers, body)
        ending = Ending(
            request,
            status,
            answer_headers.get("x-tieline-reason", ""),
            gave_up=answer_headers.get("x-tieline-gave-up", ""),
            story=story,
            began_s=began_s,
            ended_s=loop.time(),
            generations=(generation, self._client.status.generation),
        )
        self._log.finished(ending)

    def _form(self, origin: str) -> tuple[str, dict[str, Any]]:
        """Path and body of the next request."""
        chance, kind = self._chance, self._chance.random()
        model = chance.choice(self._models)
        if kind < 0.15:
            stored = self._stored.get(origin)
            refers = {"previous_response_id": chance.choice(stored)} if stored else {}
            return RESPONSES, {"model": model, "input": "some words", **refers}
        messages = [{"role": "user", "content": "some words"}]
        return COMPLETIONS, {"model": model, "messages": messages, "stream": kind < 0.85}

    async def _exchange(
        self, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, httpx2.Headers, str]:
        """Status, headers, and what an error says."""
        try:
            async with self._http.stream("POST", self._urls[path], headers=headers, json=body) as response:
                await response.aread()
        except httpx2.TransportError as error:
            return BROKEN, httpx2.Headers(), repr(error)
        if response.status_code == httpx2.codes.OK and path == RESPONSES:
            origin = headers["x-tieline-origin"]
            self._stored[origin] = [*self._stored.get(origin, ())[-3:], response.json()["id"]]
        return response.status_code, response.headers, response.text[:300]
