"""Three brokers and Valkey behind Sentinels: what a controller decides while one of these servers is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import tieline
from lab.stack.stack import ClusterStack
from tests.integration.controllers import FORCED, Fleet, settings_of
from tests.integration.controllers import tieline as tieline_command
from tests.waiting import until

WITHIN = ("--within", "30s")


async def test_orders_are_carried_out_while_a_server_is_lost(prefix: str, tmp_path: Path) -> None:
    """SIGKILL of the broker that leads the routes log, and then of Redis's primary: an order that is given in
    the same moment is published, clients follow it, and the lost server joins again."""
    async with await ClusterStack.start() as stack:
        settings = settings_of(stack.kafka_bootstrap, stack.redis_url, prefix)
        async with (
            Fleet(settings, tmp_path) as fleet,
            tieline.AsyncClient(
                settings.redis, workload="chat", origin="eu", namespace=settings.namespace
            ) as client,
        ):
            controller = await fleet.add()
            await controller.until_said("decides now")
            await until(lambda: client.status.state is tieline.State.LIVE, what="a table")

            node = await stack.kafka.leader_of(settings.topics.routes.name)
            await asyncio.gather(node.kill(), _drain(fleet, client, "gcp"))
            await node.start()
            await until(
                lambda: stack.kafka.is_whole(settings.topics.routes.name),
                what="three replicas of the routes log",
            )

            primary = await until(lambda: stack.valkey.primary(prefix), what="a primary")
            await asyncio.gather(primary.kill(), _drain(fleet, client, "oci"))

            async def is_replaced() -> bool:
                return await stack.valkey.primary(prefix) not in (None, primary)

            await until(is_replaced, what="a Sentinel that names the new primary")


async def _drain(fleet: Fleet, client: tieline.AsyncClient, scope: str) -> None:
    """Gives the order until it is taken, and returns once the client has the table with it."""
    before = client.status.generation

    async def is_taken() -> bool:
        words = ("drain", scope, *FORCED, *WITHIN, "--reason", "test", "--for", "1h")
        return (await tieline_command(fleet.settings, *words)).status == 0

    await until(is_taken, what=f"the order to drain {scope}")

    def follows() -> bool:
        status = client.status
        return status.generation != before and status.state is tieline.State.LIVE

    await until(follows, what=f"the client without {scope}")
