"""The answer to each request. Who may ask, and how often, is decided before (``server``)."""

import asyncio
import base64
import zlib
from collections import Counter
from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web

from controller.process.clock import monotonic_ms
from controller.web.admission import Bounds, Tokens
from controller.web.board import Board, ServedTable
from controller.web.streaming import Streams
from tieline.cloudevents import JSON, MSGPACK, Poison, decode_body
from tieline.events import Demand
from tieline.overlay import OverlayError, peek
from tieline.producer import BUFFER_EVENTS_MAX, Producer

RETRY_AFTER_S = 1


class Answers:
    """The handlers of all paths. ``producer`` None: without Kafka, reports are refused."""

    def __init__(self, board: Board, producer: Producer | None, *, bounds: Bounds, tokens: Tokens) -> None:
        self.tokens = tokens
        self._board = board
        self._producer = producer
        self._bounds = bounds
        self.counts: Counter[str] = Counter()
        self.streams = Streams(bounds, self.counts)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every path and its handler."""
        return [
            web.get("/v1/table/{workload}", self.table),
            web.get("/v1/events", self.events),
            web.post("/v1/reports", self.report),
            web.get("/v1/status", self.status),
            web.get("/v1/health", self.health),
        ]

    def allowed(self, request: web.Request) -> bool:
        """Whether the request carries a token that is valid now."""
        return self.tokens.allowed(request.headers.get("authorization", ""))

    async def table(self, request: web.Request) -> web.Response:
        """The routes of one workload: all of them, or those of each ``origin=``."""
        served = self._board.served
        if served is None:
            return refusal(
                503, f"there is no route table yet: {self._board.error}", retry_after_s=RETRY_AFTER_S
            )
        packed = MSGPACK in request.headers.get("accept", "")
        etag = served.etag if packed else _json_etag(served)
        headers = {
            "etag": etag,
            "vary": "accept",
            "cache-control": "no-cache",
            "x-tieline-silent-ms": str(self._board.silent_ms(monotonic_ms())),
        }
        if etag in request.headers.get("if-none-match", ""):
            self.counts["tables not modified"] += 1
            return web.Response(status=304, headers=headers)
        try:
            names = served.routes(request.match_info["workload"], tuple(request.query.getall("origin", ())))
        except KeyError as error:
            return refusal(404, f"the table has no route {error.args[0]}; it has {_names(served)}")
        self.counts["tables sent"] += 1
        body = served.bundle(names) if packed else served.json(names)
        headers["content-digest"] = content_digest(body)
        return web.Response(body=body, content_type=MSGPACK if packed else JSON, headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events that name the newest table: at once, at each change, and every few seconds.

        A reader that falls behind misses what was overtaken; one that does not read at all is dropped.
        """
        if self.streams.is_full:
            self.counts["streams refused"] += 1
            return refusal(
                503, "too many streams are open: poll with If-None-Match", retry_after_s=10 * RETRY_AFTER_S
            )
        return await self.streams.serve(
            request,
            self._table_events(),
            lambda: self.allowed(request),
            write_within_s=self._bounds.write_within_s,
        )

    async def _table_events(self) -> AsyncGenerator[bytes, None]:
        sent: ServedTable | None = None
        while True:
            served = self._board.served
            # Nothing is urgent when a stream begins: a fleet that reconnects should not fetch all at once.
            urgent = served is not None and sent is not None and served.is_urgent_after(sent)
            yield _event(served, urgent, self._board.silent_ms(monotonic_ms()))
            sent = served
            if self._board.served is sent:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._bounds.repeat_every_s):
                await self._board.next_change()
        except TimeoutError:
            pass

    async def report(self, request: web.Request) -> web.Response:
        """Takes one report of a client and queues it for Kafka. 202 means that it was taken; it may still be
        lost."""
        if self._producer is None:
            return refusal(503, "this endpoint takes no reports: it has no Kafka", retry_after_s=30)
        try:
            async with asyncio.timeout(self._bounds.body_within_s):
                body = await request.read()
        except TimeoutError:
            return refusal(408, f"the report did not arrive within {self._bounds.body_within_s:g} s")
        try:
            encoding = request.headers.get("content-encoding", "identity")
            body = decompressed(body, encoding, self._bounds.body_max_bytes)
        except (zlib.error, ValueError) as error:
            self.counts["reports refused: broken body"] += 1
            return refusal(400, f"the body is not what content-encoding says, or too large: {error}")
        try:
            event = decode_body(Demand, body, request.content_type)
        except Poison as poison:
            self.counts[f"reports refused: {poison.reason}"] += 1
            return refusal(400, f"{poison.reason}: {poison.place}")
        if self._producer.status.buffered >= BUFFER_EVENTS_MAX:
            self.counts["reports refused: Kafka is away and the buffer full"] += 1
            return refusal(
                503, "Kafka is away and the buffer is full: try again later", retry_after_s=RETRY_AFTER_S
            )
        self._producer.post(event)
        self.counts["reports taken"] += 1
        return web.Response(status=202)

    async def status(self, _request: web.Request) -> web.Response:
        """For operators: what is served, how old it is, open streams, and counts of everything refused."""
        board, served, producer = self._board, self._board.served, self._producer
        answer: dict[str, Any] = {
            "generation": str(served.generation) if served else None,
            "made_ms": served.manifest.made_ms if served else None,
            "routes": len(served.parts) if served else 0,
            "overlay": _overlay_of(served),
            "source_age_ms": monotonic_ms() - board.heard_ms if board.heard_ms is not None else None,
            "source_error": board.error,
            "streams": self.streams.open,
            "counts": dict(sorted(self.counts.items())),
            "kafka": msgspec.to_builtins(producer.status) if producer else None,
        }
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON)

    async def health(self, _request: web.Request) -> web.Response:
        """200 while there is a table to serve, however old. Needs no token."""
        if self._board.served is None:
            return refusal(503, "there is no route table yet", retry_after_s=RETRY_AFTER_S)
        return web.Response(text="ok\n")


def content_digest(body: bytes) -> str:
    """The SHA-256 of the body as the header Content-Digest says it (RFC 9530). A reader of the JSON can tell
    by it that a table was damaged on its way."""
    return f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its content encoding, gzip or deflate, which must be complete and give at most
    ``max_bytes``. Raises zlib.error or ValueError."""
    if encoding.lower() == "identity":
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        raise ValueError(f"{encoding} is not among gzip, deflate and identity")
    unpacking = zlib.decompressobj(wbits=31 if encoding.lower() == "gzip" else 15)
    whole = unpacking.decompress(body, max_bytes + 1)
    if len(whole) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    if not unpacking.eof:
        raise ValueError("it was cut")
    return whole


def refusal(status: int, text: str, *, retry_after_s: float = 0.0) -> web.Response:
    """A refusal: one line of plain text."""
    headers = {"retry-after": str(max(1, round(retry_after_s)))} if retry_after_s else None
    return web.Response(status=status, text=text + "\n", headers=headers)


def _json_etag(served: ServedTable) -> str:
    return f'{served.etag[:-1]};json"'


def _event(served: ServedTable | None, urgent: bool, silent_ms: int) -> bytes:
    if served is None:
        return b": no table yet\n\n"
    data = {
        "generation": str(served.generation),
        "etag": served.etag,
        "urgent": urgent,
        "silent_ms": silent_ms,
    }
    return b"event: table\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _overlay_of(served: ServedTable | None) -> str | None:
    """The overlay's id, unchecked: only clients have the keys that show whether it counts."""
    try:
        return peek(served.overlay).id if served is not None and served.overlay else None
    except OverlayError as error:
        return str(error)


def _names(served: ServedTable) -> str:
    names = sorted(served.parts)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
