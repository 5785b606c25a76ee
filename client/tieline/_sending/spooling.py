"""Sends what waits in the spool, in order, until Kafka has acknowledged it or it has expired."""

from __future__ import annotations

import asyncio
from typing import Any

from tieline._process.loops import Notifier
from tieline._sending.connection import Delivery, KafkaConnection, retrieve
from tieline._sending.feedback import Feedback, refused
from tieline._sending.posting import NO_ANSWER, EventRecord, Tally, go_on_sending
from tieline._sending.spool import Spool, SpoolEntry
from tieline.cancelling import run_all
from tieline.cloudevents import Poison, decode
from tieline.errors import (
    InvalidEventError,
    KafkaUnavailableError,
    MissingTopicError,
    ProducerError,
)
from tieline.events import expires_ms

BATCH_MAX = 64
SYNC_AGAIN_AFTER_S = 1.0

Waiter = asyncio.Future[Delivery]


class SpooledEvents:
    """Takes records into ``spool`` and sends them, at most ``BATCH_MAX`` at a time.

    A record leaves the spool when Kafka acknowledged it, when the policy or Kafka refused it, and when it
    expired. One whose acknowledgement did not come is sent again: ingestion takes no (incarnation, sequence)
    twice. ``sync_ms``: how long a record may wait to be safe from a loss of power; 0: not at all.
    """

    def __init__(self, spool: Spool, feedback: Feedback, *, tally: Tally, sync_ms: int) -> None:
        self._spool = spool
        self._feedback = feedback
        self._tally = tally
        self._sync_ms = sync_ms
        self._waiters: dict[int, Waiter] = {}
        self._in_flight: frozenset[int] = frozenset()
        self._changed = Notifier()

    def __len__(self) -> int:
        return len(self._spool)

    def put(self, record: EventRecord) -> int:
        """Take a record in; returns its number in the spool."""
        number = self._spool.put(record.topic, record.encoded, expires_ms(record.event))
        if self._sync_ms == 0:
            self._spool.sync()
        for replaced in [waiting for waiting in self._waiters if waiting not in self._spool]:
            if replaced not in self._in_flight:
                self._end(replaced, KafkaUnavailableError("a newer event of the same key took its place"))
        self._changed.notify_all()
        return number

    def submit(self, record: EventRecord, within_s: float) -> asyncio.Future[Delivery]:
        """Take a record in; returns the future of what becomes of it within that time."""
        number = self.put(record)
        waiter = self._waiters[number] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(self._delivered(waiter, within_s))
        waiting.add_done_callback(retrieve)
        return waiting

    async def run(self, connection: KafkaConnection, send_timeout_s: float) -> None:
        """Send until cancelled."""

        async def send() -> None:
            while not len(self._spool):
                await self._changed.wait()
            await connection.producer()
            await self._send_batch(connection, send_timeout_s)

        await run_all(go_on_sending(send, self._tally), self._keep_synced())

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False when ``timeout_s`` were not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._spool):
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close the files. What waits stays there."""
        for number in list(self._waiters):
            self._end(number, KafkaUnavailableError("the producer was stopped; the event stays in its spool"))
        await asyncio.to_thread(self._spool.close)

    async def _send_batch(self, connection: KafkaConnection, timeout_s: float) -> None:
        """Send the oldest entries. Raises MissingTopicError; those not acknowledged stay the oldest."""
        self._spool.drop_expired()
        self._end_dropped()
        handed_over: list[tuple[SpoolEntry, Any, asyncio.Future[Any]]] = []
        try:
            async with asyncio.timeout(timeout_s):
                for entry in self._spool.oldest(BATCH_MAX):
                    self._in_flight |= {entry.number}
                    if (sent := await self._hand_over(connection, entry)) is not None:
                        handed_over.append((entry, *sent))
                    elif not connection.connected:
                        break
                for entry, producer, future in handed_over:
                    await self._acknowledge(connection, entry, producer=producer, future=future)
        except TimeoutError:
            for _, producer, _ in handed_over[:1]:
                connection.drop(producer, NO_ANSWER)
            self._tally.error = NO_ANSWER
        finally:
            self._in_flight = frozenset()
            self._changed.notify_all()

    async def _hand_over(
        self, connection: KafkaConnection, entry: SpoolEntry
    ) -> tuple[Any, asyncio.Future[Any]] | None:
        """(producer, future of the acknowledgement); None if it was refused, or if Kafka went away."""
        error: ProducerError
        try:
            event = decode(entry.encoded.headers, entry.encoded.value, entry.encoded.key)
            if (refusal := await self._feedback.refusal(event, entry.encoded)) is None:
                return await connection.hand_over(entry.topic, entry.encoded)
            self._feedback.note(refusal)
            self._spool.finish(entry.number)
            self._end(entry.number, refused(refusal))
        except MissingTopicError:
            raise
        except KafkaUnavailableError as unavailable:  # the connection is replaced
            self._tally.error = str(unavailable)
        except (InvalidEventError, Poison) as fault:
            error = fault if isinstance(fault, ProducerError) else InvalidEventError(fault.place)
            self._fail(entry, error)
        return None

    async def _acknowledge(
        self, connection: KafkaConnection, entry: SpoolEntry, *, producer: Any, future: asyncio.Future[Any]
    ) -> None:
        try:
            delivery = await connection.acknowledged(producer, future, entry.topic, entry.encoded)
        except KafkaUnavailableError as error:
            self._tally.error = str(error)
        except ProducerError as error:
            self._fail(entry, error)
        else:
            self._tally.delivered += 1
            self._tally.error = ""
            self._feedback.sent(entry.encoded, delivery)
            self._spool.finish(entry.number)
            if (waiter := self._waiters.pop(entry.number, None)) is not None and not waiter.done():
                waiter.set_result(delivery)

    def _fail(self, entry: SpoolEntry, error: ProducerError) -> None:
        self._tally.failed += 1
        self._tally.error = str(error)
        self._spool.finish(entry.number)
        self._end(entry.number, error)

    def _end_dropped(self) -> None:
        """Tell those who wait for entries that have expired or made way."""
        for number in [waiting for waiting in self._waiters if waiting not in self._spool]:
            self._end(number, KafkaUnavailableError("the event expired, or made way in a full spool"))

    def _end(self, number: int, error: ProducerError) -> None:
        waiter = self._waiters.pop(number, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # whoever waited may have gone

    async def _delivered(self, waiter: Waiter, within_s: float) -> Delivery:
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(waiter)
        except TimeoutError:
            why = f": {self._tally.error}" if self._tally.error else ""
            raise KafkaUnavailableError(
                f"Kafka did not acknowledge in time, and the event stays in the spool{why}"
            ) from None

    async def _keep_synced(self) -> None:
        """Sync the spool within ``sync_ms`` of each change."""
        while True:
            if self._spool.is_synced:
                await self._changed.wait()
                continue
            await asyncio.sleep(self._sync_ms / 1_000)
            if not await asyncio.to_thread(self._spool.sync):
                await asyncio.sleep(SYNC_AGAIN_AFTER_S)
