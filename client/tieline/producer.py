"""``tieline.Producer``: events to Kafka, idempotent and acknowledged by all, never blocking for long.

async with tieline.Producer("kafka:9092", source="prober-eu") as producer:
    await producer.send(capacity)          # waits for the acknowledgement, or raises
    producer.observe(PoolObservation(...)) # many pools become one record per provider-region
    producer.flush(interval_ms=2_000)      # never waits: what can't be sent in time is dropped and counted
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, NamedTuple

from msgspec import Struct

from tieline._process import clock as _clock
from tieline._process.signal import Signal
from tieline._sending.link import Delivery, Link
from tieline._sending.observations import Window
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
    PoolObservation,
    Report,
    Statement,
    stale_after_ms,
)
from tieline.kafka import Brokers, checked_brokers
from tieline.topics import PREFIX, Topics

BUFFER_EVENTS_MAX = 1_000
IN_FLIGHT_MAX = 256
SEND_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 2.0
PAUSE_S = 1.0
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
    """Where a producer stands. Counts are of posted events since it was made: ``buffered`` are waiting,
    ``delivered`` acknowledged, ``dropped_expired`` of no more use to anybody, ``dropped_full`` made way in a
    full buffer, ``failed`` refused or not acknowledged. ``error``: what is wrong now, or empty."""

    connected: bool
    buffered: int
    delivered: int
    dropped_expired: int
    dropped_full: int
    failed: int
    error: str


class _Posted(NamedTuple):
    topic: str
    record: Encoded
    expires_ms: int | None  # None: not perishable


def expires_ms(event: Event) -> int | None:
    """When an event is of no more use to anybody, or None.

    Reports and demand go stale (``stale_after_ms``); the rest states its own expiry.
    """
    match event:
        case Report() | Demand():
            return event.window_end_ms + stale_after_ms(event.interval_ms)
        case Capacity() | Command():
            return event.expires_ms
        case Statement(claims=claims) if claims:
            return max(claim.expires_ms for claim in claims)
        case _:
            return None


class Producer:
    """Sends events. Must be started and used in one event loop; starting never raises because Kafka is away.

    ``bootstrap``: Kafka as ``host:port[,host:port]``, or ``Brokers`` with TLS and SASL. ``source``: this
    producer's registered name, needed for ``observe``. ``prefix``: of the topics.
    ``send_timeout_s`` bounds every send from its call to the acknowledgement; ``buffer_events_max`` bounds
    what ``post`` holds while Kafka is away. No linger (``linger_ms``) by default: whatever waits for an
    acknowledgement is batched anyway. ``content_type``: of bodies, ``cloudevents.MSGPACK`` or ``JSON``.
    ``now_ms``: the clock that events are stamped and expire by, Unix milliseconds.

    Raises ConfigurationError for an address that can't be, MissingExtraError without aiokafka. Every send's
    errors are ``ProducerError``s.
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
        self._buffer_events_max = buffer_events_max
        self._linger_ms = linger_ms
        self._content_type = content_type
        self._now_ms = now_ms or _clock.now_ms
        self._buffer: deque[_Posted] = deque()
        self._unfinished = 0
        self._filled = Signal()
        self._finished = Signal()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._counts = dict.fromkeys(("delivered", "dropped_expired", "dropped_full", "failed"), 0)
        self._error = ""
        self._link: Link | None = None
        self._pump: asyncio.Task[None] | None = None
        self._window: Window | None = None

    @property
    def status(self) -> ProducerStatus:
        """Counts, whether Kafka is connected, and the last error of a posted event."""
        link = self._link
        return ProducerStatus(
            connected=link is not None and link.connected,
            buffered=len(self._buffer),
            error=(link.error if link is not None else "") or self._error,
            **self._counts,
        )

    @property
    def dropped(self) -> int:
        """Posted events given up."""
        return sum(self._counts.values()) - self._counts["delivered"]

    async def start(self) -> None:
        """Begin to connect. Returns at once, also when Kafka is away."""
        if self._link is not None:
            return
        self._link = Link(self._bootstrap, linger_ms=self._linger_ms)
        self._link.start()
        self._pump = asyncio.create_task(self._send_posted(), name="tieline producer")

    async def stop(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Send what is buffered, for at most ``drain_timeout_s``; then let go. May be called twice."""
        if self._link is None:
            return
        await self.drain(drain_timeout_s)
        link, self._link = self._link, None
        tasks = [task for task in (self._pump, *self._in_flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.stop()

    async def __aenter__(self) -> Producer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send(self, event: Event) -> Delivery:
        """Write one event and wait until every replica in sync has it.

        Raises a ProducerError within ``send_timeout_s``; which one says who has to act. Whether the event was
        written after all is unknown only for KafkaUnavailableError: sending the same event again is safe.
        """
        topic, record = self._encoded(event)
        link = self._running()
        connection = None
        try:
            async with asyncio.timeout(self._send_timeout_s):
                connection, future = await link.hand_over(topic, record)
                return await link.acknowledged(connection, future, topic, record)
        except TimeoutError:
            if connection is not None:
                link.drop(connection, NO_ANSWER)
            raise link.unavailable() from None

    def post(self, event: Event) -> bool:
        """Buffer one event to be sent soon; never waits. False: dropped, because the buffer is full.

        An event that expires before it can be sent is dropped; in a full buffer the oldest perishable event
        makes way for a new one. Raises InvalidEventError and ProducerClosedError.
        """
        topic, record = self._encoded(event)
        self._running()
        self._drop_expired()
        if len(self._buffer) >= self._buffer_events_max:
            self._counts["dropped_full"] += 1
            oldest = next((one for one in self._buffer if one.expires_ms is not None), None)
            if oldest is None:
                return False
            self._buffer.remove(oldest)
            self._done()
        self._buffer.append(_Posted(topic, record, expires_ms(event)))
        self._unfinished += 1
        self._filled.announce()
        return True

    def observe(self, *seen: PoolObservation) -> None:
        """Note what was seen of some pools in the present window. Raises InvalidEventError."""
        if self.source is None:
            raise InvalidEventError("a producer that observes needs a source: Producer(..., source=NAME)")
        if self._window is None:
            self._window = Window(self.source, self.incarnation, self._now_ms())
        for one in seen:
            try:
                self._window.add(one)
            except ValueError as error:
                raise InvalidEventError(str(error)) from None

    def flush(self, *, interval_ms: int, region: str | None = None) -> tuple[Report, ...]:
        """Close the window: post one report per provider-region seen in it. ``interval_ms``: until the next.

        ``region``: of this ``provider/region`` only. Returns the reports. Never waits; see ``post``.
        """
        if self._window is None:
            return ()
        reports = self._window.close(self._now_ms(), interval_ms, region)
        for report in reports:
            self.post(report)
        return reports

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything posted was sent or dropped; False when ``timeout_s`` were not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._unfinished:
                    await self._finished.wait()
        except TimeoutError:
            return False
        return True

    def _running(self) -> Link:
        if self._link is None:
            raise ProducerClosedError("the producer is not running: use `async with`, or start()")
        return self._link

    def _encoded(self, event: Event) -> tuple[str, Encoded]:
        topic = {
            Report: self._topics.reports,
            Statement: self._topics.statements,
            Capacity: self._topics.capacity,
            Demand: self._topics.demand,
            Command: self._topics.commands,
        }.get(type(event))
        if topic is None:
            raise InvalidEventError(
                f"a {type(event).__name__} is not for producers: only controllers write it"
            )
        try:
            return topic.name, encode(event, time_ms=self._now_ms(), content_type=self._content_type)
        except Poison as poison:
            raise InvalidEventError(poison.place) from None

    def _done(self, count: str | None = None, error: str = "") -> None:
        """One posted event needs no more care."""
        if count is not None:
            self._counts[count] += 1
        self._error = error
        self._unfinished -= 1
        self._finished.announce()

    def _drop_expired(self) -> None:
        now_ms = self._now_ms()
        while self._buffer:
            expiry_ms = self._buffer[0].expires_ms
            if expiry_ms is None or expiry_ms > now_ms:
                return
            self._buffer.popleft()
            self._done("dropped_expired", self._error)

    async def _send_posted(self) -> None:
        """Hand buffered events over, one after another, as long as the producer runs."""
        while True:
            try:
                await self._send_next(self._running())
            except Exception as error:  # noqa: BLE001 - nobody watches this task: it has to go on
                _log.exception("a posted event could not be sent")
                self._error = str(error)
                await asyncio.sleep(PAUSE_S)

    async def _send_next(self, link: Link) -> None:
        while not self._buffer:
            await self._filled.wait()
        await link.connection()
        self._drop_expired()
        if not self._buffer:
            return
        await self._room.acquire()
        posted = self._buffer.popleft()
        try:
            connection, future = await link.hand_over(posted.topic, posted.record)
        except BaseException as error:
            self._room.release()
            if isinstance(error, InvalidEventError):
                self._done("failed", str(error))
                return
            self._buffer.appendleft(posted)
            if not isinstance(error, ProducerError):
                raise
            self._error = str(error)
            if isinstance(error, MissingTopicError):
                await asyncio.sleep(PAUSE_S)
            return
        task = asyncio.create_task(self._finish(link, connection, future, posted))
        self._in_flight.add(task)
        task.add_done_callback(self._landed)

    async def _finish(
        self, link: Link, connection: Any, future: asyncio.Future[Any], posted: _Posted
    ) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await link.acknowledged(connection, future, posted.topic, posted.record)
        except TimeoutError:
            link.drop(connection, NO_ANSWER)
            self._done("failed", NO_ANSWER)
        except ProducerError as error:
            self._done("failed", str(error))
        else:
            self._done("delivered")

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._room.release()
