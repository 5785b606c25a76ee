"""The route table from Redis: a pub/sub hint, and a poll every 1 to 2 s because hints may be lost.

A poll reads the generation, the heartbeat and the emergency overlay, some hundred bytes. Only when another
generation lies there than the one in force does it read the table. That read takes the manifest and this
client's slices together. An urgent hint that carries both (``table_hints``) is used at once; after any other
hint the table is read without a look at the generation first.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio.client import Redis
from redis.exceptions import RedisError

from tieline._process.clock import monotonic_s
from tieline._tables.checks import (
    JITTER_MAX_S,
    POLL_MAX_S,
    POLL_MIN_S,
    SILENT_MS,
    UNCONFIRMED,
    Subscriber,
    TableUpdate,
    examine,
    signed_manifest,
)
from tieline.backoff import Backoff
from tieline.keys import HEARTBEAT_FIELD, MANIFEST_FIELD, PLACE_FIELDS, SIGNATURE_FIELD, Keys, slice_field
from tieline.redis_client import TIMEOUT_S, connect
from tieline.table import Generation, Pulse, TableError
from tieline.table_hints import TableHint, decode_hint

RECONNECT_MIN_S, RECONNECT_MAX_S = 0.05, 2.0
ERROR_TEXT_MAX = 300


class RedisSource:
    """Follows the table of one workload and its origins."""

    def __init__(self, url: str, keys: Keys, *, workload: str, origins: Sequence[str]) -> None:
        self._url = url
        self._keys = keys
        self._workload = workload
        self._origins = tuple(origins)
        self._names = [f"{workload}/{origin}" for origin in self._origins]
        self._fields = [MANIFEST_FIELD, SIGNATURE_FIELD, *map(slice_field, self._names)]
        self._pulse = Pulse()

    async def run(self, subscriber: Subscriber) -> None:
        """Connect and follow, again after each loss of the connection, until cancelled."""
        backoff = Backoff(RECONNECT_MIN_S, RECONNECT_MAX_S)
        while True:
            began_s = monotonic_s()
            try:
                await self._follow(subscriber)
            except (RedisError, OSError, TimeoutError) as error:
                subscriber.failed(f"Redis: {type(error).__name__}: {error}"[:ERROR_TEXT_MAX])
            if monotonic_s() - began_s > RECONNECT_MAX_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _follow(self, subscriber: Subscriber) -> None:
        """Never returns; raises when the connection is lost."""
        async with self._connect() as connection, connection.pubsub() as hints:
            await hints.subscribe(self._keys.routes_hint, self._keys.overlay_hint)
            await self._fetch(connection, subscriber)
            while True:
                if await self._is_told(hints, subscriber) or await self._is_news(connection, subscriber):
                    await self._fetch(connection, subscriber)

    def _connect(self) -> Redis:
        return connect(self._url, self._keys)  # without retries: ``run`` is the loop that tries again

    async def _is_told(self, hints: Any, subscriber: Subscriber) -> bool:
        """Wait until the next read is due: the poll, a new overlay, an urgent hint, or another hint and its
        random wait. Returns whether it was an overlay, or a hint told of a table that it did not bring: then
        both are to be read."""
        is_told, due_s = False, monotonic_s() + random.uniform(POLL_MIN_S, POLL_MAX_S)
        while (left_s := due_s - monotonic_s()) > 0:
            message = await hints.get_message(ignore_subscribe_messages=True, timeout=left_s)
            if message is None:
                continue
            if message["channel"] == self._keys.overlay_hint.encode():
                return True
            hint = decode_hint(bytes(message["data"]))
            is_told = not self._takes_from(hint, subscriber)
            if hint.urgent and is_told:
                return True
            due_s = min(due_s, monotonic_s() + random.uniform(0, JITTER_MAX_S))
        return is_told

    def _takes_from(self, hint: TableHint, subscriber: Subscriber) -> bool:
        """Whether the hint carried a newer table for this client, which is in force now.

        Anything else in it is left to the fetch, which also says what is wrong.
        """
        if not hint.fields:
            return False
        try:
            update = self._examine([hint.fields.get(name) for name in self._fields], subscriber)
        except TableError:
            return False
        if update is not None:
            subscriber.take(update)
        return update is not None

    async def _is_news(self, connection: Redis, subscriber: Subscriber) -> bool:
        """Whether another generation lies there than the one in force. If none does, the source was heard."""
        (heartbeat, *place), overlay = await self._read(connection, [HEARTBEAT_FIELD, *PLACE_FIELDS])
        if not is_place_of(subscriber.held_generation, place):
            return True
        subscriber.overlay(overlay)
        self._confirm(heartbeat, subscriber)
        return False

    async def _fetch(self, connection: Redis, subscriber: Subscriber) -> None:
        (heartbeat, *rows), overlay = await self._read(connection, [HEARTBEAT_FIELD, *self._fields])
        subscriber.overlay(overlay)
        try:
            update = self._examine(rows, subscriber)
        except TableError as error:
            subscriber.failed(str(error))
            return
        if update is not None:
            subscriber.take(update)
        self._confirm(heartbeat, subscriber)

    async def _read(self, connection: Redis, fields: list[str]) -> tuple[list[bytes | None], bytes]:
        """The values of these fields, and the emergency overlay, empty if there is none."""
        async with asyncio.timeout(TIMEOUT_S), connection.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self._keys.routes, cast(Any, fields))
            pipeline.get(self._keys.overlay)
            values, overlay = cast("tuple[list[bytes | None], bytes | None]", await pipeline.execute())
        return values, overlay or b""

    def _confirm(self, heartbeat: bytes | None, subscriber: Subscriber) -> None:
        """The source was read. Raises RedisError if no controller has confirmed the table lately."""
        silent_ms = self._pulse.note(heartbeat, round(monotonic_s() * 1_000))
        if silent_ms < SILENT_MS:
            subscriber.heard(silent_ms)
        else:
            # This connection may lead to a server that nobody writes to any more, as after a failover.
            raise RedisError(UNCONFIRMED)

    def _examine(self, rows: Sequence[bytes | None], subscriber: Subscriber) -> TableUpdate | None:
        """The table in the values of ``self._fields``, if it is newer. Raises ``TableError``."""
        return examine(
            signed_manifest(rows[0], rows[1]),
            dict(zip(self._names, rows[2:], strict=True)),
            workload=self._workload,
            origins=self._origins,
            in_force=subscriber.held_generation,
            trust=subscriber.trust,
        )


def is_place_of(generation: Generation | None, place: Sequence[bytes | None]) -> bool:
    """Whether the values of ``PLACE_FIELDS`` name this generation. They never name None."""
    if generation is None:
        return False
    return [*place] == [str(part).encode() for part in (generation.lineage, generation.epoch, generation.seq)]
