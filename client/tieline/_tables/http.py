"""The route table from a controller's HTTP endpoint.

A stream of generations (server-sent events) says when to fetch. Beside it a poll with an ETag works also
without the stream, and more often then. A proxy that holds streams back makes new tables come later, and
nothing else. The endpoint's side is described in docs/http-table.md.
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
from tieline._tables.checks import (
    JITTER_MAX_S,
    POLL_MAX_S,
    POLL_MIN_S,
    SILENT_MS,
    UNCONFIRMED,
    Subscriber,
    examine,
)
from tieline.backoff import Backoff
from tieline.cancelling import run_all
from tieline.errors import UNDECODABLE
from tieline.table import TABLE_MAX_BYTES, SignedManifest, TableError, decode_bundle

if TYPE_CHECKING:
    from tieline._http.endpoint import Endpoint

POLL_BESIDE_STREAM_S = 15.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 2.0
SILENT_S = 7.0  # the endpoint repeats itself every 2 s
LINE_MAX = 16 * 1024
SILENT_HEADER = b"x-tieline-silent-ms"
ANSWER_MAX = TABLE_MAX_BYTES + 1024 * 1024


class Announcement(Struct, frozen=True):
    """One event of the stream: the ETag of the newest table, whether it is urgent, and for how long no
    controller has confirmed it."""

    etag: str
    urgent: bool = False
    silent_ms: int = 0


_announcement = msgspec.json.Decoder(Announcement)


class HttpSource:
    """Follows the table of one workload and its origins."""

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

    async def run(self, subscriber: Subscriber) -> None:
        """Listen and fetch until cancelled."""
        self._etag = ""
        try:
            await run_all(self._listen(subscriber), self._poll(subscriber))
        finally:
            await self._endpoint.close()

    async def _poll(self, subscriber: Subscriber) -> None:
        from tieline._http.endpoint import EndpointError

        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            self._wait_at_most(
                POLL_BESIDE_STREAM_S if self._streaming else random.uniform(POLL_MIN_S, POLL_MAX_S)
            )
            try:
                await self._fetch(subscriber)
                backoff.reset()
            except TableError as error:
                subscriber.failed(str(error))
            except EndpointError as error:
                subscriber.failed(str(error))
                await asyncio.sleep(backoff.next_s(at_least_s=error.retry_after_s))
                continue
            await self._until_due()

    async def _fetch(self, subscriber: Subscriber) -> None:
        headers = [(b"accept", b"application/msgpack")]
        if self._etag:
            headers.append((b"if-none-match", self._etag.encode()))
        answer = await self._endpoint.get(self._path, headers, max_bytes=ANSWER_MAX)
        if answer.status == 200:
            bundle = decode_bundle(answer.body)
            subscriber.overlay(bundle.overlay)
            update = examine(
                SignedManifest(bundle.manifest, bundle.signature),
                bundle.slices,
                workload=self._workload,
                origins=self._origins,
                in_force=subscriber.held_generation,
                trust=subscriber.trust,
            )
            if update is not None:
                subscriber.take(update)
            self._etag = find(answer.headers, b"etag") or ""
        silent = find(answer.headers, SILENT_HEADER) or "0"
        self._confirm(int(silent) if silent.isascii() and silent.isdigit() else 0, subscriber)

    async def _listen(self, subscriber: Subscriber) -> None:
        from tieline._http.endpoint import EndpointError

        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            began_s, retry_after_s = _clock.monotonic_s(), 0.0
            try:
                lines = self._endpoint.lines("/v1/events", silent_s=SILENT_S, line_max=LINE_MAX)
                async for line in lines:
                    if line.startswith(b"data:"):
                        self._announced(line[5:], subscriber)
            except EndpointError as error:
                retry_after_s = error.retry_after_s  # the poll reports what is wrong
            self._streaming = False
            self._wait_at_most(random.uniform(POLL_MIN_S, POLL_MAX_S))
            if _clock.monotonic_s() - began_s > BACKOFF_MAX_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s(at_least_s=retry_after_s))

    def _announced(self, data: bytes, subscriber: Subscriber) -> None:
        """Handle an event of the stream. The endpoint repeats the last one every few seconds: then it is
        alive and there is nothing to fetch."""
        try:
            announcement = _announcement.decode(data)
        except UNDECODABLE:
            return
        self._streaming = True
        if announcement.etag == self._etag:
            self._confirm(announcement.silent_ms, subscriber)
        else:
            self._wait_at_most(0.0 if announcement.urgent else random.uniform(0, JITTER_MAX_S))

    def _confirm(self, silent_ms: int, subscriber: Subscriber) -> None:
        """The endpoint has answered. It passes on for how long its own source was silent."""
        if silent_ms < SILENT_MS:
            subscriber.heard(silent_ms)
        else:
            subscriber.failed(UNCONFIRMED)

    def _wait_at_most(self, wait_s: float) -> None:
        """Make the next fetch due within ``wait_s``, or leave it if it is due earlier."""
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
