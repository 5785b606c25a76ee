"""The Faust agents: raw bytes in, nothing decided here.

Faust acknowledges a record when the agent asks for the next one, and also when the agent raises or is
cancelled. So each record gets one more reference, which only its lane gives back, after the record is safe.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import faust

from streams.clock_offsets import ClockOffsets
from streams.connections import REQUEST_WITHIN_S
from streams.consumer_thread import FetchedOffsets, abandon, commit_nothing_more, prepare
from streams.contract_check import Record
from streams.lane import Delivery, Lane
from streams.positions import Partition
from streams.readers import Feed
from streams.settings import IngestSettings
from streams.topic_ids import TopicFacts
from tieline.kafka import Brokers, brokers_of

NEVER_S = 30 * 86_400.0

ToRecord = Callable[[Any], Record]


class FaustReader:
    """``streams.readers.Reader`` as a Faust app, whose agents feed the lanes."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._begun = False
        self._app: Any = build_app(feed.settings)
        to_record = record_reader(self._app, feed.facts, clock=feed.clock, fetched=feed.fetched)
        for topic, lane in feed.lanes.items():
            add_agent(self._app, topic, lane, to_record=to_record, on_error=feed.on_error)

    @property
    def rebalancing(self) -> bool:
        """See ``Reader``."""
        return bool(self._app.rebalancing)

    def assigned(self) -> set[Partition]:
        """See ``Reader``."""
        if self._app.rebalancing:
            return set()
        return _partitions(self._app.consumer.assignment())

    def complaint(self) -> str | None:
        """See ``Reader``."""
        if self._app.should_stop or self._app.crashed:
            return f"the Faust app has stopped: {self._app.crash_reason!r}"
        for name, agent in sorted(self._app.agents.items()):
            if agent.should_stop or agent.crashed:
                return f"agent {name} has stopped"
        return None

    async def start(self) -> None:
        """See ``Reader``."""
        self._begun = True
        topic_ids = {topic: fact.id for topic, fact in self._feed.facts.items()}
        prepare(self._app, self._feed.fetched, topic_ids)
        self._app.on_partitions_revoked.connect(self._revoked)
        self._app.on_partitions_assigned.connect(self._assigned)
        await self._app.start()

    async def stop(self) -> None:
        """See ``Reader``."""
        if self._begun:
            await self._app.stop()

    async def abandon(self) -> None:
        """See ``Reader``."""
        if self._begun:
            await abandon(self._app)

    def commit_nothing_more(self) -> None:
        """See ``Reader``."""
        commit_nothing_more(self._app)

    async def _assigned(self, _app: Any, assigned: set[Any], **_: Any) -> None:
        self._feed.on_assigned(_partitions(assigned))

    async def _revoked(self, _app: Any, revoked: set[Any], **_: Any) -> None:
        self._feed.on_revoked(_partitions(revoked))


def _partitions(topic_partitions: set[Any]) -> set[Partition]:
    return {Partition(tp.topic, tp.partition) for tp in topic_partitions}


def build_app(settings: IngestSettings) -> faust.App:
    """A Faust app that only reads: no tables, no topics of its own, no leader, no web server."""
    brokers = brokers_of(settings.bootstrap)
    return faust.App(
        settings.group,
        broker=[f"kafka://{server}" for server in brokers.servers.split(",")],
        broker_credentials=_credentials(brokers),
        store="memory://",
        datadir=str(Path(gettempdir()) / f"{settings.group}-faust"),
        autodiscover=False,
        # Without a committed offset everything that is there must be read: it may be all there ever was.
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        # Its default of 90 s is how long a forgotten connection would stop all evidence, twice over.
        broker_request_timeout=REQUEST_WITHIN_S,
        # A member without partitions polls nothing. After this time Faust would never let it take over, so it
        # is longer than any process lives; the watchdog notices what stands still.
        broker_max_poll_interval=NEVER_S,
        broker_commit_interval=settings.commit_every_s,
        # False would acknowledge the event in flight when the app stops. True may hang instead, which
        # ``Session.stop`` ends by force.
        stream_wait_empty=True,
        # Every topic exists before: the controller creates them with the settings that its promises need.
        topic_allow_declare=False,
        topic_disable_leader=True,
        # Its web server would listen on every address.
        web_enabled=False,
    )


def _credentials(brokers: Brokers) -> Any:
    """The credentials of the brokers, as Faust wants them; None without any."""
    if brokers.mechanism:
        return faust.SASLCredentials(
            username=brokers.username,
            password=brokers.password,
            ssl_context=brokers.tls,
            mechanism=brokers.mechanism,
        )
    return faust.SSLCredentials(brokers.tls) if brokers.tls else None


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
