"""Dead letters while their topic takes none, and after the group's offsets were reset: none is lost or
repeated, and what is behind them comes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.rows import Progress
from tests.integration.ingesting import Lab, lab, report
from tests.integration.replicated import change_topic, create_topic, delete_topics
from tests.waiting import until
from tieline.events import Report

POISON = (b"p0", b"p1", b"p2")


async def send_poison(it: Lab, keys: Sequence[bytes] = POISON) -> None:
    await it.deliver((it.settings.topics.reports.name, key, b"rubbish", []) for key in keys)


async def letter_keys(it: Lab) -> list[bytes]:
    """The key of each letter. A topic that answers late may get a letter twice."""
    return sorted(letter.key or b"" for letter in await it.dead_letters())


async def all_have_letters(it: Lab) -> bool:
    return set(await letter_keys(it)) == set(POISON)


async def taken(it: Lab, sequence: int) -> None:
    """A report of every region comes through, so on every partition that holds poison."""
    events: list[Report] = [report(sequence, region=f"r{number}") for number in range(8)]
    await it.send(*events)

    async def all_there() -> bool:
        return set((await it.sequences()).values()) == {sequence} and len(await it.sequences()) == 8

    await until(all_there, what="the good reports behind the poison")


async def waiting(it: Lab) -> list[Progress]:
    """The partitions of which letters wait."""
    return [row for row in (await it.tables.read()).progress if row.letters_waiting]


async def all_noted(it: Lab) -> bool:
    """Whether the tables note of each record with a letter that it needs no other."""
    notes = await it.tables.notes()
    for letter in await it.dead_letters():
        names = {name: value.decode() for name, value in letter.headers}
        mark = f"mark/{names['tieline_topic_id']}/{names['tieline_partition']}"
        if int(notes.get(mark, b"-1")) < int(names["tieline_offset"]):
            return False
    return not any(name.startswith("wait/") for name in notes)


async def take_away(it: Lab, how: str) -> None:
    """The dead-letter topic takes no letters from now on."""
    bootstrap, name = str(it.settings.bootstrap), it.settings.topics.deadletter.name
    if how == "missing":
        await delete_topics(bootstrap, name)
    else:
        await change_topic(bootstrap, name, {"max.message.bytes": "50"})


async def give_back(it: Lab, how: str) -> None:
    """It takes letters again."""
    bootstrap, topic = str(it.settings.bootstrap), it.settings.topics.deadletter
    if how == "missing":
        await create_topic(bootstrap, replace(topic, partitions=1))
    else:
        await change_topic(bootstrap, topic.name, topic.config)


@pytest.mark.parametrize("how", ["missing", "too small"])
async def test_poison_stops_nothing_while_its_topic_takes_no_letters(
    kafka_bootstrap: str, redis_url: str, prefix: str, how: str
) -> None:
    """Good records come through, the progress rows name the trouble, and each letter is sent later."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        await take_away(it, how)
        await send_poison(it)
        await taken(it, 1)
        rows = await until(lambda: waiting(it), what="the trouble in the progress rows")
        assert all(it.settings.topics.deadletter.name in row.trouble for row in rows)
        await give_back(it, how)

        async def sent() -> bool:
            return not await waiting(it) and await all_have_letters(it)

        await until(sent, what="the letters")
        letter, *_ = [letter for letter in await it.dead_letters() if letter.key == b"p1"]
        assert letter.value == b"rubbish"
        assert dict(letter.headers)["tieline_reason"] == b"not_cloudevents"


async def test_letters_that_wait_outlive_their_process(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """What one process has noted, the next one sends."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        async with it.ingest():
            await take_away(it, "too small")
            await send_poison(it)
            await until(lambda: waiting(it), what="the notes")
            await taken(it, 1)
        await give_back(it, "too small")
        async with it.ingest():
            await until(lambda: all_have_letters(it), what="the letters")


async def test_a_reset_of_the_groups_offsets_repeats_no_letter(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """The same records are read once more, and none gets another letter; new poison gets its own."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        await send_poison(it)
        async with it.ingest():
            await taken(it, 1)
            await until(lambda: all_have_letters(it), what="the letters")
            # Where Kafka answers late, a letter that is on its topic already is sent once more.
            await until(lambda: all_noted(it), what="the notes that no letter is due")
        before = await letter_keys(it)
        await reset_offsets(it)
        async with it.ingest() as again:
            await until(lambda: again.counts.get("records", 0) >= 11, what="all of it once more")
            await send_poison(it, [b"p3"])

            async def sent() -> bool:
                return b"p3" in await letter_keys(it)

            await until(sent, what="the new letter")
            assert [key for key in await letter_keys(it) if key != b"p3"] == before
            assert again.counts["dead_letter.not_cloudevents"] == 1


async def reset_offsets(it: Lab) -> None:
    """Commits offset 0 for the group on every partition, as an operator does."""
    topic = it.settings.topics.reports.name
    consumer = AIOKafkaConsumer(
        bootstrap_servers=str(it.settings.bootstrap), group_id=it.settings.group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()
