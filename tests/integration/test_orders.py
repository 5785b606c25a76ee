"""Operators' orders through Kafka: from the command to the published table, to status and to explain."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from controller.core.evidence.reported import reporting_clients
from controller.core.model.reasons import State
from controller.policy_file import load_policy
from controller.process.connections import connect_redis
from controller.routes.record import RoutesRecord
from streams.tables import RedisTables
from tests.integration.controllers import FORCED, POLICY, Fleet, publications, settings_of, tieline
from tests.waiting import until
from tieline.events import Capacity, Command, Demand, PoolCapacity, PoolObservation
from tieline.producer import Producer

PROVIDERS = ("azure", "gcp", "oci", "coreweave")
RECOMMENDED = "gcp/us-central1/gemini-pro"
ACTED_ON = "oci/us-chicago-1/gpt-oss"
ON_THE_SHARED_LOOP = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def well_fleet(kafka: str, redis: str, prefix: str, directory: Path) -> AsyncIterator[Fleet]:
    """One controller under a policy with gcp in mode recommend and azure's failback manual; every capacity is
    stated, and an operator has called every pool healthy."""
    text = POLICY.read_text().replace("{id: gcp, mode: act", "{id: gcp, mode: recommend")
    text = text.replace("{id: azure, mode: act, failback: auto", "{id: azure, mode: act, failback: manual")
    path = directory / "policy.yaml"
    path.write_text(text)
    settings = replace(settings_of(kafka, redis, prefix), policy=path)
    async with Fleet(settings, directory) as running:
        controller = await running.add()
        await controller.until_said("decides now")
        async with Producer(settings.kafka, prefix=settings.namespace) as producer:
            await _all_is_well(producer)
        async with running.routes() as routes:
            assert await routes.until(_is_all_healthy, 60.0)
        yield running


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """For one test that stops its controller, leaves orders in force, or needs pools that were never ill."""
    async with well_fleet(kafka_bootstrap, redis_url, prefix, tmp_path) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_fleet(
    kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """For the tests that take back what they have ordered; they run on the module's loop."""
    directory = tmp_path_factory.mktemp("orders")
    async with well_fleet(kafka_bootstrap, redis_url, f"t{uuid.uuid4().hex[:12]}.", directory) as running:
        yield running


async def _all_is_well(producer: Producer) -> None:
    now = time.time_ns() // 1_000_000
    regions: dict[tuple[str, str], list[PoolCapacity]] = {}
    for pool in load_policy(POLICY).pools:
        row = PoolCapacity(pool.id, pool.limit_units_per_s)
        regions.setdefault((pool.provider, pool.region), []).append(row)
    for (provider, region), pools in regions.items():
        stated = Capacity("fleet", provider, region, "run", 1, now, now + 600_000, tuple(pools))
        await producer.send(stated)
    for name in PROVIDERS:
        said = Command(f"c-{name}", "verdict", name, "lee", "new", now, now + 3_600_000, state="healthy")
        await producer.send(said)


def _state(record: RoutesRecord, pool: str) -> State | None:
    found = record.memory.pools.get(pool) if record.memory else None
    return found.state if found else None


def _is_all_healthy(record: RoutesRecord) -> bool:
    return all(_state(record, pool.id) is State.HEALTHY for pool in load_policy(POLICY).pools)


async def order(fleet: Fleet, *arguments: str) -> str:
    """Gives an order and returns what came of it."""
    given = await tieline(fleet.settings, *arguments, "--reason", "a drill", "--actor", "kim", *FORCED)
    assert given.status == 0, given.err
    assert "published as multicloud-1:" in given.out
    return given.out


async def status(fleet: Fleet) -> dict[str, Any]:
    shown = await tieline(fleet.settings, "status", "--json")
    assert shown.status in (0, 1), shown.err
    found: dict[str, Any] = json.loads(shown.out)
    return found


async def explained(fleet: Fleet, name: str) -> str:
    shown = await tieline(fleet.settings, "explain", name, COLUMNS="300")
    assert shown.status == 0, shown.err
    return shown.out


def share_of(said: dict[str, Any], pool: str) -> float:
    """Its mean share of all routes."""
    return next(float(row["weight"]) for row in said["overview"]["pools"] if row["pool"] == pool)


@ON_THE_SHARED_LOOP
async def test_verdict_moves_load(shared_fleet: Fleet) -> None:
    """Called down, a pool is left at once; status and explain say by whose word."""
    said = await order(shared_fleet, "verdict", ACTED_ON, "down", "--for", "1h")
    assert f"verdict {ACTED_ON} down until" in said
    before, after = (float(share) for share in re.findall(r"([0-9.]+)%", said)[-2:])
    assert after < before / 10  # what has room nowhere else may stay as a trickle
    row = next(row for row in (await status(shared_fleet))["overview"]["pools"] if row["pool"] == ACTED_ON)
    assert (row["state"], row["reason"]) == ("down", "operator_verdict")
    assert row["why"] == "called down by kim: a drill (an operator's verdict says so)"
    assert "an operator's verdict says so (kim: a drill)" in await explained(shared_fleet, ACTED_ON)
    route = await explained(shared_fleet, "chat/us")
    assert "when a client has nothing left: coreweave/us-east-04/gpt-oss" in route
    await order(shared_fleet, "retract", ACTED_ON)


async def test_order_ends_by_itself(fleet: Fleet) -> None:
    """Nobody has to take it back: when its time is over the next decision is as if it had not been given."""
    verdict = ("verdict", ACTED_ON, "degraded", "--reason", "a drill", "--actor", "kim", *FORCED)
    for seconds in ("5s", "60s"):  # on a slow machine its time may be over before the leader has it
        given = await tieline(fleet.settings, *verdict, "--for", seconds)
        if given.status == 0:
            break
    assert given.status == 0, given.err

    async def ill_and_well_again() -> bool:
        states = [_state(record, ACTED_ON) for record in await publications(fleet)]
        return State.DEGRADED in states and states[-1] is State.HEALTHY

    await until(ill_and_well_again, what="the end of the order")


@ON_THE_SHARED_LOOP
async def test_recommended_move_waits_for_an_approval(shared_fleet: Fleet) -> None:
    """What would be done is shown and not done; approved, it is done."""
    judged = await order(shared_fleet, "verdict", RECOMMENDED, "down", "--for", "1h")
    share_before, share_after = re.findall(r"([0-9.]+%)", judged)[-2:]
    assert share_before == share_after != "0.0%"
    said = await status(shared_fleet)
    kept = f"{share_of(said, RECOMMENDED):.1%}"
    assert kept != "0.0%"
    held_back = next(verdict for verdict in said["withheld"] if verdict["subject"] == RECOMMENDED)
    assert (held_back["reason"], held_back["before"]) == ("mode_recommend", kept)
    # What has room nowhere else may stay as a trickle.
    assert float(held_back["after"].rstrip("%")) < float(kept.rstrip("%"))
    assert held_back["because"] == "operator_verdict"
    assert "mode recommend" in await explained(shared_fleet, RECOMMENDED)
    approved = await order(shared_fleet, "approve", "gcp/us-central1", "--for", "1h")
    assert float(re.findall(r"([0-9.]+)%", approved)[-1]) < float(kept.rstrip("%"))
    await order(shared_fleet, "retract", RECOMMENDED)


@ON_THE_SHARED_LOOP
async def test_orders_in_force_are_listed_with_their_end(shared_fleet: Fleet) -> None:
    """Who, why, until when, and what takes each back; explain names a freeze; nothing stays behind."""
    before = (await status(shared_fleet))["commands"]
    await order(shared_fleet, "freeze", "--for", "1h")
    await order(shared_fleet, "override", "fresh-capacity", "--scope", "oci", "--for", "30m")
    shown = await tieline(shared_fleet.settings, "status", COLUMNS="250")
    assert shown.status in (0, 1), shown.err
    for text in (
        "orders in force",
        "freeze the whole table",
        "tieline unfreeze",
        "override fresh_capacity for oci",
        "tieline restore fresh_capacity --scope oci",
    ):
        assert text in shown.out
    pool = await explained(shared_fleet, ACTED_ON)
    assert "an operator froze it: nothing moves by choice (kim: a drill)" in pool
    await order(shared_fleet, "unfreeze")
    await order(shared_fleet, "restore", "fresh_capacity", "--scope", "oci")
    assert (await status(shared_fleet))["commands"] == before


async def test_next_controller_keeps_the_orders(fleet: Fleet) -> None:
    """Orders lie in Kafka: whoever leads next has them, with their ends."""
    await order(fleet, "freeze", "azure", "--for", "1h")
    before = (await status(fleet))["commands"]
    second = await fleet.add()
    first = fleet._all[0]
    await first.stop()
    await second.until_said("decides now")
    after = await status(fleet)
    assert after["leader"]["epoch"] > 0
    assert after["commands"] == before


@ON_THE_SHARED_LOOP
async def test_an_order_that_the_leader_refuses_is_answered_by_its_id(shared_fleet: Fleet) -> None:
    """The publication after it names the order and why; the orders beside it are answered as accepted."""
    settings = shared_fleet.settings
    now = time.time_ns() // 1_000_000
    signed = Command("c-signed", "drain", "oci", "eve", "x", now, now + 60_000, signature="forged")
    async with (
        shared_fleet.routes() as routes,
        Producer(settings.kafka, prefix=settings.namespace) as producer,
    ):
        await producer.send(signed)
        record = await routes.until(lambda record: _answer(record, "c-signed") is not None, 60.0)
    assert record is not None
    assert "names no operators and so no keys" in (_answer(record, "c-signed") or "")
    assert _answer(record, "c-azure") == ""
    assert "drain" not in {command["verb"] for command in (await status(shared_fleet))["commands"]}


def _answer(record: RoutesRecord, order_id: str) -> str | None:
    """Why the order was refused, empty if it was accepted, None if it was not answered."""
    answer = record.answer_to(order_id)
    return None if answer is None else answer.refused


async def test_what_an_order_would_shed_must_be_agreed_to(fleet: Fleet) -> None:
    """Draining an exclusive workload's only provider says what would happen and sends nothing
    without --force;
    taking back what is not there says so; an order that nobody takes says that it waits."""
    drain = ("drain", "azure", "--for", "1h", "--reason", "a drill", "--actor", "kim")
    asked = await tieline(fleet.settings, *drain)
    assert asked.status == 1, asked.err
    assert "api, which only azure may serve, would have no pool left for requests from" in asked.err
    assert "nothing was sent: add --force critical_shed --force last_pool" in asked.err
    rehearsed = await tieline(fleet.settings, *drain, "--dry-run", "--json", *FORCED)
    assert rehearsed.status == 0, rehearsed.err
    report = json.loads(rehearsed.out)
    assert report["outcome"] == "dry_run"
    assert {item["rule"] for item in report["change"]["objections"]} >= {"critical_shed", "last_pool"}
    assert "drain" not in {command["verb"] for command in (await status(fleet))["commands"]}
    undrain = ("undrain", "azure", "--reason", "a drill", "--actor", "kim")
    refused = await tieline(fleet.settings, *undrain)
    assert refused.status == 2
    kinds = "drain, evacuation or drill"
    assert f"there is no {kinds} of azure to take back: no {kinds} is in force" in refused.err
    given = await tieline(fleet.settings, *drain, *FORCED)
    assert given.status == 0, given.err
    assert "published as" in given.out
    fleet._all[0].signal(signal.SIGSTOP)
    unanswered = await tieline(fleet.settings, *undrain, "--within", "1s")
    assert unanswered.status == 1
    assert "no controller has answered within 1 s" in unanswered.err
    assert "the next leader will carry it out" in unanswered.err
    fleet._all[0].signal(signal.SIGCONT)


async def test_wait_ends_when_the_clients_use_the_table(fleet: Fleet) -> None:
    """`--wait` says the share, and ends with status 3 while a reporting client keeps an older table;
    `--wait=idle` also while a request is in flight at the drained pool. Then both end with status 0."""
    settings = fleet.settings
    drain = ("drain", ACTED_ON, "--for", "1h", "--reason", "a drill", *FORCED)
    async with Producer(settings.kafka, prefix=settings.namespace) as producer:
        async with _reporting(fleet, producer, keeps_old=True):
            late = await tieline(settings, *drain, "--wait", "--within", "10s")
            assert late.status == 3, late.err
            assert "published as" in late.out
            assert "after 10 s 50.0% of 2 reporting clients use it" in late.err
        async with _reporting(fleet, producer, in_flight=1):
            busy = await tieline(settings, *drain, "--wait=idle", "--within", "10s")
            assert busy.status == 3, busy.err
            assert "1 requests are in flight at the emptied pools" in busy.err
        async with _reporting(fleet, producer):
            idle = await tieline(settings, *drain, "--wait=idle", "--within", "30s", "--json")
            assert idle.status == 0, idle.err
            assert json.loads(idle.out)["clients"] == {
                "reporting": 2, "reached": 2, "silent": 0, "in_flight": 0
            }  # fmt: skip


@asynccontextmanager
async def _reporting(
    fleet: Fleet, producer: Producer, *, keeps_old: bool = False, in_flight: int = 0
) -> AsyncIterator[None]:
    """Two clients report meanwhile, and the tables have them."""
    reports = asyncio.create_task(_report(fleet, producer, keeps_old=keeps_old, in_flight=in_flight))
    redis = connect_redis(fleet.settings.redis, fleet.settings.keys)
    tables = RedisTables(redis, fleet.settings.keys)

    async def both_are_heard() -> bool:
        demand = (await tables.read()).demand
        return reporting_clients(demand, time.time_ns() // 1_000_000).heard == 2

    try:
        await until(both_are_heard, what="reports of both clients")
        yield
    finally:
        reports.cancel()
        await asyncio.wait({reports})
        await redis.aclose()


async def _report(fleet: Fleet, producer: Producer, *, keeps_old: bool, in_flight: int) -> None:
    """One client always reports the newest generation, the other that or always the first. Of the requests
    ``in_flight`` at the pool that is drained, the first client has all."""
    sequence = time.time_ns() // 1_000_000
    async with fleet.routes() as routes:
        while True:
            record = routes.newest()
            assert record is not None
            newest = str(record.generation)
            now = time.time_ns() // 1_000_000
            for client in ("client-0", "client-1"):
                sequence += 1
                is_first = client == "client-0"
                pools = (PoolObservation(ACTED_ON, in_flight=in_flight if is_first else 0),)
                generation = newest if is_first or not keeps_old else "multicloud-1:0:1"
                report = Demand(
                    client, "run", sequence, now - 100, now, 1_000, generation=generation, pools=pools
                )
                await producer.send(report)
            await routes.until(lambda _: False, 0.1)  # this is the pace of the reports
