"""Leading, with real processes that are killed, paused and stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from controller.leading.leader import Leader
from controller.routes.counting_rule import epoch_of
from tests.integration.controllers import (
    FORCED,
    Fleet,
    handed_over,
    leader_and_standby,
    settings_of,
    tieline,
    weights,
)
from tests.integration.ingesting import read_all
from tests.integration.replicated import create_topics
from tests.waiting import until


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def epochs_in_order(fleet: Fleet) -> list[tuple[int, bool]]:
    """(epoch, is a fence) of every record of the routes log."""
    records = await read_all(fleet.settings.kafka, fleet.settings.topics.routes.name)
    return [named for record in records if (named := epoch_of(record.key)) is not None]


async def test_killed_leader_is_replaced_and_no_weight_changes(fleet: Fleet) -> None:
    """SIGKILL of the leader of two: the other publishes under a higher epoch, weights, memory and commands
    unchanged. (`script/bench` measures how soon.)"""
    leader, standby = await leader_and_standby(fleet)
    drained = await tieline(fleet.settings, "drain", "oci", *FORCED, "--reason", "test", "--for", "1h")
    assert drained.status == 0, drained.err
    leader.signal(signal.SIGKILL)
    await standby.until_said("decides now")
    before, after = await handed_over(fleet)
    assert after.generation.seq == 1
    assert weights(after) == weights(before)
    assert (after.memory, after.commands_next_offset) == (before.memory, before.commands_next_offset)


async def test_paused_leader_publishes_nothing_when_it_wakes(fleet: Fleet) -> None:
    """SIGSTOP of the leader until another leads, with commands given meanwhile: when it goes on it appends
    nothing under its old epoch, and stands by."""
    leader, standby = await leader_and_standby(fleet)
    leader.signal(signal.SIGSTOP)
    await standby.until_said("leads now")
    given = await tieline(fleet.settings, "drain", "gcp", *FORCED, "--reason", "test", "--for", "1h")
    assert given.status == 0, given.err
    leader.signal(signal.SIGCONT)
    await leader.until_said("stands by now")
    again = await tieline(fleet.settings, "undrain", "gcp", "--reason", "test")
    assert again.status == 0, again.err
    order = [epoch for epoch, _ in await epochs_in_order(fleet)]
    assert order == sorted(order)
    assert len(set(order)) == 2
    assert leader.process.returncode is None


async def test_stopped_leader_hands_over_at_once(fleet: Fleet) -> None:
    """SIGTERM: exit status 0, and it resigns, so that the other leads without waiting for silence."""
    leader, standby = await leader_and_standby(fleet)
    assert await leader.stop() == 0
    await standby.until_said("leads now")
    assert leader.said("resigned")
    assert leader.log()[-1]["event"] == "stopped"


async def test_one_of_three_candidates_leads(kafka_bootstrap: str, prefix: str) -> None:
    """Three claim on an empty log at once: one may publish, and when it falls silent one other."""
    settings = settings_of(kafka_bootstrap, "", prefix)
    await create_topics(str(settings.kafka), settings.topics)
    candidates = [Leader(settings.kafka, settings.topics.leader.name) for _ in range(3)]
    for one in candidates:
        await one.start()
    running = {one: asyncio.create_task(one.run()) for one in candidates}
    leading = {one: asyncio.create_task(one.lead()) for one in candidates}

    def who() -> list[Leader]:
        return [one for one in candidates if one.may_publish()]

    first = (await until(who))[0]
    assert who() == [first]
    running[first].cancel()  # neither reads nor beats any more
    second = (await until(lambda: [one for one in who() if one is not first]))[0]
    assert who() == [second]
    assert second.epoch is not None
    assert first.epoch is not None
    assert second.epoch > first.epoch
    for task in (*running.values(), *leading.values()):
        task.cancel()
    await asyncio.gather(*running.values(), *leading.values(), return_exceptions=True)
    for one in candidates:
        await one.stop()


async def test_candidate_that_is_not_fit_does_not_claim(kafka_bootstrap: str, prefix: str) -> None:
    """Of two on an empty log the fit one leads; when it resigns the other still does not claim, until it is
    fit."""
    settings = settings_of(kafka_bootstrap, "", prefix)
    await create_topics(str(settings.kafka), settings.topics)
    fit: set[str] = set()
    unfit = Leader(settings.kafka, settings.topics.leader.name, may_claim=lambda: "unfit" in fit)
    well = Leader(settings.kafka, settings.topics.leader.name)
    async with AsyncExitStack() as closing:
        running = []
        for candidate in (unfit, well):
            await candidate.start()
            closing.push_async_callback(candidate.stop)
            running += [asyncio.create_task(candidate.run()), asyncio.create_task(candidate.lead())]
        await until(well.may_publish)
        await well.retire()
        later = time.monotonic() + 2
        await until(lambda: time.monotonic() > later)
        assert unfit.epoch is None
        fit.add("unfit")
        await until(unfit.may_publish)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
