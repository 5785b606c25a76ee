"""A connection to Kafka that replaces itself. The package's docstring says why that is necessary."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import Any, NamedTuple

from tieline._process.loops import Notifier
from tieline.backoff import Backoff
from tieline.cancelling import end_all, whole
from tieline.cloudevents import Encoded
from tieline.errors import KafkaUnavailableError, MissingTopicError, RefusedError, TooLargeError
from tieline.kafka import Brokers, brokers_of, connect

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


class KafkaConnection:
    """One aiokafka producer at a time: ``hand_over`` gives it a record, ``acknowledged`` awaits the answer.

    ``error``: why there is no connection now, empty when there is one.
    """

    def __init__(self, bootstrap: str | Brokers, *, linger_ms: int) -> None:
        self._bootstrap = bootstrap
        self._linger_ms = linger_ms
        self._producer: Any = None
        self._changed = Notifier()
        self._keeper: asyncio.Task[None] | None = None
        self.error = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now. The next send may still find it gone."""
        return self._producer is not None

    def start(self) -> None:
        """Begin to connect, and connect again after every loss."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="tieline producer connection")

    async def stop(self) -> None:
        """Drop the connection for good."""
        if self._keeper is not None:
            await end_all([self._keeper])
            self._keeper = None

    async def producer(self) -> Any:
        """The connected aiokafka producer. Waits until there is one."""
        while self._producer is None:
            await self._changed.wait()
        return self._producer

    async def hand_over(self, topic: str, record: Encoded) -> tuple[Any, asyncio.Future[Any]]:
        """Give a record to the producer; returns (producer, future of the acknowledgement).

        Records with the same key that are handed over one after another keep that order. Bounded in time once
        there is a connection. Raises MissingTopicError, TooLargeError, KafkaUnavailableError.
        """
        from aiokafka.errors import KafkaError, MessageSizeTooLargeError

        producer = await self.producer()
        await self._require_topic(producer, topic)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                future: asyncio.Future[Any] = await producer.send(
                    topic, value=record.value, key=record.key, headers=record.headers
                )
        except MessageSizeTooLargeError:
            raise _too_large(topic, record) from None
        except (KafkaError, TimeoutError) as error:
            self.drop(producer, _words(error))
            raise self.unavailable() from None
        future.add_done_callback(retrieve)
        return producer, future

    async def acknowledged(
        self, producer: Any, future: asyncio.Future[Any], topic: str, record: Encoded
    ) -> Delivery:
        """Wait for the acknowledgement of a record that was handed over. The caller sets the deadline.

        Raises TooLargeError, KafkaUnavailableError, RefusedError; each drops the connection, because a batch
        that failed has used up its sequence number.
        """
        from aiokafka.errors import KafkaError, MessageSizeTooLargeError

        try:
            metadata = await asyncio.shield(future)
        except KafkaError as error:
            self.drop(producer, _words(error))
            if isinstance(error, MessageSizeTooLargeError):
                raise _too_large(topic, record) from None
            if error.retriable:
                raise self.unavailable() from None
            raise RefusedError(f"Kafka refused the record for {topic}: {_words(error)}") from None
        return Delivery(topic, metadata.partition, metadata.offset, timestamp_ms=metadata.timestamp)

    def drop(self, producer: Any, reason: str) -> None:
        """Give a producer up, with everything that it has not sent; another one is made."""
        if producer is self._producer:
            self._producer = None
            self.error = reason
            self._changed.notify_all()

    def unavailable(self) -> KafkaUnavailableError:
        """The error for a caller whose deadline has passed."""
        why = self.error or "no answer"
        return KafkaUnavailableError(f"Kafka at {self._bootstrap} did not acknowledge in time: {why}")

    async def _require_topic(self, producer: Any, topic: str) -> None:
        """Raises MissingTopicError when Kafka answers and has no such topic."""
        from aiokafka.errors import KafkaError

        if producer.client.cluster.partitions_for_topic(topic):
            return
        try:
            async with asyncio.timeout(MISSING_TOPIC_AFTER_S):
                await producer.partitions_for(topic)
                return
        except (KafkaError, TimeoutError):
            pass  # either there is no such topic, or Kafka is away: the next request shows which
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                topics = (await producer.client.fetch_all_metadata()).topics()
        except (KafkaError, TimeoutError) as error:
            self.drop(producer, _words(error))
            raise self.unavailable() from None
        finally:
            if producer is not self._producer:  # it is closed, and the question may have connected it again
                await whole(producer.client.close())
        if topic not in topics:
            raise MissingTopicError(
                f"Kafka at {self._bootstrap} has no topic {topic}: "
                "create it (a controller does so when it starts), or correct the prefix"
            )

    async def _keep_connected(self) -> None:
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            producer = await self._connect()
            if producer is None:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._producer, self.error = producer, ""
            self._changed.notify_all()
            try:
                while self._producer is producer:
                    await self._changed.wait()
            finally:
                self._producer = None
                await whole(_discard(producer))

    async def _connect(self) -> Any:
        """A connected producer, or None if that failed; ``error`` then says why."""

        producer = None
        try:
            producer = brokers_of(self._bootstrap).producer(
                enable_idempotence=True,
                acks="all",
                linger_ms=self._linger_ms,
                request_timeout_ms=int(REQUEST_TIMEOUT_S * 1_000),
                max_request_size=RECORD_MAX_BYTES,
            )
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connect(producer)
        except BaseException as error:
            self.error = _words(error)
            if producer is not None:
                await whole(_discard(producer))
            if isinstance(error, Exception):
                return None
            raise
        return producer


async def _discard(producer: Any) -> None:
    """Close a producer as a whole, also when the caller is cancelled meanwhile."""
    await whole(_end(producer))


async def _end(producer: Any) -> None:
    """Close a producer without waiting for records that can't be delivered.

    If it does not stop in time, its parts are ended one by one. That needs private attributes of aiokafka:
    with its public interface alone, a caller that waits for an acknowledgement would wait for ever.
    """
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
        return
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever it raises, it has to go
        _log.debug("a connection to Kafka could not be closed in order: %s", _words(error))
    if (sender := producer._sender.sender_task) is not None:
        sender.remove_done_callback(producer._sender._fail_all)  # it raises where there are no transactions
        sender.add_done_callback(retrieve)
    give_up(producer._message_accumulator)
    for close in (producer._sender.close, producer.client.close):
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await close()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  as above
            _log.debug("a connection to Kafka could not be closed in order: %s", _words(error))


class _Pending(set[Any]):
    """Batches on their way. A batch that waits to be sent again is not among them, and aiokafka removes it
    all the same when it fails then."""

    def remove(self, batch: Any) -> None:
        self.discard(batch)


def give_up(accumulator: Any) -> None:
    """Fail all batches of aiokafka's accumulator, of whose own futures asyncio then logs no error. Those of
    their records are looked at where they were handed over."""
    from aiokafka.errors import KafkaConnectionError

    accumulator._pending_batches = _Pending(accumulator._pending_batches)
    for batch in (*chain.from_iterable(accumulator._batches.values()), *accumulator._pending_batches):
        for future in (batch.future, batch._drain_waiter):
            future.add_done_callback(retrieve)
    accumulator.fail_all(KafkaConnectionError("the connection was given up"))


def retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the error of a future for which nobody waits any more, or asyncio would log it."""
    if not future.cancelled():
        future.exception()


def _too_large(topic: str, record: Encoded) -> TooLargeError:
    return TooLargeError(
        f"the record takes {len(record.value)} bytes; {topic} takes {RECORD_MAX_BYTES} with its headers: "
        "send fewer pools in one event"
    )


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
