"""Drills over real Kafka and Redis: one succeeds, one finds no room, another provider's fault ends one."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.core.model.drill import DrillMemory, DrillOutcome
from controller.core.model.reasons import State
from controller.policy_file import load_policy
from controller.routes.record import RoutesRecord
from tests.integration.controllers import FORCED, POLICY, Fleet, settings_of, tieline
from tests.waiting import until
from tieline.events import Capacity, Outcomes, PoolCapacity, PoolObservation, Report
from tieline.producer import Producer

QUICK = "\nthresholds: {drill_quiet_ms: 1000, drill_return_max_ms: 3000}\n"
PROBERS = ("prober", "prober-us")
INTERVAL_MS = 120_000


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """One controller; every capacity is stated, and two probers have called every pool healthy."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.read_text() + QUICK)
    settings = replace(settings_of(kafka_bootstrap, redis_url, prefix), policy=path)
    async with Fleet(settings, tmp_path) as running:
        controller = await running.add()
        await controller.until_said("decides now")
        async with Producer(settings.kafka, prefix=settings.namespace) as producer:
            await report(producer, ok=20)
        async with running.routes() as routes:
            assert await routes.until(_is_all_healthy, 60.0)
        yield running


async def report(producer: Producer, *, ok: int, failed: int = 0, only: str = "") -> None:
    """Both probers report on all regions, or on those of one provider; a report without failures states
    capacity as well."""
    now = time.time_ns() // 1_000_000
    regions: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for pool in load_policy(POLICY).pools:
        if only in ("", pool.provider):
            regions.setdefault((pool.provider, pool.region), []).append((pool.id, pool.limit_units_per_s))
    for (provider, region), pools in regions.items():
        outcomes = Outcomes(ok=ok, server_error=failed)
        observed = tuple(PoolObservation(pool, outcomes) for pool, _ in pools)
        for prober in PROBERS:
            window = Report(
                prober,
                provider,
                region,
                "run",
                now,
                window_start_ms=now - 2_000,
                window_end_ms=now,
                interval_ms=INTERVAL_MS,
                pools=observed,
            )
            await producer.send(window)
        if not failed:
            limits = tuple(PoolCapacity(pool, limit) for pool, limit in pools)
            stated = Capacity(
                "fleet",
                provider,
                region,
                "run",
                now,
                issued_ms=now,
                expires_ms=now + 600_000,
                pools=limits,
            )
            await producer.send(stated)


def _is_all_healthy(record: RoutesRecord) -> bool:
    pools = record.memory.pools if record.memory else {}
    return bool(pools) and all(pool.state is State.HEALTHY for pool in pools.values())


def newest(record: RoutesRecord) -> DrillMemory:
    """The drill that was given last."""
    assert record.memory is not None
    return record.memory.drills[-1]


async def drill(fleet: Fleet, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Gives a drill, and returns the exit status and what was printed."""
    ended = await tieline(
        fleet.settings, "drill", *arguments, "--reason", "practice", "--actor", "kim", "--json", *FORCED
    )
    assert ended.out, ended.err
    report: dict[str, Any] = json.loads(ended.out)
    return ended.status, report


async def outcomes(fleet: Fleet) -> list[str]:
    """What the history says of all drills, the oldest first."""
    listed = await tieline(fleet.settings, "drill", "list", "--json")
    assert listed.status == 0, listed.err
    return [row["result"].get("outcome", "") for row in reversed(json.loads(listed.out))]


async def test_drills_on_a_live_installation(fleet: Fleet) -> None:
    """Each outcome has its exit status and its entry in the history, and no drill outlives its end."""
    status, report_of_one = await drill(fleet, "gcp", "--for", "10s", "--wait")
    assert (status, report_of_one["drill"]["outcome"]) == (0, "succeeded"), report_of_one
    assert 0 < report_of_one["drill"]["recovered_ms"] - report_of_one["drill"]["began_ms"] <= 10_000
    # One workload may use azure only, so nobody else has room for it.
    status, report_of_one = await drill(fleet, "azure", "--for", "1m")
    assert (status, report_of_one["drill"]["outcome"]) == (7, "capacity_check_failed"), report_of_one
    status, report_of_one = await drill(fleet, "oci", "--for", "2m")
    assert (status, "outcome" in report_of_one["drill"]) == (0, False), report_of_one
    async with fleet.routes() as routes:
        async with Producer(fleet.settings.kafka, prefix=fleet.settings.namespace) as producer:
            await report(producer, ok=0, failed=20, only="coreweave")
        record = await routes.until(lambda record: newest(record).outcome is not DrillOutcome.NONE, 60.0)
        assert record is not None
        assert (newest(record).outcome, newest(record).about.split("/")[0]) == ("interrupted", "coreweave")

    async def all_told() -> bool:
        return await outcomes(fleet) == ["succeeded", "capacity_check_failed", "interrupted"]

    assert await until(all_told)
