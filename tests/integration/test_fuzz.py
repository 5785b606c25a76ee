"""Ten thousand odd records through a real Kafka: every one ends where it belongs, and the agents live on."""

from __future__ import annotations

from collections import Counter
from functools import partial

from streams.app import Ingest, IngestSettings
from streams.tables import RedisTables
from tests.integration.fuzzed import POOLS_PER_REGION, PROVIDER, SOURCES, SPOILERS, Fuzzed, fuzz, regions
from tests.integration.ingesting import Lab, lab, now_ms
from tests.waiting import until
from tieline.events import Report
from tieline.registration import Registry, SourceRule

RECORDS = 10_000
SEED = 20_260_731
CHUNK = 250
BEHIND_MAX = 1_000  # half of these are bad, and 1,000 letters may wait for a busy broker (docs/bounds.md)


def registry() -> Registry:
    """A policy that knows everything the valid records name."""
    places = [*regions(RECORDS), "last"]
    pools = frozenset(f"{PROVIDER}/{r}/p{n}" for r in places for n in range(POOLS_PER_REGION))
    return Registry(frozenset({PROVIDER}), dict.fromkeys(SOURCES, SourceRule()), pools)


async def test_every_fuzzed_record_ends_where_it_belongs(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Ids on the dead-letter topic are exactly the invalid ones, ids in the tables exactly the valid, and
    a last valid record is taken afterwards."""
    records = fuzz(SEED, RECORDS)
    assert {made.spoilt for made in records if not made.valid} == {spoil.__name__ for spoil in SPOILERS}
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        ingest = Ingest(it.settings, registry(), RedisTables(it.redis, it.settings.keys), now_ms)
        await ingest.start()
        try:
            assert await ingest.ready(60)
            for start in range(0, RECORDS, CHUNK):
                await it.deliver(as_sent(it.settings, made) for made in records[start : start + CHUNK])
                await until(partial(handled, ingest, start + CHUNK - BEHIND_MAX), 400, "records handled")
            await until(partial(handled, ingest, RECORDS), 400, "as many records handled as were sent")
            # A session that ended on a busy machine reads some of them twice, so the last may still come.
            await until(lambda: all_have_ended(it), 400, "an end of each record")
            await check(it, records)
            at_ms = now_ms()
            last = Report(SOURCES[0], PROVIDER, "last", "one", 1, at_ms - 1_000, at_ms, 900_000, ())
            await it.send(last)
            await until(lambda: taken(it, "last"), what="the last record")
        finally:
            await ingest.stop()


def handled(ingest: Ingest, records: int) -> bool:
    """Whether at least so many records were handled."""
    return ingest.counts["records"] >= records


def as_sent(
    settings: IngestSettings, made: Fuzzed
) -> tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Topic, key, value and headers."""
    topics = {topic.name.rsplit(".", 1)[1]: topic.name for topic in settings.topics.all()}
    return topics[made.kind], made.key, made.value, made.headers


async def all_have_ended(it: Lab) -> bool:
    """Whether there are as many letters and rows as records."""
    contents = await it.tables.read()
    rows = len(contents.reports) + len(contents.statements) + len(contents.capacities)
    return rows + len({dict(letter.headers)["fuzz"] for letter in await it.dead_letters()}) >= RECORDS


async def check(it: Lab, records: list[Fuzzed]) -> None:
    """Compares both ends with what each record was made to be."""
    letters = Counter(dict(letter.headers)["fuzz"].decode() for letter in await it.dead_letters())
    contents = await it.tables.read()
    rows = Counter(
        f"{row.event.source}/{row.event.region}"
        for table in (contents.reports, contents.statements, contents.capacities)
        for row in table
    )
    by_id = {made.id: made for made in records}
    valid = {made.id for made in records if made.valid}
    wrongly_dead = [by_id[name] for name in sorted(set(letters) & valid)]
    wrongly_taken = [by_id[name] for name in sorted(set(rows) - valid)]
    assert not wrongly_dead, wrongly_dead[:3]
    assert not wrongly_taken, wrongly_taken[:3]
    assert set(letters) == set(by_id) - valid
    assert set(rows) == valid


async def taken(it: Lab, region: str) -> bool:
    """Whether the region has a report."""
    return any(row.event.region == region for row in (await it.tables.read()).reports)
