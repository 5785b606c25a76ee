"""``tieline.Producer``: events to Kafka, idempotent, acknowledged by all replicas, never waiting for long.

async with tieline.Producer("kafka:9092", source="prober-eu", spool="/var/lib/prober/spool") as producer:
    await producer.send(capacity)          # waits for the acknowledgement, or raises
    producer.post(statement)               # never waits; with a spool it outlives an outage and a restart
    producer.observe(PoolObservation(...)) # many pools become one record per provider and region
    producer.flush(interval_ms=2_000)      # never waits: what can't be sent in time is dropped and counted

``SyncProducer`` (``_sync_producer``) is the same for programs without an event loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from msgspec import Struct

from tieline._process import clock as _clock
from tieline._sending.connection import Delivery, KafkaConnection
from tieline._sending.direct import DirectSends
from tieline._sending.feedback import Feedback, Refusal, refused
from tieline._sending.observations import ObservationWindow
from tieline._sending.outbox import Outbox
from tieline._sending.posting import EventRecord, PostedEvents, Tally
from tieline._sending.spool import SPOOL_BYTES_MAX, Spool
from tieline._sending.spooling import SpooledEvents
from tieline.cancelling import end_all
from tieline.cloudevents import MSGPACK, Poison, encode
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
    expires_ms,
)
from tieline.kafka import Brokers, checked_brokers
from tieline.offers import OfferAnswer
from tieline.signatures import private_key, sign_event
from tieline.topics import PREFIX, Topics

BUFFER_EVENTS_MAX = 1_000
SEND_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 2.0
SPOOL_SYNC_MS = 100

__all__ = [
    "Delivery",
    "InvalidEventError",
    "KafkaUnavailableError",
    "MissingTopicError",
    "Producer",
    "ProducerClosedError",
    "ProducerError",
    "ProducerStatus",
    "Refusal",
    "RefusedError",
    "TooLargeError",
]


class ProducerStatus(Struct, frozen=True):
    """Where a producer stands. Counts are of posted and spooled events since it was made: ``buffered`` wait
    in memory and ``spooled`` on disk, ``delivered`` were acknowledged by Kafka, ``dropped_expired`` were of
    no more use to anybody, ``dropped_full`` made way in a full buffer or spool, ``failed`` were refused by
    Kafka or not acknowledged.

    ``refused``: events that the controllers do not take, sent ones included; ``refusals`` counts them by
    reason, a value of ``cloudevents.Rejection``. Those by the policy were never sent; those by a dead letter
    are among the delivered. ``error``: what is wrong now, or empty. ``feedback_error``: why refusals can't be
    known now, or empty.
    """

    connected: bool
    buffered: int
    delivered: int
    dropped_expired: int
    dropped_full: int
    failed: int
    error: str
    spooled: int = 0
    refused: int = 0
    refusals: Mapping[str, int] = {}
    feedback_error: str = ""


class Producer:
    """Sends events. Start it and use it in one event loop. Starting never raises because Kafka is away.

    - ``bootstrap``: Kafka as ``host:port[,host:port]``, or ``Brokers`` with TLS and SASL.
    - ``source``: the name that the policy has for this producer; only ``observe`` needs it.
    - ``prefix``: what the topics begin with.
    - ``send_timeout_s``: the longest time from the call of a send to its acknowledgement.
    - ``buffer_events_max``: how many posted events wait in memory at most while Kafka is away.
    - ``linger_ms``: how long aiokafka waits for more records before it sends a batch; 0 because records that
      wait for an acknowledgement are batched anyway.
    - ``content_type``: of the bodies, ``cloudevents.MSGPACK`` or ``JSON``.
    - ``now_ms``: the clock by which events are stamped and expire, in Unix milliseconds.
    - ``spool``: a directory of this producer's own. Statements and capacity then wait on disk until Kafka has
      acknowledged them or they have expired, in order, of one key only the newest, also over a restart.
      Reports never do, because an old report is worse than none.
    - ``spool_bytes_max``: how much waits there at most; the files may take three times as much.
    - ``spool_sync_ms``: within what time they are safe from a loss of power, 0 for at once; from the end of
      the process they always are.
    - ``feedback``: whether events are checked against the policy that the controllers publish before they
      are sent, and whether this producer's dead letters are read. It needs the right to read the topics
      ``routes`` and ``deadletter``; without it, events are sent unchecked, and ``status.feedback_error`` says
      so.
    - ``signing_key``: the source's private key, as PEM text or a path, where the policy names its
      ``public_keys``: each event is signed with it.
    - ``on_refused``: called with a ``Refusal`` for every event that the controllers do not take.

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
        spool: str | Path | None = None,
        spool_bytes_max: int = SPOOL_BYTES_MAX,
        spool_sync_ms: int = SPOOL_SYNC_MS,
        feedback: bool = True,
        on_refused: Callable[[Refusal], None] | None = None,
        signing_key: str | Path | None = None,
    ) -> None:
        self.source = source
        self.incarnation = secrets.token_hex(8)
        self._bootstrap = checked_brokers(bootstrap)
        if find_spec("aiokafka") is None:
            raise MissingExtraError("aiokafka", "kafka")
        self._signing_key = private_key(signing_key, "signing_key") if signing_key is not None else None
        self._topics = Topics(prefix)
        self._send_timeout_s = send_timeout_s
        self._linger_ms = linger_ms
        self._content_type = content_type
        self._now_ms = now_ms or _clock.now_ms
        self._outbox: Outbox[EventRecord] = Outbox(buffer_events_max, self._now_ms)
        self._tally = Tally()
        self._feedback = Feedback(self._bootstrap, self._topics, enabled=feedback, on_refused=on_refused)
        self._spool_directory = Path(spool) if spool is not None else None
        self._spool_bytes_max, self._spool_sync_ms = spool_bytes_max, spool_sync_ms
        self._spool: Spool | None = None
        self._spooled: SpooledEvents | None = None
        self._connection: KafkaConnection | None = None
        self._direct: DirectSends | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._window: ObservationWindow | None = None

    @property
    def status(self) -> ProducerStatus:
        """Counts, whether Kafka is connected, and the last error of a posted event."""
        connection, spool = self._connection, self._spool
        error = (connection.error if connection is not None else "") or self._tally.error
        return ProducerStatus(
            connected=connection is not None and connection.connected,
            buffered=len(self._outbox),
            delivered=self._tally.delivered,
            dropped_expired=self._outbox.dropped_expired
            + (spool.dropped_expired if spool is not None else 0),
            dropped_full=self._outbox.dropped_full + (spool.dropped_full if spool is not None else 0),
            failed=self._tally.failed,
            error=error or (spool.error if spool is not None else ""),
            spooled=len(spool) if spool is not None else 0,
            refused=self._feedback.counts.total(),
            refusals=dict(self._feedback.counts),
            feedback_error=self._feedback.error,
        )

    @property
    def dropped(self) -> int:
        """How many posted events were given up."""
        status = self.status
        return status.dropped_expired + status.dropped_full + status.failed

    async def start(self) -> None:
        """Begin to connect. Returns at once, also when Kafka is away. Raises ConfigurationError for a spool
        that can't be used, or that another producer uses."""
        if self._connection is not None:
            return
        await asyncio.to_thread(self._open_spool)
        self._connection = connection = KafkaConnection(self._bootstrap, linger_ms=self._linger_ms)
        connection.start()
        self._direct = DirectSends(connection, self._feedback, self._send_timeout_s)
        posted = PostedEvents(
            self._outbox,
            connection,
            self._feedback,
            tally=self._tally,
            send_timeout_s=self._send_timeout_s,
        )
        self._tasks = [asyncio.create_task(posted.run(), name="tieline producer")]
        if self._spooled is not None:
            spooling = self._spooled.run(connection, self._send_timeout_s)
            self._tasks.append(asyncio.create_task(spooling, name="tieline producer spool"))

    def _open_spool(self) -> None:
        if self._spool_directory is None:
            return
        self._spool = Spool(self._spool_directory, now_ms=self._now_ms, bytes_max=self._spool_bytes_max)
        self._spooled = SpooledEvents(
            self._spool, self._feedback, tally=self._tally, sync_ms=self._spool_sync_ms
        )

    async def stop(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Send what is buffered, for at most ``drain_timeout_s``, then close. May be called twice. What waits
        in the spool stays there for the next producer with this spool."""
        if self._connection is None or self._direct is None:
            return
        await self.drain(drain_timeout_s)
        connection, direct = self._connection, self._direct
        self._connection = self._direct = None
        await end_all(self._tasks)
        await direct.stop()
        await self._feedback.stop()
        await connection.stop()
        if self._spooled is not None:
            await self._spooled.close()
            self._spool = self._spooled = None

    async def __aenter__(self) -> Producer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send(self, event: Event) -> Delivery:
        """Write one event and wait until every replica in sync has it.

        Raises a ProducerError within ``send_timeout_s``; its class says who has to act. RefusedError: the
        policy in force does not take the event, and it was not sent. Only after KafkaUnavailableError is it
        unknown whether the event was written; sending it again is safe. A statement or capacity then stays in
        the spool, if there is one, and is sent later.
        """
        return await (await self.submit(event))

    async def submit(self, event: Event) -> asyncio.Future[Delivery]:
        """Hand one event over, and return the future of what ``send`` would return or raise.

        Waits while 256 events are on their way, so that a caller with many events goes at Kafka's pace.
        Events with one key that are submitted one after another keep that order. Raises as ``send`` if the
        event was not handed over.
        """
        record = self._encode(event)
        direct = self._running()
        if self._spooled is not None and isinstance(event, Statement | Capacity):
            return self._spooled.submit(record, self._send_timeout_s)
        return await direct.submit(record)

    async def check(self, event: Event) -> None:
        """Raises RefusedError if the policy in force does not take the event, and InvalidEventError. While
        the policy is not known, as ``status.feedback_error`` says, every event passes."""
        record = self._encode(event)
        if (refusal := await self._feedback.refusal(event, record.encoded)) is not None:
            raise refused(refusal)

    def post(self, event: Event) -> bool:
        """Put one event where it waits to be sent soon; never waits. False: dropped, because the buffer is
        full.

        An event that expires before it can be sent is dropped. In a full buffer the oldest event that can
        expire makes way for a new one. One that the policy in force does not take is dropped when its turn
        comes, and counted in ``status.refused``. Raises InvalidEventError and ProducerClosedError.
        """
        record = self._encode(event)
        self._running()
        if self._spooled is not None and isinstance(event, Statement | Capacity):
            self._spooled.put(record)
            return True
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
        began_s = _clock.monotonic_s()
        drained = await self._outbox.drain(timeout_s)
        if self._spooled is not None:
            drained &= await self._spooled.drain(max(timeout_s - (_clock.monotonic_s() - began_s), 0.0))
        return drained

    def _running(self) -> DirectSends:
        if self._direct is None:
            raise ProducerClosedError("the producer is not running: use `async with`, or start()")
        return self._direct

    def _encode(self, event: Event) -> EventRecord:
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
        if self._signing_key is not None:
            encoded.headers.append(sign_event(self._signing_key, topic.name, encoded))
        return EventRecord(topic.name, encoded, event)
