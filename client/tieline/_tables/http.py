"""The route table from a controller's HTTP endpoint: a stream of generations (server-sent events) that says
when to fetch, and a poll with an ETag that finds out by itself when there is no stream.

Both go on at once: a proxy that holds streams back costs speed and never correctness. What is urgent is
fetched at once, the rest after a random wait of up to 200 ms, so that a fleet does not come all at once.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from tieline._http.messages import find
from tieline._process import clock as _clock
from tieline._tables.checks import Holder, examine
from tieline.table import TABLE_MAX_BYTES, TableError, decode_bundle

if TYPE_CHECKING:
    from tieline._http.endpoint import Endpoint

POLL_MIN_S, POLL_MAX_S = 1.0, 2.0
POLL_BESIDE_STREAM_S = 15.0
JITTER_MAX_S = 0.2
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 2.0
SILENT_S = 7.0  # the endpoint repeats itself every 2 s
LINE_MAX = 16 * 1024
ANSWER_MAX = TABLE_MAX_BYTES + 1024 * 1024


class Announced(Struct, frozen=True):
    """One event of the stream."""

    etag: str
    urgent: bool = False


_announced = msgspec.json.Decoder(Announced)


class HttpSource:
    """Follows the table of one workload and its origins; ``run`` until cancelled."""

    def __init__(self, endpoint: "Endpoint", workload: str, origins: Sequence[str]) -> None:
        self._endpoint = endpoint
        self._workload = workload
        self._origins = tuple(origins)
        query = urlencode([("origin", origin) for origin in self._origins])
        self._path = f"/v1/table/{quote(workload, safe='')}?{query}"
        self._etag = ""
        self._streaming = False
        self._due_s = 0.0
        self._sooner = asyncio.Event()
        self._random = random.Random()

    async def run(self, holder: Holder) -> None:
        """Listen and fetch, again and again."""
        self._etag = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(holder), name="tieline table stream")
                group.create_task(self._poll(holder), name="tieline table poll")
        finally:
            await self._endpoint.close()

    async def _poll(self, holder: Holder) -> None:
        from tieline._http.endpoint import EndpointError

        pause_s = PAUSE_MIN_S
        while True:
            self._wait_at_most(
                POLL_BESIDE_STREAM_S if self._streaming else self._random.uniform(POLL_MIN_S, POLL_MAX_S)
            )
            try:
                await self._fetch(holder)
                pause_s = PAUSE_MIN_S
            except TableError as error:
                holder.failed(str(error))
            except EndpointError as error:
                holder.failed(str(error))
                await asyncio.sleep(max(error.retry_after_s, pause_s * self._random.uniform(0.5, 1.0)))
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            await self._until_due()

    async def _fetch(self, holder: Holder) -> None:
        headers = [(b"accept", b"application/msgpack")]
        if self._etag:
            headers.append((b"if-none-match", self._etag.encode()))
        answer = await self._endpoint.get(self._path, headers, max_bytes=ANSWER_MAX)
        if answer.status == 200:
            bundle = decode_bundle(answer.body)
            holder.overlay(bundle.overlay)
            found = examine(
                bundle.manifest,
                bundle.slices,
                workload=self._workload,
                origins=self._origins,
                held=holder.held_generation,
            )
            if found is not None:
                holder.take(found)
            self._etag = find(answer.headers, b"etag") or ""
        holder.heard()

    async def _listen(self, holder: Holder) -> None:
        from tieline._http.endpoint import EndpointError

        pause_s = PAUSE_MIN_S
        while True:
            began_s = _clock.monotonic_s()
            try:
                lines = self._endpoint.lines("/v1/events", silent_s=SILENT_S, line_max=LINE_MAX)
                async for line in lines:
                    if line.startswith(b"data:"):
                        self._told(line[5:], holder)
            except EndpointError as error:
                pause_s = max(pause_s, error.retry_after_s)  # the poll tells what is wrong
            self._streaming = False
            self._wait_at_most(self._random.uniform(POLL_MIN_S, POLL_MAX_S))
            if _clock.monotonic_s() - began_s > PAUSE_MAX_S:
                pause_s = PAUSE_MIN_S
            await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _told(self, data: bytes, holder: Holder) -> None:
        """The stream says what is newest. It repeats that every few seconds: then the endpoint lives and
        there is nothing to fetch."""
        try:
            said = _announced.decode(data)
        except msgspec.MsgspecError:
            return
        self._streaming = True
        if said.etag == self._etag:
            holder.heard()
        else:
            self._wait_at_most(0.0 if said.urgent else self._random.uniform(0, JITTER_MAX_S))

    def _wait_at_most(self, wait_s: float) -> None:
        """The next fetch comes no later than this."""
        at_s = _clock.monotonic_s() + wait_s
        if self._due_s <= _clock.monotonic_s() or at_s < self._due_s:
            self._due_s = at_s
        self._sooner.set()

    async def _until_due(self) -> None:
        while (left_s := self._due_s - _clock.monotonic_s()) > 0:
            self._sooner.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._sooner.wait()
            except TimeoutError:
                return
