"""Where topics end, as a real broker says it, and what a new leader makes of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controller.kafka.offsets import Offsets, reached
from streams.app import IngestSettings
from tests.integration.controllers import Fleet, settings_of
from tests.integration.ingesting import demand, lab, report


@asynccontextmanager
async def offsets_of(settings: IngestSettings) -> AsyncIterator[Offsets]:
    """Connected, as a controller has it."""
    offsets = Offsets(settings.bootstrap, settings.consumed)
    await offsets.start()
    try:
        yield offsets
    finally:
        await offsets.stop()


async def test_every_partition_with_records_has_an_end(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """The ends are those of the brokers, and tables that have read nothing have not reached them."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, offsets_of(it.settings) as offsets:
        assert await offsets.ends() == {}
        await it.send(report(1), report(2), demand())
        ends = await offsets.ends()
        assert {topic for topic, _ in ends} == {
            it.settings.topics.reports.name,
            it.settings.topics.demand.name,
        }
        assert sorted(end.offset for end in ends.values()) == [1, 2]
        assert not reached(ends, (await it.tables.read()).progress)


async def test_a_new_leader_names_the_evidence_that_it_must_have_read(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Records that lie on the topics before the first controller starts are counted at its take-over."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    async with (
        lab(kafka_bootstrap, redis_url, settings.namespace) as it,
        Fleet(settings, tmp_path) as fleet,
    ):
        await it.send(report(1), report(2), demand())
        controller = await fleet.add()
        taken = await controller.until_said("leads now")
        assert taken["records_to_read"] == 3
        await controller.until_said("decides now")
