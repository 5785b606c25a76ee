"""Follows the projection in Redis: at each hint, and once a second because hints may be lost."""

import asyncio
from typing import Any

import structlog
from redis.exceptions import RedisError

from controller.process.clock import monotonic_ms
from controller.web.board import Board, ServedTable, newer_table
from tieline.backoff import Backoff
from tieline.keys import HEARTBEAT_FIELD, MANIFEST_FIELD, Keys
from tieline.redis_client import leave_former_primary
from tieline.signatures import NO_KEYS, PublicKeys
from tieline.table import Pulse, TableError

LOOK_EVERY_S = 1.0
REDIS_WITHIN_S = 2.0
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 2.0


class Follower:
    """Keeps a board at what Redis holds. While Redis is away the board keeps its table, and also while Redis
    holds one that must be signed by one of the ``accepted`` keys and is not."""

    def __init__(self, redis: Any, keys: Keys, board: Board, accepted: PublicKeys = NO_KEYS) -> None:
        self._accepted = accepted
        self._redis = redis
        self._keys = keys
        self._board = board
        self._pulse = Pulse()
        self._manifest = b""  # of the table that is served
        self._log = structlog.get_logger("web")

    async def run(self) -> None:
        """Follows until cancelled."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as hints:
                    await hints.subscribe(self._keys.routes_hint, self._keys.overlay_hint)
                    while True:
                        await leave_former_primary(self._redis)
                        await self._look()
                        backoff.reset()
                        await hints.get_message(timeout=LOOK_EVERY_S)
            except (RedisError, OSError, TimeoutError) as error:
                self._report(f"Redis: {type(error).__name__}")
                await asyncio.sleep(backoff.next_s())

    async def _look(self) -> None:
        async with asyncio.timeout(REDIS_WITHIN_S):
            manifest, heartbeat = await self._redis.hmget(self._keys.routes, MANIFEST_FIELD, HEARTBEAT_FIELD)
            overlay = await self._redis.get(self._keys.overlay) or b""
            fields = {MANIFEST_FIELD.encode(): manifest}
            if manifest is None or manifest != self._manifest:  # otherwise no slice need be read
                fields = await self._redis.hgetall(self._keys.routes)
        by_name = {name.decode(): value for name, value in fields.items()}
        try:
            new = newer_table(
                by_name,
                overlay,
                self._board.served,
                accepted=self._accepted,
                namespace=self._keys.namespace,
            )
        except TableError as error:
            self._report(str(error))
            return
        self._manifest = by_name[MANIFEST_FIELD]
        now_ms = monotonic_ms()
        self._board.heard_ms = now_ms - self._pulse.note(heartbeat, now_ms)
        self._report("")
        if new is not None:
            self._warn_of_another_lineage(new)
            self._board.show(new)

    def _warn_of_another_lineage(self, new: ServedTable) -> None:
        before = self._board.served
        if before is not None and before.generation.lineage != new.generation.lineage:
            self._log.warning(
                "serves the table of another lineage, which was adopted", generation=str(new.generation)
            )

    def _report(self, error: str) -> None:
        if error != self._board.error:
            if error:
                self._log.warning("the route table can't be read; the last one is served", error=error)
            else:
                self._log.info("the route table is read")
            self._board.error = error
