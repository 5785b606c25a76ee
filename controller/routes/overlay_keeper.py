"""Keeps the emergency overlay through a Redis that lost its data: who knows the newest puts it back.

An overlay lies in Redis alone, and it matters most when much else fails. So every controller looks at it once
a second and remembers the newest; when Redis has none although the newest has not expired, it writes it back
as it was. Nobody gains a right by that: clients check the signature themselves. An overlay that takes an
older one back is an overlay too, so that none comes back that was taken back.
"""

import asyncio
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from controller.process.clock import now_ms
from tieline.keys import Keys
from tieline.overlay import CLOCK_SKEW_MAX_MS, LASTS_MAX_MS, Overlay, OverlayError, peek

LOOK_EVERY_S = 1.0


async def put_overlay(
    redis: Any, keys: Keys, overlay: Overlay, data: bytes, *, only_if_none: bool = False
) -> bool:
    """Puts an overlay into Redis until it expires, and tells clients to read it. ``data``: the same, signed.
    Returns whether it was put there, which ``only_if_none`` refuses beside another. Raises RedisError."""
    if not await redis.set(keys.overlay, data, nx=only_if_none, pxat=overlay.expires_ms):
        return False
    await redis.publish(keys.overlay_hint, overlay.id)
    return True


class OverlayKeeper:
    """Looks, remembers and restores."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys
        self._newest: tuple[Overlay, bytes] | None = None
        self._log = structlog.get_logger("overlay")

    @property
    def in_force(self) -> Overlay | None:
        """The newest overlay known that has not expired; its signature is not checked."""
        if self._newest is None or self._newest[0].expires_ms <= now_ms():
            return None
        return self._newest[0]

    async def run(self) -> None:
        """Looks once a second until cancelled. A Redis that is away is looked at again later."""
        while True:
            try:
                await self.look()
            except (RedisError, OSError):
                pass  # whoever projects tables says that Redis is away
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Remembers what Redis has, or restores what it should have. Raises RedisError."""
        data = await self._redis.get(self._keys.overlay)
        if data:
            self._remember(data)
            return
        overlay = self.in_force
        if overlay is None or self._newest is None:
            return
        if await put_overlay(self._redis, self._keys, *self._newest, only_if_none=True):
            self._log.warning(
                "the emergency overlay was put back into Redis, which had lost it",
                id=overlay.id,
                actor=overlay.actor,
                excludes=list(overlay.exclude),
            )

    def _remember(self, data: bytes) -> None:
        try:
            overlay = peek(data)
        except OverlayError:
            return
        # One that claims to come from the future would stay the newest for ever.
        is_plausible = (
            overlay.namespace == self._keys.namespace
            and overlay.issued_ms <= now_ms() + CLOCK_SKEW_MAX_MS
            and overlay.expires_ms - overlay.issued_ms <= LASTS_MAX_MS
        )
        if not is_plausible or (self._newest is not None and overlay.issued_ms < self._newest[0].issued_ms):
            return
        if self._newest is None or overlay.id != self._newest[0].id:
            words = {"id": overlay.id, "actor": overlay.actor, "reason": overlay.reason}
            self._log.info("Redis has an emergency overlay", excludes=list(overlay.exclude), **words)
        self._newest = (overlay, data)
