"""`tieline deadletter` on real topics: a rejected record is appended again, once, or put aside."""

from __future__ import annotations

import asyncio
import json

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from controller.process.settings import Settings
from streams.every_record import log_reader
from tests.integration.controllers import settings_of, tieline
from tests.integration.ingesting import Lab, lab, report
from tests.waiting import until

WHY = ("--reason", "the source is registered now", "--actor", "kim")
RUBBISH = (b"\x00\xffrubbish", [("mine", b"\x01")])


async def letters(settings: Settings, *arguments: str) -> list[dict[str, object]]:
    """What `list` prints."""
    ended = await tieline(settings, "deadletter", "list", "--json", *arguments)
    assert ended.status == 0, ended.err
    rows: list[dict[str, object]] = json.loads(ended.out)["letters"]
    return rows


async def everything(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """All records of all partitions of a topic."""
    consumer = log_reader(settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(4)])
        ends = await consumer.end_offsets(consumer.assignment())
        records: list[ConsumerRecord] = []
        while len(records) < sum(ends.values()):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


async def rejected(it: Lab, count: int) -> list[ConsumerRecord]:
    """The dead letters once there are that many."""

    async def enough() -> list[ConsumerRecord]:
        all_of_them = await it.dead_letters()
        return all_of_them if len(all_of_them) >= count else []

    return await until(enough, what=f"{count} dead letters")


async def test_letters_are_listed_shown_redriven_and_discarded(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """A record goes back byte for byte, once, also if two operators try at the same time; a discarded letter
    is put aside; both are noted with who and why."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    topic = settings.topics.reports.name
    async with lab(kafka_bootstrap, redis_url, settings.namespace) as it:
        async with it.ingest():
            for key in (b"k0", b"k1"):
                await it.deliver([(topic, key, *RUBBISH)])
            key, value, headers = it.encoded(report(1))
            await it.deliver([(topic, b"another key", value, headers)])
            await rejected(it, 3)
            shown = await letters(settings)
            assert [row["state"] for row in shown] == ["waits"] * 3
            assert [(r["topic"], r["partition"], r["offset"]) for r in shown] == sorted(
                (r["topic"], r["partition"], r["offset"]) for r in shown
            )
        numbers = [str(row["number"]) for row in shown if row["reason"] == "not_cloudevents"]
        both = await asyncio.gather(
            *(tieline(settings, "deadletter", "redrive", numbers[0], *WHY, "--json") for _ in range(2))
        )
        outcomes = [json.loads(ended.out)["letters"][0] for ended in both]
        assert sorted(ended.status for ended in both) == [0, 1], [ended.out + ended.err for ended in both]
        assert sorted(outcome["done"] for outcome in outcomes) == [False, True]
        records = [record for record in await everything(settings, topic) if record.value == RUBBISH[0]]
        assert len(records) == 3
        assert {tuple(record.headers) for record in records} == {tuple(RUBBISH[1])}
        assert records[0].partition in {record.partition for record in records[1:]}

        discarded = await tieline(settings, "deadletter", "discard", numbers[1], *WHY)
        assert (discarded.status, discarded.out) == (0, f"letter {numbers[1]}: discarded\n")
        refused = await tieline(settings, "deadletter", "redrive", numbers[1], *WHY)
        assert refused.status == 1
        assert "discarded by kim: the source is registered now; --again" in refused.out
        rest = await letters(settings)
        assert [row["reason"] for row in rest] == ["key_mismatch"]
        text = (await tieline(settings, "deadletter", "list", "--all")).out
        assert "redriven to" in text
        assert "not_cloudevents" in text
        one = await tieline(settings, "deadletter", "show", str(rest[0]["number"]))
        assert "rejected for: key_mismatch" in one.out
        assert '"source"' in one.out
        nothing = await tieline(settings, "deadletter", "redrive", "--rejected-for", "future", *WHY)
        assert nothing.status == 2
        assert "no letter that was rejected for 'future' waits" in nothing.err
        status = await tieline(settings, "deadletter", "redrive", "4711", *WHY)
        assert (status.status, "there is no such letter" in status.out) == (1, True)
