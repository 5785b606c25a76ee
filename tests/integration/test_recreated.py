"""A topic that is deleted and created again under running readers, whose offsets then begin anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from controller.status.live import present
from streams.positions import Offsets, Partition, to_commit
from streams.topic_ids import topic_facts
from tests.integration.controllers import FORCED, Fleet, settings_of, tieline
from tests.integration.ingesting import Lab, demand, lab, report
from tests.integration.replicated import create_topic, delete_topics
from tests.waiting import until
from tieline.topics import Topic


async def recreate(bootstrap: str, topic: Topic) -> None:
    """Deletes the topic and creates it again, empty."""
    await delete_topics(bootstrap, topic.name)
    await create_topic(bootstrap, topic)


async def caught_up(it: Lab, sequence: int) -> bool:
    """The newest report is in its row, and all four partitions are read to their ends."""
    contents = await it.tables.read()
    ends = [row for row in contents.progress if row.topic == it.settings.topics.reports.name]
    newest = (await it.sequences()).get(("probe-0", "r0"))
    return newest == sequence and len(ends) == 4 and all(row.caught_up for row in ends)


@pytest.mark.parametrize(("before", "after"), [(30, 5), (5, 30)])
async def test_reports_on_a_recreated_topic_are_taken_within_seconds(
    kafka_bootstrap: str, redis_url: str, prefix: str, before: int, after: int
) -> None:
    """Whether the new topic has fewer or more records than the old one had; nothing of it is skipped."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest():
        await it.send(*(report(sequence) for sequence in range(1, before + 1)), demand())
        await until(lambda: caught_up(it, before), what="the old topic's end")
        ids = {row.topic: row.topic_id for row in (await it.tables.read()).progress}
        topic = it.settings.topics.reports
        await recreate(kafka_bootstrap, topic)
        other = report(1, region="r1")  # lies before what the group may have committed on the old topic
        await it.send(other, *(report(before + sequence) for sequence in range(1, after + 1)))
        await until(lambda: caught_up(it, before + after), what="the new topic's end")

        async def new_ids() -> bool:
            rows = [row for row in (await it.tables.read()).progress if row.topic == topic.name]
            return ids[topic.name] not in {row.topic_id for row in rows}

        await until(new_ids, what="progress on the new topic")
        assert (await it.sequences())["probe-0", "r1"] == 1
        await it.send(report(before + after + 1))
        await until(lambda: caught_up(it, before + after + 1), what="the next report")


async def test_what_was_committed_of_an_earlier_topic_skips_nothing(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """A member that has not heard yet that its topic was created anew commits offsets of the old one. On the
    new one what lies before them is read all the same, and what can't be is a dead letter; from then on the
    group's offsets name the new topic, and count."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        name = it.settings.topics.reports.name
        partitions = [TopicPartition(name, number) for number in range(4)]
        await it.send(*(report(sequence) for sequence in range(1, 31)))
        await it.deliver((name, key, b"rubbish", []) for key in (b"p0", b"p1", b"p2"))
        ends = await ends_of(it, partitions)
        await commit(it, {tp: to_commit(end, "an earlier topic") for tp, end in ends.items()})
        async with it.ingest():

            async def all_dealt_with() -> bool:
                letters = {letter.key for letter in await it.dead_letters()}
                return letters == {b"p0", b"p1", b"p2"} and await caught_up(it, 30)

            await until(all_dealt_with, what="the letters and the newest report")
        topic_id = (await topic_facts(it.settings.bootstrap, [name]))[name].id
        asking = Offsets(it.settings.bootstrap, it.settings.group, {name: topic_id})
        await asking.start()
        try:
            places = await asking.starts(Partition(*tp) for tp in partitions)
        finally:
            await asking.stop()
        assert places == {Partition(*tp): end for tp, end in ends.items()}


async def ends_of(it: Lab, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Where these partitions end."""
    async with AIOKafkaConsumer(bootstrap_servers=str(it.settings.bootstrap)) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


async def commit(it: Lab, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
    """Commits for the group, in which nobody is."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=str(it.settings.bootstrap), group_id=it.settings.group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


async def test_a_deleted_topic_is_waited_for(kafka_bootstrap: str, redis_url: str, prefix: str) -> None:
    """Ingest goes on by itself once somebody creates it again; the other topics' rows stay."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest() as ingest:
        await it.send(report(1), demand())
        await until(lambda: caught_up(it, 1), what="the report")
        topic = it.settings.topics.reports
        await delete_topics(kafka_bootstrap, topic.name)
        await until(lambda: not ingest.progress, what="the end of the session")
        await create_topic(kafka_bootstrap, topic)
        await it.send(report(2))
        await until(lambda: caught_up(it, 2), what="the report on the new topic")
        assert (await it.tables.read()).demand


@pytest.mark.parametrize("log", ["routes", "leader", "commands"])
async def test_a_controller_ends_when_a_log_is_not_the_one_it_began_to_read(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path, log: str
) -> None:
    """Within seconds and with one sentence. The one that is started after it reads the commands anew, with
    the orders that were in force. Of routes or a log of leadership that begin anew it says LINEAGE, because
    the epochs of the new log may be lower than those that clients have.
    """
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        for scope in ("coreweave", "oci"):  # the first orders on the new log lie at offsets of the old one
            await order(fleet, "drain", scope, "--for", "1h")
        await recreate(kafka_bootstrap, getattr(settings.topics, log))
        async with asyncio.timeout(60):
            assert await controller.process.wait() == 2
        # Where the new log is shorter, its reader may notice before the topic's id is looked at.
        assert f"{log} was deleted" in controller.text() or "has no record" in controller.text()
        assert "Traceback" not in controller.text()
        again = await fleet.add()
        if log in ("routes", "leader"):
            unfit = await again.until_said("this controller is not fit to lead")
            assert any("LINEAGE" in why for why in unfit["why"])
            assert log == "routes" or any(settings.topics.leader.name in why for why in unfit["why"])
        else:
            await again.until_said("leads now")
            await order(fleet, "undrain", "oci")
            commands = (await present(settings)).snapshot.commands
            assert [command.scope for command in commands] == ["coreweave"]


async def order(fleet: Fleet, *arguments: str) -> None:
    """Gives an order, and waits until it is accepted and published."""
    given = await tieline(fleet.settings, *arguments, "--reason", "test", *FORCED)
    assert given.status == 0, given.err


async def test_a_stop_while_a_session_ends_leaves_nothing_behind(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """No task goes on, so no partition stays with a process that does not read it."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        await it.send(report(1))
        async with it.ingest() as ingest:
            await until(lambda: caught_up(it, 1), what="the report")
            await recreate(kafka_bootstrap, it.settings.topics.reports)

            async def ends() -> bool:
                return not await ingest.ready(0)

            await until(ends, what="the end of the session")
        names = {"Agent", "Consumer", "Conductor", "AssignorLeader", "letters", "progress"}

        def all_gone() -> bool:
            tasks = [task.get_name() + repr(task.get_coro()) for task in asyncio.all_tasks()]
            return not [task for task in tasks if any(name in task for name in names)]

        await until(all_gone, what="the end of all tasks")
