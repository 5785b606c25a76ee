"""``tieline.Producer``: events to Kafka, idempotent, acknowledged by all replicas, never waiting for long.

async with tieline.Producer("kafka:9092", source="prober-eu") as producer:
    await producer.send(capacity)          # waits for the acknowledgement, or raises
    producer.observe(PoolObservation(...)) # many pools become one record per provider and region
    producer.flush(interval_ms=2_000)      # never waits: what can't be sent in time is dropped and counted
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, NamedTuple

from msgspec import Struct

from tieline._process import clock as _clock
from tieline._sending.connection import Delivery, KafkaConnection
from tieline._sending.observations import ObservationWindow
from tieline._sending.outbox import Entry, Outbox, expires_ms
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.cloudevents import MSGPACK, Encoded, Poison, encode
from tieline.errors import (
    InvalidEventError,
    KafkaUnavailableError,
    MissingExtraError,
    MissingTopicError,
    ProducerClosedError,
    ProducerError,
    RefusedError,
    TooLargeError,
)
from tieline.events import (
    Capacity,
    Command,
    Demand,
    Event,
    PolicyChange,
    PoolObservation,
    Report,
    Statement,
)
from tieline.kafka import Brokers, checked_brokers
from tieline.offers import OfferAnswer
from tieline.topics import PREFIX, Topics

BUFFER_EVENTS_MAX = 1_000
IN_FLIGHT_MAX = 256
SEND_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 2.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 1.0
NO_ANSWER = "no acknowledgement in time"

_log = logging.getLogger("tieline")

__all__ = [
    "Delivery",
    "InvalidEventError",
    "KafkaUnavailableError",
    "MissingTopicError",
    "Producer",
    "ProducerClosedError",
    "ProducerError",
    "ProducerStatus",
    "RefusedError",
    "TooLargeError",
]


class ProducerStatus(Struct, frozen=True):
    """Where a producer stands. Counts are of posted events since it was made: ``buffered`` wait,
    ``delivered`` were acknowledged, ``dropped_expired`` were of no more use to anybody, ``dropped_full`` made
    way in a full buffer, ``failed`` were refused or not acknowledged. ``error``: what is wrong now, or
    empty."""

    connected: bool
    buffered: int
    delivered: int
    dropped_expired: int
    dropped_full: int
    failed: int
    error: str


class _Record(NamedTuple):
    topic: str
    encoded: Encoded


class Producer:
    """Sends events. Start it and use it in one event loop. Starting never raises because Kafka is away.

    - ``bootstrap``: Kafka as ``host:port[,host:port]``, or ``Brokers`` with TLS and SASL.
    - ``source``: the name that the policy has for this producer; only ``observe`` needs it.
    - ``prefix``: what the topics begin with.
    - ``send_timeout_s``: the longest time from the call of a send to its acknowledgement.
    - ``buffer_events_max``: how many posted events wait at most while Kafka is away.
    - ``linger_ms``: how long aiokafka waits for more records before it sends a batch; 0 because records that
      wait for an acknowledgement are batched anyway.
    - ``content_type``: of the bodies, ``cloudevents.MSGPACK`` or ``JSON``.
    - ``now_ms``: the clock by which events are stamped and expire, in Unix milliseconds.

    Raises ConfigurationError for an address that can't be used, MissingExtraError without aiokafka. The
    errors of every send are ``ProducerError``s.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        *,
        source: str | None = None,
        prefix: str = PREFIX,
        send_timeout_s: float = SEND_TIMEOUT_S,
        buffer_events_max: int = BUFFER_EVENTS_MAX,
        linger_ms: int = 0,
        content_type: str = MSGPACK,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self.source = source
        self.incarnation = secrets.token_hex(8)
        self._bootstrap = checked_brokers(bootstrap)
        if find_spec("aiokafka") is None:
            raise MissingExtraError("aiokafka", "kafka")
        self._topics = Topics(prefix)
        self._send_timeout_s = send_timeout_s
        self._linger_ms = linger_ms
        self._content_type = content_type
        self._now_ms = now_ms or _clock.now_ms
        self._outbox: Outbox[_Record] = Outbox(buffer_events_max, self._now_ms)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._delivered = self._failed = 0
        self._error = ""
        self._connection: KafkaConnection | None = None
        self._sender: asyncio.Task[None] | None = None
        self._window: ObservationWindow | None = None

    @property
    def status(self) -> ProducerStatus:
        """Counts, whether Kafka is connected, and the last error of a posted event."""
        connection = self._connection
        return ProducerStatus(
            connected=connection is not None and connection.connected,
            buffered=len(self._outbox),
            delivered=self._delivered,
            dropped_expired=self._outbox.dropped_expired,
            dropped_full=self._outbox.dropped_full,
            failed=self._failed,
            error=(connection.error if connection is not None else "") or self._error,
        )

    @property
    def dropped(self) -> int:
        """How many posted events were given up."""
        return self._outbox.dropped_expired + self._outbox.dropped_full + self._failed

    async def start(self) -> None:
        """Begin to connect. Returns at once, also when Kafka is away."""
        if self._connection is not None:
            return
        self._connection = KafkaConnection(self._bootstrap, linger_ms=self._linger_ms)
        self._connection.start()
        self._sender = asyncio.create_task(self._send_posted(), name="tieline producer")

    async def stop(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Send what is buffered, for at most ``drain_timeout_s``, then close. May be called twice."""
        if self._connection is None:
            return
        await self.drain(drain_timeout_s)
        connection, self._connection = self._connection, None
        await end_all([task for task in (self._sender, *self._in_flight) if task is not None])
        await connection.stop()

    async def __aenter__(self) -> Producer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send(self, event: Event) -> Delivery:
        """Write one event and wait until every replica in sync has it.

        Raises a ProducerError within ``send_timeout_s``; its class says who has to act. Only after
        KafkaUnavailableError is it unknown whether the event was written; sending it again is safe.
        """
        topic, record = self._encode(event)
        connection = self._running()
        producer = None
        try:
            async with asyncio.timeout(self._send_timeout_s):
                producer, future = await connection.hand_over(topic, record)
                return await connection.acknowledged(producer, future, topic, record)
        except TimeoutError:
            if producer is not None:
                connection.drop(producer, NO_ANSWER)
            raise connection.unavailable() from None

    def post(self, event: Event) -> bool:
        """Buffer one event to be sent soon; never waits. False: dropped, because the buffer is full.

        An event that expires before it can be sent is dropped. In a full buffer the oldest event that can
        expire makes way for a new one. Raises InvalidEventError and ProducerClosedError.
        """
        record = self._encode(event)
        self._running()
        return self._outbox.put(record, expires_ms(event))

    def observe(self, *observations: PoolObservation) -> None:
        """Note what was observed of some pools in the present window. Raises InvalidEventError."""
        if self.source is None:
            raise InvalidEventError("a producer that observes needs a source: Producer(..., source=NAME)")
        if self._window is None:
            self._window = ObservationWindow(self.source, self.incarnation, self._now_ms())
        for observation in observations:
            try:
                self._window.add(observation)
            except ValueError as error:
                raise InvalidEventError(str(error)) from None

    def flush(self, *, interval_ms: int, region: str | None = None) -> tuple[Report, ...]:
        """Close the window and post one report for each provider and region observed in it.

        ``interval_ms``: how long until the next flush. ``region``: flush this ``provider/region`` only.
        Returns the reports. Never waits; see ``post``.
        """
        if self._window is None:
            return ()
        reports = self._window.close(self._now_ms(), interval_ms, region)
        for report in reports:
            self.post(report)
        return reports

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything posted was sent or dropped; False when ``timeout_s`` were not enough."""
        return await self._outbox.drain(timeout_s)

    def _running(self) -> KafkaConnection:
        if self._connection is None:
            raise ProducerClosedError("the producer is not running: use `async with`, or start()")
        return self._connection

    def _encode(self, event: Event) -> _Record:
        topic = {
            Report: self._topics.reports,
            Statement: self._topics.statements,
            Capacity: self._topics.capacity,
            Demand: self._topics.demand,
            Command: self._topics.commands,
            PolicyChange: self._topics.commands,
            OfferAnswer: self._topics.offers,
        }.get(type(event))
        if topic is None:
            kind = type(event).__name__
            raise InvalidEventError(f"only controllers write events of the class {kind}, not producers")
        try:
            encoded = encode(event, time_ms=self._now_ms(), content_type=self._content_type)
        except Poison as poison:
            raise InvalidEventError(poison.place) from None
        return _Record(topic.name, encoded)

    async def _send_posted(self) -> None:
        """Hand buffered events over, one after another, as long as the producer runs."""
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            try:
                await self._send_next(self._running())
                backoff.reset()
                continue
            except MissingTopicError as error:  # somebody may create it
                self._error = str(error)
            except Exception as error:  # noqa: BLE001  nobody watches this task, so it must go on
                _log.exception("a posted event could not be sent")
                self._error = str(error)
            await asyncio.sleep(backoff.next_s())

    async def _send_next(self, connection: KafkaConnection) -> None:
        """Hand the oldest event over. If that fails, and not because of the event, it stays the oldest.

        Raises MissingTopicError, and any error that is not known.
        """
        await self._outbox.wait_filled()
        await connection.producer()
        self._outbox.drop_expired()
        if not len(self._outbox):
            return
        await self._room.acquire()
        entry = self._outbox.take()
        try:
            producer, future = await connection.hand_over(*entry.item)
        except InvalidEventError as error:
            self._room.release()
            self._finish(str(error))
        except BaseException as error:
            self._room.release()
            self._outbox.put_back(entry)
            if isinstance(error, MissingTopicError) or not isinstance(error, ProducerError):
                raise
            self._error = str(error)  # the connection is replaced, and ``connection.producer()`` waits for it
        else:
            task = asyncio.create_task(self._await_acknowledgement(connection, producer, future, entry))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    async def _await_acknowledgement(
        self,
        connection: KafkaConnection,
        producer: Any,
        future: asyncio.Future[Any],
        entry: Entry[_Record],
    ) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await connection.acknowledged(producer, future, *entry.item)
        except TimeoutError:
            connection.drop(producer, NO_ANSWER)
            self._finish(NO_ANSWER)
        except ProducerError as error:
            self._finish(str(error))
        else:
            self._finish()

    def _finish(self, error: str | None = None) -> None:
        """A posted event was delivered, or failed for good with ``error``."""
        if error is None:
            self._delivered += 1
        else:
            self._failed += 1
        self._error = error or ""
        self._outbox.finish()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._room.release()
