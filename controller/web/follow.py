"""Follows the projection in Redis: a hint, and a look every second because hints may be lost."""

import asyncio
from typing import Any

import structlog
from redis.exceptions import RedisError

from controller.process.clock import monotonic_ms
from controller.web.board import Board, Served, served
from tieline.keys import MANIFEST_FIELD, Keys
from tieline.table import TableError

LOOK_EVERY_S = 1.0
REDIS_WITHIN_S = 2.0
AGAIN_AFTER_S = 0.5


class Follower:
    """Keeps a board at what lies in Redis. What is served goes on being served while Redis is away."""

    def __init__(self, redis: Any, keys: Keys, board: Board) -> None:
        self._redis = redis
        self._keys = keys
        self._board = board
        self._manifest = b""  # of the table that is served
        self._log = structlog.get_logger("web")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as hints:
                    await hints.subscribe(self._keys.routes_hint)
                    while True:
                        await self._look()
                        await hints.get_message(timeout=LOOK_EVERY_S)
            except (RedisError, OSError, TimeoutError) as error:
                self._say(f"Redis: {type(error).__name__}")
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _look(self) -> None:
        async with asyncio.timeout(REDIS_WITHIN_S):
            manifest = await self._redis.hget(self._keys.routes, MANIFEST_FIELD)
            overlay = await self._redis.get(self._keys.overlay) or b""
            fields = {MANIFEST_FIELD.encode(): manifest}
            if manifest is None or manifest != self._manifest:  # else no slice need be read: mostly
                fields = await self._redis.hgetall(self._keys.routes)
        named = {name.decode(): value for name, value in fields.items()}
        try:
            new = served(named, overlay, self._board.served)
        except TableError as error:
            self._say(str(error))
            return
        self._manifest = named[MANIFEST_FIELD]
        self._board.heard_ms = monotonic_ms()
        self._say("")
        if new is not None:
            self._warn_of_another_lineage(new)
            self._board.show(new)

    def _warn_of_another_lineage(self, new: Served) -> None:
        before = self._board.served
        if before is not None and before.generation.lineage != new.generation.lineage:
            self._log.warning("another lineage was adopted", generation=str(new.generation))

    def _say(self, error: str) -> None:
        if error != self._board.error:
            self._log.log(30 if error else 20, "route tables", error=error or "none")
            self._board.error = error
