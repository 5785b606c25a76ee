"""Publishing: taking over behind a fence, then appending whole records to the routes log, one at a time.

The counting rule and the rule for acknowledging a record are stated in ``routes``.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.kafka.ordered_log import Tail, start_producer
from controller.process.clock import now_ms
from controller.process.errors import Deposed, NoLease, UserError
from controller.process.seal import NO_SEAL, Seal
from controller.routes.counting_rule import KeyedRecord, RoutesLog, epoch_of
from controller.routes.record import (
    ROUTES_TYPE,
    RecordEncoder,
    RecordHead,
    RoutesRecord,
    decode_record,
    encode_record,
    fence,
    head_of,
    headers,
    keyed,
)
from controller.routes.unread import unread_of
from streams.logs import LogPace
from streams.producers import stop_producer
from tieline.kafka import Brokers
from tieline.signatures import ROUTES_KIND
from tieline.table import TableError
from tieline.topics import ROUTES_RECORD_MAX_BYTES

READ_UP_WITHIN_S = 10.0
TAKE_OVER_WITHIN_S = 60.0


class Epochs(Protocol):
    """Which epochs have begun. ``is_epoch`` may be asked once ``until_judged`` has returned."""

    async def until_judged(self, epoch: int) -> None:
        """Returns once everything is read that decides about ``epoch``."""
        ...

    def is_epoch(self, epoch: int, leader: str) -> bool:
        """Whether ``epoch`` began with a valid claim of ``leader``."""
        ...


class Publisher:
    """The routes log as one controller sees it: a standby follows it, the leader appends to it.

    ``may_publish`` is asked immediately before each send.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        *,
        identity: str,
        epochs: Epochs,
        may_publish: Callable[[], bool],
        seal: Seal = NO_SEAL,
    ) -> None:
        self.log = RoutesLog()
        self._seal = seal
        self.refusals = 0  # records under an epoch that is none, of another writer, or not duly signed
        self._epochs = epochs
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._may_publish = may_publish
        self._tail = Tail(bootstrap, topic, self._take, before=self._judge)
        self._producer: AIOKafkaProducer | None = None
        self._gap_at: int | None = None
        self._head: tuple[int, RecordHead] | None = None  # the offset of a publication, and its head
        self._encoder = RecordEncoder()
        self._pace = LogPace()
        self._log = structlog.get_logger("publish")

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError or ``TopicMissingError``."""
        await self._tail.start()
        self.log = RoutesLog(next_offset=self._tail.first_offset)

    async def run(self) -> None:
        """Follows the log until cancelled."""
        await self._tail.run()

    async def read_all(self, within_s: float) -> None:
        """Returns once everything is read that the log holds now. Raises TimeoutError."""
        await self._tail.read_all(within_s)

    def newest(self) -> RoutesRecord | None:
        """The newest publication that counts, or None if there is none that can be read."""
        newest = self.log.newest
        try:
            return decode_record(newest.body) if newest is not None else None
        except TableError:
            return None

    async def stop(self) -> None:
        """Closes the connections; ``run`` must have ended."""
        await self._tail.stop()
        await self._close_producer()

    def in_force(self) -> RecordHead | None:
        """The head of the newest publication; None if there is none, or it can't be read."""
        newest = self.log.newest
        if newest is None:
            return None
        if self._head is None or self._head[0] != newest.offset:
            try:
                self._head = (newest.offset, head_of(newest.body))
            except TableError:
                return None
        return self._head[1]

    async def take_over(self, epoch: int, lineage: str) -> RoutesRecord | None:
        """Sets the fence, reads up to it, and returns the newest publication that counts before it, or None.

        Raises ``Deposed`` when a higher epoch lies on the log, or a publication that this version can't go on
        from; ``UserError`` if the log is of another lineage.
        """
        await self._close_producer()  # the producer of an earlier term may still be sending for it
        self._producer = await start_producer(self._bootstrap, record_max_bytes=ROUTES_RECORD_MAX_BYTES)
        opening = fence(lineage, epoch, now_ms())
        offset = await self._send(opening, encode_record(opening))
        try:
            await self._tail.read_to(offset, TAKE_OVER_WITHIN_S)
        except TimeoutError:
            raise Deposed(f"the routes log could not be read within {TAKE_OVER_WITHIN_S:.0f} s") from None
        self._require_highest(epoch)
        self._gap_at = None
        return self._newest(lineage)

    def stand_by(self) -> None:
        """Follows the log again after a term."""
        self._tail.resume(self.log.next_offset)

    async def append(self, record: RoutesRecord) -> None:
        """Returns once the record is published: appended, in turn, and counting.

        Raises ``Deposed`` when it is not, or when that can't be known: this controller then leads no more.
        Raises ``NoLease`` when the lease does not hold: then nothing was sent.
        """
        body = self._encoder.encode(record)
        offset = await self._send(record, body)
        if offset > self.log.next_offset:
            self._tail.resume(self.log.next_offset)
            try:
                await self._tail.read_to(offset - 1, READ_UP_WITHIN_S)
            except TimeoutError:
                raise Deposed(f"the routes log could not be read up to record {offset}") from None
        self._tail.rest()  # a leader knows what it wrote
        generation = record.generation
        own = KeyedRecord(record.key(), generation.seq, body, writer=self._identity)
        self.log = self.log.apply(offset, record.published_ms, own, self._epochs.is_epoch)
        self._require_highest(generation.epoch)
        if self._gap_at is not None:
            raise Deposed(f"the routes log lacks a record before record {self._gap_at}")

    def _require_highest(self, epoch: int) -> None:
        if self.log.epoch > epoch:
            raise Deposed(f"another controller leads since epoch {self.log.epoch}")

    async def _send(self, record: RoutesRecord, body: bytes) -> int:
        """The record's offset.

        A send whose outcome is unknown ends the leadership, because only a new fence shows what was appended.
        """
        assert self._producer is not None
        if not self._may_publish():
            raise NoLease("no heartbeat was confirmed in the last 2 s")
        try:
            metadata: Any = await self._producer.send_and_wait(
                self._topic,
                value=body,
                key=record.key(),
                headers=self._seal.sealed(
                    ROUTES_KIND,
                    self._topic,
                    record.key(),
                    value=body,
                    headers=headers(ROUTES_TYPE, str(record.generation), self._identity),
                ),
                partition=0,
            )
        except KafkaError as error:
            raise Deposed(f"Kafka did not confirm a publication: {type(error).__name__}") from error
        return int(metadata.offset)

    def _newest(self, lineage: str) -> RoutesRecord | None:
        newest = self.log.newest
        if newest is None:
            return None
        if refused := unread_of(newest.body).refused:
            raise Deposed(f"record {newest.offset} of {self._topic} can't be continued: {refused}")
        record = decode_record(newest.body)
        if record.generation.lineage != lineage:
            raise UserError(
                f"LINEAGE: the policy names lineage {lineage!r}, but the log {self._topic!r} has lineage "
                f"{record.generation.lineage!r}; correct `lineage` in the policy, or use another namespace"
            )
        return record

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        if record.offset > self.log.next_offset and self._gap_at is None:
            self._gap_at = record.offset
        flaw = self._seal.flaw(ROUTES_KIND, self._topic, record)
        self.log = self.log.apply(record.offset, record.timestamp, keyed(record, flaw), self._epochs.is_epoch)
        if self.log.refusal:
            self.refusals += 1
            if self._pace.allows("refusal", asyncio.get_running_loop().time()):
                self._log.error(
                    "a record of the routes log is ignored",
                    offset=record.offset,
                    why=self.log.refusal,
                    so_far=self.refusals,
                )

    async def _judge(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        place = epoch_of(record.key)
        if place is not None and record.value is not None:
            await self._epochs.until_judged(place[0])

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
