"""Sends what was posted and waits in memory, one event after another, as long as the producer runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from tieline._sending.connection import KafkaConnection
from tieline._sending.feedback import Feedback
from tieline._sending.outbox import Entry, Outbox
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.cloudevents import Encoded
from tieline.errors import InvalidEventError, MissingTopicError, ProducerError
from tieline.events import Event

IN_FLIGHT_MAX = 256
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 1.0
NO_ANSWER = "no acknowledgement in time"

_log = logging.getLogger("tieline")


class EventRecord(NamedTuple):
    """An event, and the record that it becomes on ``topic``."""

    topic: str
    encoded: Encoded
    event: Event


class Tally:
    """What became of the posted events, and the last error of one of them."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self.error = ""


class PostedEvents:
    """Takes events from ``outbox`` and hands them to the connection. ``tally`` counts what came of them."""

    def __init__(
        self,
        outbox: Outbox[EventRecord],
        connection: KafkaConnection,
        feedback: Feedback,
        *,
        tally: Tally,
        send_timeout_s: float,
    ) -> None:
        self._outbox = outbox
        self._connection = connection
        self._feedback = feedback
        self._tally = tally
        self._send_timeout_s = send_timeout_s
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def run(self) -> None:
        """Hand buffered events over until cancelled."""
        try:
            await go_on_sending(self._send_next, self._tally)
        finally:
            await end_all(self._in_flight)

    async def _send_next(self) -> None:
        """Hand the oldest event over. If that fails, and not because of the event, it stays the oldest.

        Raises MissingTopicError, and any error that is not known.
        """
        await self._outbox.wait_filled()
        await self._connection.producer()
        self._outbox.drop_expired()
        if not len(self._outbox):
            return
        await self._room.acquire()
        entry = self._outbox.take()
        try:
            handed_over = await self._hand_over(entry)
        except BaseException as error:
            self._room.release()
            self._outbox.put_back(entry)
            if isinstance(error, MissingTopicError) or not isinstance(error, ProducerError):
                raise
            self._tally.error = str(error)  # the connection is replaced, and the next turn waits for it
            return
        if handed_over is None:
            self._room.release()
            return
        task = asyncio.create_task(self._await_acknowledgement(*handed_over, entry))
        self._in_flight.add(task)
        task.add_done_callback(self._landed)

    async def _hand_over(self, entry: Entry[EventRecord]) -> tuple[Any, asyncio.Future[Any]] | None:
        """(producer, future of the acknowledgement); None if the event is of no use to anybody."""
        topic, encoded, event = entry.item
        if (refusal := await self._feedback.refusal(event, encoded)) is not None:
            self._feedback.note(refusal)
            self._outbox.finish()
            return None
        try:
            return await self._connection.hand_over(topic, encoded)
        except InvalidEventError as error:
            self._finish(str(error))
            return None

    async def _await_acknowledgement(
        self, producer: Any, future: asyncio.Future[Any], entry: Entry[EventRecord]
    ) -> None:
        topic, encoded, _ = entry.item
        try:
            async with asyncio.timeout(self._send_timeout_s):
                delivery = await self._connection.acknowledged(producer, future, topic, encoded)
        except TimeoutError:
            self._connection.drop(producer, NO_ANSWER)
            self._finish(NO_ANSWER)
        except ProducerError as error:
            self._finish(str(error))
        else:
            self._feedback.sent(encoded, delivery)
            self._finish()

    def _finish(self, error: str | None = None) -> None:
        """A posted event was delivered, or failed for good with ``error``."""
        if error is None:
            self._tally.delivered += 1
        else:
            self._tally.failed += 1
        self._tally.error = error or ""
        self._outbox.finish()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._room.release()


async def go_on_sending(send: Callable[[], Any], tally: Tally) -> None:
    """Call ``send`` again and again until cancelled, whatever it raises; after an error only after a wait."""
    backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
    while True:
        try:
            await send()
            backoff.reset()
            continue
        except MissingTopicError as error:  # somebody may create it
            tally.error = str(error)
        except Exception as error:  # noqa: BLE001  nobody watches this task, so it must go on
            _log.exception("a posted event could not be sent")
            tally.error = str(error)
        await asyncio.sleep(backoff.next_s())
