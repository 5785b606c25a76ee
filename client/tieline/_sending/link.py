"""A connection to Kafka that replaces itself, and the errors of sending. Bounded in time, always.

aiokafka retries an idempotent record for ever, waits 40 s for a topic that does not exist, never returns from
``stop`` while Kafka is away, and stays broken once a batch was refused (its sequence number is spent). So
every send here has a deadline, and a connection that missed one or lost a batch is dropped and made anew:
what it still held is not written later, when it would be stale.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from tieline._process.signal import Signal
from tieline.backoff import Backoff
from tieline.cloudevents import Encoded
from tieline.errors import KafkaUnavailableError, MissingTopicError, RefusedError, TooLargeError
from tieline.kafka import Brokers, connecting

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 4.0
MISSING_TOPIC_AFTER_S = 3.0
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
STOP_TIMEOUT_S = 1.0
RECORD_MAX_BYTES = 1024 * 1024

_log = logging.getLogger("tieline")


class Delivery(NamedTuple):
    """Where an acknowledged record lies. ``timestamp_ms`` is the broker's time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Link:
    """One connection at a time; ``hand_over`` waits for it, and for the acknowledgement, up to a deadline."""

    def __init__(self, bootstrap: str | Brokers, *, linger_ms: int) -> None:
        self._bootstrap = bootstrap
        self._linger_ms = linger_ms
        self._producer: Any = None
        self._changed = Signal()
        self._keeper: asyncio.Task[None] | None = None
        self.error = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether a producer is up right now; the next send may still find it gone."""
        return self._producer is not None

    def start(self) -> None:
        """Begin to connect, now and again after every loss."""
        self._keeper = asyncio.create_task(self._keep(), name="tieline producer connection")

    async def stop(self) -> None:
        """Drop the connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def connection(self) -> Any:
        """The live connection, when there is one."""
        while self._producer is None:
            await self._changed.wait()
        return self._producer

    async def hand_over(self, topic: str, record: Encoded) -> tuple[Any, asyncio.Future[Any]]:
        """Give a record to the live connection. Returns (connection, future of the acknowledgement).

        Records handed over one after another with the same key keep that order. Raises MissingTopicError,
        TooLargeError, KafkaUnavailableError; bounded in time once a connection is up.
        """
        from aiokafka.errors import KafkaError, MessageSizeTooLargeError

        connection = await self.connection()
        await self._require_topic(connection, topic)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                future: asyncio.Future[Any] = await connection.send(
                    topic, value=record.value, key=record.key, headers=record.headers
                )
        except MessageSizeTooLargeError:
            raise _too_large(topic, record) from None
        except (KafkaError, TimeoutError) as error:
            self.drop(connection, _words(error))
            raise KafkaUnavailableError(self._unavailable()) from None
        future.add_done_callback(_retrieve)
        return connection, future

    async def acknowledged(
        self, connection: Any, future: asyncio.Future[Any], topic: str, record: Encoded
    ) -> Delivery:
        """Wait for the acknowledgement of a record handed over. The caller bounds it in time.

        A failed batch has spent its sequence number: the connection goes with it.
        """
        from aiokafka.errors import KafkaError, MessageSizeTooLargeError

        try:
            metadata = await asyncio.shield(future)
        except KafkaError as error:
            self.drop(connection, _words(error))
            if isinstance(error, MessageSizeTooLargeError):
                raise _too_large(topic, record) from None
            if error.retriable:
                raise KafkaUnavailableError(self._unavailable()) from None
            raise RefusedError(f"Kafka refused the record for {topic}: {_words(error)}") from None
        return Delivery(topic, metadata.partition, metadata.offset, metadata.timestamp)

    def drop(self, connection: Any, reason: str) -> None:
        """Give a connection up, with all that it still holds; another is made."""
        if connection is self._producer:
            self._producer = None
            self.error = reason
            self._changed.announce()

    async def _require_topic(self, connection: Any, topic: str) -> None:
        from aiokafka.errors import KafkaError

        if connection.client.cluster.partitions_for_topic(topic):
            return
        try:
            async with asyncio.timeout(MISSING_TOPIC_AFTER_S):
                await connection.partitions_for(topic)
                return
        except (KafkaError, TimeoutError):
            pass
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                known = (await connection.client.fetch_all_metadata()).topics()
        except (KafkaError, TimeoutError) as error:
            self.drop(connection, _words(error))
            raise KafkaUnavailableError(self._unavailable()) from None
        if topic not in known:
            raise MissingTopicError(
                f"Kafka at {self._bootstrap} has no topic {topic}: "
                "create it (a controller does at its start), or correct the prefix"
            )

    async def _keep(self) -> None:
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            connection = await self._connect()
            if connection is None:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._producer, self.error = connection, ""
            self._changed.announce()
            try:
                while self._producer is connection:
                    await self._changed.wait()
            finally:
                self._producer = None
                await _discard(connection)

    async def _connect(self) -> Any:
        from aiokafka import AIOKafkaProducer

        connection = None
        try:
            connection = AIOKafkaProducer(
                **connecting(self._bootstrap),
                enable_idempotence=True,
                acks="all",
                linger_ms=self._linger_ms,
                request_timeout_ms=int(REQUEST_TIMEOUT_S * 1_000),
                max_request_size=RECORD_MAX_BYTES,
            )
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.start()
        except BaseException as error:
            self.error = _words(error)
            if connection is not None:
                await _discard(connection)
            if isinstance(error, Exception):  # every send says it, until it can connect
                return None
            raise
        return connection

    def _unavailable(self) -> str:
        return f"Kafka at {self._bootstrap} did not acknowledge in time: {self.error or 'no answer'}"

    def unavailable(self) -> KafkaUnavailableError:
        """The error for a caller whose deadline has passed."""
        return KafkaUnavailableError(self._unavailable())


async def _discard(connection: Any) -> None:
    """Close a connection without waiting for records that can't be delivered."""
    from aiokafka.errors import KafkaConnectionError

    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await connection.stop()
        return
    except Exception as error:  # noqa: BLE001 - whatever a broken connection says at its end, it has to go
        _log.debug("a connection to Kafka ended badly: %s", _words(error))
    lost = KafkaConnectionError("the connection was given up")
    connection._message_accumulator.fail_all(lost)  # else whoever waits for an acknowledgement waits on
    for part in (connection._sender.close, connection.client.close):
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await part()
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("a connection to Kafka ended badly: %s", _words(error))


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone by the time it fails; that is no news for the event loop."""
    if not future.cancelled():
        future.exception()


def _too_large(topic: str, record: Encoded) -> TooLargeError:
    return TooLargeError(
        f"the record takes {len(record.value)} bytes, {topic} takes {RECORD_MAX_BYTES} with its headers: "
        "send fewer pools in one event"
    )


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
