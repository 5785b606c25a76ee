"""Sends what was decided, with all its inputs, to the decisions topic, so that it can be decided again.

Publication never waits for this. Steps queue here; when ``WAITING_MAX`` of them wait, all of them are dropped
and the next record carries a whole snapshot.
"""

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from controller.decisions.record import Decision, Step, decision_of, encode_decision
from controller.kafka.ordered_log import RETRY_FIRST_S, RETRY_LONGEST_S, start_producer
from controller.kafka.packing import PackingError, packed
from controller.routes.record import DECISION_TYPE, headers
from streams.producers import stop_producer
from tieline.backoff import Backoff
from tieline.kafka import Brokers
from tieline.topics import ROUTES_RECORD_MAX_BYTES

WAITING_MAX = 100
WHOLE_EVERY_MS = 60_000
LINGER_S = 0.05


class DecisionLog:
    """Records published steps in the background."""

    def __init__(self, bootstrap: str | Brokers, topic: str, identity: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._waiting: deque[Step] = deque()
        self._due = asyncio.Event()
        self._recorded_last: Step | None = None  # None: the next record must be whole
        self._whole_ms = 0
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._log = structlog.get_logger("decisions")

    def record(self, step: Step) -> None:
        """Queues one published step; returns at once."""
        if len(self._waiting) >= WAITING_MAX:
            self._log.warning(
                "decisions are not recorded: Kafka takes none, and the queue is full",
                dropped=len(self._waiting),
            )
            self._waiting.clear()
            self._recorded_last = None
        self._waiting.append(step)
        self._due.set()

    async def run(self) -> None:
        """Sends until cancelled. Raises KafkaConnectionError if Kafka can't be reached at the start."""
        producer = await start_producer(self._bootstrap, record_max_bytes=ROUTES_RECORD_MAX_BYTES)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                await asyncio.sleep(LINGER_S)  # the new table must reach clients before its record is encoded
                while self._waiting:
                    await self._send(producer, self._waiting.popleft())
        finally:
            await stop_producer(producer)

    async def _send(self, producer: AIOKafkaProducer, step: Step) -> None:
        record = self._record_of(step)
        try:
            body = packed(encode_decision(record))
        except PackingError as error:
            self._log.error(
                "a decision is not recorded: it is larger than a record may be",
                size=str(error),
                generation=str(step.generation),
            )
            self._recorded_last = None
            return
        try:
            await producer.send_and_wait(
                self._topic,
                value=body,
                headers=headers(DECISION_TYPE, str(step.generation), self._identity),
                partition=0,
            )
        except KafkaError as error:
            self._log.warning("a decision is not recorded: Kafka refuses it", error=type(error).__name__)
            self._recorded_last = None
            await asyncio.sleep(self._backoff.next_s())
            return
        self._backoff.reset()
        self._recorded_last = step
        if record.whole is not None:
            self._whole_ms = step.now_ms

    def _record_of(self, step: Step) -> Decision:
        """The record of the step: whole in a new epoch, after a record was lost, and once in a while."""
        before = self._recorded_last
        if before is None or before.generation.epoch != step.generation.epoch:
            return decision_of(step, None)
        is_whole_due = step.now_ms - self._whole_ms >= WHOLE_EVERY_MS
        return decision_of(step, None if is_whole_due else before)
