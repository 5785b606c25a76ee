"""What a producer learns of the controllers, and what it keeps for them: against a real Kafka and real
ingestion.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec.structs import replace

from controller.core.policy.policy import Source
from tests.integration.ingesting import capacity, lab, now_ms, report, statement
from tests.integration.publishing import publish
from tests.integration.replicated import create_topics
from tests.stacks import RealStack
from tests.waiting import until
from tieline.events import Claim, Outcomes, PoolCapacity, PoolObservation
from tieline.producer import Producer, Refusal, RefusedError
from tieline.topics import Topics

TEN_MINUTES_MS = 600_000


async def reports_on(bootstrap: str, topics: Topics) -> int:
    """How many reports lie on Kafka, by the ends of their partitions."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        places = [TopicPartition(topics.reports.name, number) for number in range(topics.reports.partitions)]
        return sum((await consumer.end_offsets(places)).values())


async def test_what_the_policy_refuses_is_told_before_it_is_sent(kafka_bootstrap: str, prefix: str) -> None:
    """By ``send`` as an error with the remedy, of what was posted in the status and to ``on_refused``; once
    the policy names the source it is taken, without a restart."""
    topics = Topics(prefix)
    await create_topics(kafka_bootstrap, topics)
    await publish(kafka_bootstrap, topics, 1, Source("probe-1", "probe"))
    refusals: list[Refusal] = []
    event = replace(report(1, source="probe-0"), pools=(PoolObservation("azure/r0/d", Outcomes(ok=1)),))
    async with Producer(kafka_bootstrap, prefix=prefix, on_refused=refusals.append) as producer:
        with pytest.raises(RefusedError, match=r"unknown_source.*did you mean probe-1\?"):
            await producer.send(event)
        assert producer.post(report(1, source="probe-1"))  # of azure/r0/p0
        assert await producer.drain(60)
        assert producer.status.refusals == {"unknown_source": 1, "unknown_pool": 1}
        assert (producer.status.refused, producer.status.delivered) == (2, 0)
        assert [(refusal.reason, refusal.by) for refusal in refusals] == [
            ("unknown_source", "policy"),
            ("unknown_pool", "policy"),
        ]
        await publish(kafka_bootstrap, topics, 2, Source("probe-1", "probe"), Source("probe-0", "probe"))

        async def taken() -> bool:
            try:
                await producer.send(event)
            except RefusedError:
                return False
            return True

        await until(taken, what="the source to be taken")
        assert producer.status.refused >= 2
    assert await reports_on(kafka_bootstrap, topics) == 1


async def test_a_dead_letter_is_known_to_whoever_sent_the_event(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """With ingestion's own reason and place. No policy was published, so nobody could refuse it before; a
    producer that did not send it learns nothing."""
    refusals: list[Refusal] = []
    async with (
        lab(kafka_bootstrap, redis_url, prefix) as it,
        it.ingest(),
        Producer(kafka_bootstrap, prefix=prefix, on_refused=refusals.append) as sender,
        Producer(kafka_bootstrap, prefix=prefix) as other,
    ):
        await other.send(report(1, source="probe-0"))
        await sender.send(report(1, source="stranger"))
        await until(lambda: sender.status.refused, what="the dead letter")
        assert sender.status.refusals == {"unknown_source": 1}
        assert "no controller has published a policy yet" in sender.status.feedback_error
        (refusal,) = refusals
        assert (refusal.by, refusal.event_id) == ("letter", "one-1-azure/r0")
        assert refusal.place == "source stranger is not in the policy"
        assert other.status.refused == 0


async def test_an_outage_of_kafka_loses_no_statement_and_keeps_no_report(
    own_stack: RealStack, prefix: str, tmp_path: Path
) -> None:
    """Ten minutes by the producer's clock, and a restart of its process: a report and what has expired are
    dropped, statement and capacity are delivered, and what is sent twice counts once."""
    late_ms = 0
    spool = tmp_path / "spool"
    bootstrap, redis_url = own_stack.kafka_bootstrap, own_stack.redis_url

    def producer(directory: Path) -> Producer:
        return Producer(bootstrap, prefix=prefix, spool=directory, now_ms=lambda: now_ms() + late_ms)

    async with lab(bootstrap, redis_url, prefix) as it, it.ingest() as ingest:
        await own_stack.kafka.kill()
        claimed = statement(Claim("degraded", now_ms() + 2 * TEN_MINUTES_MS))
        limit = capacity(PoolCapacity("azure/r0/p0", 100.0))  # for a minute
        lasting = replace(limit, region="r1", expires_ms=now_ms() + 2 * TEN_MINUTES_MS)
        lasting = replace(lasting, pools=(PoolCapacity("azure/r1/p0", 70.0),))
        before = producer(spool)
        await before.start()
        for event in (report(1, interval_ms=1_000), claimed, limit, lasting):
            assert before.post(event)
        assert before.post(replace(lasting, sequence=2, pools=(PoolCapacity("azure/r1/p0", 80.0),)))
        assert (before.status.buffered, before.status.spooled) == (1, 3)
        await before.stop(drain_timeout_s=0)
        shutil.copytree(spool, tmp_path / "twice")
        late_ms = TEN_MINUTES_MS
        async with producer(spool) as after, producer(tmp_path / "twice") as twice:
            await own_stack.kafka.start()
            assert await after.drain(60)
            assert await twice.drain(60)
            for each in (after, twice):
                assert (each.status.delivered, each.status.dropped_expired, each.status.spooled) == (2, 1, 0)
        await until(lambda: ingest.counts["records"] == 4, what="the records")
        contents = await it.tables.read()
        assert [row.event for row in contents.statements] == [claimed]
        assert [row.event.sequence for row in contents.capacities] == [2]
        assert contents.reports == ()
        assert ingest.counts["older"] == 2
