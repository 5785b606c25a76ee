"""What was decided and why, inputs included, on the decisions topic, so that it can be decided again.

A record carries a whole snapshot first in an epoch and every 60 s, else only the rows that changed since the
record before it. Publishing never waits for this: records queue here, and when too many wait the oldest are
dropped, said, and followed by a whole snapshot.
"""

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from controller.decisions.record import Step, decision, encode_decision
from controller.kafka.ordered_log import start_producer, stop_producer
from controller.routes.record import DECISION_TYPE, headers
from tieline.kafka import Brokers
from tieline.topics import ROUTES_RECORD_MAX_BYTES

WAITING_MAX = 100
WHOLE_EVERY_MS = 60_000
RETRY_AFTER_S = 1.0
LINGER_S = 0.05


class DecisionLog:
    """Sends decisions in the background."""

    def __init__(self, bootstrap: str | Brokers, topic: str, identity: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._waiting: deque[Step] = deque()
        self._due = asyncio.Event()
        self._before: Step | None = None
        self._whole_ms = 0
        self._log = structlog.get_logger("decisions")

    def record(self, step: Step) -> None:
        """Queues one published step; returns at once."""
        if len(self._waiting) >= WAITING_MAX:
            self._log.warning("decisions dropped: Kafka takes none", count=len(self._waiting))
            self._waiting.clear()
            self._before = None
        self._waiting.append(step)
        self._due.set()

    async def run(self) -> None:
        """Sends until cancelled."""
        producer = await start_producer(self._bootstrap, record_max_bytes=ROUTES_RECORD_MAX_BYTES)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                await asyncio.sleep(LINGER_S)  # the clients' way goes first
                while self._waiting:
                    await self._send(producer, self._waiting.popleft())
        finally:
            await stop_producer(producer)

    async def _send(self, producer: AIOKafkaProducer, step: Step) -> None:
        before = self._before
        if (
            before is None
            or before.generation.epoch != step.generation.epoch
            or step.now_ms - self._whole_ms >= WHOLE_EVERY_MS
        ):
            before = None
        record = decision(step, before)
        body = encode_decision(record)
        if len(body) > ROUTES_RECORD_MAX_BYTES:
            self._log.error("decision too large to record", bytes=len(body), generation=str(step.generation))
            self._before = None
            return
        try:
            await producer.send_and_wait(
                self._topic,
                value=body,
                headers=headers(DECISION_TYPE, str(step.generation), self._identity),
                partition=0,
            )
        except KafkaError as error:
            self._log.warning("decision not recorded", error=type(error).__name__)
            self._before = None
            await asyncio.sleep(RETRY_AFTER_S)
            return
        self._before = step
        if record.whole is not None:
            self._whole_ms = step.now_ms
