"""Events on a real Kafka become rows in a real Redis, through real Faust agents."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from streams.store import Contents
from tests.integration.ingesting import STAMPED_BY_PRODUCERS, capacity, demand, lab, now_ms, report, statement
from tests.waiting import until
from tieline.events import (
    Claim,
    Outcomes,
    PoolCapacity,
    PoolObservation,
    Report,
)


async def test_every_kind_of_event_reaches_its_table(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Each of the four kinds becomes a row, the caller is woken, and every partition is read to its end."""
    wakes: list[int] = []
    async with (
        lab(kafka_bootstrap, redis_url, prefix) as it,
        it.ingest(on_material=wakes.append) as ingest,
    ):
        at_ms = now_ms()
        claim = Claim("degraded", at_ms + 60_000)
        limit = PoolCapacity("azure/r0/p0", 100.0)
        observation = PoolObservation("azure/r0/p0", Outcomes(ok=5))
        await it.send(report(1, pools=3), statement(claim), capacity(limit), demand(observation))

        async def whole() -> Contents | None:
            contents = await it.tables.read()
            tables = (contents.reports, contents.statements, contents.capacities, contents.demand)
            return contents if all(tables) else None

        contents = await until(whole, what="a row in each table")
        first = contents.reports[0].event
        assert isinstance(first, Report)
        assert [observation.pool for observation in first.pools] == [f"azure/r0/p{n}" for n in range(3)]
        assert getattr(contents.statements[0].event, "claims", None) == (claim,)
        assert getattr(contents.capacities[0].event, "pools", None) == (limit,)
        assert contents.demand[0].seconds[0].flows[0].offered_units == 90.0
        assert contents.reports[0].append_ms >= at_ms
        assert wakes

        async def caught_up() -> bool:
            progress = (await it.tables.read()).progress
            return len(progress) == 16 and sum(row.next_offset for row in progress) == 4

        await until(caught_up, what="progress of all 16 partitions")
        assert all(row.caught_up for row in (await it.tables.read()).progress)
        assert ingest.counts == {"records": 4}


async def test_poison_goes_whole_to_the_dead_letter_topic(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """A letter has key, value and headers of its record, then reason, place, checksum and origin."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        topic = it.settings.topics.reports.name
        await it.deliver([(topic, b"some key", b"rubbish", [("mine", b"1"), ("mine", b"2")])])
        await it.send(report(1))
        await until(it.sequences, what="the valid record")
        (letter,) = await until(it.dead_letters, what="the dead letter")
        assert (letter.key, letter.value) == (b"some key", b"rubbish")
        assert letter.headers[:2] == (("mine", b"1"), ("mine", b"2"))
        headers = dict(letter.headers[2:])
        assert headers["tieline_reason"] == b"not_cloudevents"
        assert headers["tieline_place"] == b"header ce_specversion is missing"
        assert headers["tieline_sha256"] == hashlib.sha256(b"rubbish").hexdigest().encode()
        assert headers["tieline_topic"] == topic.encode()
        assert headers["tieline_offset"] == b"0"


async def test_late_and_repeated_records_change_nothing(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """An older sequence and a repetition are counted, not dead-lettered, and the row stays."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest() as ingest:
        await it.send(report(5))
        await it.send(report(3))
        await it.send(report(5))
        await until(lambda: ingest.counts.get("records") == 3, what="three records")
        assert ingest.counts == {"older": 2, "records": 3}
        assert await it.sequences() == {("probe-0", "r0"): 5}
        assert await it.dead_letters() == []


async def test_perishable_reports_that_are_stale_are_skipped(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """A report that has lain in Kafka for too long is counted, and is neither a row nor a dead letter.

    It lies before a live one. As the last of its log it could as well be news of a broker with another clock.
    """
    async with lab(kafka_bootstrap, redis_url, prefix, changes=STAMPED_BY_PRODUCERS) as it:
        async with it.ingest():
            pass  # the tables exist from now on, so that a next start reads on and rebuilds nothing
        live, old = report(1, source="probe-1"), report(1, interval_ms=1_000)
        await it.send_stamped(old, old.window_end_ms - 60_000)
        await it.send_stamped(live, live.window_end_ms)
        async with it.ingest() as ingest:
            await until(lambda: ingest.counts.get("stale") == 1, what="the skip")
            await until(lambda: it.sequences(), what="the live report's row")
            assert list(await it.sequences()) == [("probe-1", "r0")]
            assert await it.dead_letters() == []


async def test_a_report_that_comes_long_after_its_window_is_counted_and_kept(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """It ages by itself; its row says by how much it was late, so that a wrong clock is noticed."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest() as ingest:
        late = report(1, interval_ms=1_000)
        end_ms = late.window_end_ms - 40_000
        await it.send(msgspec.structs.replace(late, window_start_ms=end_ms - 1_000, window_end_ms=end_ms))
        await until(lambda: ingest.counts.get("clock_or_delay") == 1, what="the count")
        await until(lambda: it.sequences(), what="the row")
        (row,) = (await it.tables.read()).reports
        assert row.gap_ms >= 40_000
        assert row.evidence_ms == end_ms + 2_000


async def test_two_ingests_share_the_partitions_and_lose_nothing_when_one_leaves(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Partitions move twice under load; every source's last report is in the tables."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        sequence = 0

        async def send_some() -> None:
            nonlocal sequence
            for _ in range(20):
                sequence += 1
                await it.send(
                    *(
                        report(sequence, source=f"probe-{s}", region=f"r{r}")
                        for s in range(4)
                        for r in range(8)
                    )
                )

        await send_some()
        async with it.ingest():
            await send_some()
        await send_some()
        expected = {(f"probe-{s}", f"r{r}"): sequence for s in range(4) for r in range(8)}

        async def all_there() -> bool:
            return await it.sequences() == expected

        await until(all_there, what="the last report of every source")


async def test_a_restart_of_redis_is_rebuilt_from_kafka(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Emptied tables fill again by themselves, under a new run, as they were."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        claim = Claim("down", now_ms() + 600_000)
        reports = [report(number + 1, source=f"probe-{number}") for number in range(5)]
        await it.send(*reports, statement(claim), demand())

        async def filled() -> Contents | None:
            contents = await it.tables.read()
            done = len(contents.reports) == 5 and contents.statements and contents.demand
            return contents if done and contents.run else None

        before = await until(filled, what="the first rows")
        keys = [key async for key in it.redis.scan_iter(match=f"{{{it.settings.namespace}}}*")]
        await it.redis.delete(*keys)
        after = await until(filled, what="the rebuilt rows")
        assert after.run != before.run
        assert after.reports == before.reports
        assert after.statements == before.statements
        assert after.demand[0].seconds == before.demand[0].seconds
        await it.send(report(9, source="probe-0"))

        async def went_on() -> bool:
            return (await it.sequences()).get(("probe-0", "r0")) == 9

        await until(went_on, what="a new report in the rebuilt tables")


@pytest.mark.parametrize("size", [1_000, 1_020_000])
async def test_bodies_up_to_the_brokers_limit_fit_the_dead_letter_topic(
    kafka_bootstrap: str, redis_url: str, prefix: str, size: int
) -> None:
    """A record that just fits its topic fits the dead-letter topic with our headers added."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        await it.deliver([(it.settings.topics.capacity.name, b"k", b"x" * size, [])])
        (letter,) = await until(it.dead_letters, what="the dead letter")
        assert letter.value == b"x" * size
