"""Sends of callers who want to know what became of each event."""

from __future__ import annotations

import asyncio
from typing import Any

from tieline._sending.connection import Delivery, KafkaConnection, retrieve
from tieline._sending.feedback import Feedback, refused
from tieline._sending.posting import IN_FLIGHT_MAX, NO_ANSWER, EventRecord
from tieline.cancelling import end_all


class DirectSends:
    """Sends events at once, at most ``IN_FLIGHT_MAX`` at a time; whoever brings more has to wait."""

    def __init__(self, connection: KafkaConnection, feedback: Feedback, send_timeout_s: float) -> None:
        self._connection = connection
        self._feedback = feedback
        self._send_timeout_s = send_timeout_s
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._waiting: set[asyncio.Task[Delivery]] = set()

    async def submit(self, record: EventRecord) -> asyncio.Future[Delivery]:
        """Hand a record over; returns the future of its acknowledgement. See ``Producer.submit``."""
        deadline_s = asyncio.get_running_loop().time() + self._send_timeout_s
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._room.acquire()
        except TimeoutError:
            raise self._connection.unavailable() from None
        try:
            async with asyncio.timeout_at(deadline_s):
                producer, future = await self._hand_over(record)
        except BaseException as error:
            self._room.release()
            if isinstance(error, TimeoutError):
                raise self._connection.unavailable() from None
            raise
        waiting = asyncio.create_task(self._delivered(record, producer, future, deadline_s=deadline_s))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._landed)
        waiting.add_done_callback(retrieve)
        return waiting

    async def stop(self) -> None:
        """Give up what is not acknowledged yet."""
        await end_all(self._waiting)

    async def _hand_over(self, record: EventRecord) -> tuple[Any, asyncio.Future[Any]]:
        await self._connection.producer()
        if (refusal := await self._feedback.refusal(record.event, record.encoded)) is not None:
            self._feedback.note(refusal)
            raise refused(refusal)
        return await self._connection.hand_over(record.topic, record.encoded)

    async def _delivered(
        self, record: EventRecord, producer: Any, future: asyncio.Future[Any], *, deadline_s: float
    ) -> Delivery:
        try:
            async with asyncio.timeout_at(deadline_s):
                delivery = await self._connection.acknowledged(producer, future, record.topic, record.encoded)
        except TimeoutError:
            self._connection.drop(producer, NO_ANSWER)
            raise self._connection.unavailable() from None
        self._feedback.sent(record.encoded, delivery)
        return delivery

    def _landed(self, waiting: asyncio.Task[Delivery]) -> None:
        self._waiting.discard(waiting)
        self._room.release()
