"""Records that somebody else than the leader writes on its two logs, with real processes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.kafka.ordered_log import start_producer
from controller.process.clock import now_ms
from controller.routes.record import ROUTES_TYPE, RoutesRecord, encode_record, fence, headers, keyed
from tests.integration.controllers import FORCED, Fleet, leader_and_standby, newest, settings_of, tieline
from tests.integration.ingesting import read_all
from tests.waiting import until
from tieline.cloudevents import encode
from tieline.events import Event
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.table import Generation

HUGE = 9_999_999_999_999_999


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def write_on_routes(fleet: Fleet, *records: RoutesRecord, writer: str = "forger") -> None:
    producer = await start_producer(fleet.settings.kafka)
    for record in records:
        await producer.send_and_wait(
            fleet.settings.topics.routes.name,
            value=encode_record(record),
            key=record.key(),
            headers=headers(ROUTES_TYPE, str(record.generation), writer),
            partition=0,
        )
    await producer.stop()


async def write_on_leader_log(fleet: Fleet, *events: Event) -> None:
    producer = await start_producer(fleet.settings.kafka)
    for event in events:
        record = encode(event, time_ms=now_ms())
        await producer.send_and_wait(
            fleet.settings.topics.leader.name,
            value=record.value,
            key=record.key,
            headers=record.headers,
            partition=0,
        )
    await producer.stop()


async def writer_of_the_newest(fleet: Fleet) -> str:
    """The identity that the last record of the routes log names."""
    records = await read_all(fleet.settings.kafka, fleet.settings.topics.routes.name)
    return keyed(records[-1]).writer


async def test_fence_of_an_epoch_that_never_began_ends_no_leading(fleet: Fleet) -> None:
    """A fence and a table under a huge epoch: the leader goes on, orders are published, `status` names the
    leader, both controllers say that they ignore the records, and another controller can still take over."""
    leader, standby = await leader_and_standby(fleet)
    before = await newest(fleet)
    lineage = before.generation.lineage
    assert before.table is not None
    forged = Generation(lineage, HUGE, 1)
    table = replace(before.table, generation=forged)
    await write_on_routes(
        fleet, fence(lineage, HUGE, now_ms()), replace(before, generation=forged, table=table)
    )
    order = await tieline(fleet.settings, "drain", "oci", *FORCED, "--reason", "test", "--for", "1h")
    assert order.status == 0, order.err
    for controller in (leader, standby):
        ignored = await controller.until_said("a record of the routes log is ignored")
        assert str(HUGE) in ignored["why"]
    assert (await newest(fleet)).generation.epoch == before.generation.epoch
    status = await tieline(fleet.settings, "status", "--json")
    assert f'"epoch":{before.generation.epoch}' in status.out
    leader.signal(signal.SIGKILL)
    await standby.until_said("decides now")
    after = await newest(fleet)
    assert before.generation.epoch < after.generation.epoch < HUGE


async def test_table_of_another_writer_is_not_continued(fleet: Fleet) -> None:
    """A table with foreign URLs under the epoch in force: the next leader continues the true table. With the
    leader's own name on it the weights may be continued, but the URLs are still those of the policy."""
    leader, standby = await leader_and_standby(fleet)
    before = await newest(fleet)
    assert before.table is not None
    urls = [info.url for info in before.table.pools]
    generation = before.generation
    evil = tuple(replace(info, url="http://elsewhere.test/v1") for info in before.table.pools)
    for higher, writer in enumerate(("forger", await writer_of_the_newest(fleet)), 10**9):
        forged = Generation(generation.lineage, generation.epoch, higher)
        table = replace(before.table, generation=forged, pools=evil)
        await write_on_routes(fleet, replace(before, generation=forged, table=table), writer=writer)
    leader.signal(signal.SIGKILL)
    await standby.until_said("leads now")
    after = await newest(fleet)
    assert after.generation.epoch > generation.epoch
    assert after.table is not None
    assert [info.url for info in after.table.pools] == urls


async def test_heartbeats_of_others_keep_no_dead_leader_alive(fleet: Fleet) -> None:
    """The leader is killed while somebody else sends its heartbeats: the standby still takes over."""
    leader, standby = await leader_and_standby(fleet)
    epoch = (await newest(fleet)).generation.epoch
    leader.signal(signal.SIGKILL)

    async def led() -> bool:
        await write_on_leader_log(fleet, Heartbeat("forger", epoch), Heartbeat("forger", HUGE % 2**50))
        return bool(standby.said("leads now"))

    await until(led, what="the take-over")
    assert standby.said("a record of the leader log is ignored")


async def test_resignation_and_claim_of_others_end_no_leading(fleet: Fleet) -> None:
    """A resignation for the leader and claims that name the future change nothing."""
    leader, _ = await leader_and_standby(fleet)
    before = await newest(fleet)
    epoch = before.generation.epoch
    await write_on_leader_log(
        fleet,
        Resigned("forger", epoch),
        Claimed("forger", 2**50, 2**50),
        Claimed("forger", epoch, 2**50),
        Claimed("forger", -1, -1),
    )
    order = await tieline(fleet.settings, "drain", "oci", *FORCED, "--reason", "test", "--for", "1h")
    assert order.status == 0, order.err
    assert (await newest(fleet)).generation.epoch == epoch
    assert not leader.said("stands by now")
