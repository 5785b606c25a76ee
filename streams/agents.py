"""The Faust agents: raw bytes in, nothing decided here.

Faust acknowledges a record when the agent asks for the next one, and also when the agent raises or is
cancelled. So each record gets one more reference, which only its lane gives back, after the record is safe.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import faust

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.contract_check import Record
from streams.lane import Delivery, Lane
from streams.positions import Partition
from streams.topic_ids import TopicFacts

ToRecord = Callable[[Any], Record]


def add_agent(
    app: faust.App, topic: str, lane: Lane, *, to_record: ToRecord, on_error: Callable[[BaseException], None]
) -> None:
    """Adds one agent on one topic, strictly in order. ``on_error`` is told of an error in it; the agent then
    stands still, because Faust would start it again after the record that it was working on."""
    channel = app.topic(
        topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",  # Faust must decode nothing: what it can't decode would stop the agent
        value_serializer="raw",
        allow_empty=True,  # a record without a body is poison, and goes to the dead letters like others
    )

    async def agent(stream: Any) -> None:
        try:
            async for event in stream.events():
                await lane.put(delivery_of(app, event, to_record))
        except Exception as error:  # noqa: BLE001 (passed on to the watchdog, which ends this session)
            on_error(error)
            await asyncio.Event().wait()

    # More than one at a time would lose the events in flight when partitions change hands (faust#606).
    app.agent(channel, name=topic, concurrency=1)(agent)


def delivery_of(app: faust.App, event: Any, to_record: ToRecord) -> Delivery:
    """The record of a Faust event, unacknowledged until its lane acknowledges it."""
    message = event.message
    message.incref()
    return Delivery(
        record=to_record(message),
        generation=message.generation_id or 0,
        acknowledge=event.ack,
        release=lambda: app.consumer.unacked.discard(message),
    )


def record_reader(
    app: faust.App, facts: Mapping[str, TopicFacts], *, clock: ClockOffsets, fetched: FetchedOffsets
) -> ToRecord:
    """A function from Faust's message to our record. It also notes the clock's distance to the broker's, on
    records that are the last of their log: others have waited in it."""

    def to_record(message: Any) -> Record:
        append_ms = round(message.timestamp * 1000)
        end_offset = app.consumer.highwater(message.tp)
        partition = Partition(message.topic, message.partition)
        if end_offset is None or fetched.past(partition, message.offset + 1) >= end_offset:
            clock.note_arrival(partition, append_ms)
        return Record(
            topic=message.topic,
            topic_id=facts[message.topic].id,
            partition=message.partition,
            offset=message.offset,
            append_ms=append_ms,
            key=message.key,
            value=message.value,
            headers=tuple(message.headers or ()),
        )

    return to_record
