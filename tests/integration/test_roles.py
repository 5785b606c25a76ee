"""Controllers that only take events in, and controllers that only decide, as processes of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.controllers import ControllerProcess, Fleet, settings_of, tieline
from tests.waiting import until
from tieline.events import PoolObservation
from tieline.producer import Producer
from tieline.redis_client import connect

POOL, SOURCE = "azure/westus3/gpt-4o", "prober-us"


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def of_role(fleet: Fleet, directory: Path, role: str) -> ControllerProcess:
    """A controller of this role, of which the fleet takes care."""
    path = directory / f"{role}.log"
    return await fleet.keep(ControllerProcess(fleet.settings, path, TIELINE_ROLE=role))


async def rows_in_status(fleet: Fleet) -> dict[int, dict[str, Any]]:
    """What `status` says of each controller, by its process."""
    status = await tieline(fleet.settings, "status", "--json")
    assert status.out, status.err
    return {row["presence"]["pid"]: row for row in json.loads(status.out)["controllers"]}


async def test_one_takes_events_in_and_another_decides(fleet: Fleet, tmp_path: Path) -> None:
    """The one that ingests never claims, and the other takes no partitions and decides on what the first has
    read. Without the first the other says in `status` that nobody takes events in."""
    ingests = await of_role(fleet, tmp_path, "ingest")
    await ingests.until_said("partitions_assigned")
    decides = await of_role(fleet, tmp_path, "decide")
    await decides.until_said("decides now")  # it has read to their ends the topics that the other consumes
    assert not ingests.said("its claim is valid; takes over")
    assert not decides.said("partitions_assigned")

    async with Producer(fleet.settings.kafka, prefix=fleet.settings.namespace, source=SOURCE) as producer:
        producer.observe(PoolObservation(POOL))
        producer.flush(interval_ms=60_000)
        assert await producer.drain(60)
    async with connect(fleet.settings.redis, fleet.settings.keys) as redis:
        table = fleet.settings.keys.table("health")
        await until(lambda: redis.hexists(table, f"azure/westus3/{SOURCE}"), what="the row of the report")

    async def is_well() -> bool:
        rows = await rows_in_status(fleet)
        pids = (ingests.process.pid, decides.process.pid)
        if any(pid not in rows or rows[pid]["presence"].get("alarms") for pid in pids):
            return False
        return [rows[pid]["state"] for pid in pids] == ["takes events in", "leads"]

    await until(is_well, what="both in `status`, without an alarm")
    await ingests.kill()

    async def alarm() -> str:
        row = (await rows_in_status(fleet)).get(decides.process.pid, {"presence": {}})
        return "".join(row["presence"].get("alarms", ()))

    assert "no controller takes events in" in await until(alarm, what="the alarm")
