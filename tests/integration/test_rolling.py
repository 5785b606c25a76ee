"""Controllers are restarted one after the other under load, and an older one meets what a newer one wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord

from controller.kafka.ordered_log import start_producer
from controller.routes.record import ROUTES_TYPE, headers
from lab.demo.command import demo_plan
from lab.demo.continuity import hand_overs
from lab.demo.plan import FAST
from lab.demo.rolling import ReplaceControllers
from lab.demo.run import Run
from tests.integration.controllers import Fleet, newest, settings_of, weights
from tests.integration.ingesting import read_all
from tests.integration.test_demo import Quiet

Record: TypeAlias = "ConsumerRecord[bytes | None, bytes | None]"


async def test_a_rolling_restart_loses_no_request_and_changes_no_weight(tmp_path: Path) -> None:
    """SIGTERM to each controller in turn, while applications send requests: each ends with status 0, each new
    leader's first table is its predecessor's last one, and every request is answered."""
    run = Run(demo_plan(FAST), tmp_path, Quiet())
    try:
        await run.start()
        await ReplaceControllers((None, None))(run)
        facts = await run.finish()
    finally:
        await run.close()
    assert run.failures == []
    assert len(hand_overs(run.observer.records)) == 2
    assert facts.lost == ()
    assert facts.broken_contracts == ()
    assert facts.succeeded > 0


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def write_newer(
    fleet: Fleet, last: Record, seq: int, *, policy: dict[str, Any], memory: dict[str, Any]
) -> str:
    """Appends a publication once more, under the same leader and as its ``seq``, with further fields in its
    policy and its memory, as a newer version of the controller might write it. Returns its generation."""
    fields = msgspec.msgpack.decode(last.value or b"")
    lineage, epoch, _ = fields["generation"]
    fields["generation"] = fields["table"]["generation"] = [lineage, epoch, seq]
    fields["policy"] = msgspec.msgpack.encode(msgspec.msgpack.decode(fields["policy"]) | policy)
    fields["memory"] |= memory
    generation = f"{lineage}:{epoch}:{seq}"
    source = dict(last.headers)["ce_source"].decode().removeprefix("/tieline/")
    producer = await start_producer(fleet.settings.kafka)
    await producer.send_and_wait(
        fleet.settings.topics.routes.name,
        value=msgspec.msgpack.encode(fields),
        key=last.key,
        headers=headers(ROUTES_TYPE, generation, source),
        partition=0,
    )
    await producer.stop()
    return generation


async def test_an_older_controller_ignores_no_contract_and_loses_memory_only_as_the_last_one(
    fleet: Fleet,
) -> None:
    """A newer controller led and is gone. Its policy has a field that this version does not know: the older
    one does not lead, says why, and goes on. Without that field it leads on from the newest publication,
    although it does not know all of its memory."""
    first = await fleet.add()
    await first.until_said("decides now")
    assert await first.stop() == 0
    before = await newest(fleet)
    last = (await read_all(fleet.settings.kafka, fleet.settings.topics.routes.name))[-1]
    seq = before.generation.seq
    await write_newer(fleet, last, seq + 1, policy={"forbidden_pools": ["azure/r/p"]}, memory={})
    older = await fleet.add()
    why = str((await older.until_said("this controller is not fit to lead"))["why"])
    assert "the policy in force has fields that this version does not know: forbidden_pools" in why
    assert not older.said("leads now")

    newer = await write_newer(fleet, last, seq + 2, policy={}, memory={"tides": {"azure": 1}})
    assert (await older.until_said("leads now"))["continues"] == newer
    assert "would lose memory.tides" in str(older.said("this controller is not fit to lead")[-1]["why"])
    after = await newest(fleet)
    assert (after.policy, weights(after)) == (before.policy, weights(before))
