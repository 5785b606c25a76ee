"""Publications reach Redis at once, whatever becomes of the connection that the projection keeps for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.projecting import Leader
from tests.waiting import until
from tieline.table import Generation


async def nothing(_redis: Any) -> None:
    """The connection is as it was."""


async def disconnected(redis: Any) -> None:
    """This process has closed all connections, as it does when Redis has another primary."""
    await redis.connection_pool.disconnect()


async def killed(redis: Any) -> None:
    """The server has closed the connection that is kept, and no other client's."""
    for connection in redis.connection_pool._in_use_connections:
        host, port = connection._writer.get_extra_info("sockname")[:2]
        await redis.client_kill(f"{host}:{port}")


async def without_scripts(redis: Any) -> None:
    """The server has forgotten its scripts."""
    await redis.script_flush()


@pytest.mark.parametrize("fault", [nothing, disconnected, killed, without_scripts])
async def test_no_publication_waits_for_the_next_look_at_redis(
    redis_url: str, prefix: str, fault: Callable[[Any], Awaitable[None]]
) -> None:
    """What the kept connection can't do is done in the usual way at once: Redis never counts as away."""
    async with Leader(redis_url, prefix) as leader:
        failed: dict[str, bool] = {}  # by generation, whether Redis counted as away before

        def note(generation: Generation) -> None:
            failed[str(generation)] = leader.projector.failing

        async def publish(seq: int) -> None:
            generation = leader.publish(seq)
            await until(
                lambda: leader.runs() and generation in failed, what=f"the projection of {generation}"
            )

        leader.projector.on_projected = note
        for seq in (1, 2):
            await publish(seq)
        await fault(leader.redis)
        for seq in (3, 4):
            await publish(seq)
        assert not any(failed.values())
