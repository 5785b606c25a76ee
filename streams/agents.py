"""The Faust agents: raw bytes in, nothing decided here.

Faust acknowledges a record when the agent asks for the next one, and also when the agent raises or is
cancelled. So each record gets one more reference, which only its lane gives back, after the record is safe.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import faust

from streams.lane import Lane
from streams.positions import ClockOffsets
from streams.record import Held, Record
from streams.topic_ids import TopicFacts

ToRecord = Callable[[Any], Record]


def add_agent(
    app: faust.App, topic: str, lane: Lane, to_record: ToRecord, on_error: Callable[[BaseException], None]
) -> None:
    """One agent on one topic, strictly in order. ``on_error`` hears of an error in it, and then it stands
    still: Faust would start it again past the record it had in hand."""
    channel = app.topic(
        topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )

    async def agent(stream: Any) -> None:
        try:
            async for event in stream.events():
                await lane.put(hold(app, event, to_record))
        except Exception as error:  # noqa: BLE001 (told to the watchdog, which ends this session)
            on_error(error)
            await asyncio.Event().wait()

    app.agent(channel, name=topic, concurrency=1)(agent)


def hold(app: faust.App, event: Any, to_record: ToRecord) -> Held:
    """The record of a Faust event, unacknowledged until its lane says so."""
    message = event.message
    message.incref()
    return Held(
        to_record(message),
        message.generation_id or 0,
        acknowledge=event.ack,
        release=lambda: app.consumer.unacked.discard(message),
    )


def record_reader(app: faust.App, facts: Mapping[str, TopicFacts], clock: ClockOffsets) -> ToRecord:
    """Faust's message -> our record; notes the clock's distance on records that are the last of their log."""

    def to_record(message: Any) -> Record:
        append_ms = round(message.timestamp * 1000)
        end_offset = app.consumer.highwater(message.tp)
        if end_offset is None or message.offset + 1 >= end_offset:
            clock.note_arrival(message.topic, message.partition, append_ms)
        return Record(
            message.topic,
            facts[message.topic].id,
            message.partition,
            message.offset,
            append_ms,
            message.key,
            message.value,
            tuple(message.headers or ()),
        )

    return to_record
