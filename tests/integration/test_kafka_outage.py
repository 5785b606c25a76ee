"""An outage of Kafka under a real controller and a producer with a spool: what is old moves nothing.

``KAFKA_OUTAGE_S=600 script/test tests/integration/test_kafka_outage.py`` makes the outage that long, and
waits for the end of what was claimed in it as well.
"""

from __future__ import annotations

import json
import os
import signal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.policy_file import load_policy
from controller.routes.record import decode_record
from tests.integration.controllers import POLICY, ControllerProcess, Fleet, settings_of, tieline
from tests.integration.ingesting import now_ms, read_all
from tests.stacks import RealStack
from tests.waiting import until
from tieline.events import Capacity, Claim, Outcomes, PoolCapacity, PoolObservation, Report, Statement
from tieline.producer import Producer

OUTAGE_S = float(os.environ.get("KAFKA_OUTAGE_S", "18"))  # longer than a report of one second counts
WAITS_FOR_ENDS = "KAFKA_OUTAGE_S" in os.environ
HOUR_MS = 3_600_000
BRIEF_MS = 5_000
BACK_WITHIN_S = 90.0
LEASE_OVER_MS = 4_000
LIMITS = {pool.id: pool.limit_units_per_s for pool in load_policy(POLICY).pools}
FAILED, SUCCEEDED = Outcomes(server_error=50), Outcomes(ok=50)
CLAIM_ENDS_AWAY, CLAIMED_AWAY = "azure/eastus2/gpt-4o", "coreweave/us-east-04/gpt-oss"
BRIEFLY_CLAIMED = "coreweave/eu-north-1/gpt-oss"
REPORTED_WELL = (CLAIM_ENDS_AWAY, CLAIMED_AWAY, BRIEFLY_CLAIMED)  # a claim counts beside evidence only
LIMIT_ENDS_AWAY, LIMITED_AWAY = "azure/westus3/gpt-4o", "gcp/europe-west4/gemini-pro"
BRIEFLY_LIMITED = "gcp/asia-northeast1/gemini-pro"
UNREAD, OBSERVED_AWAY, FAILS_AFTERWARDS = (
    "gcp/us-central1/gemini-pro",
    "oci/us-chicago-1/gpt-oss",
    "oci/uk-london-1/gpt-oss",
)


def report(pool: str, source: str, outcomes: Outcomes) -> Report:
    """What a prober saw in the second that ends now; it counts for 15 s."""
    provider, region, _ = pool.split("/")
    at_ms = now_ms()
    return Report(
        source=source,
        provider=provider,
        region=region,
        incarnation="one",
        sequence=at_ms,
        window_start_ms=at_ms - 1_000,
        window_end_ms=at_ms,
        interval_ms=1_000,
        pools=(PoolObservation(pool, outcomes),),
    )


def failures(pool: str) -> tuple[Report, Report]:
    """All requests of both probers failed: a pool of which this counts is down."""
    return report(pool, "prober", FAILED), report(pool, "prober-us", FAILED)


def claimed_down(pool: str, expires_ms: int) -> Statement:
    """The status page of the provider says that the pool's region is down."""
    provider, region, _ = pool.split("/")
    return Statement(
        source=f"status-{provider}",
        provider=provider,
        region=region,
        kind="status",
        incarnation="one",
        sequence=now_ms(),
        issued_ms=now_ms(),
        claims=(Claim("down", expires_ms),),
    )


def limited(pool: str, expires_ms: int) -> Capacity:
    """The fleet states half of the limit that the policy has."""
    provider, region, _ = pool.split("/")
    return Capacity(
        source="fleet",
        provider=provider,
        region=region,
        incarnation="one",
        sequence=now_ms(),
        issued_ms=now_ms(),
        expires_ms=expires_ms,
        pools=(PoolCapacity(pool, LIMITS[pool] / 2),),
    )


class Installation:
    """The controllers of the test, a producer, and what the routes log says of pools in all its records."""

    def __init__(self, fleet: Fleet, producer: Producer) -> None:
        self.fleet = fleet
        self.producer = producer
        self._reported_ms = 0

    async def memories(self, pool: str) -> list[PoolMemory]:
        """What was remembered of the pool, one publication after the other."""
        settings = self.fleet.settings
        records = await read_all(settings.kafka, settings.topics.routes.name)
        published = [decode_record(record.value) for record in records if record.value is not None]
        return [record.memory.pools[pool] for record in published if record.memory is not None]

    async def states(self, pool: str) -> list[State]:
        """Its states, each as often as it was entered."""
        return [state for state, _ in groupby(memory.state for memory in await self.memories(pool))]

    async def has_entered(self, pool: str, state: State) -> bool:
        """Whether it is in this state by the newest publication, while probers go on to find it well."""
        if now_ms() - self._reported_ms > 1_000:
            self._reported_ms = now_ms()
            for well in REPORTED_WELL:
                await self.producer.send(report(well, "prober", SUCCEEDED))
        return (await self.states(pool))[-1] is state

    async def has_limit(self, pool: str) -> bool:
        """Whether a limit was ever stated of it."""
        return (await self.memories(pool))[-1].limit_units_per_s >= 0

    async def capacity_reason(self, pool: str) -> str:
        """Why the pool may carry what it may, as `tieline explain` says it."""
        ended = await tieline(self.fleet.settings, "explain", pool, "--json")
        assert ended.status == 0, ended.err
        answer: dict[str, Any] = json.loads(ended.out)
        return str(answer["pool"]["capacity"]["reason"])


@pytest.mark.timeout(OUTAGE_S + 600)
async def test_after_an_outage_of_kafka_only_what_still_counts_changes_a_state(
    own_stack: RealStack, prefix: str, tmp_path: Path
) -> None:
    """No report from before or during the outage does, read late or not. Statements and capacity do: those of
    the spool from their delivery, those from before until their own expiry, each exactly once."""
    settings = settings_of(own_stack.kafka_bootstrap, own_stack.redis_url, prefix)
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        async with Producer(settings.kafka, prefix=settings.namespace, spool=tmp_path / "spool") as producer:
            it = Installation(fleet, producer)
            over_ms = await before_the_outage(it)
            await leave_unread(it, controller, own_stack)
            ends_ms = during_the_outage(producer)
            away_until_ms = max(now_ms() + round(OUTAGE_S * 1_000), over_ms + 1_000)
            await until(lambda: now_ms() > away_until_ms, OUTAGE_S + 60.0, "the end of the outage")
            await own_stack.kafka.start()
            await after_the_outage(it)
            assert (producer.dropped, producer.status.spooled) == (4, 0)
            if WAITS_FOR_ENDS:
                await after_the_claims(it, ends_ms)
            await everything_changed_once(it)


async def before_the_outage(it: Installation) -> int:
    """A claim and a limit are in force, and end while Kafka is away; returns when, by the wall clock.

    They are stated for an hour until they are seen, and then anew for the length of the outage: so it does
    not matter how long it takes until they are seen.
    """
    await it.producer.send(claimed_down(CLAIM_ENDS_AWAY, now_ms() + HOUR_MS))
    await it.producer.send(limited(LIMIT_ENDS_AWAY, now_ms() + HOUR_MS))
    for pool, state in ((CLAIM_ENDS_AWAY, State.DEGRADED), (CLAIMED_AWAY, State.HEALTHY)):
        await until(lambda: it.has_entered(pool, state), BACK_WITHIN_S, f"{pool} is {state}")  # noqa: B023
    await until(lambda: it.has_limit(LIMIT_ENDS_AWAY), BACK_WITHIN_S, "the limit")
    over_ms = now_ms() + round(OUTAGE_S * 1_000)
    await it.producer.send(claimed_down(CLAIM_ENDS_AWAY, over_ms))
    await it.producer.send(limited(LIMIT_ENDS_AWAY, over_ms))
    return over_ms


async def leave_unread(it: Installation, controller: ControllerProcess, stack: RealStack) -> None:
    """Reports that all requests failed are on Kafka, which dies before the controller has read them, or at
    least before it can act on them: it stands still for longer than it may lead without a sign of Kafka."""
    controller.signal(signal.SIGSTOP)
    stopped_ms = now_ms()
    await until(lambda: now_ms() > stopped_ms + LEASE_OVER_MS, BACK_WITHIN_S, "the end of its lease")
    for failure in failures(UNREAD):
        await it.producer.send(failure)
    await stack.kafka.kill()
    controller.signal(signal.SIGCONT)


def during_the_outage(producer: Producer) -> int:
    """Posts reports, and claims and limits of which half are over before Kafka is back. Returns when the
    others end."""
    for failure in failures(OBSERVED_AWAY):
        assert producer.post(failure)
    ends_ms = now_ms() + round(OUTAGE_S * 1_000) + 90_000 if WAITS_FOR_ENDS else now_ms() + HOUR_MS
    assert producer.post(claimed_down(CLAIMED_AWAY, ends_ms))
    assert producer.post(limited(LIMITED_AWAY, ends_ms))
    assert producer.post(claimed_down(BRIEFLY_CLAIMED, now_ms() + BRIEF_MS))
    assert producer.post(limited(BRIEFLY_LIMITED, now_ms() + BRIEF_MS))
    return ends_ms


async def after_the_outage(it: Installation) -> None:
    """The spool is delivered and counts, the claim from before is over, and new reports count again."""
    assert await it.producer.drain(BACK_WITHIN_S)
    for pool, state in ((CLAIMED_AWAY, State.DEGRADED), (CLAIM_ENDS_AWAY, State.HEALTHY)):
        await until(lambda: it.has_entered(pool, state), BACK_WITHIN_S, f"{pool} is {state}")  # noqa: B023
    await until(lambda: it.has_limit(LIMITED_AWAY), BACK_WITHIN_S, "the limit of the spool")

    async def fails() -> bool:
        for failure in failures(FAILS_AFTERWARDS):
            await it.producer.send(failure)
        return await it.has_entered(FAILS_AFTERWARDS, State.DOWN)

    await until(fails, BACK_WITHIN_S, "new reports to count")
    assert await it.capacity_reason(LIMIT_ENDS_AWAY) == "capacity_expired"
    if not WAITS_FOR_ENDS:
        assert await it.capacity_reason(LIMITED_AWAY) == "capacity_stated"


async def after_the_claims(it: Installation, ends_ms: int) -> None:
    """What was claimed while Kafka was away is over."""
    await until(lambda: now_ms() > ends_ms, 400.0, "the end of what was claimed in the outage")
    await until(lambda: it.has_entered(CLAIMED_AWAY, State.HEALTHY), BACK_WITHIN_S, "the end of the claim")
    assert await it.capacity_reason(LIMITED_AWAY) == "capacity_expired"


async def everything_changed_once(it: Installation) -> None:
    """In all publications."""
    for pool in (CLAIM_ENDS_AWAY, CLAIMED_AWAY):
        assert (await it.states(pool)).count(State.DEGRADED) == 1, pool
    for pool in (UNREAD, OBSERVED_AWAY):
        assert await it.states(pool) == [State.UNKNOWN], pool
    assert not {State.DEGRADED, State.DOWN} & set(await it.states(BRIEFLY_CLAIMED))
    assert (await it.states(FAILS_AFTERWARDS)).count(State.DOWN) == 1
    for pool in (LIMIT_ENDS_AWAY, LIMITED_AWAY):
        limits = [units for units, _ in groupby(m.limit_units_per_s for m in await it.memories(pool))]
        assert limits[0] < 0 <= min(limits[1:]), pool
        assert len(set(limits)) == len(limits), pool
    assert not await it.has_limit(BRIEFLY_LIMITED)
